"""Images that are decoded as they are used, for data sets too large to keep decoded.

By threads of this process, as both decoders work outside the interpreter's lock; or, where so many
cores are to be fed that the lock is in the way, by processes, through Grain.
"""

import copy
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sslx.data.decode import decode
from sslx.data.source import Split

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def decoded(split: Split, numbers: Sequence[int], size: int) -> list[tuple[np.ndarray | str, int]]:
    """Return images uint8 [H, W, C] of the split, or why they cannot be read; and their labels.

    With size > 0 they are `square` to that many pixels.
    """

    def image(content: bytes | np.ndarray | str) -> np.ndarray | str:
        try:
            return content if isinstance(content, str) else decode(content, size, split.channels)
        except ValueError as error:
            return str(error)

    return [(image(content), label) for content, label in split.read(numbers)]


def in_threads(
    pool: ThreadPoolExecutor, split: Split, numbers: Sequence[int], size: int
) -> Iterator[tuple[np.ndarray | str, int]]:
    """Yield what `decoded` returns, from the threads of the pool, which begin at once."""
    # A few images at a time, as TFDS reads single ones slowly.
    few = min(max(len(numbers) // (4 * CORES), 1), 32)
    parts = [numbers[start : start + few] for start in range(0, len(numbers), few)]
    return itertools.chain.from_iterable(pool.map(lambda part: decoded(split, part, size), parts))


class Streamed:
    """Images uint8 [n, H, W, C] that are read and decoded when they are indexed, like an array."""

    dtype = np.dtype(np.uint8)

    def __init__(self, split: Split, kept: np.ndarray, shape: tuple[int, ...], size: int) -> None:
        """Take the images `kept`, int [n], of the split; decoded with `size` they have `shape`."""
        self.shape = (len(kept), *shape)
        self.ndim = len(self.shape)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64))
        self._split, self._kept, self._size = split, kept, size
        self._threads = CORES
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return one image, or those of a slice or an integer array.

        Raises ValueError for an image that has changed or gone since it was checked.
        """
        numbers = self._kept[rows]
        if numbers.ndim == 0:
            return self[[rows]][0]
        self._pool = self._pool or ThreadPoolExecutor(self._threads)
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)
        stream = in_threads(self._pool, self._split, numbers.tolist(), self._size)
        for place, (image, _) in enumerate(stream):
            reason = image if isinstance(image, str) else ""
            if not isinstance(image, str) and image.shape != self.shape[1:]:
                reason = f"its shape is {image.shape}, not {self.shape[1:]}"
            if reason:
                raise ValueError(
                    f"{self._split.where(int(numbers[place]))} could be read when the data was "
                    f"checked, and now it cannot ({reason}). Put it back; if the data has changed "
                    "on purpose, start a new run."
                )
            images[place] = image
        return images

    def shared(self, workers: int) -> "Streamed":
        """Return the same images for each of so many processes, with its share of the threads."""
        images = copy.copy(self)
        images._threads, images._pool = max(CORES // workers, 1), None
        return images


class Batches:
    """All batches of a run as Grain's random-access source: batch k is that of step k."""

    def __init__(self, images: Streamed, order: Callable[[int], np.ndarray], part: slice) -> None:
        """Take the indices [B] of a step from `order`; this process needs `part` of them."""
        self.images, self._order, self._part = images, order, part

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, step: int) -> np.ndarray:
        return self.images[self._order(step)[self._part]]


def in_processes(batches: Batches, start: int, workers: int) -> Any:
    """Return an endless iterator over the batches from `start` on, made by `workers` processes.

    Its `close` ends them.
    """
    import grain  # here, as it takes a second
    from absl import flags

    # Grain reads its flags, which are parsed only where a command has been started.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    # Batches that wait in shared memory when a run ends are freed by Python's tracker process,
    # which need not report it.
    sys.warnoptions.append("ignore:resource_tracker")
    batches.images = batches.images.shared(workers)
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    rows = grain.MapDataset.source(batches)[start:].to_iter_dataset(options)
    processes = grain.MultiprocessingOptions(num_workers=workers)
    return iter(rows.mp_prefetch(processes, worker_init_fn=_leave_interrupts))


def _leave_interrupts(worker: int, workers: int) -> None:
    """Ignore Ctrl-C, which reaches all processes: the one that trains saves and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
