"""Checkpoints: asynchronous Orbax saves with our own checksums, and a restore that finds damage.

A checkpoint has two items, `model` and `training` (optimizer and head), so that evaluation reads
the first alone. Orbax notices neither flipped bytes nor an empty step folder; therefore the CRC-32
of every leaf is saved beside it.
"""

import contextlib
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1

from sslx.hints import check_choice
from sslx.method import Store
from sslx.training.optim import path_name
from sslx.training.state import State, items_of, state_of

KEEP = ("all", "latest+best")


class Checkpoints:
    """The checkpoints of one run folder."""

    def __init__(
        self, folder: Path, *, keep: str = "all", best: str = "", store: Store | None = None
    ) -> None:
        """Open `folder`; what a `store` has beside the state is saved and restored with it.

        With keep "latest+best" only the newest stays, and that with the highest monitored `best`.
        """
        check_choice("config.checkpoint.keep", keep, KEEP)
        self._best, self._keep_best = best, keep == "latest+best"
        self._saving: tuple[int, Any] | None = None
        self._folder, self._store = folder, store
        context = v1.Context()
        # Slicing every small leaf so that each device writes a part costs more than it saves.
        context.array.saving.min_slice_bytes_for_replica_parallel = 2**20
        self._orbax = v1.training.Checkpointer(
            folder.resolve(),
            context=context,
            preservation_policy=self._policy(),
            cleanup_tmp_directories=True,
        )

    def steps(self) -> list[int]:
        """Return the saved steps, oldest first; a step may still turn out to be damaged."""
        return [checkpoint.step for checkpoint in self._orbax.checkpoints]

    def save(self, step: int, state: State, monitored: dict[str, float]) -> None:
        """Start to save; the state may be donated as soon as this returns.

        Raises ValueError if the save before failed, or if the value that marks the best is missing.
        """
        self.wait()
        if step in self.steps():
            return
        items = items_of(state)
        metrics = self._metrics(monitored)
        sums = {name: checksums(item) for name, item in items.items()}
        try:
            stored = self._store.save(step, max(self.steps(), default=None)) if self._store else {}
            answer = self._orbax.save_checkpointables_async(
                step, items, metrics=metrics, custom_metadata={"crc32": sums, "store": stored}
            )
        except (OSError, RuntimeError, ValueError) as error:
            raise self._failure(step, error) from error
        self._saving = (step, answer)

    def wait(self) -> None:
        """Wait until the save under way is on disk; raises ValueError when it failed."""
        if self._saving is None:
            return
        (step, answer), self._saving = self._saving, None
        try:
            answer.result()
        except Exception as error:  # the writer's threads raise whatever the file system did
            raise self._failure(step, error) from error

    def resume(self, fresh: Callable[[], State]) -> State:
        """Return the newest undamaged state, or a fresh one; never both in memory at once."""
        state = fresh()
        if not self.steps():
            return state
        like = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
        )
        del state
        restored = self.restore_latest(like)
        assert restored is not None  # it raises when there are checkpoints and none can be read
        return restored

    def restore_latest(self, like: State) -> State | None:
        """Return the newest undamaged state, placed as the arrays of `like`; None without any.

        Damaged steps above it are named, and their folders renamed so that training can write
        those steps again. Raises ValueError when there are checkpoints and none can be read: then
        more than a file is wrong.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.steps()):
            try:
                items = {
                    name: self._load(step, name, item) for name, item in items_of(like).items()
                }
                if self._store:
                    self._store.load(step, self._metadata(step).get("store", {}))
            except Exception as error:  # a damaged step can fail in any layer of the reader
                damaged[step] = _first_line(error)
                continue
            self._set_aside(damaged)
            count = jax.device_put(np.asarray(step, np.int32), like.step.sharding)
            return state_of(count, items)
        if damaged:
            step, reason = next(iter(damaged.items()))
            raise ValueError(
                f"None of the {len(damaged)} checkpoints in {self._folder} can be read; of step "
                f"{step}: {reason}. If the code or a package has changed since, go back to "
                "environment.jsonl, or use another --run."
            )
        return None

    def restore_model(self, step: int, like: Any) -> Any:
        """Return params and extra of `step`, placed as `like`; ValueError when it is damaged."""
        self.wait()
        try:
            return self._load(step, "model", like)
        except Exception as error:  # as above
            raise ValueError(
                f"checkpoint {step} in {self._folder} is damaged: {_first_line(error)}"
            ) from error

    def close(self) -> None:
        """Wait for the save under way and free everything; ValueError when that save failed."""
        try:
            self.wait()
        finally:
            # Orbax raises here once more what `wait` has already reported.
            with contextlib.suppress(Exception):
                self._orbax.close()
            if self._store:
                self._store.close()

    def _policy(self) -> Any:
        if not self._keep_best:
            return None
        policies = v1.training.preservation_policies
        best = policies.BestN(
            get_metric_fn=lambda metrics: metrics[self._best],
            n=1,
            keep_checkpoints_without_metrics=False,
        )
        return policies.AnyPreservationPolicy([policies.LatestN(1), best])

    def _metadata(self, step: int) -> dict[str, Any]:
        return self._orbax.metadata(step).custom_metadata or {}

    def _load(self, step: int, item: str, like: Any) -> Any:
        loaded = self._orbax.load_checkpointables(step, {item: like})[item]
        expected = self._metadata(step).get("crc32", {}).get(item, {})
        for name, value in checksums(loaded).items():
            if expected.get(name) != value:
                raise ValueError(f"the checksum of {item}/{name} is wrong or missing")
        return loaded

    def _set_aside(self, damaged: dict[int, str]) -> None:
        for step, reason in damaged.items():
            print(f"warning: checkpoint {step} is damaged, renamed to damaged-{step}: {reason}")
            (self._folder / str(step)).rename(self._folder / f"damaged-{step}")
        if damaged:
            self._orbax.reload()

    def _metrics(self, monitored: dict[str, float]) -> dict[str, float] | None:
        if self._keep_best and monitored and self._best not in monitored:
            names = ", ".join(monitored)
            raise ValueError(f"config.checkpoint.best is {self._best!r}; monitored are: {names}.")
        value = float(monitored.get(self._best, math.nan))
        return {self._best: value} if math.isfinite(value) else None

    def _failure(self, step: int, error: Exception) -> ValueError:
        good = [saved for saved in self.steps() if saved != step]
        last = f"The last good checkpoint is step {good[-1]}" if good else "There is no earlier one"
        return ValueError(
            f"Step {step} could not be saved in {self._folder}: {_first_line(error)}. {last}; make "
            "room or repair the disk, then run the same command again to go on."
        )


def checksums(tree: Any) -> dict[str, int]:
    """Return the CRC-32 of every leaf's bytes, by path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {path_name(path): zlib.crc32(_bytes(leaf)) for path, leaf in leaves}


def _bytes(leaf: jax.Array) -> Any:
    local = leaf if leaf.is_fully_addressable else leaf.addressable_data(0)
    return np.ascontiguousarray(local).reshape(-1).view(np.uint8)


def _first_line(error: Exception) -> str:
    return f"{error}".strip().split("\n")[0][:300] or type(error).__name__
