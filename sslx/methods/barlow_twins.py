"""Barlow Twins: the cross-correlation matrix of two views becomes the identity (Zbontar et al.,
ICML 2021, equation 1).

    loss = s * ( sum_j (C_jj - 1)^2 + w * sum_{j != k} C_jk^2 ),    C = normalised(z1)^T
    normalised(z2) / B

| | official code | here |
|---|---|---|
| normalised | batch norm without scale and offset: biased variance, 1e-5 under the root | the same |
| gradient | divided by the number of processes: its all-reduce has none | the loss's own, on any devices |
| scale s | 1 (once 1/32; solo-learn 0.1 on CIFAR, vissl 0.024) | `scale`; LARS hides it for weights |
| projector | Linear - BN - ReLU twice, Linear; no biases; 8192 wide | the same; batch norm per view |

The official rate 0.0048 of biases and batch norm, against 0.2 of weights, was found with that
divided gradient."""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.method import Array, Batch, Extra, Features, Logs, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.views.views import Crop, Views, two_views


def barlow_twins_loss(z1: Array, z2: Array, *, weight: float) -> Array:
    """Barlow Twins' loss of embeddings [B, D] of two views, scale 1.

    Raises ValueError for a batch of 1.
    """
    diagonal, off_diagonal = barlow_twins_terms(z1, z2)
    return diagonal + weight * off_diagonal


def barlow_twins_terms(z1: Array, z2: Array) -> tuple[Array, Array]:
    """The sums of (C_jj - 1)^2 and of C_jk^2 beside the diagonal."""
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    batch, width = z1.shape
    if batch < 2:
        raise ValueError(
            "Barlow Twins' loss needs a batch of 2 images or more: one has no correlation."
        )
    correlation = jnp.matmul(_normalised(z1).T, _normalised(z2), precision="highest") / batch
    on = jnp.eye(width, dtype=bool)
    return jnp.sum(jnp.where(on, correlation - 1.0, 0.0) ** 2), jnp.sum(
        jnp.where(on, 0.0, correlation) ** 2
    )


def _normalised(z: Array) -> Array:
    z = z - z.mean(axis=0)
    return z * jax.lax.rsqrt(jnp.mean(z**2, axis=0) + 1e-5)


@dataclass(frozen=True)
class Method:
    """Barlow Twins; the embedding is the projector's output."""

    encoder: Network
    crops: dict[str, Crop]
    weight: float = 0.0051
    scale: float = 1.0
    projector: tuple[int, ...] = (8192, 8192, 8192)  # widths; 0: the encoder's

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The projector."""
        return heads.mlp(heads.fill_in(self.projector, self.encoder.width))

    @property
    def network(self) -> Network:
        """Encoder and projector."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """The network and its batch statistics."""
        return self.network.init(key, shape)

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """The loss of the global batch; its two sums are logged."""
        (z1, z2), extra = apply_to_views(self.network, params, extra, batch.views, groups=1)
        diagonal, off_diagonal = barlow_twins_terms(z1, z2)
        loss = self.scale * (diagonal + self.weight * off_diagonal)
        return loss, (extra, {"diagonal": diagonal, "off_diagonal": off_diagonal})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Encoder output and embedding."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
