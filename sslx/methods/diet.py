"""DIET: every image is its own class (Balestriero, arXiv 2302.10260; Gan et al., TMLR 2025).

    loss = -sum_j t_j log softmax(W f(x_i))_j,    t_j = (1 - s) [j = i] + s / N

One augmented view x_i of image i, one branch, a linear head W [N, D] without bias over all N
images, and label smoothing s = 0.8 (torch's convention: the true class has its share of s too). No
temperature, no normalisation. The loss starts near ln N and cannot fall below the entropy of t;
only its distance to that floor says anything. After training W is dropped. A projector, unit length
and a scale between f and W are not DIET's, but available.

- head="full" is the definition, with any optimizer, for small N: every device holds W, its
  gradient and moments, and B x N logits.
- head="blockwise" is for any N, with the same loss and AdamW steps, to rounding: W and its moments
  are split over the devices. The logged `gradient_norm` is that of all but W.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp

from sslx.hints import check_choice
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.methods.instance_head.blockwise import blockwise_cross_entropy, fresh_rows
from sslx.methods.instance_head.rows import (
    PLAIN,
    RowAdamW,
    Rows,
    initial_head,
    loss_floor,
    stochastically_rounded,
)
from sslx.models import Network, chain, encode, heads
from sslx.views.views import Crop, Views, one_view

HEADS = ("full", "blockwise")
DTYPES = ("float32", "bfloat16")


def diet_loss(features: Array, head: Array, index: Array, *, label_smoothing: float) -> Array:
    """Return the mean cross-entropy of features [B, D] over all rows of the head [N, D].

    `index` [B] names the features' own rows.
    """
    chex.assert_rank([features, head, index], [2, 2, 1])
    log_probability = jax.nn.log_softmax(features @ head.T)
    own = jnp.take_along_axis(log_probability, index[:, None], axis=1)
    return -jnp.mean(
        (1 - label_smoothing) * own[:, 0] + label_smoothing * jnp.mean(log_probability, axis=1)
    )


@dataclass(frozen=True)
class Method:
    """DIET; the head reads the representation, or its projection where `projector` has widths."""

    encoder: Network
    crops: dict[str, Crop]
    num_images: int
    row_optimizer: RowAdamW | None  # of the blockwise head
    label_smoothing: float = 0.8  # like the others, the paper's
    head: str = "full"  # all logits at once; blockwise: the same, a block of rows at a time
    block: int = 4096  # rows of a block
    # blockwise: of the stored rows, or bfloat16 (rounded at random, not exact)
    head_dtype: str = "float32"
    moments_dtype: str = "float32"  # blockwise: of AdamW's moments, or bfloat16
    # Widths of an MLP before the head; 0: the encoder's; (0, 128) narrows the head to 128
    projector: tuple[int, ...] = ()
    projector_norm: bool = True  # batch norm between the projector's layers
    normalise: bool = False  # features of unit length before the head
    scale: float = 1.0  # factor of the features
    learn_scale: bool = False  # train its logarithm, from `scale` on

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not go together."""
        check_choice("config.method.head", self.head, HEADS)
        check_choice("config.method.head_dtype", self.head_dtype, DTYPES)
        check_choice("config.method.moments_dtype", self.moments_dtype, DTYPES)
        if self.block < 1 or self.scale <= 0:
            raise ValueError(
                f"config.method.block ({self.block}) and .scale ({self.scale}) must be above 0."
            )
        if self.head == "blockwise" and self.row_optimizer is None:
            raise ValueError(
                "config.method.head='blockwise' applies AdamW block by block, without its whole "
                f"gradient: it needs {PLAIN}, or --config.method.head=full."
            )
        if self.head == "full" and "bfloat16" in (self.head_dtype, self.moments_dtype):
            raise ValueError(
                "config.method.head_dtype and .moments_dtype are of --config.method.head=blockwise."
            )

    @property
    def views(self) -> Views:
        """One crop of each image."""
        return one_view(self.crops)

    @property
    def projection(self) -> Network:
        """The projector; nothing where it has no widths."""
        return heads.projector(self.encoder.width, self.projector, norm=self.projector_norm)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return encoder, projector if any, and rows that start as torch's linear layer."""
        encoder_key, projector_key, head_key = jax.random.split(key, 3)
        encoder, encoder_stats = self.encoder.init(encoder_key, shape)
        projector, projector_stats = self.projection.init(projector_key, (1, self.encoder.width))
        params: dict[str, Any] = {"encoder": encoder, "projector": projector}
        extra: dict[str, Any] = {"encoder": encoder_stats, "projector": projector_stats}
        if self.learn_scale:
            params["log_scale"] = jnp.log(jnp.asarray(self.scale, jnp.float32))
        size = self.num_images, self.projection.width
        if self.head == "full":
            params["head"] = jax.jit(initial_head, static_argnums=(1, 2))(head_key, *size)
        else:
            extra["head"] = fresh_rows(
                head_key, *size, dtype=self.head_dtype, moments_dtype=self.moments_dtype
            )
        return params, extra

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return the cross-entropy over all images; a blockwise head takes its step at once."""
        network = chain(encoder=self.encoder, projector=self.projection)
        features, stats = network.apply(params, extra, batch.views[0], train=True)
        if self.normalise:
            features = heads.unit_length(features)
        features = features * (jnp.exp(params["log_scale"]) if self.learn_scale else self.scale)
        smoothing = self.label_smoothing
        if self.head == "full":
            loss = diet_loss(features, params["head"], batch.indices, label_smoothing=smoothing)
            extra = extra | stats
        else:
            loss, rows = blockwise_cross_entropy(
                features,
                extra["head"],
                batch.indices,
                partial(self._update, key, step),
                num_classes=self.num_images,
                label_smoothing=smoothing,
                block=self.block,
            )
            extra = extra | stats | {"head": rows}
        return loss, (extra, {"nats_above_floor": loss - loss_floor(self.num_images, smoothing)})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output, and the projection if there is a projector."""
        output, projection = encode(self.encoder, self.projection, params, extra, images)
        return Features(output, projection if self.projector else None)

    def _update(self, key: Array, step: Array, rows: Rows, gradient: Array, place: Array) -> Rows:
        """AdamW in float32 on a block of rows; what is stored in bfloat16 is rounded at random."""
        assert self.row_optimizer is not None
        rows32 = Rows(*(x.astype(gradient.dtype) for x in rows))
        updated = self.row_optimizer.update(rows32, gradient, step)
        return stochastically_rounded(updated, rows, jax.random.fold_in(key, place))
