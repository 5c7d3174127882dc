import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import base
from sslx.training import schedules
from sslx.training.schedules import Durations, learning_rate, weight_decay

GOLDEN = np.load("tests/golden/schedules_a.npz", allow_pickle=False)
RUN = Durations("12 epochs", steps_per_epoch=7, batch_size=512)
WARMUP, TOTAL = 21, 84


def changed(**fields):
    config = base.get_config().optimizer
    config.update(fields)
    return config


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


# The arrays of the reference codes; a second index is a column of a table.
REFERENCES = {
    "dino.lr": schedules.linspace_cosine(0.0, 1e-3, 1e-6, WARMUP, TOTAL),
    "dino.weight_decay": schedules.cosine(0.04, 0.4, TOTAL),
    "dino.teacher_momentum": schedules.cosine(0.996, 1.0, TOTAL),
    "ijepa.lr": lambda step: schedules.warmup_cosine(2e-4, 1e-3, 1e-6, WARMUP, TOTAL)(step + 1),
    "ijepa.weight_decay": lambda step: schedules.cosine(0.04, 0.4, TOTAL)(step + 1),
    "ijepa.ema_momentum": schedules.linear(0.996, 1.0, TOTAL),
    "vicreg.lr": schedules.warmup_cosine(0.0, 0.4, 4e-4, 70, TOTAL),
    "barlowtwins.lr_weights_biases:0": schedules.warmup_cosine(0.0, 0.4, 4e-4, 70, TOTAL),
    "barlowtwins.lr_weights_biases:1": schedules.warmup_cosine(0.0, 0.0096, 9.6e-6, 70, TOTAL),
    "byol.lr": schedules.warmup_cosine(0.0, 0.4, 0.0, WARMUP, TOTAL),
    "byol.target_ema": schedules.cosine(0.996, 1.0, TOTAL),
    "simclr.lr": schedules.warmup_cosine(0.0, 0.6, 0.0, WARMUP, 3584 * 12 // 512 + 1),
    "swav.lr": schedules.linspace_cosine(0.3, 4.8, 0.0048, WARMUP, TOTAL),
    "data2vec_vision.lr": schedules.linspace_cosine(0.0, 2e-3, 1e-5, WARMUP, TOTAL),
    "data2vec_vision.tri_phase_lr": schedules.tri_phase(0.0, 1e-3, 1e-5, 4, 12, TOTAL),
    # Tables by epoch: their values at the epochs' first steps.
    "moco.lr_per_epoch": lambda epoch: schedules.epoch_cosine(0.03, 0.0, 7, TOTAL)(7 * epoch),
    "simsiam.lr_per_epoch_encoder_predictor:0": lambda epoch: schedules.epoch_cosine(
        0.1, 0.0, 7, TOTAL
    )(7 * epoch),
    "simsiam.lr_per_epoch_encoder_predictor:1": lambda epoch: jnp.full(epoch.shape, 0.1, float),
}


def golden(name):
    name, _, column = name.partition(":")
    return GOLDEN[name][:, int(column)] if column else GOLDEN[name]


def test_every_reference_schedule_is_met():
    assert {name.partition(":")[0] for name in REFERENCES} == set(GOLDEN.files)


@pytest.mark.parametrize("name", REFERENCES)
def test_a_schedule_equals_its_reference_at_every_step(name):
    expected = golden(name)
    with jax.enable_x64(True):
        values = jax.jit(REFERENCES[name])(jnp.arange(len(expected), dtype=jnp.int32))
        assert values.dtype == jnp.float64
        # byol.lr passes through float32 in the reference
        np.testing.assert_allclose(
            values, expected, rtol=1e-6 if name == "byol.lr" else 1e-9, atol=1e-15
        )


@pytest.mark.parametrize("name", REFERENCES)
def test_in_training_a_schedule_is_float32_and_as_good(name):
    expected = golden(name)
    values = REFERENCES[name](jnp.arange(len(expected)))
    assert values.dtype == jnp.float32
    np.testing.assert_allclose(values, expected, rtol=2e-5, atol=1e-7 * expected.max())
    np.testing.assert_allclose(REFERENCES[name](np.int64(3)), expected[3], rtol=2e-5)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (
            "dino.lr",
            {"schedule": "linspace", "learning_rate": 5e-4, "final": 1e-3, "warmup": "3 epochs"},
        ),
        (
            "swav.lr",
            {
                "schedule": "linspace",
                "learning_rate": 2.4,
                "final": 1e-3,
                "warmup": "21 steps",
                "warmup_start": 1 / 16,
            },
        ),
        ("vicreg.lr", {"learning_rate": 0.2, "final": 1e-3, "warmup": "10 epochs"}),
        ("moco.lr_per_epoch", {"schedule": "epochs", "learning_rate": 0.015, "warmup": "0 steps"}),
        (
            "ijepa.lr",
            {
                "schedule": "shifted",
                "learning_rate": 5e-4,
                "final": 1e-3,
                "warmup": "25%",
                "warmup_start": 0.2,
            },
        ),
        (
            "data2vec_vision.tri_phase_lr",
            {
                "schedule": "tri_phase",
                "learning_rate": 5e-4,
                "final": 1e-2,
                "warmup": "4 steps",
                "cooldown": "12 steps",
            },
        ),
    ],
)
def test_a_config_names_the_schedule(name, fields):
    """With a reference batch of 256 and a batch of 512, so the peak is twice the rate."""
    expected = golden(name)
    with jax.enable_x64(True):
        rate = learning_rate(changed(reference_batch=256, **fields), RUN)
        values = rate(jnp.arange(0, TOTAL, TOTAL // len(expected)))
        np.testing.assert_allclose(values, expected, rtol=1e-9, atol=1e-15)


def test_a_rate_by_epoch_stands_still_within_an_epoch():
    values = learning_rate(changed(schedule="epochs", warmup="0 steps"), RUN)(
        jnp.arange(TOTAL)
    ).reshape(12, 7)
    assert (np.ptp(values, axis=1) == 0).all()
    assert len(np.unique(values)) == 12


def test_the_decay_is_constant_or_a_cosine_that_is_ahead_where_the_rate_is():
    assert weight_decay(changed(weight_decay=0.3), RUN) == 0.3
    with jax.enable_x64(True):
        for schedule, name in (("linspace", "dino"), ("shifted", "ijepa")):
            config = changed(weight_decay=0.04, weight_decay_end=0.4, schedule=schedule)
            values = weight_decay(config, RUN)(jnp.arange(TOTAL))
            np.testing.assert_allclose(values, GOLDEN[f"{name}.weight_decay"], rtol=1e-9)
    assert weight_decay(changed(weight_decay=0.04, weight_decay_end=0.0), RUN)(TOTAL) == 0


@pytest.mark.parametrize("schedule", schedules.SCHEDULES)
def test_after_the_last_step_a_schedule_keeps_its_end(schedule):
    rate = learning_rate(changed(schedule=schedule, warmup="0 steps", final=0.1), RUN)
    np.testing.assert_allclose(rate(jnp.array([TOTAL, TOTAL + 50])), 1e-4, rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"warmup": "20 epochs"}, r"warm-up takes 140 of the 84 steps"),
        (
            {"schedule": "cosin"},
            r"schedule is 'cosin'; it takes cosine, linspace, epochs, shifted, tri_phase\.",
        ),
        (
            {"schedule": "epochs"},
            r'epochs has no warm-up: set --config\.optimizer\.warmup="0 steps"',
        ),
        (
            {"schedule": "tri_phase", "cooldown": "10 epochs"},
            r"take 21 and 70 of the 84 steps.*warmup or \.cooldown",
        ),
    ],
)
def test_what_does_not_go_is_said_in_a_line(fields, message):
    with pytest.raises(ValueError, match=message) as error:
        learning_rate(changed(**{"warmup": "3 epochs"} | fields), RUN)
    assert "\n" not in str(error.value)
