"""Features of a model: of plain images, and of the q views per image that LiDAR needs. Eval mode, on all devices."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sslx.data.augment import augment
from sslx.data.views import Crop, plain_view
from sslx.training.method import Features, Method
from sslx.training.parallel import split_batch

Model = dict[str, Any]  # {"params": ..., "extra": ...}


class Extractor:
    """Compiled once per method and batch shape, then used for every checkpoint; batch statistics are only read."""

    def __init__(self, method: Method, mesh: Mesh, batch_size: int) -> None:
        """`batch_size` is rounded up to a multiple of the devices."""
        self._batch_size = -(-batch_size // mesh.size) * mesh.size
        self._mesh = mesh
        self._crops = method.views.crops

        def plain(model: Model, images: jax.Array) -> Features:
            return method.features(model["params"], model["extra"], plain_view(images, self._crops[0]))

        def view(model: Model, images: jax.Array, key: jax.Array, crop: Crop) -> Features:
            return method.features(model["params"], model["extra"], augment(key, images, crop))

        self._plain = jax.jit(plain)
        self._view = jax.jit(view, static_argnames="crop")

    def plain(self, model: Model, images: np.ndarray) -> Features:
        """Features float32 [n, d] and [n, k] of uint8 images [n, H, W, C] without augmentation."""
        return self._map(lambda batch, start: self._plain(model, batch), images)

    def views(self, model: Model, images: np.ndarray, q: int, seed: int) -> Features:
        """Features [n, q, d] and [n, q, k] of q views of each image, made by the method's own recipes in turn."""
        found = []
        for j in range(q):
            crop = self._crops[j % len(self._crops)]
            key = jax.random.fold_in(jax.random.key(seed), j)
            found.append(
                self._map(lambda batch, start: self._view(model, batch, jax.random.fold_in(key, start), crop), images)
            )
        embedding = None if found[0].embedding is None else np.stack([each.embedding for each in found], axis=1)
        return Features(np.stack([each.representation for each in found], axis=1), embedding)

    def _map(self, function: Callable[[jax.Array, int], Features], images: np.ndarray) -> Features:
        size = min(self._batch_size, -(-len(images) // self._mesh.size) * self._mesh.size)
        parts = []
        for start in range(0, len(images), size):
            batch = np.asarray(images[start : start + size])
            rows = len(batch)
            batch = np.concatenate([batch, np.repeat(batch[-1:], size - rows, axis=0)])  # one shape, one compilation
            result = function(split_batch(batch.shape, lambda part: batch[part], self._mesh), start)
            parts.append(jax.tree.map(lambda leaf: np.asarray(leaf)[:rows], result))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
