"""The rows of a head outside the device: in host memory, or in a file that is mapped into it.

A row is [3, D] float32: weights and AdamW's two moments; beside it stands the number of updates
done, -1 before the first. The order of the images is known in advance, so one thread reads the rows
of the next step and writes those of the last while the device computes; rows that two steps in a
row need are taken from the device.

The working copy is never trusted after a stop. A checkpoint is promised only when a snapshot of all
rows is on disk, with its checksums in the checkpoint; the two newest snapshots are kept, as .npy
files that numpy.load reads."""

import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from sslx.data.order import order, others
from sslx.training.parallel import replicate

PLACES = ("device", "host", "file")
CHUNK = 2**26  # bytes copied at a time
KEPT = 2  # snapshots
WORKING = "working"  # the file of rows that a run works on

Step = Callable[..., tuple[Any, dict[str, Any]]]


class StoreSpec(NamedTuple):
    """What a method needs of a store; with rows on the device it only draws the negatives."""

    place: str
    num_rows: int
    width: int
    negatives: int  # rows that a step reads beside those of its batch


class Store:
    """Serves the rows of step 0, 1, ... in order; `load` says from which step on."""

    def __init__(
        self, spec: StoreSpec, folder: Path, seed: int, batch_size: int, mesh: Mesh
    ) -> None:
        """`folder` is the run's; nothing in it but `rows/` is touched."""
        self._spec, self.folder, self._mesh = spec, folder / "rows", mesh
        self._index = _index_of(spec, seed, batch_size)
        self._step = 0
        self._pool = ThreadPoolExecutor(1)
        self._ahead: dict[int, Future[Any]] = {}
        self._writes: list[Future[None]] = []
        self._previous: tuple[np.ndarray, jax.Array] | None = None
        if spec.place != "device":
            self._check_disk()
        self._index(0)  # raises what is wrong with the number of negatives
        self._rows, self._done = self._empty()

    def around(self, step: Step) -> Step:
        """The training step with the rows put into `extra["head"]` before it, and taken out after
        it.
        """

        def with_rows(
            state: Any, images: jax.Array, indices: jax.Array
        ) -> tuple[Any, dict[str, Any]]:
            index, fetched = self._fetch()
            kept = state.extra["head"]
            state, logs = step(_with_head(state, kept | fetched), images, indices)
            head = state.extra["head"]
            if "rows" in fetched:
                self._previous = (index, head["rows"])
                self._writes.append(
                    self._pool.submit(self._write, index, head["rows"], self._step + 1)
                )
                while self._writes and self._writes[0].done():
                    self._writes.pop(0).result()  # raises what went wrong
            self._step += 1
            return _with_head(state, {name: head[name] for name in kept}), logs

        return with_rows

    def save(self, step: int, kept: int | None) -> dict[str, int]:
        """Write the snapshot of `step`, remove all but it and that of step `kept`; returns its
        checksums.

        As long as no row has been touched there is nothing to write, and {} says so.
        """
        arrays = self.arrays()
        if not (self._done >= 0).any():
            return {}
        for old in self.folder.iterdir():
            if old.is_dir() and old.name != str(kept):
                shutil.rmtree(old)
        temporary = self.folder / f"{step}.writing"
        temporary.mkdir()
        sums = {
            name: _write_array(temporary / f"{name}.npy", array) for name, array in arrays.items()
        }
        _sync(temporary)
        temporary.rename(self.folder / str(step))
        _sync(self.folder)
        return sums

    def load(self, step: int, sums: dict[str, int]) -> None:
        """Take the rows of the snapshot of `step`; raises ValueError when it is not the one that
        was saved.
        """
        arrays = self.arrays()
        self._step, self._previous = step, None
        self._ahead.clear()
        if not sums:
            self._rows, self._done = self._empty()
            return
        for name, array in arrays.items():
            path = self.folder / str(step) / f"{name}.npy"
            if _read_array(path, array) != sums[name]:
                raise ValueError(
                    f"{path} is damaged or of another run: its checksum is not the checkpoint's"
                )

    def arrays(self) -> dict[str, np.ndarray]:
        """Rows [N, 3, D] and the updates done [N], after all steps until now; empty where they are
        on the device.
        """
        for waiting in [*self._ahead.values(), *self._writes]:
            waiting.result()
        self._writes.clear()
        return {"rows": self._rows, "done": self._done}

    def close(self) -> None:
        """Stop the thread; the working copy is not needed any more."""
        self._pool.shutdown(cancel_futures=True)
        (self.folder / WORKING).unlink(missing_ok=True)

    def _fetch(self) -> tuple[np.ndarray, dict[str, jax.Array]]:
        """The rows of this step; those of the next are read while it runs, after the last one's are
        written.
        """
        for step in (self._step, self._step + 1):
            if step not in self._ahead:
                self._ahead[step] = self._pool.submit(self._read, step)
        index, fetched = self._ahead.pop(self._step).result()
        if self._previous is not None:  # read before they were written
            earlier, rows = self._previous
            shared, here, there = np.intersect1d(index, earlier, return_indices=True)
            if len(shared):
                source = np.full(len(index), -1, np.int32)
                source[here] = there
                fetched = fetched | _patched(fetched, rows, source, np.int32(self._step))
        return index, fetched

    def _read(self, step: int) -> tuple[np.ndarray, dict[str, jax.Array]]:
        index = self._index(step)
        wrong = index[(index < 0) | (index >= self._spec.num_rows)]
        if len(wrong):
            raise ValueError(
                f"Step {step} needs row {wrong[0]}; the head has the rows 0 to "
                f"{self._spec.num_rows - 1}."
            )
        fetched = {"index": index}
        if self._spec.place != "device":
            fetched |= {"rows": self._rows[index], "done": self._done[index]}
        return index, replicate(fetched, self._mesh)

    def _write(self, index: np.ndarray, rows: jax.Array, done: int) -> None:
        self._rows[index] = rows
        self._done[index] = done

    def _empty(self) -> tuple[np.ndarray, np.ndarray]:
        """A working copy in which no row has been touched; without rows where they are on the
        device.
        """
        count = 0 if self._spec.place == "device" else self._spec.num_rows
        shape, done = (count, 3, self._spec.width), np.full(count, -1, np.int32)
        if self._spec.place != "file":
            return np.zeros(shape, np.float32), done
        path = self.folder / WORKING
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            # Reserved at once: a mapped file that finds the disk full later can only kill the
            # process.
            os.posix_fallocate(file.fileno(), 0, 4 * int(np.prod(shape)))
        rows = np.memmap(path, np.float32, "r+", shape=shape)
        rows._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
        return rows, done

    def _check_disk(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        snapshot = self._spec.num_rows * (12 * self._spec.width + 4)
        needed = snapshot * (KEPT + (self._spec.place == "file"))
        there = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        free = shutil.disk_usage(self.folder).free + there
        if needed > free:
            copies = f"{KEPT} snapshots" + (
                " and the working copy" if self._spec.place == "file" else ""
            )
            raise ValueError(
                f"{self._spec.num_rows:,} rows of {self._spec.width} features need "
                f"{needed / 2**30:.1f} GiB of disk in "
                f"{self.folder} ({copies}, {snapshot / 2**30:.1f} GiB each), and "
                f"{free / 2**30:.1f} GiB are free. "
                "Make room, use another --run, or a narrower --config.method.projector."
            )


def _index_of(spec: StoreSpec, seed: int, batch_size: int) -> Callable[[int], np.ndarray]:
    """Rows that a step touches: those of its images, then the negatives."""

    def index(step: int) -> np.ndarray:
        batch = order(seed, step, num_images=spec.num_rows, batch_size=batch_size)
        return np.concatenate(
            [batch, others(seed, step, batch, num_images=spec.num_rows, count=spec.negatives)]
        )

    return index


def _with_head(state: Any, head: dict[str, Any]) -> Any:
    return state._replace(extra=state.extra | {"head": head})


@jax.jit
def _patched(
    fetched: dict[str, jax.Array], rows: jax.Array, source: jax.Array, done: jax.Array
) -> dict[str, jax.Array]:
    """What was read, with `rows` [S, 3, D] of the step before, at `source` [S], in place of what
    they have replaced.
    """
    newer = source >= 0
    return {
        "rows": jnp.where(newer[:, None, None], rows[jnp.maximum(source, 0)], fetched["rows"]),
        "done": jnp.where(newer, done, fetched["done"]),
    }


def _write_array(path: Path, array: np.ndarray) -> int:
    """Write a .npy file and wait for the disk; returns the CRC-32 of its data."""
    with path.open("xb") as file:
        np.lib.format.write_array_header_2_0(file, np.lib.format.header_data_from_array_1_0(array))
        total = 0
        for part in _parts(array):
            total = zlib.crc32(part.data, total)
            file.write(part.data)
        file.flush()
        os.fsync(file.fileno())
    return total


def _read_array(path: Path, into: np.ndarray) -> int:
    """Fill `into` from a .npy file; returns the CRC-32.

    Raises ValueError when it holds something else.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or truncated") from error
    if array.shape != into.shape or array.dtype != into.dtype:
        raise ValueError(
            f"{path} is of another run: it holds {array.dtype}{array.shape}, not "
            f"{into.dtype}{into.shape}"
        )
    total = 0
    for target, part in zip(_parts(into), _parts(array), strict=True):
        total = zlib.crc32(part.data, total)
        target[...] = part
    return total


def _parts(array: np.ndarray) -> Iterator[np.ndarray]:
    """The array in contiguous parts of a few dozen megabytes."""
    rows = max(CHUNK // max(array[:1].nbytes, 1), 1)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]


def _sync(folder: Path) -> None:
    """Wait until the folder's names are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
