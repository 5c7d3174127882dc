"""The toy of two features: which one DIET learns, with and without smoothing and normalisation."""

import re
import sys

import numpy as np
import pytest

from theory import noise

pytestmark = pytest.mark.slow
SEEDS = np.arange(1, 6)


def test_without_smoothing_the_quiet_feature_wins_unless_features_are_normalised():
    plain, unit = (
        np.asarray(noise.quiet_to_noisy(SEEDS, 0.0, normalise)) for normalise in (False, True)
    )
    assert plain.shape == (5,)
    assert plain.min() > 4
    assert unit.max() < 2.5


def test_the_command_shows_that_smoothing_reverses_it(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["noise"])
    noise.main()
    rows = {
        smoothing: [float(number) for number in numbers]
        for smoothing, *numbers in re.findall(
            r"smoothing (\S+) +(\S+) - (\S+) +(\S+) - (\S+)", capsys.readouterr().out
        )
    }
    assert list(rows) == ["0.0", "0.8"]
    plain_low, _, _, unit_high = rows["0.0"]
    assert plain_low > 4 > 2.5 >= unit_high
    _, plain_high, unit_low, _ = rows["0.8"]
    assert plain_high < 4
    assert unit_low > 2.5
