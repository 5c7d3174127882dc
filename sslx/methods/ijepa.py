"""I-JEPA: predict a teacher's features of blocks of an image from its other patches (Assran et al.,
CVPR 2023).

    target = LN(teacher's patches of the whole image) in the target blocks,   LN without parameters,
    eps 1e-5 loss   = mean over blocks, patches and features of smooth L1 (predictor(context
    encoder(visible patches)) - target)

The teacher, called target encoder, follows after each step, t <- m t + (1 - m) s, with m from 0.996
to 1 on a line.

| | paper, folklore | official code, and here |
|---|---|---|
| loss | an L2 distance | smooth L1 with beta 1 |
| positions | learned | fixed sines and cosines, the column first; of encoder and predictor |
| target blocks | predicted together | each is a sequence of its own behind the context |
| scale and aspect of a block | independent | one draw for both, with `config.masks.kind="reference"` |
| initialisation | layers divided by sqrt(2 layer) | undone by the code: 0.02 in all layers |
| teacher's momentum | cosine | a line, used after the step |
| rate and decay | | the values of the next step: `config.optimizer.schedule="shifted"` |
| weight decay | | also on the mask token, not on biases and norms |
| augmentation | | a crop, nothing else: no flip, no colour |

What differs here: masks are padded to a fixed size, and padding is left out of attention and loss,
where the reference cuts a batch to its smallest context. So nothing is compiled twice. Nor are the
default masks the reference's, see sslx/views/masks.py.
"""

from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.method import Array, Batch, Extra, Features, Logs, Params
from sslx.models import Network, grid_of, heads
from sslx.models.predictor import predictor
from sslx.training.schedules import Durations, linear
from sslx.views.masks import MultiBlock, MultiBlockMasks
from sslx.views.views import Crop, Views, one_view

NETWORKS = ("context", "target", "predictor")


def ijepa_loss(prediction: Array, target: Array, used: Array | None = None) -> Array:
    """I-JEPA's loss of predictions and the target encoder's patches [..., D], normalised here; of
    those `used` [...].

    The target gets no gradient.
    """
    chex.assert_equal_shape([prediction, target])
    each = optax.huber_loss(prediction, heads.layer_norm(jax.lax.stop_gradient(target)))
    return jnp.mean(each, where=None if used is None else used[..., None])


@dataclass(frozen=True)
class Method:
    """I-JEPA; there is no embedding, the loss reads the patches."""

    encoder: Network
    crops: dict[str, Crop]
    masks: dict[str, Any]
    durations: Durations
    predictor_width: int = 384
    predictor_depth: int = 12
    predictor_heads: int = 12
    predictor_mlp_ratio: float = 4.0
    predictor_init: str = "ijepa"  # one of config.model.init's
    predictor_dtype: str = "float32"
    momentum: float = 0.996  # of the target encoder
    momentum_end: float = 1.0  # reached by a line over the run
    features_of: str = (
        "context"  # context, target: the encoder; predictor: its mean over target patches
    )
    pool: str = ""  # class, mean, class+mean, class4; empty: config.model's

    def __post_init__(self) -> None:
        if self.features_of not in NETWORKS:
            raise ValueError(
                f"config.method.features_of is {self.features_of!r}; it takes "
                f"{', '.join(NETWORKS)}."
            )

    @property
    def grid(self) -> int:
        """Patches per side of an image."""
        return grid_of(self.encoder, one_view(self.crops).crops[0].size, "I-JEPA")

    @property
    def views(self) -> Views:
        """One crop of each image, with its context and target patches."""
        return one_view(self.crops, MultiBlock(self.grid, **self.masks))

    @property
    def predictor(self) -> Network:
        """From context patches to target patches."""
        return predictor(
            self.encoder.width,
            self.grid,
            width=self.predictor_width,
            depth=self.predictor_depth,
            heads=self.predictor_heads,
            mlp_ratio=self.predictor_mlp_ratio,
            init=self.predictor_init,
            dtype=self.predictor_dtype,
        )

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Context encoder, predictor, and a target encoder that equals the former."""
        encoder_key, predictor_key = jax.random.split(key)
        encoder, _ = self.encoder.init(encoder_key, shape)
        params = {
            "encoder": encoder,
            "predictor": self.predictor.init(predictor_key, (1, 1, self.encoder.width))[0],
        }
        return params, {"teacher": encoder}

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """I-JEPA's loss of the global batch."""
        (images,) = batch.views
        masks: Any = batch.masks
        prediction = self._predict(params, images, masks, train=True, key=key)
        tokens, _ = self.encoder.apply(extra["teacher"], {}, images, train=False, returns="tokens")
        target = jax.vmap(lambda patches, chosen: patches[chosen])(tokens, masks.targets)
        loss = ijepa_loss(prediction, target, masks.targets_used)
        # Targets are normalised per patch: that they differ between patches is what a collapse
        # would end.
        logs = {
            "target_std": jnp.mean(jnp.std(heads.layer_norm(tokens), axis=(0, 1))),
            "momentum": self._momentum(step),
        }
        return loss, (
            extra,
            logs | {"context_patches": jnp.mean(jnp.sum(masks.context_used, axis=1))},
        )

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """The target encoder follows the context encoder."""
        moved = optax.incremental_update(
            params["encoder"], extra["teacher"], 1 - self._momentum(step)
        )
        return params, {"teacher": moved}

    def features(
        self, params: Params, extra: Extra, images: Array, masks: MultiBlockMasks | None = None
    ) -> Features:
        """Pooled output of the network that `features_of` names, from the context patches; without
        masks, from all.
        """
        if self.features_of == "predictor":
            masks = self._whole(len(images)) if masks is None else masks
            predicted = self._predict(params, images, masks, train=False)
            return Features(
                jnp.mean(predicted, axis=(1, 2), where=masks.targets_used[..., None]), None
            )
        encoder = self.encoder_params(params, extra)
        options: dict[str, Any] = {"pool": self.pool or None}
        if masks is not None:
            options |= {"keep": masks.context, "used": masks.context_used}
        return Features(self.encoder.apply(encoder, {}, images, train=False, **options)[0], None)

    def encoder_params(self, params: Params, extra: Extra) -> Params:
        """The encoder that `features` reads."""
        return extra["teacher"] if self.features_of == "target" else params["encoder"]

    def _predict(
        self, params: Params, images: Array, masks: MultiBlockMasks, *, train: bool, key: Any = None
    ) -> Array:
        context = {"keep": masks.context, "used": masks.context_used}
        options = {"train": train, "key": key, "returns": "tokens"} | context
        tokens, _ = self.encoder.apply(params["encoder"], {}, images, **options)
        asked = {"context": masks.context, "used": masks.context_used}
        asked |= {"targets": masks.targets, "targets_used": masks.targets_used}
        return self.predictor.apply(params["predictor"], {}, tokens, train=train, **asked)[0]

    def _whole(self, batch: int) -> MultiBlockMasks:
        """All patches as context, and as one target block."""
        every = jnp.broadcast_to(jnp.arange(self.grid**2), (batch, self.grid**2))
        seen = jnp.ones(every.shape, bool)
        return MultiBlockMasks(every, seen, every[:, None], seen[:, None])

    def _momentum(self, step: Array) -> Array:
        return linear(self.momentum, self.momentum_end, self.durations.total)(step)
