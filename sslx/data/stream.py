"""Images that are decoded as they are used, for data sets too large to keep decoded.

By threads of this process, as both decoders work outside the interpreter's lock; or, where so many
cores are to be fed that the lock is in the way, by processes, through Grain.
"""

import copy
import functools
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


def in_threads(
    pool: ThreadPoolExecutor, split: Split, numbers: Sequence[int], size: int
) -> Iterator[tuple[np.ndarray | str, int]]:
    """Yield images uint8 [H, W, C], or why one cannot be read, and labels; work begins at once."""

    def image(content: bytes | np.ndarray | str) -> np.ndarray | str:
        try:
            return content if isinstance(content, str) else decode(content, size, split.channels)
        except ValueError as error:
            return str(error)

    def decoded(part: Sequence[int]) -> list[tuple[np.ndarray | str, int]]:
        return [(image(content), label) for content, label in split.read(part)]

    # A few images at a time, as TFDS reads single ones slowly.
    few = min(max(len(numbers) // (4 * CORES), 1), 32)
    parts = [numbers[start : start + few] for start in range(0, len(numbers), few)]
    return itertools.chain.from_iterable(pool.map(decoded, parts))


class Streamed:
    """An array of images uint8 [n, H, W, C] that are read and decoded when they are indexed."""

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
            if isinstance(image, np.ndarray) and image.shape == self.shape[1:]:
                images[place] = image
                continue
            reason = image if isinstance(image, str) else f"its shape is {image.shape}"
            raise ValueError(
                f"{self._split.where(int(numbers[place]))} could be read when the data was "
                f"checked, and now it cannot ({reason}). Put it back; if the data has changed on "
                "purpose, start a new run."
            )
        return images

    def shared(self, workers: int) -> "Streamed":
        """Return the same images for one of the workers, with its share of the threads."""
        images = copy.copy(self)
        images._threads, images._pool = max(CORES // workers, 1), None
        return images


def in_processes(
    images: Streamed, order: Callable[[int], np.ndarray], part: slice, start: int, workers: int
) -> Any:
    """Return an endless iterator over the batches from step `start` on; its `close` ends it.

    Each of the `workers` processes decodes whole batches: the `part` of the step's `order` [B].
    """
    import grain  # here, as it takes a second
    from absl import flags

    if not flags.FLAGS.is_parsed():  # as outside of a command; Grain reads its flags
        flags.FLAGS.mark_as_parsed()
    # Python's tracker frees the batches in shared memory when a run ends, and need not report it.
    sys.warnoptions.append("ignore:resource_tracker")
    read = functools.partial(_batch, images.shared(workers), order, part)
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    batches = grain.MapDataset.range(start, sys.maxsize).map(read).to_iter_dataset(options)
    processes = grain.MultiprocessingOptions(num_workers=workers)
    return iter(batches.mp_prefetch(processes, worker_init_fn=_leave_interrupts))


def _batch(
    images: Streamed, order: Callable[[int], np.ndarray], part: slice, step: int
) -> np.ndarray:
    return images[order(step)[part]]


def _leave_interrupts(worker: int, workers: int) -> None:
    """Ignore Ctrl-C, which reaches all processes: the one that trains saves and ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
