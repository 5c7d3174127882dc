"""The rows of a head outside the device: in host memory, or in a file that is mapped into it.

A row is [3, D] float32: weights and AdamW's two moments; beside it stands the number of updates
done, -1 before the first. The order of the images is known in advance, so one thread reads the rows
of the next step and writes those of the last while the device computes; rows that two steps in a
row need are taken from the device.

The working copy is never trusted after a stop. A checkpoint is promised only when a snapshot of all
rows is on disk, with its checksums in the checkpoint; the two newest snapshots are kept, as .npy
files that numpy.load reads.
"""

import mmap
import os
import shutil
import zlib
from collections.abc import Callable
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
        """Open the store in the run's `folder`; nothing in it but `rows/` is touched."""
        self._spec, self.folder, self._mesh = spec, folder / "rows", mesh
        self._seed, self._batch_size = seed, batch_size
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
        """Return the step with rows put into `extra["head"]` before it, and taken out after it."""

        def with_rows(
            state: Any, images: jax.Array, indices: jax.Array
        ) -> tuple[Any, dict[str, Any]]:
            index, fetched = self._fetch()
            kept = state.extra["head"]
            state, logs = step(_with_head(state, kept | fetched), images, indices)
            head = state.extra["head"]
            self._step += 1
            if "rows" in fetched:
                self._previous = (index, head["rows"])
                self._writes.append(self._pool.submit(self._write, index, head["rows"], self._step))
                while self._writes and self._writes[0].done():
                    self._writes.pop(0).result()  # raises what went wrong
            return _with_head(state, {name: head[name] for name in kept}), logs

        return with_rows

    def save(self, step: int, kept: int | None) -> dict[str, int]:
        """Write the snapshot of `step` and return its checksums; remove all but it and `kept`.

        As long as no row has been touched there is nothing to write, and the answer is {}.
        """
        arrays = self.arrays()
        if not (self._done >= 0).any():
            return {}
        for old in self.folder.iterdir():
            if old.is_dir() and old.name != str(kept):
                shutil.rmtree(old)
        temporary = self.folder / f"{step}.writing"
        temporary.mkdir()
        sums = {name: _write_array(temporary / f"{name}.npy", x) for name, x in arrays.items()}
        _sync(temporary)
        temporary.rename(self.folder / str(step))
        _sync(self.folder)
        return sums

    def load(self, step: int, sums: dict[str, int]) -> None:
        """Take the rows of the snapshot of `step`; ValueError when it is not the one saved."""
        arrays = self.arrays()
        self._step, self._previous = step, None
        self._ahead.clear()
        if not sums:
            self._rows, self._done = self._empty()
            return
        for name, array in arrays.items():
            path = self.folder / str(step) / f"{name}.npy"
            _read_array(path, array)
            if zlib.crc32(array.data) != sums[name]:
                raise ValueError(
                    f"{path} is damaged or of another run: its checksum is not the checkpoint's"
                )

    def arrays(self) -> dict[str, np.ndarray]:
        """Return rows [N, 3, D] and updates done [N] after all steps; empty if on the device."""
        for waiting in [*self._ahead.values(), *self._writes]:
            waiting.result()
        self._writes.clear()
        return {"rows": self._rows, "done": self._done}

    def close(self) -> None:
        """Stop the thread and remove the working copy, which is not needed any more."""
        self._pool.shutdown(cancel_futures=True)
        (self.folder / WORKING).unlink(missing_ok=True)

    def _index(self, step: int) -> np.ndarray:
        """Rows that a step touches: those of its images, then the negatives."""
        count = self._spec.num_rows
        batch = order(self._seed, step, num_images=count, batch_size=self._batch_size)
        negatives = others(self._seed, step, batch, num_images=count, count=self._spec.negatives)
        return np.concatenate([batch, negatives])

    def _fetch(self) -> tuple[np.ndarray, dict[str, jax.Array]]:
        """The rows of this step; reads those of the next after the last one's are written."""
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
        index, count = self._index(step), self._spec.num_rows
        wrong = index[(index < 0) | (index >= count)]
        if len(wrong):
            raise ValueError(
                f"Step {step} needs row {wrong[0]}; the head has the rows 0 to {count - 1}."
            )
        fetched = {"index": index}
        if self._spec.place != "device":
            fetched |= {"rows": self._rows[index], "done": self._done[index]}
        return index, replicate(fetched, self._mesh)

    def _write(self, index: np.ndarray, rows: jax.Array, done: int) -> None:
        self._rows[index] = rows
        self._done[index] = done

    def _empty(self) -> tuple[np.ndarray, np.ndarray]:
        """A working copy in which no row has been touched; no rows where the device has them."""
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
        spec, in_file = self._spec, self._spec.place == "file"
        snapshot = spec.num_rows * (12 * spec.width + 4)
        needed = snapshot * (KEPT + in_file)
        present = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        free = shutil.disk_usage(self.folder).free + present
        if needed > free:
            copies = f"{KEPT} snapshots" + (" and the working copy" if in_file else "")
            raise ValueError(
                f"{spec.num_rows:,} rows of {spec.width} features need {needed / 2**30:.1f} GiB of "
                f"disk in {self.folder} ({copies}, {snapshot / 2**30:.1f} GiB each), and "
                f"{free / 2**30:.1f} GiB are free. Make room, use another --run, or a narrower "
                "--config.method.projector."
            )


def _with_head(state: Any, head: dict[str, Any]) -> Any:
    return state._replace(extra=state.extra | {"head": head})


@jax.jit
def _patched(
    fetched: dict[str, jax.Array], rows: jax.Array, source: jax.Array, done: jax.Array
) -> dict[str, jax.Array]:
    """What was read, with row `source` [S] of the last step's `rows` where that is not -1."""
    newer = source >= 0
    return {
        "rows": jnp.where(newer[:, None, None], rows[jnp.maximum(source, 0)], fetched["rows"]),
        "done": jnp.where(newer, done, fetched["done"]),
    }


def _write_array(path: Path, array: np.ndarray) -> int:
    """Write a .npy file and wait for the disk; returns the CRC-32 of its data."""
    with path.open("xb") as file:
        np.lib.format.write_array_header_2_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())
    return zlib.crc32(array.data)


def _read_array(path: Path, into: np.ndarray) -> None:
    """Fill `into` from a .npy file; ValueError when it holds something else."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is missing or truncated") from error
    if array.shape != into.shape or array.dtype != into.dtype:
        raise ValueError(
            f"{path} is of another run: it holds {array.dtype}{array.shape}, not "
            f"{into.dtype}{into.shape}"
        )
    into[...] = array


def _sync(folder: Path) -> None:
    """Wait until the folder's names are on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
