"""Images that are decoded as they are used, for data sets too large to keep decoded.

By threads of this process, as both decoders work outside the interpreter's lock; or, where so many cores are to be fed
that the lock is in the way, by processes, through Grain.
"""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from sslx.data.decode import decode
from sslx.data.sources import Split

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Streamed:
    """uint8 [n, H, W, C], indexed along its first axis like an array that is not there: reading decodes."""

    dtype = np.dtype(np.uint8)

    def __init__(self, split: Split, kept: np.ndarray, shape: tuple[int, ...], size: int) -> None:
        """Images `kept` int [n] of the split, each `square` to `size` pixels if that is above 0, then of `shape`."""
        self.shape = (len(kept), *shape)
        self.ndim = len(self.shape)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64))
        self._split, self._kept, self._size = split, kept, size
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """One image, or those of a slice or an integer array; ValueError for one that has changed or gone since."""
        numbers = np.arange(len(self))[rows]
        if numbers.ndim == 0:
            return self.decode(int(numbers))
        images = np.empty((len(numbers), *self.shape[1:]), np.uint8)

        def put(place: int) -> None:
            images[place] = self.decode(int(numbers[place]))

        self._pool = self._pool or ThreadPoolExecutor(CORES)
        list(self._pool.map(put, range(len(numbers))))
        return images

    def __getstate__(self) -> dict[str, Any]:
        """For a worker process, which makes its own threads."""
        return vars(self) | {"_pool": None}

    def decode(self, row: int) -> np.ndarray:
        """Image `row`, uint8 [H, W, C]; ValueError for one that has changed or gone since it was checked."""
        number = int(self._kept[row])
        try:
            content, _ = self._split.read(number)
            image = decode(content, self._size, self._split.channels)
            if image.shape != self.shape[1:]:
                raise ValueError(f"its shape is {image.shape}, not {self.shape[1:]}")
        except (ValueError, OSError) as error:
            raise ValueError(
                f"{self._split.where(number)} could be read when the data was checked, and now it cannot ({error}). "
                "Put it back; if the data has changed on purpose, start a new run."
            ) from error
        return image


class Batches:
    """All batches of a run as Grain's random-access source: number k holds this process's images of step k."""

    def __init__(self, images: Streamed, order: Callable[[int], np.ndarray], part: slice) -> None:
        """`order` gives the indices [B] of a step, `part` those of them that this process needs."""
        self._images, self._order, self._part = images, order, part

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, step: int) -> np.ndarray:
        return np.stack([self._images.decode(int(row)) for row in self._order(step)[self._part]])


def in_processes(batches: Batches, start: int, workers: int) -> Any:
    """An iterator over the batches `start`, start + 1, ... without end, each made by one of `workers` processes.

    Its `close` ends them.
    """
    import grain  # a second to import, for those who need it
    from absl import flags

    if not flags.FLAGS.is_parsed():  # Grain reads its flags, which are parsed only where a command has been started
        flags.FLAGS.mark_as_parsed()
    options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    rows = grain.MapDataset.source(batches)[start:].to_iter_dataset(options)
    return iter(rows.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers)))
