"""One checkpoint's result: label-free metrics of each layer, and probes of the representation."""

import time
from typing import Any

import numpy as np
from jax.typing import ArrayLike

from metrics import METRICS, label_free, singular_values
from metrics.label_free import entries
from sslx.data.source import Source, Sources
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.knn import knn_accuracy
from sslx.evaluation.linear_probe import PROTOCOLS, linear_probe
from sslx.evaluation.results import Result
from sslx.evaluation.settings import Settings
from sslx.method import Features

LAYERS = ("representation", "embedding")
NEIGHBOURS = 20  # k of kNN, or all training rows where there are fewer
PIXELS_BYTES = 8 * 2**30  # of raw pixels in float32; the probes need them all at once


class Stopwatch:
    """Adds up the seconds that each part of a job takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, part: str) -> None:
        """Count the seconds since the last call as those of `part`."""
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


def evaluate(
    step: int, model: Model, extractor: Extractor, data: Sources, settings: Settings
) -> Result:
    """Measure `model`; probes are left out where there are no labels or no test split."""
    watch = Stopwatch()
    plain = extractor.plain(model, draw(data.train, settings.images, settings.seed))
    watch.lap("images")
    views = None
    if settings.needs_views():
        images = draw(data.train, settings.lidar_images, settings.seed)
        views = extractor.views(model, images, settings.lidar_views, settings.seed)
    watch.lap("views")
    by_layer = {layer: _label_free(plain, views, layer, settings, watch) for layer in LAYERS}
    values: dict[str, float] = {}
    for metric in settings.metrics:
        for name in entries(metric):
            values |= {f"{name}/{layer}": of[name] for layer, of in by_layer.items() if of}
    details: dict[str, Any] = {}
    splits = labelled_splits(data)
    if splits and settings.probes:
        train, test = (extractor.plain(model, split.images).representation for split in splits)
        accuracies, details = _probe(train, test, splits, settings)
        values |= accuracies
    watch.lap("probes")
    return Result(step, values, singular_values(plain.representation), details, watch.seconds)


def evaluate_pixels(data: Sources, settings: Settings) -> dict[str, float]:
    """Return the probes' accuracies on raw pixels in [0, 1], which an encoder has to exceed.

    They are left out, with a note, where the pixels take too much memory.
    """
    splits = labelled_splits(data)
    if not splits or not settings.probes:
        return {}
    size = 4 * data.probe.images.nbytes
    if size > PIXELS_BYTES:
        print(f"note: no probes of raw pixels, as they take {size / 2**30:.0f} GiB as features")
        return {}
    train, test = (_pixels(split) for split in splits)
    return _probe(train, test, splits, settings)[0]


def labelled_splits(data: Sources) -> tuple[Source, Source] | None:
    """Return what probes are trained and tested on; None without labels or without a test split."""
    probe, test = data.probe, data.test
    has_labels = probe.labels is not None and test is not None and test.labels is not None
    return (probe, test) if has_labels and test else None


def draw(source: Source, count: int, seed: int) -> np.ndarray:
    """Return at most `count` images of the source, always the same ones for one seed."""
    chosen = np.random.default_rng([seed, 1]).permutation(len(source.images))[:count]
    return np.asarray(source.images[np.sort(chosen)])


def describe(settings: Settings, data: Sources) -> list[str]:
    """Return what to print beside the numbers: n, q, constants, protocol and splits of each."""
    total, name = len(data.train.images), data.train.facts["name"]
    plain = f"n = {min(settings.images, total)} images of {name}"
    varied = f"n = {min(settings.lidar_images, total)} images of {name}"
    lines = {
        "lidar": f"LiDAR: {varied}, q = {settings.lidar_views} views by the method's own recipe, "
        f"delta {settings.lidar_delta:g}, eps 1e-7, denominators n-1 and n(q-1)",
        "debiased_lidar": "debiased LiDAR: the same views and constants; ours, not the paper's",
        "rankme": f"RankMe: {plain} without augmentation, uncentred, eps 1e-7",
        "feature_std": f"std: mean standard deviation of unit-length features x sqrt(d); {plain}",
    }
    notes = [line for metric, line in lines.items() if metric in settings.metrics]
    if others := [metric for metric in settings.metrics if metric not in lines]:
        notes.append(
            f"{', '.join(others)}: the same images or views, their defaults in metrics/ and at "
            "most 4,096 rows for pairs"
        )
    labelled = labelled_splits(data)
    if not labelled:
        return notes
    train, test = (f"{split.facts['name']} ({len(split.images)})" for split in labelled)
    splits = f"trained on {train}, tested on {test}, no augmentation"
    if "knn" in settings.probes:
        k = min(NEIGHBOURS, len(data.probe.images))
        notes.append(f"kNN: representation, k = {k}, cosine, weights exp(s / 0.07); {splits}")
    if "linear" in settings.probes:
        protocol = f"protocol {settings.protocol}: {PROTOCOLS[settings.protocol].description}"
        notes.append(f"linear: representation, {protocol}; {splits}")
    return notes


def _label_free(
    plain: Features, views: Features | None, layer: str, settings: Settings, watch: Stopwatch
) -> dict[str, float]:
    """The metrics of one layer, NaN with a warning where undefined; empty without that layer."""
    values: dict[str, float] = {}
    for features, needs, part in (
        (plain, "rows", "metrics of images"),
        (views, "views", "metrics of views"),
    ):
        names = [name for name in settings.metrics if METRICS[name].needs == needs]
        array = getattr(features, layer, None)
        if not names or array is None:
            continue
        values |= {entry: float("nan") for name in names for entry in entries(name)}
        delta = {"delta": settings.lidar_delta}
        options = {name: delta for name in names if METRICS[name].reads == "lda"}
        values |= label_free(array, names, options=options, seed=settings.seed, skip_undefined=True)
        watch.lap(part)
    return values


def _probe(
    train: ArrayLike, test: ArrayLike, splits: tuple[Source, Source], settings: Settings
) -> tuple[dict[str, float], dict[str, Any]]:
    """Accuracies of the probes on features of both splits, and what the linear one selected."""
    train_labels, test_labels = (np.asarray(split.labels) for split in splits)
    values: dict[str, float] = {}
    details: dict[str, Any] = {}
    if "knn" in settings.probes:
        k = min(NEIGHBOURS, len(train_labels))
        values["knn"] = knn_accuracy(train, train_labels, test, test_labels, k=k)
    if "linear" in settings.probes:
        result = linear_probe(
            train, train_labels, test, test_labels, protocol=settings.protocol, seed=settings.seed
        )
        values["linear"] = result.accuracy
        details["linear"] = {
            "selected": result.selected,
            "validation": result.validation_accuracy,
            "nominal": result.nominal_accuracy,
        }
    return values, details


def _pixels(source: Source) -> np.ndarray:
    return np.asarray(source.images[:], np.float32).reshape(len(source.images), -1) / 255
