"""Is the representation alive? Metrics and kNN on fixed images during training."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from metrics import feature_std, lidar, rankme
from sslx.data.source import Source, Sources
from sslx.evaluation.evaluate import LAYERS, NEIGHBOURS, labelled_splits
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.knn import Labelled, knn_accuracy
from sslx.evaluation.settings import check_lidar

# Below these a layer has collapsed. A healthy one has a rank above 2 from its first steps on.
COLLAPSED_RANK = 1.5
COLLAPSED_STD = 0.1  # at unit length: a mean cosine of 0.99 between images
COLLAPSED_SPREAD = 0.02  # as it is: without VICReg's variance term all embeddings shrink to a point
# Steps until the averages of batch norm have forgotten their start, and the spread means something.
SETTLED = 100


class Monitor:
    """Measures a model on the same images and views every time, so that values can be compared."""

    def __init__(self, config: Any, extractor: Extractor, data: Sources, seed: int) -> None:
        """Draw the images once with `seed`, as many as `config`, which is `config.monitor`, has.

        Raises ValueError as `check_lidar` does.
        """
        fields = "config.monitor.lidar_images, config.monitor.lidar_views"
        check_lidar(config.lidar_images, config.lidar_views, fields)
        self._config, self._extractor, self._seed = config, extractor, seed
        generator = np.random.default_rng([seed, 1])
        chosen = generator.permutation(len(data.train.images))
        self._plain = _take(data.train, chosen[: config.images])
        self._varied = _take(data.train, chosen[: config.lidar_images])
        self._splits: tuple[Source, Source] | None = None
        if splits := labelled_splits(data):
            probe, test = splits
            queries = _take(test, generator.permutation(len(test.images))[: config.images])
            neighbours = self._plain
            if probe is not data.train:
                chosen = generator.permutation(len(probe.images))
                neighbours = _take(probe, chosen[: config.images])
            self._splits = neighbours, queries

    def __call__(self, model: Model) -> dict[str, float]:
        """Return the metrics of `model` by name, and `monitor_seconds`, which they took."""
        started = time.perf_counter()
        plain = self._extractor.plain(model, self._plain.images)
        varied, q = self._varied.images, self._config.lidar_views
        views = self._extractor.views(model, varied, q, self._seed)
        values: dict[str, float] = {"width": plain.representation.shape[1]}
        for layer, rows, grouped in zip(LAYERS, plain, views, strict=True):
            if rows is not None:
                values[f"rankme/{layer}"] = _measure(rankme, rows)
                values[f"lidar/{layer}"] = _measure(lidar, grouped)
                values[f"feature_std/{layer}"] = _measure(feature_std, rows)
                values[f"spread/{layer}"] = float(np.std(rows, axis=0, dtype=np.float64).mean())
        if self._splits:
            neighbours, queries = self._splits
            if neighbours is not self._plain:
                plain = self._extractor.plain(model, neighbours.images)
            train = Labelled(plain.representation, neighbours.labels)
            tested = self._extractor.plain(model, queries.images).representation
            test = Labelled(tested, queries.labels)
            values["knn"] = knn_accuracy(train, test, k=min(NEIGHBOURS, len(neighbours.images)))
        return values | {"monitor_seconds": time.perf_counter() - started}

    def look(self, step: int, model: Model, log: Any) -> dict[str, float]:
        """Return the values of `model`; print and log them, with a warning of a collapse."""
        values = self(model)
        print(f"  at step {step}: {monitor_line(values)}", flush=True)
        log.write(step, values)
        if step and (warning := collapse_warning(values, step)):
            print(warning, flush=True)
        return values


def monitor_line(values: dict[str, float]) -> str:
    """Return a line such as: RankMe 12.3 of 64, LiDAR 30.1, feature std 0.71, kNN 93.1 %."""
    parts = [
        f"RankMe {values['rankme/representation']:.1f} of {values['width']}",
        f"LiDAR {values['lidar/representation']:.1f}",
    ]
    if "lidar/embedding" in values:
        rank, lda_rank = values["rankme/embedding"], values["lidar/embedding"]
        parts.append(f"embedding's {rank:.1f} and {lda_rank:.1f}")
    parts.append(f"feature std {values['feature_std/representation']:.3f}")
    if "knn" in values:
        parts.append(f"kNN {values['knn']:.1%}")
    return f"{', '.join(parts)} ({values['monitor_seconds']:.1f} s)"


def collapse_warning(values: dict[str, float], step: int) -> str:
    """Return what is wrong when a layer has collapsed after `step` steps, else ""."""
    for layer in LAYERS:
        names = ("rankme", "feature_std", "spread")
        rank, std, spread = (values.get(f"{name}/{layer}", math.inf) for name in names)
        shrunk = spread < COLLAPSED_SPREAD and step >= SETTLED
        if rank < COLLAPSED_RANK or std < COLLAPSED_STD or shrunk:
            return (
                f"warning: the {layer} collapses: RankMe {rank:.2f}, feature std {std:.4f} at unit "
                f"length and {spread:.4f} as it is; almost all images look the same. Lower the "
                "learning rate, lengthen the warm-up, or look for what keeps this method from it."
            )
    return ""


def _measure(metric: Callable[[Any], float], features: Any) -> float:
    """NaN, with a warning, where the metric is not defined: a monitor must not end the run."""
    try:
        return metric(features)
    except ValueError as error:
        print(f"warning: {error}", flush=True)
        return math.nan


def _take(source: Source, chosen: np.ndarray) -> Source:
    order = np.argsort(chosen)  # a mapped file is read from front to back
    images = np.asarray(source.images[chosen[order]])[np.argsort(order)]
    labels = None if source.labels is None else np.asarray(source.labels)[chosen]
    return source._replace(images=images, labels=labels)
