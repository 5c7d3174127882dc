"""Spectral contrastive learning: factors of views' co-occurrence (HaoChen, NeurIPS 2021).

Equation 6:

    loss = (-2 mean_i z1_i . z2_i + mean_{i != j} (z1_i . z2_j)^2) / mu

As the official code:

- Rows of norm above sqrt(mu) are scaled back to it, shorter ones stay; the paper projects all.
- Negatives are the other view of other images alone, no z1 . z1.
- Head: Linear (bias) - BN - ReLU, Linear (bias) - BN; ImageNet has three layers of 8192.

Otherwise than there, the representation is the encoder's output, not the head's, and the first step
of the warm-up does not have the full rate, which it has there by the order of two calls.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.hints import check_positive
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.views.views import Crop, Views, two_views


def spectral_contrastive_loss(z1: Array, z2: Array, *, mu: float) -> Array:
    """Return the spectral contrastive loss of embeddings [B, k] of two views.

    Raises ValueError for a batch of 1, or mu not above 0.
    """
    attraction, repulsion = spectral_terms(z1, z2, mu=mu)
    return attraction + repulsion


def spectral_terms(z1: Array, z2: Array, *, mu: float) -> tuple[Array, Array]:
    """Return the two terms of the loss, both over mu."""
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    check_positive("mu", mu, "the official recipes have 1 and 10")
    batch = len(z1)
    if batch < 2:
        raise ValueError(
            "The spectral contrastive loss needs a batch of 2 images or more: one has no negatives."
        )
    z1, z2 = _into_ball(z1, mu), _into_ball(z2, mu)
    products = jnp.matmul(z1, z2.T, precision="highest")
    negatives = jnp.where(jnp.eye(batch, dtype=bool), 0.0, products)
    return -2 * jnp.sum(z1 * z2) / batch / mu, jnp.sum(negatives**2) / (batch * (batch - 1)) / mu


def _into_ball(z: Array, mu: float) -> Array:
    squared = jnp.sum(z**2, axis=1, keepdims=True)
    return z * jnp.where(squared < mu, 1.0, jnp.sqrt(mu) * jax.lax.rsqrt(jnp.maximum(squared, mu)))


@dataclass(frozen=True)
class Method:
    """Spectral contrastive learning; the embedding is the head's output."""

    encoder: Network
    crops: dict[str, Crop]
    # The CIFAR recipe; ImageNet's has mu 10 and three layers of 8192
    mu: float = 1.0
    projector: tuple[int, ...] = (2048, 1000)  # widths; 0: the encoder's

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The head; batch norm after its last layer too."""
        widths = heads.fill_in(self.projector, self.encoder.width)
        return heads.mlp(widths, bias=True, last_norm=True, last_norm_bias=True)

    @property
    def network(self) -> Network:
        """Encoder and head."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return the network and its batch statistics."""
        return self.network.init(key, shape)

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return the loss of the global batch; its two terms are logged."""
        (z1, z2), extra = apply_to_views(self.network, params, extra, batch.views, groups=1)
        attraction, repulsion = spectral_terms(z1, z2, mu=self.mu)
        loss = spectral_contrastive_loss(z1, z2, mu=self.mu)
        return loss, (extra, {"attraction": attraction, "repulsion": repulsion})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output and the embedding."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
