"""Barlow Twins: two views' cross-correlation becomes the identity (Zbontar et al., ICML 2021).

Equation 1, with n the batch norm without scale and offset (biased variance, 1e-5 under the root):

    loss = s (sum_j (C_jj - 1)^2 + w sum_{j != k} C_jk^2),    C = n(z1)^T n(z2) / B

Where codes differ:

- Gradient: the official code divides it by the number of processes, since its all-reduce has no
  gradient of its own; here it is the loss's, on any number of devices. Its rate 0.0048 of biases
  and batch norm, against 0.2 of weights, was found with the divided gradient.
- Scale s: 1 (once 1/32; solo-learn has 0.1 on CIFAR, vissl 0.024). LARS hides it for weights.
- Projector: Linear - BN - ReLU twice, Linear; no biases; 8192 wide. Batch norm sees each view by
  itself. The same as in the official code.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.views.views import Crop, Views, two_views


def barlow_twins_loss(z1: Array, z2: Array, *, weight: float, scale: float = 1.0) -> Array:
    """Return Barlow Twins' loss of embeddings [B, D] of two views.

    Raises ValueError for a batch of 1.
    """
    diagonal, off_diagonal = barlow_twins_terms(z1, z2)
    return scale * (diagonal + weight * off_diagonal)


def barlow_twins_terms(z1: Array, z2: Array) -> tuple[Array, Array]:
    """Return the sums of (C_jj - 1)^2 and of C_jk^2 beside the diagonal."""
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    batch, width = z1.shape
    if batch < 2:
        raise ValueError(
            "Barlow Twins' loss needs a batch of 2 images or more: one has no correlation."
        )
    correlation = jnp.matmul(_normalised(z1).T, _normalised(z2), precision="highest") / batch
    on = jnp.eye(width, dtype=bool)
    diagonal = jnp.sum(jnp.where(on, correlation - 1.0, 0.0) ** 2)
    return diagonal, jnp.sum(jnp.where(on, 0.0, correlation) ** 2)


def _normalised(z: Array) -> Array:
    z = z - z.mean(axis=0)
    return z * jax.lax.rsqrt(jnp.mean(z**2, axis=0) + 1e-5)


@dataclass(frozen=True)
class Method:
    """Barlow Twins; the embedding is the projector's output."""

    encoder: Network
    crops: dict[str, Crop]
    weight: float = 0.0051  # of the entries beside the diagonal
    scale: float = 1.0  # of the whole loss
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
        """Return the network and its batch statistics."""
        return self.network.init(key, shape)

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return the loss of the global batch; its two sums are logged."""
        (z1, z2), extra = apply_to_views(self.network, params, extra, batch.views, groups=1)
        loss = barlow_twins_loss(z1, z2, weight=self.weight, scale=self.scale)
        diagonal, off_diagonal = barlow_twins_terms(z1, z2)
        return loss, (extra, {"diagonal": diagonal, "off_diagonal": off_diagonal})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output and the embedding."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
