"""Features on all devices, and the monitor that measures them during training."""

import jax
import numpy as np
import pytest

from metrics import lidar
from sslx.data.source import Source, Sources
from sslx.evaluation.features import Extractor
from sslx.evaluation.monitor import Monitor, collapse_warning, monitor_line
from sslx.views.views import metric_view, plain_view
from tests.methods.harness import IMAGES, recipe, set_up

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(scope="module")
def simclr():
    run = set_up(recipe("simclr"), 4)
    return run, {"params": run.state.params, "extra": run.state.extra}


@pytest.fixture(scope="module")
def extractor(simclr):
    """Compiled once for all 96 images."""
    run, _ = simclr
    return Extractor(run.method, run.mesh, 512)


def test_features_do_not_depend_on_the_batch_or_the_devices(simclr):
    run, model = simclr
    expected = run.method.features(
        model["params"], model["extra"], plain_view(IMAGES[:21], run.method.views.crops[0])
    )
    for batch_size in (8, 512):  # 21 images: padded to batches of 8, and to one of 24
        features = Extractor(run.method, run.mesh, batch_size).plain(model, IMAGES[:21])
        for layer, wanted in zip(features, expected, strict=True):
            assert layer.shape == wanted.shape
            np.testing.assert_allclose(layer, wanted, rtol=1e-3, atol=1e-4)


def test_the_views_are_the_methods_own_and_stay_with_their_image(simclr, extractor):
    run, model = simclr
    before = jax.device_get(model)
    views = extractor.views(model, IMAGES, 3, seed=5)
    assert views.representation.shape == (96, 3, run.method.encoder.width)
    assert views.embedding.shape == (96, 3, 64)
    key = jax.random.fold_in(jax.random.key(5), 0)
    for j in range(3):
        images, _ = metric_view(key, IMAGES, run.method.views, j)
        wanted = run.method.features(model["params"], model["extra"], images).representation
        np.testing.assert_allclose(views.representation[:, j], wanted, rtol=1e-3, atol=1e-4)
    again = extractor.views(model, IMAGES, 3, seed=6)
    assert not np.allclose(views.representation, again.representation)
    assert 1 < lidar(views.representation) <= run.method.encoder.width + 0.1
    jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(model))  # only read


def test_the_views_of_a_masking_method_are_whole_images_with_masks_of_their_own():
    run = set_up(recipe("ijepa"), 2)
    model = {"params": run.state.params, "extra": run.state.extra}
    extractor = Extractor(run.method, run.mesh, 512)
    views = extractor.views(model, IMAGES[:12], 3, seed=5)
    assert views.embedding is None
    key = jax.random.fold_in(jax.random.key(5), 0)
    plain = plain_view(IMAGES[:12], run.method.views.crops[0])
    features = jax.jit(run.method.features)
    for j in range(3):
        images, masks = metric_view(key, IMAGES[:12], run.method.views, j)
        np.testing.assert_array_equal(images, plain)
        wanted = features(model["params"], model["extra"], images, masks).representation
        np.testing.assert_allclose(views.representation[:, j], wanted, rtol=1e-3, atol=1e-4)
    assert views.representation.std(axis=1).mean() > 1e-3
    whole = features(model["params"], model["extra"], plain).representation
    np.testing.assert_allclose(
        extractor.plain(model, IMAGES[:12]).representation, whole, rtol=1e-3, atol=1e-4
    )


def sources(labels: np.ndarray | None, probe_labels: np.ndarray | None = None) -> Sources:
    """The same images in all splits; the probe's with other labels, where they are given."""
    source = Source(IMAGES, labels, {"name": "test"})
    probe = source if probe_labels is None else source._replace(labels=probe_labels)
    return Sources(source, probe, None if labels is None else source)


def monitor_config():
    config = recipe("simclr").monitor
    config.images, config.lidar_images, config.lidar_views = 96, 96, 2
    return config


def test_the_monitor_repeats_itself_and_leaves_out_knn_without_labels(simclr, extractor):
    _, model = simclr
    labels = np.arange(96) % 3
    monitor = Monitor(monitor_config(), extractor, sources(labels), seed=0)
    first, second = monitor(model), monitor(model)
    assert first.pop("monitor_seconds") > 0
    second.pop("monitor_seconds")
    assert first == second
    layers, metrics = ("representation", "embedding"), ("rankme", "lidar", "feature_std", "spread")
    assert set(first) == {
        "width",
        "knn",
        *(f"{metric}/{layer}" for metric in metrics for layer in layers),
    }
    unlabelled = Monitor(monitor_config(), extractor, sources(None), seed=0)(model)
    assert "knn" not in unlabelled
    assert unlabelled["lidar/representation"] == first["lidar/representation"]
    assert "RankMe" in monitor_line(unlabelled)
    wrong = sources(labels, probe_labels=labels * 0 + 5)
    assert Monitor(monitor_config(), extractor, wrong, seed=0)(model)["knn"] == 0


def test_the_monitor_measures_a_fixed_draw_of_images(extractor):
    config = monitor_config()
    config.images, config.lidar_images = 40, 90
    monitors = [Monitor(config, extractor, sources(None), seed=seed) for seed in (0, 0, 1)]
    plain = [monitor._plain.images for monitor in monitors]
    assert [len(images) for images in plain] == [40] * 3
    assert [len(monitor._varied.images) for monitor in monitors] == [90] * 3
    np.testing.assert_array_equal(plain[0], plain[1])
    assert not np.array_equal(plain[0], plain[2])


def test_too_few_views_are_refused_before_anything_runs(extractor):
    config = monitor_config()
    config.lidar_views = 1
    with pytest.raises(ValueError, match=r"1 views is not defined.*config\.monitor\.lidar_views"):
        Monitor(config, extractor, sources(None), seed=0)


def monitor_with(model, extractor, change) -> dict[str, float]:
    """The monitor's values for representations that are changed by `change`."""

    class Changed:
        def plain(self, *arguments):
            return self._changed(extractor.plain(*arguments))

        def views(self, *arguments):
            return self._changed(extractor.views(*arguments))

        def _changed(self, features):
            return features._replace(representation=change(features.representation))

    return Monitor(monitor_config(), Changed(), sources(None), seed=0)(model)


def test_a_collapsed_representation_is_called_so(simclr, extractor):
    """Features that are one constant plus a little noise, against healthy ones."""
    healthy = monitor_with(simclr[1], extractor, lambda features: features)
    assert collapse_warning(healthy, 1) == ""
    collapsed = monitor_with(simclr[1], extractor, lambda features: 100.0 + 1e-3 * features)
    assert "the representation collapses: RankMe 1.0" in collapse_warning(collapsed, 1)


def test_a_metric_that_is_not_defined_does_not_end_the_run(simclr, extractor, capsys):
    values = monitor_with(simclr[1], extractor, lambda features: features * float("nan"))
    assert np.isnan(values["lidar/representation"])
    assert "warning: " in capsys.readouterr().out
    assert collapse_warning(values, 1) == ""


@pytest.mark.parametrize(
    ("rank", "std", "spread", "warns"),
    [
        (1.2, 0.6, 0.5, True),
        (30.0, 0.05, 0.5, True),
        (30.0, 0.6, 0.01, True),
        (2.5, 0.15, 0.03, False),
    ],
)
def test_a_low_rank_a_small_angle_and_a_small_spread_each_warn(rank, std, spread, warns):
    for layer in ("representation", "embedding"):
        values = {f"rankme/{layer}": rank, f"feature_std/{layer}": std, f"spread/{layer}": spread}
        assert bool(collapse_warning(values, 100)) == warns
        assert bool(collapse_warning(values, 99)) == (warns and spread > 0.02)
