"""s-DIET: every image is its own class, but a step knows only its batch's rows (Gan, TMLR 2025).

    loss = -1/B sum_ij t_ij log softmax(W_I u_i)_j,    t_ij = (1 - s) [j = i] + s / B
    u = P(f(x)) / |P(f(x))|

W_I [B, D] are the batch's own rows of DIET's head, P a three-layer ReLU MLP, s = 0.8. It is not
DIET's loss: the other rows of the batch stand for all N. A row outside the batch has no gradient,
so rows, moments and the step they were last touched in can stay in host memory or in a file; when a
row's turn comes, the AdamW steps that it has missed are repeated
(sslx/methods/instance_head/rows.py), and the result is dense AdamW on all rows. What is on the
device does not grow with N.

The paper's full text was not at hand; reviews and a summary fix what stands above. What they leave
open is a field, and its default our choice. Beside the paper: `negatives` more rows, drawn
uniformly in each step, join the batch's. With `correction` the others stand for all N - 1:
ln((N - 1) / S) is added to the logits of the S others, which makes the denominator an unbiased
estimate of DIET's, and smoothing, scale and floor mean what they mean in DIET.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from sslx.hints import check_choice
from sslx.method import Array, Batch, Extra, Features, Loss, Params
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
    """Return the mean cross-entropy of features [B, D] over rows [S, D], S >= B.

    The first B rows are the features' own. With `num_images` N the S - 1 other rows stand for all
    N - 1 others of `diet_loss`.
    """
    chex.assert_rank([features, rows], 2)
    logits = features @ rows.T
    own = jnp.sum(features * rows[: len(features)], axis=1)
    if num_images is None:
        mean = logits.mean(axis=1)
    else:
        share = (num_images - 1) / max(len(rows) - 1, 1)
        mean = (own + share * (logits.sum(axis=1) - own)) / num_images
        others = 1 - jnp.eye(len(features), len(rows), dtype=logits.dtype)
        logits = logits + math.log(share) * others
    denominator = jax.nn.logsumexp(logits, axis=1)
    return jnp.mean(denominator - (1 - label_smoothing) * own - label_smoothing * mean)


@dataclass(frozen=True)
class Method:
    """s-DIET; the embedding is the projection before it is normalised."""

    encoder: Network
    crops: dict[str, Crop]
    num_images: int
    row_optimizer: RowAdamW | None
    # Smoothing and unit length are the paper's, the other values our choice
    label_smoothing: float = 0.8
    # Widths of a ReLU MLP; 0: the encoder's; () for none
    projector: tuple[int, ...] = (0, 0, 128)
    projector_norm: bool = False  # batch norm between its layers
    # To unit length: projection (what the head reads), representation, both, none
    normalise: str = "projection"
    normalise_rows: bool = False  # rows too: cosines, which need a scale of 5 or more
    scale: float = 1.0  # factor of the features
    learn_scale: bool = False  # train its logarithm, from `scale` on
    row_rate: float = 1.0  # the rows' learning rate, as a multiple of the rest's
    negatives: int = 0  # rows beside the batch's, drawn in each step
    # Add ln((N - 1) / S) to the logits of the S other rows: an estimate of DIET's own loss
    correction: bool = False
    # Where rows and moments live: device, host (memory), file (mapped, in the run's folder)
    rows: str = "device"

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not go together."""
        check_choice("config.method.normalise", self.normalise, NORMALISE)
        check_choice("config.method.rows", self.rows, PLACES)
        if self.normalise in ("representation", "both") and not self.projector:
            raise ValueError(
                f"config.method.normalise={self.normalise!r} needs a projector; without one use "
                "projection."
            )
        if self.scale <= 0 or self.row_rate <= 0 or self.negatives < 0:
            raise ValueError(
                f"config.method.scale ({self.scale}) and .row_rate ({self.row_rate}) must be above "
                f"0, .negatives ({self.negatives}) at least 0."
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

    @property
    def projection(self) -> Network:
        """The projector; nothing where it has no widths."""
        return heads.projector(self.encoder.width, self.projector, norm=self.projector_norm)

    def open_store(self, folder: Path, seed: int, batch_size: int, mesh: Mesh) -> Store | None:
        """Open what the rows need outside the step; None where the device has all they need."""
        if self.rows == "device" and not self.negatives:
            return None
        spec = StoreSpec(self.rows, self.num_images, self.projection.width, self.negatives)
        return Store(spec, folder, seed, batch_size, mesh)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return encoder, projector, and the key that rows are drawn from when first needed."""
        encoder_key, projector_key, head_key = jax.random.split(key, 3)
        encoder, encoder_stats = self.encoder.init(encoder_key, shape)
        projector, projector_stats = self.projection.init(projector_key, (1, self.encoder.width))
        params: dict[str, Any] = {"encoder": encoder, "projector": projector}
        if self.learn_scale:
            params["log_scale"] = jnp.log(jnp.asarray(self.scale, jnp.float32))
        head: dict[str, Any] = {"key": jax.random.key_data(head_key)}
        if self.rows == "device":
            head["rows"] = jnp.zeros((self.num_images, 3, self.projection.width))
            head["done"] = jnp.full(self.num_images, -1, jnp.int32)
        return params, {"head": head, "encoder": encoder_stats, "projector": projector_stats}

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return the batch's cross-entropy; the rows that it read take their step at once.

        It is NaN for an index that occurs twice or has no row.
        """
        _, features, stats = self._project(params, extra, batch.views[0], train=True)
        if self.normalise in ("projection", "both"):
            features = heads.unit_length(features)
        features = features * (jnp.exp(params["log_scale"]) if self.learn_scale else self.scale)

        head, on_device = extra["head"], self.rows == "device"
        # All devices compute the small loss of the whole batch, so that no collective stands inside
        # its loop over rows.
        features, index = gathered(features), gathered(head.get("index", batch.indices))
        packed, done = head["rows"], head["done"]
        if on_device:
            packed, done = packed[index], done[index]
        rows = self.rows_at(head["key"], index, packed, done, step)
        num_images = self.num_images if self.correction else None

        def objective(features: Array, rows: Array) -> Array:
            rows = heads.unit_length(rows) if self.normalise_rows else rows
            smoothing = self.label_smoothing
            return sdiet_loss(features, rows, label_smoothing=smoothing, num_images=num_images)

        loss, (by_features, by_rows) = jax.value_and_grad(objective, (0, 1))(
            jax.lax.stop_gradient(features), rows.weights
        )
        new = jnp.stack(self._optimizer.update(rows, by_rows, step), axis=1)
        if on_device:
            new_done = head["done"].at[index].set(step + 1)
            head = head | {"rows": head["rows"].at[index].set(new), "done": new_done}
        else:
            head = head | {"rows": new, "done": jnp.full_like(head["done"], step + 1)}
        ordered = jnp.sort(index)
        distinct = jnp.all(ordered[1:] > ordered[:-1])
        valid = distinct & (ordered[0] >= 0) & (ordered[-1] < self.num_images)
        loss = jnp.where(valid, with_gradient(loss, features, by_features), jnp.nan)
        floor = loss_floor(num_images or len(index), self.label_smoothing)
        return loss, (extra | stats | {"head": head}, {"nats_above_floor": loss - floor})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output, and the projection if there is a projector."""
        features, projection, _ = self._project(params, extra, images, train=False)
        return Features(features, projection if self.projector else None)

    def rows_at(self, key: Array, index: Array, packed: Array, done: Array, step: Array) -> Rows:
        """Return rows `index` [S] as dense AdamW has them at `step`.

        Stored are `packed` [S, 3, D], and the updates `done` [S], -1 before the first.
        """
        fresh = initial_rows(jax.random.wrap_key_data(key), index, self.projection.width)
        weights = jnp.where((done < 0)[:, None], fresh, packed[:, 0])
        rows = Rows(weights, packed[:, 1], packed[:, 2])
        return self._optimizer.catch_up(rows, jnp.maximum(done, 0), step)

    @property
    def _optimizer(self) -> RowAdamW:
        assert self.row_optimizer is not None
        rate = self.row_optimizer.rate
        return replace(self.row_optimizer, rate=lambda step: self.row_rate * rate(step))

    def _project(
        self, params: Params, extra: Extra, images: Array, *, train: bool
    ) -> tuple[Array, Array, Extra]:
        """Features, projection, and the batch statistics after them."""
        features, encoder = self.encoder.apply(
            params["encoder"], extra["encoder"], images, train=train
        )
        normalised = self.normalise in ("representation", "both")
        x = heads.unit_length(features) if normalised else features
        projection, projector = self.projection.apply(
            params["projector"], extra["projector"], x, train=train
        )
        return features, projection, {"encoder": encoder, "projector": projector}
