"""s-DIET: every image is its own class, but a step knows only the rows of its batch (Gan et al.,
TMLR 2025).

    loss = - 1/B sum_ij t_ij log softmax(W_I u_i)_j,     u = P(f(x)) / |P(f(x))|,     t_ij = (1 - s)
    [j = i] + s / B

W_I [B, D] are the batch's own rows of DIET's head, P a three-layer ReLU MLP, s = 0.8. It is not
DIET's loss: the other rows of the batch stand for all N. A row outside the batch has no gradient,
so rows, moments and the step they were last touched in can stay in host memory or in a file; when a
row's turn comes, the AdamW steps that it has missed are repeated
(sslx/methods/instance_head/rows.py), and the result is dense AdamW on all rows. What is on the
device does not grow with N.

The full text of the paper was not at hand; reviews and a summary fix what stands above. What they
leave open is a field of `configs.methods.sdiet`, and its default our choice: the projector's widths
(encoder's, encoder's, 128; no batch norm), what is normalised (the projection; not the rows), a
scale (none).

Beside the paper: `negatives` M more rows, drawn uniformly in each step, join the batch's. With
`correction` the others stand for all N - 1: ln((N - 1) / S) is added to the logits of the S others,
which makes the denominator an unbiased estimate of DIET's, and smoothing, scale and floor mean what
they mean in DIET."""

import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from sslx.method import Array, Batch, Extra, Features, Logs, Params
from sslx.methods.instance_head.rows import (
    PLAIN,
    RowAdamW,
    Rows,
    initial_rows,
    loss_floor,
    with_gradient,
)
from sslx.methods.instance_head.storage import PLACES, Store, StoreSpec
from sslx.models import Network, heads
from sslx.training.parallel import gathered
from sslx.views.views import Crop, Views, one_view

NORMALISE = ("projection", "representation", "both", "none")


def sdiet_loss(
    features: Array, rows: Array, *, label_smoothing: float, num_images: int | None = None
) -> Array:
    """Mean cross-entropy of features [B, D] against rows [S, D], S >= B, of which the first B are
    the features' own.

    With `num_images` N the S - 1 other rows stand for all N - 1 others of `diet_loss`.
    """
    chex.assert_rank([features, rows], 2)
    logits = features @ rows.T
    own = jnp.sum(features * rows[: len(features)], axis=1)
    if num_images is None:
        return jnp.mean(
            jax.nn.logsumexp(logits, axis=1)
            - (1 - label_smoothing) * own
            - label_smoothing * logits.mean(axis=1)
        )
    share = (num_images - 1) / max(len(rows) - 1, 1)
    corrected = logits + math.log(share) * (
        1 - jnp.eye(len(features), len(rows), dtype=logits.dtype)
    )
    mean = (own + share * (logits.sum(axis=1) - own)) / num_images
    return jnp.mean(
        jax.nn.logsumexp(corrected, axis=1) - (1 - label_smoothing) * own - label_smoothing * mean
    )


@dataclass(frozen=True)
class Method:
    """s-DIET; the embedding is the projection before it is normalised."""

    encoder: Network
    crops: dict[str, Crop]
    num_images: int
    row_optimizer: RowAdamW | None
    label_smoothing: float = 0.8
    projector: tuple[int, ...] = (0, 0, 128)
    projector_norm: bool = False
    normalise: str = "projection"
    normalise_rows: bool = False
    scale: float = 1.0
    learn_scale: bool = False
    row_rate: float = 1.0
    negatives: int = 0
    correction: bool = False
    rows: str = "device"

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not go together."""
        for name, value, allowed in (
            ("normalise", self.normalise, NORMALISE),
            ("rows", self.rows, PLACES),
        ):
            if value not in allowed:
                raise ValueError(
                    f"config.method.{name} is {value!r}; it takes {', '.join(allowed)}."
                )
        if self.normalise in ("representation", "both") and not self.projector:
            raise ValueError(
                f"config.method.normalise={self.normalise!r} needs a projector; without one use "
                "projection."
            )
        if self.scale <= 0 or self.row_rate <= 0 or self.negatives < 0:
            raise ValueError(
                f"config.method.scale ({self.scale}) and .row_rate ({self.row_rate}) must be above "
                "0, "
                f".negatives ({self.negatives}) at least 0."
            )
        if self.row_optimizer is None:
            raise ValueError(
                "s-DIET's rows have an AdamW of their own, and no part in a global gradient norm: "
                f"it needs {PLAIN}."
            )

    @property
    def views(self) -> Views:
        """One crop of each image."""
        return one_view(self.crops)

    def open_store(self, folder: Path, seed: int, batch_size: int, mesh: Mesh) -> Store | None:
        """Open what the rows need outside the step; None where the device has all they need."""
        if self.rows == "device" and not self.negatives:
            return None
        spec = StoreSpec(self.rows, self.num_images, self._projector.width, self.negatives)
        return Store(spec, folder, seed, batch_size, mesh)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Encoder and projector; of the rows only the key that they will be drawn from, when they
        are first needed.
        """
        encoder_key, projector_key, head_key = jax.random.split(key, 3)
        params: dict[str, Any] = {}
        extra: dict[str, Any] = {"head": {"key": jax.random.key_data(head_key)}}
        params["encoder"], extra["encoder"] = self.encoder.init(encoder_key, shape)
        params["projector"], extra["projector"] = self._projector.init(
            projector_key, (1, self.encoder.width)
        )
        if self.learn_scale:
            params["log_scale"] = jnp.log(jnp.asarray(self.scale, jnp.float32))
        if self.rows == "device":
            extra["head"]["rows"] = jnp.zeros((self.num_images, 3, self._projector.width))
            extra["head"]["done"] = jnp.full(self.num_images, -1, jnp.int32)
        return params, extra

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """Batch cross-entropy; the rows that it read take their step at once.

        NaN for an index that occurs twice.
        """
        _, features, extra = self._project(params, extra, batch.views[0], train=True)
        if self.normalise in ("projection", "both"):
            features = heads.unit_length(features)
        features = features * (jnp.exp(params["log_scale"]) if self.learn_scale else self.scale)

        head, here = extra["head"], self.rows == "device"
        # All devices compute the small loss of the whole batch, so that no collective stands inside
        # its loop over rows.
        features, index = gathered(features), gathered(head.get("index", batch.indices))
        packed, done = (head[name][index] if here else head[name] for name in ("rows", "done"))
        rows = self.rows_at(head["key"], index, packed, done, step)
        objective = partial(
            self._objective, num_images=self.num_images if self.correction else None
        )
        loss, (by_features, by_rows) = jax.value_and_grad(objective, (0, 1))(
            jax.lax.stop_gradient(features), rows.weights
        )
        new = jnp.stack(self._optimizer.update(rows, by_rows, step), axis=1)
        if here:
            head = head | {
                "rows": head["rows"].at[index].set(new),
                "done": head["done"].at[index].set(step + 1),
            }
        else:
            head = head | {"rows": new, "done": jnp.full_like(head["done"], step + 1)}
        ordered = jnp.sort(index)
        valid = (
            jnp.all(ordered[1:] > ordered[:-1])
            & (ordered[0] >= 0)
            & (ordered[-1] < self.num_images)
        )
        loss = jnp.where(valid, with_gradient(loss, features, by_features), jnp.nan)
        floor = loss_floor(self.num_images if self.correction else len(index), self.label_smoothing)
        return loss, (extra | {"head": head}, {"nats_above_floor": loss - floor})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Encoder output and projection."""
        features, projection, _ = self._project(params, extra, images, train=False)
        return Features(features, projection if self.projector else None)

    def rows_at(self, key: Array, index: Array, packed: Array, done: Array, step: Array) -> Rows:
        """Rows `index` [S] as dense AdamW has them at `step`; stored are [S, 3, D], and the updates
        done or -1.
        """
        fresh = initial_rows(jax.random.wrap_key_data(key), index, self._projector.width)
        weights = jnp.where((done < 0)[:, None], fresh, packed[:, 0])
        return self._optimizer.catch_up(
            Rows(weights, packed[:, 1], packed[:, 2]), jnp.maximum(done, 0), step
        )

    @property
    def _projector(self) -> Network:
        return heads.projector(self.encoder.width, self.projector, norm=self.projector_norm)

    @property
    def _optimizer(self) -> RowAdamW:
        assert self.row_optimizer is not None
        rate = self.row_optimizer.rate
        return replace(self.row_optimizer, rate=lambda step: self.row_rate * rate(step))

    def _objective(self, features: Array, rows: Array, num_images: int | None) -> Array:
        rows = heads.unit_length(rows) if self.normalise_rows else rows
        return sdiet_loss(
            features, rows, label_smoothing=self.label_smoothing, num_images=num_images
        )

    def _project(
        self, params: Params, extra: Extra, images: Array, *, train: bool
    ) -> tuple[Array, Array, Extra]:
        features, encoder = self.encoder.apply(
            params["encoder"], extra["encoder"], images, train=train
        )
        x = (
            heads.unit_length(features)
            if self.normalise in ("representation", "both")
            else features
        )
        projection, projector = self._projector.apply(
            params["projector"], extra["projector"], x, train=train
        )
        return features, projection, extra | {"encoder": encoder, "projector": projector}
