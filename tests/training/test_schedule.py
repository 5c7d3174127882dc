import numpy as np
import pytest

from configs import common
from sslx.training.schedule import Durations, learning_rate

GOLDEN = "tests/golden/schedules_a.npz"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3 epochs", 30),
        ("1 epoch", 30 // 3),
        ("7 steps", 7),
        ("1e3 examples", 125),
        ("5%", 50),
        ("0 steps", 0),
        ("0.01%", 1),
        ("2.5 epochs", 25),
    ],
)
def test_durations_are_converted_to_steps(text, expected):
    assert Durations("100 epochs", steps_per_epoch=10, batch_size=8).steps(text) == expected


@pytest.mark.parametrize("text", ["100", "ten epochs", "5 parsecs", "", "-3 steps", "5.5.5 steps"])
def test_other_texts_are_refused_with_examples(text):
    with pytest.raises(ValueError, match='is no duration. Write "200 epochs"'):
        Durations("100 epochs", 10, 8).steps(text)


@pytest.mark.parametrize("text", ["50%", "0 steps"])
def test_a_run_needs_a_length_of_its_own(text):
    with pytest.raises(ValueError, match=r"config\.duration"):
        _ = Durations(text, 10, 8).total


def test_the_rate_equals_the_reference_schedules():
    """VICReg: warm-up from 0, end at 0.001 of the peak; BYOL: to 0; SimCLR: over N * epochs // B + 1 steps."""
    golden = np.load(GOLDEN, allow_pickle=False)
    config = common.get_config().optimizer
    config.learning_rate, config.reference_batch = 0.2, 256
    durations = Durations("12 epochs", steps_per_epoch=7, batch_size=512)
    for name, warmup, base, final in (("vicreg.lr", "10 epochs", 0.2, 1e-3),):
        config.warmup, config.learning_rate, config.final = warmup, base, final
        rate = learning_rate(config, durations, 512)
        np.testing.assert_allclose([float(rate(step)) for step in range(84)], golden[name], rtol=2e-6, atol=1e-9)


def test_a_warm_up_as_long_as_the_run_is_refused():
    config = common.get_config().optimizer
    config.warmup = "20 epochs"
    with pytest.raises(ValueError, match=r"warm-up takes 140 of the 84 steps"):
        learning_rate(config, Durations("12 epochs", 7, 512), 512)
