"""The toy of two features: which one DIET learns, with and without smoothing and normalisation."""

import re
import sys

import numpy as np
import pytest

from theory import noise

pytestmark = pytest.mark.slow


def test_the_quiet_feature_wins_and_smoothing_and_unit_norm_change_that(capsys, monkeypatch):
    train, ratios = noise.quiet_to_noisy, []

    def record(*settings):
        ratios.append(np.asarray(train(*settings)))
        return ratios[-1]

    monkeypatch.setattr(noise, "quiet_to_noisy", record)
    monkeypatch.setattr(sys, "argv", ["noise"])
    noise.main()
    plain, unit, smooth_plain, smooth_unit = ratios
    assert plain.shape == (5,)
    assert plain.min() > 4
    assert unit.max() < 2.5
    assert smooth_plain.max() < 4
    assert smooth_unit.min() > 2.5
    rows = re.findall(r"smoothing (\S+) +(\S+ - \S+) +(\S+ - \S+)", capsys.readouterr().out)
    spans = [f"{values.min():.1f} - {values.max():.1f}" for values in ratios]
    assert rows == [("0.0", *spans[:2]), ("0.8", *spans[2:])]
