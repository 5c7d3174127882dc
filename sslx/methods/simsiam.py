"""SimSiam: a view's prediction of the other, which gets no gradient (Chen & He, CVPR 2021).

Algorithm 1, between -1 and 1:

    loss = -(mean cos(p1, z2) + mean cos(p2, z1)) / 2

As the official code:

- Projector: three layers, batch norm after each, the last without scale and offset; no biases.
- Predictor: Linear - BN - ReLU - Linear (bias), a bottleneck of a quarter. Its rate is constant, as
  in the README's run (`config.optimizer.groups`); the paper's text has a run where it decays.
- Weight decay acts on everything, batch norm and biases included.

A collapse shows in `output_std`: the standard deviation of the projections at unit length, times
sqrt(k); near 1 is healthy, 0 is collapsed, while the loss is at its best.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.views.views import Crop, Views, two_views


def simsiam_loss(
    p1: Array, p2: Array, z1: Array, z2: Array, *, stop_gradient: bool = True
) -> Array:
    """Return SimSiam's loss of predictions p and projections z [B, k] of two views.

    Without the stop-gradient it collapses.
    """
    chex.assert_rank([p1, p2, z1, z2], 2)
    chex.assert_equal_shape([p1, p2, z1, z2])
    if stop_gradient:
        z1, z2 = jax.lax.stop_gradient((z1, z2))
    p1, p2, z1, z2 = (heads.unit_length(x) for x in (p1, p2, z1, z2))
    return -(jnp.mean(jnp.sum(p1 * z2, axis=1)) + jnp.mean(jnp.sum(p2 * z1, axis=1))) / 2


@dataclass(frozen=True)
class Method:
    """SimSiam; the embedding is the projection."""

    encoder: Network
    crops: dict[str, Crop]
    projector: tuple[int, ...] = (2048, 2048, 2048)  # widths; 0: the encoder's
    predictor: tuple[int, ...] = (512,)  # hidden widths; its output is as wide as the projection
    stop_gradient: bool = True

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The projector."""
        widths = heads.fill_in(self.projector, self.encoder.width)
        return heads.mlp(widths, last_norm=True, last_norm_scale=False)

    @property
    def network(self) -> Network:
        """Encoder and projector."""
        return chain(encoder=self.encoder, projector=self.head)

    @property
    def prediction(self) -> Network:
        """The predictor."""
        return heads.mlp((*self.predictor, self.head.width), last_bias=True)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return network and predictor, and their batch statistics."""
        network_key, predictor_key = jax.random.split(key)
        params, stats = self.network.init(network_key, shape)
        predictor, predictor_stats = self.prediction.init(predictor_key, (1, self.head.width))
        return params | {"predictor": predictor}, stats | {"predictor": predictor_stats}

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return SimSiam's loss of the global batch."""
        (z1, z2), stats = apply_to_views(self.network, params, extra, batch.views, groups=1)
        (p1, p2), predictor_stats = apply_to_views(
            self.prediction, params["predictor"], extra["predictor"], (z1, z2), groups=1
        )
        loss = simsiam_loss(p1, p2, z1, z2, stop_gradient=self.stop_gradient)
        std = jnp.std(heads.unit_length(z1), axis=0).mean() * jnp.sqrt(z1.shape[1])
        return loss, (stats | {"predictor": predictor_stats}, {"output_std": std})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output and the projection."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
