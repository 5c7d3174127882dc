"""A self-supervised method as the training loop sees it: five functions on plain pytrees."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from sslx.views.views import Masks, Views

Array = jax.Array
Params = Any  # a pytree of arrays that the optimizer trains
Extra = Any  # a pytree of everything else: batch statistics, teacher, queue, centre
Logs = dict[str, Array]  # scalars to be logged
Loss = tuple[Array, tuple[Extra, Logs]]  # the loss of a batch, with the new extra state and logs


class Batch(NamedTuple):
    """One training batch."""

    views: tuple[Array, ...]  # one float32 [B, S, S, C] for each crop of the method's `Views`
    indices: Array  # of the images [B]
    masks: Masks | None = None  # of methods whose `Views` have some


class Features(NamedTuple):
    """The encoder's output [n, d] and the projector's [n, k].

    There is no embedding where the loss reads the representation itself.
    """

    representation: Array
    embedding: Array | None


class Method(Protocol):
    """A self-supervised method; each file in `sslx/methods/` has one class called `Method`.

    What it keeps under "head" in params or extra serves the loss alone: evaluation never loads it.
    A method whose head does not live on the device also has `open_store`, see `Store`. One whose
    features come from another encoder than params["encoder"] has `encoder_params(params, extra)`.
    """

    @property
    def views(self) -> Views:
        """What the method needs per image."""

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return parameters and extra state for images of `shape` [1, S, S, C]."""

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return the loss of the global batch, with the new extra state and logs."""

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both after the optimizer's step: a teacher follows, rows get unit length."""

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return features of normalised images [n, S, S, C] in eval mode.

        Where `views` has masks there is a fourth argument, `masks`: those of the images, or None.
        """


class Store(Protocol):
    """What a method keeps outside the state, such as a head's rows in host memory or in a file.

    A method has one if `method.open_store(folder, seed, batch_size, mesh)` returns it, not None.
    """

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """Return the training step with the store's arrays put in before and taken out after."""

    def save(self, step: int, kept: int | None) -> dict[str, int]:
        """Write a snapshot and return its checksums; remove all but it and that of `kept`."""

    def load(self, step: int, sums: dict[str, int]) -> None:
        """Go on from the snapshot of `step`; raises ValueError when it is not what was saved."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays after all steps until now."""

    def close(self) -> None:
        """Free what is held."""


def open_store(
    method: Method, folder: Path, seed: int, batch_size: int, mesh: Mesh
) -> Store | None:
    """Open the method's store in the run's `folder`, if it has one."""
    opener = getattr(method, "open_store", None)
    return opener(folder, seed, batch_size, mesh) if opener else None
