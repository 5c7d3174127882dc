"""data2vec: predict a teacher's contextual features of hidden patches (Baevski et al., ICML 2022).

LN has no parameters and eps 1e-5; smooth L1 is quadratic below beta; the mean is over all hidden
patches of the batch and their features:

    target = LN(mean over the last blocks l of LN(teacher's patches after block l))
    loss = mean of smooth L1(prediction - target)

The student sees a mask token in place of hidden patches, the teacher the whole image. The teacher
follows after each step, t <- m t + (1 - m) s. As the official code, where folklore and other codes
differ:

- Targets are normalised, averaged, normalised (stable-pretraining: block outputs as they are,
  normalised once), from before the network's last norm, without the class token.
- Masks are BEiT's blocks, not uniform: 120 of 196 are wanted, 119.5 reached on average.
- beta is 2, as in the published runs; the parser's default is 0.12.
- The teacher's momentum is constant: the published flags (ema_start_at 0) never reach the ramp. The
  teacher is in eval mode: no drop path.
- Weight decay acts also on mask token and relative positions, not on biases, norms, class token.

Left out: dropout of attention weights (0.05 in the published run), which
`jax.nn.dot_product_attention` does not have.
"""

from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.hints import check_choice, check_positive
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, grid_of, heads
from sslx.training.schedules import Durations, cosine
from sslx.views.masks import BlockWise
from sslx.views.views import Crop, Views, one_view

NETWORKS = ("student", "teacher")


def build_targets(
    layers: Array, *, normalise_layers: bool = True, normalise_average: bool = True
) -> Array:
    """Return targets [B, N, D] from the teacher's patches after some blocks [L, B, N, D]."""
    chex.assert_rank(layers, 4)
    average = jnp.mean(heads.layer_norm(layers) if normalise_layers else layers, axis=0)
    return heads.layer_norm(average) if normalise_average else average


def data2vec_loss(
    prediction: Array, target: Array, masked: Array | None = None, *, beta: float
) -> Array:
    """Return the mean smooth L1 of predictions and targets [..., D].

    With `masked` [...] it is that of the patches marked there. Targets get no gradient. Raises
    ValueError for a beta that is not above 0.
    """
    chex.assert_equal_shape([prediction, target])
    check_positive("beta", beta, "data2vec's is 2")
    each = optax.huber_loss(prediction, jax.lax.stop_gradient(target), delta=beta) / beta
    if masked is None:
        return jnp.mean(each)
    # An empty selection has loss 0, not NaN.
    return jnp.sum(each * masked[..., None]) / (jnp.maximum(jnp.sum(masked), 1) * each.shape[-1])


@dataclass(frozen=True)
class Method:
    """data2vec; there is no embedding, the loss reads the patches."""

    encoder: Network
    crops: dict[str, Crop]
    masks: dict[str, Any]
    durations: Durations
    # The published ViT-B run
    beta: float = 2.0  # where smooth L1 turns from a square into a line
    target_blocks: int = 6  # the teacher's last blocks, whose mean is the target
    normalise_layers: bool = True
    normalise_average: bool = True
    momentum: float = 0.9998  # of the teacher; lower for short runs
    momentum_end: float = 0.9998  # reached by a cosine over the run
    features_of: str = "student"  # or teacher
    pool: str = ""  # of the features: class, mean, class+mean, class4; empty: config.model's

    def __post_init__(self) -> None:
        check_choice("config.method.features_of", self.features_of, NETWORKS)

    @property
    def views(self) -> Views:
        """One crop of each image, and which of its patches are hidden."""
        grid = grid_of(self.encoder, one_view(self.crops).crops[0].size, "data2vec")
        return one_view(self.crops, BlockWise(grid, **self.masks))

    @property
    def regressor(self) -> Network:
        """One linear layer from the student's patches to targets."""
        return heads.mlp((self.encoder.width,), bias=True, init="truncated_0.02")

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return student, mask token, linear layer, and a teacher that equals the student."""
        keys = jax.random.split(key, 3)
        encoder, _ = self.encoder.init(keys[0], shape)
        regressor, _ = self.regressor.init(keys[1], (1, self.encoder.width))
        token = 0.02 * jax.random.truncated_normal(keys[2], -1, 1, (1, 1, self.encoder.width))
        student = {"encoder": encoder, "mask_token": token, "regressor": regressor}
        return student, {"teacher": {"encoder": encoder, "mask_token": jnp.copy(token)}}

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return data2vec's loss of the global batch."""
        (images,), masked = batch.views, batch.masks
        hidden = (params["mask_token"][0, 0], masked)
        tokens, _ = self.encoder.apply(
            params["encoder"], {}, images, train=True, key=key, masked=hidden, returns="tokens"
        )
        prediction, _ = self.regressor.apply(params["regressor"], {}, tokens, train=True)
        layers, _ = self.encoder.apply(
            extra["teacher"]["encoder"], {}, images, train=False, returns="layers"
        )
        if not 1 <= self.target_blocks <= len(layers):
            raise ValueError(
                f"config.method.target_blocks is {self.target_blocks}; the network has 1 to "
                f"{len(layers)} of them."
            )
        target = build_targets(
            layers[-self.target_blocks :],
            normalise_layers=self.normalise_layers,
            normalise_average=self.normalise_average,
        )
        loss = data2vec_loss(prediction, target, masked, beta=self.beta)
        # Targets are normalised per patch: a collapse would end that they differ between patches.
        logs = {
            "target_std": jnp.mean(jnp.std(target, axis=(0, 1))),
            "momentum": self._momentum(step),
            "prediction_std": jnp.mean(jnp.std(prediction, axis=(0, 1))),
        }
        return loss, (extra, logs)

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Let the teacher follow the student."""
        teacher = extra["teacher"]
        student = {name: params[name] for name in teacher}
        followed = optax.incremental_update(student, teacher, 1 - self._momentum(step))
        return params, {"teacher": followed}

    def features(
        self, params: Params, extra: Extra, images: Array, masks: Array | None = None
    ) -> Features:
        """Return pooled output of the network that `features_of` names, with patches hidden."""
        network = self._network_of_features(params, extra)
        options: dict[str, Any] = {"pool": self.pool or None}
        if masks is not None:
            options["masked"] = (network["mask_token"][0, 0], masks)
        pooled, _ = self.encoder.apply(network["encoder"], {}, images, train=False, **options)
        return Features(pooled, None)

    def encoder_params(self, params: Params, extra: Extra) -> Params:
        """Return the encoder that `features` reads."""
        return self._network_of_features(params, extra)["encoder"]

    def _network_of_features(self, params: Params, extra: Extra) -> Params:
        return params if self.features_of == "student" else extra["teacher"]

    def _momentum(self, step: Array) -> Array:
        return cosine(self.momentum, self.momentum_end, self.durations.total)(step)
