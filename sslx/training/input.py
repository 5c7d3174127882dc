"""Batches for the training step: from device memory where the data set fits, else gathered on the host in advance."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sslx.data.order import order
from sslx.training.parallel import replicate, split_batch

AHEAD = 2  # batches in preparation while a step runs


class Input:
    """Serves step `k` the images of `order(seed, k)`; it has no state but what it prepares in advance."""

    def __init__(self, images: np.ndarray, seed: int, batch_size: int, mesh: Mesh, *, resident_bytes: float) -> None:
        """`images` is uint8 [N, H, W, C], possibly mapped from a file."""
        self.resident = images.nbytes <= resident_bytes
        self._images: Any = replicate(np.asarray(images), mesh) if self.resident else images
        self._order: Callable[[int], np.ndarray] = lambda step: order(
            seed, step, num_images=len(images), batch_size=batch_size
        )
        self._mesh = mesh
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[tuple[jax.Array, jax.Array]]] = {}

    def batch(self, step: int) -> tuple[jax.Array, jax.Array, float]:
        """Images and index of step `step` as `make_step` takes them, and the seconds waited for them."""
        started = time.perf_counter()
        if self.resident:
            return self._images, self._split(self._order(step)), time.perf_counter() - started
        for coming in range(step, step + 1 + AHEAD):
            if coming not in self._ahead:
                self._ahead[coming] = self._pool.submit(self._gather, coming)
        images, index = self._ahead.pop(step).result()
        return images, index, time.perf_counter() - started

    def close(self) -> None:
        """Drop what was prepared in advance."""
        self._pool.shutdown(cancel_futures=True)

    def _gather(self, step: int) -> tuple[jax.Array, jax.Array]:
        index = self._order(step)
        shape = (len(index), *self._images.shape[1:])
        images = split_batch(shape, lambda part: np.asarray(self._images[index[part]]), self._mesh)
        return images, self._split(index)

    def _split(self, index: np.ndarray) -> jax.Array:
        return split_batch(index.shape, lambda part: index[part], self._mesh)
