"""One checkpoint's verdict: every label-free metric by name, on each layer, and what is said beside
the numbers.
"""

import jax
import numpy as np
import pytest

from metrics.label_free import entries
from sslx.data.sources import Source, Sources
from sslx.evaluation.evaluate import LABEL_FREE, Settings, describe, judge, judge_pixels
from sslx.evaluation.features import Extractor
from sslx.evaluation.report import table
from tests.methods.harness import IMAGES, recipe, set_up

SETTINGS = Settings(("lidar",), (), "lbfgs", 90, 80, 2, 0)


@pytest.fixture(scope="module")
def simclr():
    run = set_up(recipe("simclr"), 4)
    return run, {"params": run.state.params, "extra": run.state.extra}


def verdict(simclr, names: tuple[str, ...]):
    run, model = simclr
    source = Source(IMAGES, None, {"name": "test"})
    data = Sources(source, source, None)
    with jax.set_mesh(run.mesh):
        return judge(
            7, model, Extractor(run.method, run.mesh, 64), data, SETTINGS._replace(metrics=names)
        )


@pytest.mark.filterwarnings("ignore:lidar", "ignore:alpha_req")
def test_every_metric_can_be_asked_for_and_one_that_is_not_defined_reads_nan(simclr):
    with pytest.warns(UserWarning, match="left out: idest fits a line to 3 or more sizes"):
        found = verdict(simclr, LABEL_FREE)
    names = [name for metric in LABEL_FREE for name in entries(metric)]
    assert list(found.values) == [
        f"{name}/{layer}" for name in names for layer in ("representation", "embedding")
    ]
    undefined = {name.partition("/")[0] for name, value in found.values.items() if np.isnan(value)}
    assert undefined == {"idest"}
    assert found.values["lidar/embedding"].settings["q"] == 2
    assert found.values["rankme/embedding"].settings["n"] == 90
    text = table([found], {})
    assert "aug. RankMe embedding" in text
    assert " nan |" in text


def test_values_do_not_depend_on_what_else_is_asked_for(simclr):
    alone = verdict(simclr, ("rankme",)).values
    beside = verdict(simclr, ("nesum", "rankme", "feature_std")).values
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
    said = describe(SETTINGS._replace(metrics=("lidar", "idest", "nesum")), data)
    assert said[0].startswith("LiDAR: n = 80 images of test, q = 2 views")
    assert said[1].startswith("idest, nesum: ")
    assert len(describe(SETTINGS, data)) == 1


def test_metrics_of_views_are_checked_for_their_number():
    SETTINGS._replace(metrics=("rankme",), lidar_views=1).check()
    with pytest.raises(ValueError, match="1 views"):
        SETTINGS._replace(metrics=("alignment",), lidar_views=1).check()


def test_what_the_probes_learn_from_is_the_probe_split(simclr):
    run, model = simclr
    labels = np.arange(len(IMAGES)) % 3
    train = Source(IMAGES, labels, {"name": "train"})
    data = Sources(
        train,
        train._replace(images=IMAGES[:30], labels=labels[:30] * 0 + 5, facts={"name": "probe"}),
        train,
    )
    settings = SETTINGS._replace(metrics=("rankme",), probes=("knn",))
    with jax.set_mesh(run.mesh):
        found = judge(7, model, Extractor(run.method, run.mesh, 64), data, settings)
    assert found.values["knn"] == judge_pixels(data, settings)["knn"] == 0
    assert "probe (" in describe(settings, data)[-1]
