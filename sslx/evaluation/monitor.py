"""Is the representation alive? Label-free metrics and kNN on fixed images during training, with the current weights."""

import time
from typing import Any

import numpy as np

from metrics import feature_std, lidar, rankme
from sslx.data.sources import Source
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.knn import knn_accuracy

# Below these a representation is called collapsed; a healthy one has a rank above 2 from its first steps on.
COLLAPSED_RANK = 1.5
COLLAPSED_STD = 0.05


class Monitor:
    """The same images, views and metrics every time, so that the values of a run can be compared."""

    def __init__(self, config: Any, extractor: Extractor, train: Source, test: Source | None, seed: int) -> None:
        """`config` is `config.monitor`; the images are drawn once with `seed`."""
        generator = np.random.default_rng([seed, 1])
        self._config, self._extractor, self._seed = config, extractor, seed
        self._train = _draw(generator, train, config.images)
        self._test = _draw(generator, test, config.images) if test and test.labels is not None else None

    def __call__(self, model: Model) -> dict[str, float]:
        """The metrics of `model`, by name, with `monitor_seconds`: what they cost."""
        started = time.perf_counter()
        images, labels = self._train
        features = self._extractor.plain(model, images)
        views = self._extractor.views(model, images[: self._config.lidar_images], self._config.lidar_views, self._seed)
        values: dict[str, float] = {"width": features.representation.shape[1]}
        for layer in ("representation", "embedding"):
            plain, grouped = getattr(features, layer), getattr(views, layer)
            if plain is not None:
                values[f"rankme/{layer}"] = rankme(plain)
                values[f"lidar/{layer}"] = lidar(grouped)
                values[f"feature_std/{layer}"] = feature_std(plain)
        if self._test:
            queries = self._extractor.plain(model, self._test[0]).representation
            values["knn"] = knn_accuracy(
                features.representation, labels, queries, self._test[1], k=min(20, len(labels))
            )
        return values | {"monitor_seconds": time.perf_counter() - started}


def monitor_line(values: dict[str, float]) -> str:
    """One line such as: RankMe 12.3 of 64, LiDAR 30.1, feature std 0.71, kNN 93.1 % (0.8 s)."""
    parts = [f"RankMe {values['rankme/representation']:.1f} of {values['width']}", f"LiDAR {values['lidar/representation']:.1f}"]
    if "lidar/embedding" in values:
        parts.append(f"embedding's {values['rankme/embedding']:.1f} and {values['lidar/embedding']:.1f}")
    parts.append(f"feature std {values['feature_std/representation']:.3f}")
    if "knn" in values:
        parts.append(f"kNN {values['knn']:.1%}")
    return f"{', '.join(parts)} ({values['monitor_seconds']:.1f} s)"


def collapse_warning(values: dict[str, float]) -> str:
    """What is wrong when the representation or the embedding has collapsed, else ""."""
    for layer in ("representation", "embedding"):
        rank, std = values.get(f"rankme/{layer}"), values.get(f"feature_std/{layer}")
        if rank is not None and std is not None and (rank < COLLAPSED_RANK or std < COLLAPSED_STD):
            return (
                f"warning: the {layer} collapses: RankMe {rank:.2f}, feature std {std:.4f}; almost all images look the same "
                "to the encoder. The loss alone does not show it: lower the learning rate or lengthen the warm-up."
            )
    return ""


def _draw(generator: np.random.Generator, source: Source, count: int) -> tuple[np.ndarray, np.ndarray | None]:
    chosen = np.sort(generator.choice(len(source.images), min(count, len(source.images)), replace=False))
    return np.asarray(source.images[chosen]), None if source.labels is None else source.labels[chosen]
