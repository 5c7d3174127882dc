"""Is the representation alive? Label-free metrics and kNN on fixed images during training, with the
current weights.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from metrics import feature_std, lidar, rankme
from sslx.data.sources import Sources
from sslx.evaluation.features import Extractor, Model, check_lidar
from sslx.evaluation.knn import knn_accuracy

# Below these a layer is called collapsed. A healthy one has a rank above 2 from its first steps on.
COLLAPSED_RANK = 1.5
COLLAPSED_STD = 0.1  # at unit length: a mean cosine of 0.99 between images
COLLAPSED_SPREAD = 0.02  # as it is: without VICReg's variance term all embeddings shrink to a point
# steps until the averages of batch norm have forgotten their start, and the spread means something
SETTLED = 100


class Monitor:
    """The same images, views and metrics every time, so that the values of a run can be compared."""

    def __init__(self, config: Any, extractor: Extractor, data: Sources, seed: int) -> None:
        """`config` is `config.monitor`; the images are drawn once with `seed`.

        Raises ValueError as `check_lidar`.
        """
        check_lidar(
            config.lidar_images,
            config.lidar_views,
            "config.monitor.lidar_images, config.monitor.lidar_views",
        )
        train, probe, test = data
        generator = np.random.default_rng([seed, 1])
        self._config, self._extractor, self._seed = config, extractor, seed
        chosen = generator.permutation(len(train.images))
        self._plain, self._varied = (
            _take(train.images, chosen[:n]) for n in (config.images, config.lidar_images)
        )
        self._labels = self._test = self._taught = None
        if probe.labels is not None and test and test.labels is not None:
            asked = generator.permutation(len(test.images))[: config.images]
            self._test = _take(test.images, asked), test.labels[asked]
            if probe is not train:
                chosen = generator.permutation(len(probe.images))
                self._taught = _take(probe.images, chosen[: config.images])
            self._labels = probe.labels[chosen[: config.images]]

    def __call__(self, model: Model) -> dict[str, float]:
        """The metrics of `model`, by name, with `monitor_seconds`: what they cost."""
        started = time.perf_counter()
        features = self._extractor.plain(model, self._plain)
        views = self._extractor.views(model, self._varied, self._config.lidar_views, self._seed)
        values: dict[str, float] = {"width": features.representation.shape[1]}
        for layer in ("representation", "embedding"):
            plain, grouped = getattr(features, layer), getattr(views, layer)
            if plain is not None:
                values[f"rankme/{layer}"] = _measure(rankme, plain)
                values[f"lidar/{layer}"] = _measure(lidar, grouped)
                values[f"feature_std/{layer}"] = _measure(feature_std, plain)
                values[f"spread/{layer}"] = float(np.std(plain, axis=0, dtype=np.float64).mean())
        if self._labels is not None and self._test is not None:
            images, labels = self._test
            queries = self._extractor.plain(model, images).representation
            taught = (
                features if self._taught is None else self._extractor.plain(model, self._taught)
            )
            k = min(20, len(self._labels))
            values["knn"] = knn_accuracy(taught.representation, self._labels, queries, labels, k=k)
        return values | {"monitor_seconds": time.perf_counter() - started}

    def look(self, step: int, model: Model, log: Any) -> dict[str, float]:
        """The values of `model`, printed and logged; with a warning when the representation has
        collapsed.
        """
        values = self(model)
        print(f"  at step {step}: {monitor_line(values)}", flush=True)
        log.write(step, values)
        if step and (warning := collapse_warning(values, step)):
            print(warning, flush=True)
        return values


def monitor_line(values: dict[str, float]) -> str:
    """One line such as: RankMe 12.3 of 64, LiDAR 30.1, feature std 0.71, kNN 93.1 % (0.8 s)."""
    rank, lda_rank = values["rankme/representation"], values["lidar/representation"]
    parts = [f"RankMe {rank:.1f} of {values['width']}", f"LiDAR {lda_rank:.1f}"]
    if "lidar/embedding" in values:
        parts.append(
            f"embedding's {values['rankme/embedding']:.1f} and {values['lidar/embedding']:.1f}"
        )
    parts.append(f"feature std {values['feature_std/representation']:.3f}")
    if "knn" in values:
        parts.append(f"kNN {values['knn']:.1%}")
    return f"{', '.join(parts)} ({values['monitor_seconds']:.1f} s)"


def collapse_warning(values: dict[str, float], step: int) -> str:
    """What is wrong when the representation or the embedding has collapsed after `step` steps, else
    "".
    """
    for layer in ("representation", "embedding"):
        if f"rankme/{layer}" not in values:
            continue
        rank, std, spread = (
            values[f"{name}/{layer}"] for name in ("rankme", "feature_std", "spread")
        )
        if (
            rank < COLLAPSED_RANK
            or std < COLLAPSED_STD
            or (spread < COLLAPSED_SPREAD and step >= SETTLED)
        ):
            return (
                f"warning: the {layer} collapses: RankMe {rank:.2f}, feature std {std:.4f} at unit "
                "length and "
                f"{spread:.4f} as it is; almost all images look the same, whatever the loss says. "
                "Lower the learning "
                "rate, lengthen the warm-up, or look for what this method keeps from collapsing."
            )
    return ""


def _measure(metric: Callable[[Any], float], features: Any) -> float:
    """The metric, or NaN with a warning where it is not defined: a monitor must not end the run it
    watches.
    """
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
