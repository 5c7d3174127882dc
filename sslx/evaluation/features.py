"""Features of a model: of plain images, and of the q views per image that LiDAR needs.

Eval mode, on all devices.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sslx.method import Features, Method
from sslx.training.parallel import split_batch
from sslx.views.views import metric_view, plain_view

Model = dict[str, Any]  # {"params": ..., "extra": ...}


class Extractor:
    """Compiled once per method and batch shape, then used for every checkpoint; batch statistics
    are only read.
    """

    def __init__(self, method: Method, mesh: Mesh, batch_size: int) -> None:
        """`batch_size` is rounded up to a multiple of the devices."""
        self._batch_size = -(-batch_size // mesh.size) * mesh.size
        self._mesh = mesh
        self._method_views = method.views

        def features(model: Model, images: jax.Array, masks: Any) -> Features:
            given = () if method.views.masks is None else (masks,)
            return method.features(model["params"], model["extra"], images, *given)

        self._features = jax.jit(features)

    def plain(self, model: Model, images: np.ndarray) -> Features:
        """Features float32 [n, d] and [n, k] of uint8 images [n, H, W, C] without augmentation."""
        crop = self._method_views.crops[0]
        return self._map(model, lambda batch, _: (plain_view(batch, crop), None), images)

    def views(self, model: Model, images: np.ndarray, q: int, seed: int) -> Features:
        """Features [n, q, d] and [n, q, k] of q views of each image: the method's own crops in
        turn, or its masks.
        """
        key = jax.random.key(seed)

        def view(j: int) -> Features:
            def make(batch: jax.Array, start: int) -> Any:
                return metric_view(jax.random.fold_in(key, start), batch, self._method_views, j)

            return self._map(model, make, images)

        return jax.tree.map(lambda *layers: np.stack(layers, axis=1), *(view(j) for j in range(q)))

    def _map(
        self, model: Model, make: Callable[[jax.Array, int], Any], images: np.ndarray
    ) -> Features:
        size = min(self._batch_size, -(-len(images) // self._mesh.size) * self._mesh.size)
        parts = []
        for start in range(0, len(images), size):
            batch = np.asarray(images[start : start + size])
            rows = len(batch)
            batch = np.concatenate(
                [batch, np.repeat(batch[-1:], size - rows, axis=0)]
            )  # one shape, one compilation
            features = self._features(
                model, *make(split_batch(batch.shape, batch.__getitem__, self._mesh), start)
            )
            parts.append(jax.tree.map(lambda layer: np.asarray(layer)[:rows], features))  # noqa: B023
        return jax.tree.map(lambda *layers: np.concatenate(layers), *parts)


def check_lidar(images: int, views: int, fields: str) -> None:
    """Raise ValueError when LiDAR is not defined for so many images and views; `fields` names where
    they were set.
    """
    if min(images, views) < 2:
        raise ValueError(
            f"LiDAR of {images} images with {views} views is not defined: it compares images, and "
            "views of one image. "
            f"Both must be at least 2, and 1000 images with 10 views or more are better: {fields}"
        )
