"""Batches for the training step: from device memory where the data set fits, else from the host.

There, images are taken from a mapped file, or decoded where they are not kept decoded, in advance;
each process makes its own rows.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sslx.data.order import order
from sslx.data.stream import Streamed, in_processes
from sslx.training.parallel import own_rows, replicate, split_batch

AHEAD = 2  # batches in preparation while a step runs


class Input:
    """Serves step `k` the images of `order(seed, k)`; its only state is what it has prepared."""

    def __init__(
        self,
        images: Any,
        seed: int,
        batch_size: int,
        mesh: Mesh,
        *,
        resident_bytes: float,
        workers: int = 0,
    ) -> None:
        """Take `images` uint8 [N, H, W, C], or `Streamed`, which `workers` processes may decode."""
        streamed = isinstance(images, Streamed)
        self.resident = not streamed and images.nbytes <= resident_bytes
        self._images: Any = replicate(np.asarray(images), mesh) if self.resident else images
        self._order: Callable[[int], np.ndarray] = partial(
            order, seed, num_images=len(images), batch_size=batch_size
        )
        self._mesh = mesh
        self._workers = workers if streamed else 0
        self._stream: Any = None
        self._next = -1  # the step that the stream comes to next
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[tuple[jax.Array, jax.Array]]] = {}

    def batch(self, step: int) -> tuple[jax.Array, jax.Array, float]:
        """Return images and index as the step takes them, and the seconds waited for them."""
        started = time.perf_counter()
        if self.resident:
            index = self._split(self._order(step))
            return self._images, index, time.perf_counter() - started
        for coming in range(step, step + 1 + AHEAD):
            if coming not in self._ahead:
                self._ahead[coming] = self._pool.submit(self._gather, coming)
        images, index = self._ahead.pop(step).result()
        return images, index, time.perf_counter() - started

    def close(self) -> None:
        """Drop what was prepared in advance, and end the worker processes."""
        self._pool.shutdown(cancel_futures=True)
        if self._stream is not None:
            self._stream.close()

    def _gather(self, step: int) -> tuple[jax.Array, jax.Array]:
        index = self._order(step)
        own = own_rows(len(index), self._mesh)
        images = self._decode(step, own) if self._workers else self._images[index[own]]
        images = np.asarray(images)

        def part(rows: slice) -> np.ndarray:
            return images[(rows.start or 0) - own.start : (rows.stop or len(index)) - own.start]

        batch = split_batch((len(index), *images.shape[1:]), part, self._mesh)
        return batch, self._split(index)

    def _decode(self, step: int, own: slice) -> np.ndarray:
        """Rows `own` of a batch, by worker processes, which go on with the steps that follow."""
        if self._stream is None or step != self._next:
            if self._stream is not None:
                self._stream.close()
            self._stream = in_processes(self._images, self._order, own, step, self._workers)
        self._next = step + 1
        return next(self._stream)

    def _split(self, index: np.ndarray) -> jax.Array:
        return split_batch(index.shape, lambda part: index[part], self._mesh)
