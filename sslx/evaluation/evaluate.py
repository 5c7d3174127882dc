"""One checkpoint's result: label-free metrics of each layer, and probes of the representation."""

import math
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from metrics import METRICS, label_free, singular_values
from metrics.label_free import entries
from sslx.data.source import Source, Sources
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.knn import Labelled, knn_accuracy
from sslx.evaluation.linear_probe import PROTOCOLS, linear_probe
from sslx.evaluation.results import Result
from sslx.evaluation.settings import Settings
from sslx.method import Features

LAYERS = Features._fields
NEIGHBOURS = 20  # k of kNN, or all training rows where there are fewer
PIXELS_BYTES = 8 * 2**30  # of raw pixels in float32; the probes need them all at once


def evaluate(
    step: int, model: Model, extractor: Extractor, data: Sources, settings: Settings
) -> Result:
    """Measure `model`; probes are left out where there are no labels or no test split."""
    times = {"start": time.perf_counter()}
    images = draw(data.train, settings.images, settings.seed)
    features = {"rows": extractor.plain(model, images)}
    times["images"] = time.perf_counter()
    if settings.needs_views():
        images = draw(data.train, settings.lidar_images, settings.seed)
        features["views"] = extractor.views(model, images, settings.lidar_views, settings.seed)
    times["views"] = time.perf_counter()
    measured: dict[str, float] = {}
    for needs, part in (("rows", "metrics of images"), ("views", "metrics of views")):
        names = [name for name in settings.metrics if METRICS[name].needs == needs]
        if names:
            measured |= _label_free(features[needs], names, settings)
            times[part] = time.perf_counter()
    names = [entry for metric in settings.metrics for entry in entries(metric)]
    columns = [f"{name}/{layer}" for name in names for layer in LAYERS]
    values = {column: measured[column] for column in columns if column in measured}

    def representation(images: Any) -> np.ndarray:
        return np.asarray(extractor.plain(model, images).representation)

    accuracies, details = _probe(data, settings, representation)
    times["probes"] = time.perf_counter()
    seconds = {part: end - start for (_, start), (part, end) in pairwise(times.items())}
    spectrum = singular_values(features["rows"].representation)
    return Result(step, values | accuracies, spectrum, details, seconds)


def evaluate_pixels(data: Sources, settings: Settings) -> dict[str, float]:
    """Return the probes' accuracies on raw pixels in [0, 1], which an encoder has to exceed.

    They are left out, with a note, where the pixels take too much memory.
    """
    if not labelled_splits(data) or not settings.probes:
        return {}
    size = 4 * data.probe.images.nbytes
    if size > PIXELS_BYTES:
        print(f"note: no probes of raw pixels, as they take {size / 2**30:.0f} GiB as features")
        return {}

    def pixels(images: Any) -> np.ndarray:
        return np.asarray(images[:], np.float32).reshape(len(images), -1) / 255

    return _probe(data, settings, pixels)[0]


def labelled_splits(data: Sources) -> tuple[Source, Source] | None:
    """Return what probes are trained and tested on; None without labels or without a test split."""
    probe, test = data.probe, data.test
    if probe.labels is None or test is None or test.labels is None:
        return None
    return probe, test


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


def _label_free(features: Features, names: list[str], settings: Settings) -> dict[str, float]:
    """The metrics of each layer, NaN with a warning where undefined."""
    delta = {"delta": settings.lidar_delta}
    options = {name: delta for name in names if METRICS[name].reads == "lda"}
    values: dict[str, float] = {}
    for layer, array in zip(LAYERS, features, strict=True):
        if array is None:
            continue
        found = label_free(array, names, options=options, seed=settings.seed, skip_undefined=True)
        for entry in (entry for name in names for entry in entries(name)):
            values[f"{entry}/{layer}"] = found.get(entry, math.nan)
    return values


def _probe(
    data: Sources, settings: Settings, features_of: Callable[[Any], np.ndarray]
) -> tuple[dict[str, float], dict[str, Any]]:
    """Accuracies of the probes on features of images, and what the linear one selected."""
    values: dict[str, float] = {}
    details: dict[str, Any] = {}
    splits = labelled_splits(data)
    if not splits or not settings.probes:
        return values, details
    train, test = (Labelled(features_of(split.images), split.labels) for split in splits)
    if "knn" in settings.probes:
        values["knn"] = knn_accuracy(train, test, k=min(NEIGHBOURS, len(train.features)))
    if "linear" in settings.probes:
        result = linear_probe(train, test, protocol=settings.protocol, seed=settings.seed)
        values["linear"] = result.accuracy
        details["linear"] = {
            "selected": result.selected,
            "validation": result.validation_accuracy,
            "nominal": result.nominal_accuracy,
        }
    return values, details
