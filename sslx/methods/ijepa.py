"""I-JEPA: predict a teacher's features of an image's blocks from the rest (Assran, CVPR 2023).

LN has no parameters and eps 1e-5; the mean is over blocks, patches and features:

    target = LN(teacher's patches of the whole image) in the target blocks
    loss = mean of smooth L1(predictor(context encoder(visible patches)) - target)

The teacher, called target encoder, follows after each step, t <- m t + (1 - m) s, with m from 0.996
to 1 on a line. As the official code, where paper and folklore differ:

- Smooth L1 with beta 1, not an L2 distance.
- Positions of encoder and predictor are fixed sines and cosines, the column first; not learned.
- Each target block is a sequence of its own behind the context; they are not predicted together.
- One draw for scale and aspect of a block, with `config.masks.kind="reference"`.
- Initialisation: 0.02 in all layers; the code undoes the division by sqrt(2 layer).
- The teacher's momentum is a line, not a cosine, and used after the step.
- Learning rate and weight decay are those of the next step: `config.optimizer.schedule="shifted"`.
- Weight decay acts also on the mask token, not on biases and norms.
- Augmentation is a crop and nothing else: no flip, no colour.

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

from sslx.hints import check_choice
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, grid_of, heads
from sslx.models.predictor import predictor
from sslx.training.schedules import Durations, linear
from sslx.views.masks import MultiBlock, MultiBlockMasks
from sslx.views.views import Crop, Views, one_view

NETWORKS = ("context", "target", "predictor")


def ijepa_loss(prediction: Array, target: Array, used: Array | None = None) -> Array:
    """Return I-JEPA's loss of predictions and the target encoder's patches [..., D].

    The target is normalised here and gets no gradient. With `used` [...] the loss is that of the
    patches marked there.
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
    # The published ViT-H run
    predictor_width: int = 384
    predictor_depth: int = 12
    predictor_heads: int = 12
    predictor_mlp_ratio: float = 4.0
    predictor_init: str = "ijepa"  # fan_in for a narrow one, see sslx/models/vit.py
    predictor_dtype: str = "float32"
    momentum: float = 0.996  # of the target encoder
    momentum_end: float = 1.0  # reached by a line over the run
    # What LiDAR and probes read: context, target (encoders); predictor: mean over target patches
    features_of: str = "context"
    pool: str = ""  # of the features: class, mean, class+mean, class4; empty: config.model's

    def __post_init__(self) -> None:
        check_choice("config.method.features_of", self.features_of, NETWORKS)

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
        """Return context encoder, predictor, and a target encoder that equals the former."""
        encoder_key, predictor_key = jax.random.split(key)
        encoder, _ = self.encoder.init(encoder_key, shape)
        predicting, _ = self.predictor.init(predictor_key, (1, 1, self.encoder.width))
        return {"encoder": encoder, "predictor": predicting}, {"teacher": encoder}

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return I-JEPA's loss of the global batch."""
        (images,) = batch.views
        masks: Any = batch.masks
        prediction = self._predict(params, images, masks, train=True, key=key)
        tokens, _ = self.encoder.apply(extra["teacher"], {}, images, train=False, returns="tokens")
        target = jax.vmap(lambda patches, chosen: patches[chosen])(tokens, masks.targets)
        loss = ijepa_loss(prediction, target, masks.targets_used)
        # Targets are normalised per patch: a collapse would end that they differ between patches.
        logs = {
            "target_std": jnp.mean(jnp.std(heads.layer_norm(tokens), axis=(0, 1))),
            "momentum": self._momentum(step),
            "context_patches": jnp.mean(jnp.sum(masks.context_used, axis=1)),
        }
        return loss, (extra, logs)

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Let the target encoder follow the context encoder."""
        teacher, way = extra["teacher"], 1 - self._momentum(step)
        return params, {"teacher": optax.incremental_update(params["encoder"], teacher, way)}

    def features(
        self, params: Params, extra: Extra, images: Array, masks: MultiBlockMasks | None = None
    ) -> Features:
        """Return pooled output of the network that `features_of` names.

        It sees the context patches; without masks, all patches.
        """
        if self.features_of == "predictor":
            masks = self._all_patches(len(images)) if masks is None else masks
            predicted = self._predict(params, images, masks, train=False)
            used = masks.targets_used[..., None]
            return Features(jnp.mean(predicted, axis=(1, 2), where=used), None)
        encoder = self.encoder_params(params, extra)
        options: dict[str, Any] = {"pool": self.pool or None}
        if masks is not None:
            options |= {"keep": masks.context, "used": masks.context_used}
        return Features(self.encoder.apply(encoder, {}, images, train=False, **options)[0], None)

    def encoder_params(self, params: Params, extra: Extra) -> Params:
        """Return the encoder that `features` reads."""
        return extra["teacher"] if self.features_of == "target" else params["encoder"]

    def _predict(
        self, params: Params, images: Array, masks: MultiBlockMasks, *, train: bool, key: Any = None
    ) -> Array:
        """Features [B, blocks, patches, D] of the target patches, from the context patches."""
        tokens, _ = self.encoder.apply(
            params["encoder"],
            {},
            images,
            train=train,
            key=key,
            returns="tokens",
            keep=masks.context,
            used=masks.context_used,
        )
        predicted, _ = self.predictor.apply(
            params["predictor"],
            {},
            tokens,
            train=train,
            context=masks.context,
            used=masks.context_used,
            targets=masks.targets,
            targets_used=masks.targets_used,
        )
        return predicted

    def _all_patches(self, batch: int) -> MultiBlockMasks:
        """All patches as context, and as one target block."""
        every = jnp.broadcast_to(jnp.arange(self.grid**2), (batch, self.grid**2))
        seen = jnp.ones(every.shape, bool)
        return MultiBlockMasks(every, seen, every[:, None], seen[:, None])

    def _momentum(self, step: Array) -> Array:
        return linear(self.momentum, self.momentum_end, self.durations.total)(step)
