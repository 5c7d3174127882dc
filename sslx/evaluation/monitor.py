"""Is the representation alive? Metrics and kNN on fixed images during training."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from metrics import feature_std, lidar, rankme
from sslx.data.source import Sources
from sslx.evaluation.evaluate import LAYERS, NEIGHBOURS, labelled_splits
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.knn import knn_accuracy
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
        check_lidar(
            config.lidar_images,
            config.lidar_views,
            "config.monitor.lidar_images, config.monitor.lidar_views",
        )
        self._config, self._extractor, self._seed = config, extractor, seed
        generator = np.random.default_rng([seed, 1])
        chosen = generator.permutation(len(data.train.images))
        self._plain = _take(data.train.images, chosen[: config.images])
        self._varied = _take(data.train.images, chosen[: config.lidar_images])
        self._splits = labelled_splits(data)
        if self._splits:
            probe, test = self._splits
            queries = generator.permutation(len(test.images))[: config.images]
            self._queries = _take(test.images, queries)
            self._neighbours = None  # the images of `_plain`
            if probe is not data.train:
                chosen = generator.permutation(len(probe.images))
                self._neighbours = _take(probe.images, chosen[: config.images])
            self._labels = np.asarray(probe.labels)[chosen[: config.images]]
            self._query_labels = np.asarray(test.labels)[queries]

    def __call__(self, model: Model) -> dict[str, float]:
        """Return the metrics of `model` by name, and `monitor_seconds`, which they took."""
        started = time.perf_counter()
        plain = self._extractor.plain(model, self._plain)
        views = self._extractor.views(model, self._varied, self._config.lidar_views, self._seed)
        values: dict[str, float] = {"width": plain.representation.shape[1]}
        for layer in LAYERS:
            rows, grouped = getattr(plain, layer), getattr(views, layer)
            if rows is not None:
                values[f"rankme/{layer}"] = _measure(rankme, rows)
                values[f"lidar/{layer}"] = _measure(lidar, grouped)
                values[f"feature_std/{layer}"] = _measure(feature_std, rows)
                values[f"spread/{layer}"] = float(np.std(rows, axis=0, dtype=np.float64).mean())
        if self._splits:
            values["knn"] = self._knn(model, plain.representation)
        return values | {"monitor_seconds": time.perf_counter() - started}

    def _knn(self, model: Model, representation: Any) -> float:
        queries = self._extractor.plain(model, self._queries).representation
        if self._neighbours is not None:
            representation = self._extractor.plain(model, self._neighbours).representation
        k = min(NEIGHBOURS, len(self._labels))
        return knn_accuracy(representation, self._labels, queries, self._query_labels, k=k)

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
        if f"rankme/{layer}" not in values:
            continue
        rank, std = values[f"rankme/{layer}"], values[f"feature_std/{layer}"]
        spread = values[f"spread/{layer}"]
        shrunk = spread < COLLAPSED_SPREAD and step >= SETTLED
        if rank < COLLAPSED_RANK or std < COLLAPSED_STD or shrunk:
            return (
                f"warning: the {layer} collapses: RankMe {rank:.2f}, feature std {std:.4f} at unit "
                f"length and {spread:.4f} as it is; almost all images look the same, whatever the "
                "loss says. Lower the learning rate, lengthen the warm-up, or look for what this "
                "method keeps from collapsing."
            )
    return ""


def _measure(metric: Callable[[Any], float], features: Any) -> float:
    """NaN, with a warning, where the metric is not defined: a monitor must not end the run."""
    try:
        return metric(features)
    except ValueError as error:
        print(f"warning: {error}", flush=True)
        return float("nan")


def _take(images: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    order = np.argsort(chosen)  # a mapped file is read from front to back
    taken = np.empty((len(chosen), *images.shape[1:]), images.dtype)
    taken[order] = images[chosen[order]]
    return taken
