"""One checkpoint's result: every metric by name, of each layer, and the notes beside them."""

import jax
import numpy as np
import pytest

from metrics import METRICS
from metrics.label_free import entries
from sslx.data.source import Source, Sources
from sslx.evaluation.evaluate import describe, evaluate, evaluate_pixels
from sslx.evaluation.features import Extractor
from sslx.evaluation.settings import Settings
from tests.methods.harness import IMAGES, recipe, set_up

pytestmark = pytest.mark.usefixtures("quick_compilation")

SETTINGS = Settings(("lidar",), (), "lbfgs", 90, 80, 2, 0)


@pytest.fixture(scope="module")
def simclr():
    run = set_up(recipe("simclr"), 4)
    extractor = Extractor(run.method, run.mesh, 64)
    return run, {"params": run.state.params, "extra": run.state.extra}, extractor


def measure(simclr, names: tuple[str, ...], data: Sources | None = None, **changes):
    run, model, extractor = simclr
    source = Source(IMAGES, None, {"name": "test"})
    data = data or Sources(source, source, None)
    with jax.set_mesh(run.mesh):
        return evaluate(7, model, extractor, data, SETTINGS._replace(metrics=names, **changes))


@pytest.mark.filterwarnings("ignore:lidar", "ignore:alpha_req")
def test_every_metric_can_be_measured_and_one_that_is_not_defined_is_nan(simclr):
    with pytest.warns(UserWarning, match="left out: idest fits a line to 3 or more sizes"):
        result = measure(simclr, tuple(METRICS))
    names = [name for metric in METRICS for name in entries(metric)]
    assert list(result.values) == [
        f"{name}/{layer}" for name in names for layer in ("representation", "embedding")
    ]
    undefined = {name.partition("/")[0] for name, value in result.values.items() if np.isnan(value)}
    assert undefined == {"idest"}
    assert result.values["lidar/embedding"].settings["q"] == 2
    assert result.values["rankme/embedding"].settings["n"] == 90
    parts = ["images", "views", "metrics of images", "metrics of views", "probes"]
    assert sorted(result.seconds) == sorted(parts)


def test_values_do_not_depend_on_what_else_is_measured(simclr):
    alone = measure(simclr, ("rankme",)).values
    beside = measure(simclr, ("nesum", "rankme", "feature_std")).values
    assert list(beside) == [
        f"{m}/{n}"
        for m in ("nesum", "rankme", "feature_std")
        for n in ("representation", "embedding")
    ]
    for name, value in alone.items():
        assert beside[name] == pytest.approx(value, rel=1e-12)


def test_what_stands_beside_the_numbers_names_each_metric():
    source = Source(IMAGES, None, {"name": "test"})
    data = Sources(source, source, None)
    notes = describe(SETTINGS._replace(metrics=("lidar", "idest", "nesum")), data)
    assert notes[0].startswith("LiDAR: n = 80 images of test, q = 2 views")
    assert notes[1].startswith("idest, nesum: ")
    assert len(describe(SETTINGS, data)) == 1


def test_what_the_probes_learn_from_is_the_probe_split(simclr):
    labels = np.arange(len(IMAGES)) % 3
    train = Source(IMAGES, labels, {"name": "train"})
    # The labels of the probe split are all wrong.
    probe = Source(IMAGES[:30], labels[:30] * 0 + 5, {"name": "probe"})
    data = Sources(train, probe, train)
    settings = SETTINGS._replace(metrics=("rankme",), probes=("knn",))
    result = measure(simclr, ("rankme",), data, probes=("knn",))
    assert result.values["knn"] == evaluate_pixels(data, settings)["knn"] == 0
    assert "trained on probe (30), tested on train (96)" in describe(settings, data)[-1]


def test_raw_pixels_that_do_not_fit_are_left_out_with_a_note(monkeypatch, capsys):
    labels = np.arange(len(IMAGES)) % 3
    source = Source(IMAGES, labels, {"name": "train"})
    data, settings = Sources(source, source, source), SETTINGS._replace(probes=("knn",))
    assert evaluate_pixels(data, SETTINGS) == {}
    monkeypatch.setattr("sslx.evaluation.evaluate.PIXELS_BYTES", 4 * IMAGES.nbytes - 1)
    assert evaluate_pixels(data, settings) == {}
    assert "note: no probes of raw pixels, as they take 0 GiB" in capsys.readouterr().out
