"""DIET: every image is its own class (Balestriero, arXiv 2302.10260; Gan et al., TMLR 2025).

    loss = - sum_j t_j log softmax(W f(x_i))_j,     t_j = (1 - s) [j = i] + s / N

One augmented view x_i of image i, one branch, a linear head W [N, D] without bias over all N
images, and label smoothing s = 0.8 (torch's convention: the true class has its share of s too). No
temperature, no normalisation. The loss starts near ln N and cannot fall below the entropy of t;
only its distance to that floor says anything. After training W is dropped; with a blockwise head
the logged `gradient_norm` is that of all but W. A projector, unit length and a scale between f and
W are not DIET's, but at hand.

| head | what is held for W | for |
|---|---|---|
| full | W, its gradient and moments, and B x N logits, on every device | the definition; small N; any optimizer |
| blockwise | W and its moments, split over the devices | any N; the same loss and AdamW steps, to rounding |
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp

from sslx.method import Array, Batch, Extra, Features, Logs, Params
from sslx.methods.instance_head.blockwise import blockwise_cross_entropy, fresh_rows
from sslx.methods.instance_head.rows import (
    PLAIN,
    RowAdamW,
    Rows,
    initial_head,
    loss_floor,
    stochastically_rounded,
)
from sslx.models import Network, heads
from sslx.views.views import Crop, Views, one_view

HEADS = ("full", "blockwise")
DTYPES = ("float32", "bfloat16")


def diet_loss(features: Array, head: Array, index: Array, *, label_smoothing: float) -> Array:
    """Mean cross-entropy of features [B, D] against rows `index` [B] of the head [N, D], over all N
    classes.
    """
    chex.assert_rank([features, head, index], [2, 2, 1])
    log_probability = jax.nn.log_softmax(features @ head.T)
    own = jnp.take_along_axis(log_probability, index[:, None], axis=1)
    return -jnp.mean(
        (1 - label_smoothing) * own[:, 0] + label_smoothing * jnp.mean(log_probability, axis=1)
    )


@dataclass(frozen=True)
class Method:
    """DIET; the head reads the representation, or the projection of it where `projector` names
    widths.
    """

    encoder: Network
    crops: dict[str, Crop]
    num_images: int
    row_optimizer: RowAdamW | None  # of the blockwise head
    label_smoothing: float = 0.8
    head: str = "full"
    block: int = 4096
    head_dtype: str = "float32"
    moments_dtype: str = "float32"
    projector: tuple[int, ...] = ()
    projector_norm: bool = True
    normalise: bool = False
    scale: float = 1.0
    learn_scale: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for fields that do not go together."""
        for name, value, allowed in (
            ("head", self.head, HEADS),
            ("head_dtype", self.head_dtype, DTYPES),
            ("moments_dtype", self.moments_dtype, DTYPES),
        ):
            if value not in allowed:
                raise ValueError(
                    f"config.method.{name} is {value!r}; it takes {' or '.join(allowed)}."
                )
        if self.block < 1 or self.scale <= 0:
            raise ValueError(
                f"config.method.block ({self.block}) and .scale ({self.scale}) must be above 0."
            )
        if self.head == "blockwise" and self.row_optimizer is None:
            raise ValueError(
                "config.method.head='blockwise' applies AdamW block by block, without its whole "
                "gradient: it needs "
                f"{PLAIN}, or --config.method.head=full."
            )
        if self.head == "full" and "bfloat16" in (self.head_dtype, self.moments_dtype):
            raise ValueError(
                "config.method.head_dtype and .moments_dtype are of --config.method.head=blockwise."
            )

    @property
    def views(self) -> Views:
        """One crop of each image."""
        return one_view(self.crops)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Encoder, projector if any, and head rows with torch's default linear initialisation
        U(+-1/sqrt(D)).
        """
        encoder_key, projector_key, head_key = jax.random.split(key, 3)
        params: dict[str, Any] = {}
        stats: dict[str, Any] = {}
        params["encoder"], stats["encoder"] = self.encoder.init(encoder_key, shape)
        params["projector"], stats["projector"] = self._projector.init(
            projector_key, (1, self.encoder.width)
        )
        width = self._projector.width
        if self.learn_scale:
            params["log_scale"] = jnp.log(jnp.asarray(self.scale, jnp.float32))
        if self.head == "full":
            draw = jax.jit(initial_head, static_argnums=(1, 2))
            return params | {"head": draw(head_key, self.num_images, width)}, stats
        dtypes = {"dtype": self.head_dtype, "moments_dtype": self.moments_dtype}
        return params, stats | {"head": fresh_rows(head_key, self.num_images, width, **dtypes)}

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """Cross-entropy over all images of the training split; a blockwise head takes its step at
        once.
        """
        _, features, extra = self._project(params, extra, batch.views[0], train=True)
        if self.normalise:
            features = heads.unit_length(features)
        features = features * (jnp.exp(params["log_scale"]) if self.learn_scale else self.scale)
        if self.head == "full":
            loss = diet_loss(
                features, params["head"], batch.indices, label_smoothing=self.label_smoothing
            )
        else:
            loss, rows = blockwise_cross_entropy(
                features,
                extra["head"],
                batch.indices,
                partial(self._update, key, step),
                num_classes=self.num_images,
                label_smoothing=self.label_smoothing,
                block=self.block,
            )
            extra = extra | {"head": rows}
        return loss, (
            extra,
            {"nats_above_floor": loss - loss_floor(self.num_images, self.label_smoothing)},
        )

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Encoder output, and the projection if there is a projector."""
        features, projection, _ = self._project(params, extra, images, train=False)
        return Features(features, projection if self.projector else None)

    @property
    def _projector(self) -> Network:
        return heads.projector(self.encoder.width, self.projector, norm=self.projector_norm)

    def _project(
        self, params: Params, extra: Extra, images: Array, *, train: bool
    ) -> tuple[Array, Array, Extra]:
        features, encoder = self.encoder.apply(
            params["encoder"], extra["encoder"], images, train=train
        )
        projection, projector = self._projector.apply(
            params["projector"], extra["projector"], features, train=train
        )
        return features, projection, extra | {"encoder": encoder, "projector": projector}

    def _update(self, key: Array, step: Array, rows: Rows, gradient: Array, place: Array) -> Rows:
        """AdamW in float32 on a block of rows; what is stored in bfloat16 is rounded at random."""
        assert self.row_optimizer is not None
        rows32 = Rows(*(x.astype(gradient.dtype) for x in rows))
        updated = self.row_optimizer.update(rows32, gradient, step)
        return stochastically_rounded(updated, rows, jax.random.fold_in(key, place))
