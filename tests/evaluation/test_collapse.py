"""Three ways to collapse: the monitor warns of each, and of no healthy twin, within 200 steps."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sslx.data.source import Source, Sources
from sslx.evaluation.features import Extractor
from sslx.evaluation.monitor import Monitor, collapse_warning
from sslx.training.state import model_of
from tests.methods import harness

COLLAPSES = {
    "vicreg": {"variance": 0.0},
    "byol": {"use_predictor": False, "momentum": 0.0, "momentum_end": 0.0},
    "simsiam": {"stop_gradient": False},
}

RATES = {"vicreg": 0.05, "byol": 0.05, "simsiam": 0.1}


@pytest.fixture(scope="module")
def digits():
    return np.round(load_digits().images[:1437, :, :, None] * (255 / 16)).astype(np.uint8)


@pytest.mark.parametrize("healthy", [True, False])
@pytest.mark.parametrize("name", COLLAPSES)
def test_the_monitor_warns_of_a_collapse_within_200_steps(name, healthy, digits, monkeypatch):
    monkeypatch.setattr(harness, "IMAGES", digits)
    config = harness.recipe(name)
    config.method.update({} if healthy else COLLAPSES[name])
    config.batch_size, config.duration = 128, "200 steps"
    config.optimizer.update(name="sgd", learning_rate=RATES[name], decay_min_ndim=0)
    run = harness.set_up(config, 1)
    state, losses = harness.advance(run, run.state, 200)
    extractor = Extractor(run.method, run.mesh, 512)
    source = Source(digits, None, {"name": "digits"})
    values = Monitor(config.monitor, extractor, Sources(source, source, None), seed=0)(
        model_of(state.params, state.extra)
    )
    assert np.isfinite(losses).all()
    assert bool(collapse_warning(values, 200)) != healthy, {
        k: round(v, 4) for k, v in values.items()
    }
    if not healthy:
        assert losses[-1] < losses[0], "the loss itself shows nothing"
