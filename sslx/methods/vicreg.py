"""VICReg: views agree, dimensions vary without covarying (Bardes et al., ICLR 2022, section 4).

    loss = i mean((z1 - z2)^2) + v (hinge(z1) + hinge(z2)) / 2 + c (off(z1) + off(z2))
    hinge(z) = mean over dimensions of max(0, 1 - sqrt(var + 1e-4))
    off(z) = sum_{j != k} cov_jk^2 / D

As the official code. The paper and solo-learn have the sum of the hinges instead of their mean:
`halve_variance=False`. Variance and covariance are over B - 1 and of the global batch; batch norm
sees each view by itself. The expander is Linear - BN - ReLU twice, Linear without bias; 8192 wide.
"""

from dataclasses import dataclass
from typing import NamedTuple

import chex
import jax.numpy as jnp

from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.views.views import Crop, Views, two_views


class Terms(NamedTuple):
    """The loss's three terms, before their coefficients."""

    invariance: Array
    variance: Array
    covariance: Array


def vicreg_loss(
    z1: Array,
    z2: Array,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
    halve_variance: bool = True,
) -> Array:
    """Return VICReg's loss of embeddings [B, D] of two views; ValueError for a batch of 1."""
    terms = vicreg_terms(z1, z2)
    variance = variance if halve_variance else 2 * variance
    return invariance * terms.invariance + variance * terms.variance + covariance * terms.covariance


def vicreg_terms(z1: Array, z2: Array) -> Terms:
    """Return the three terms of embeddings [B, D] of two views, as the official code has them."""
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    if len(z1) < 2:
        raise ValueError(
            "VICReg's loss needs a batch of 2 images or more: one has neither variance nor "
            "covariance."
        )
    (hinge1, off1), (hinge2, off2) = (_spread(z) for z in (z1, z2))
    return Terms(jnp.mean((z1 - z2) ** 2), (hinge1 + hinge2) / 2, off1 + off2)


def _spread(z: Array) -> tuple[Array, Array]:
    batch, width = z.shape
    z = z - z.mean(axis=0)
    covariance = jnp.matmul(z.T, z, precision="highest") / (batch - 1)
    std = jnp.sqrt(jnp.sum(z**2, axis=0) / (batch - 1) + 1e-4)
    off_diagonal = jnp.where(jnp.eye(width, dtype=bool), 0.0, covariance)
    return jnp.mean(jnp.maximum(1.0 - std, 0.0)), jnp.sum(off_diagonal**2) / width


@dataclass(frozen=True)
class Method:
    """VICReg; the embedding is the expander's output."""

    encoder: Network
    crops: dict[str, Crop]
    invariance: float = 25.0
    variance: float = 25.0
    covariance: float = 1.0
    # The official code's term; False: the paper's and solo-learn's, twice that
    halve_variance: bool = True
    projector: tuple[int, ...] = (8192, 8192, 8192)  # widths; 0: the encoder's

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The expander."""
        widths = heads.fill_in(self.projector, self.encoder.width)
        return heads.mlp(widths, bias=True, last_bias=False)

    @property
    def network(self) -> Network:
        """Encoder and expander."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return the network and its batch statistics."""
        return self.network.init(key, shape)

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return the loss of the global batch; its terms are logged before their coefficients."""
        (z1, z2), extra = apply_to_views(self.network, params, extra, batch.views, groups=1)
        loss = vicreg_loss(
            z1,
            z2,
            invariance=self.invariance,
            variance=self.variance,
            covariance=self.covariance,
            halve_variance=self.halve_variance,
        )
        return loss, (extra, vicreg_terms(z1, z2)._asdict())

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output and the embedding."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
