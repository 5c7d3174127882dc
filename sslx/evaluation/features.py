"""Features of a model in eval mode, on all devices: of plain images, and of views for LiDAR."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sslx.method import Features, Method
from sslx.training.parallel import split_batch
from sslx.views.views import metric_view, plain_view

Model = dict[str, Any]  # {"params": ..., "extra": ...}


class Extractor:
    """Reads features; compiled once per method and batch shape, then used for every checkpoint."""

    def __init__(self, method: Method, mesh: Mesh, batch_size: int) -> None:
        """`batch_size` is rounded up to a multiple of the devices."""
        self._batch_size = _round_up(batch_size, mesh.size)
        self._mesh = mesh
        self._recipe = method.views
        has_masks = method.views.masks is not None

        def features(model: Model, images: jax.Array, masks: Any) -> Features:
            masks = (masks,) if has_masks else ()
            return method.features(model["params"], model["extra"], images, *masks)

        self._features = jax.jit(features)

    def plain(self, model: Model, images: np.ndarray) -> Features:
        """Return features float32 [n, d] and [n, k] of uint8 images [n, H, W, C], not augmented."""
        crop = self._recipe.crops[0]
        return self._map(model, images, lambda batch, _: (plain_view(batch, crop), None))

    def views(self, model: Model, images: np.ndarray, q: int, seed: int) -> Features:
        """Return features [n, q, d] and [n, q, k] of q views of each uint8 image [n, H, W, C].

        They are the method's own crops in turn, or its masks.
        """
        key = jax.random.key(seed)

        def make(j: int, batch: jax.Array, start: int) -> Any:
            return metric_view(jax.random.fold_in(key, start), batch, self._recipe, j)

        by_view = [self._map(model, images, partial(make, j)) for j in range(q)]
        return jax.tree.map(lambda *layers: np.stack(layers, axis=1), *by_view)

    def _map(
        self, model: Model, images: np.ndarray, make: Callable[[jax.Array, int], Any]
    ) -> Features:
        """Features of all images; `make` gives views and masks of a batch and its first index."""
        size = min(self._batch_size, _round_up(len(images), self._mesh.size))
        parts = []
        for start in range(0, len(images), size):
            batch = np.asarray(images[start : start + size])
            rows = len(batch)
            # Filled up with the last image: one shape, one compilation.
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - rows, axis=0)])
            placed = split_batch(batch.shape, batch.__getitem__, self._mesh)
            features = self._features(model, *make(placed, start))
            parts.append(jax.tree.map(lambda layer: np.asarray(layer)[:rows], features))
        return jax.tree.map(lambda *layers: np.concatenate(layers), *parts)


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
