"""VICReg: views agree, and the embedding's dimensions vary without covarying (Bardes et al., ICLR
2022, section 4).

    loss = i * mean((z1 - z2)^2) + v * (hinge(z1) + hinge(z2)) / 2 + c * (offdiagonal(z1) +
    offdiagonal(z2))

    hinge(z) = mean over dimensions of max(0, 1 - sqrt(var + 1e-4)),   offdiagonal(z) = sum_{j != k}
    cov_jk^2 / D

| | paper, and solo-learn | official code, and here |
|---|---|---|
| variance term | hinge(z1) + hinge(z2) | their mean; the paper's by `halve_variance=False` |
| expander | - | Linear - BN - ReLU twice, Linear without bias; 8192 wide |
| variance, covariance | over B - 1 | the same, of the global batch; batch norm sees each view by itself |
"""

from dataclasses import dataclass
from typing import NamedTuple

import chex
import jax.numpy as jnp

from sslx.method import Array, Batch, Extra, Features, Logs, Params
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
    """VICReg's loss of embeddings [B, D] of two views. Raises ValueError for a batch of 1."""
    return _weighted(
        vicreg_terms(z1, z2), invariance, variance if halve_variance else 2 * variance, covariance
    )


def vicreg_terms(z1: Array, z2: Array) -> Terms:
    """The three terms of embeddings [B, D] of two views, as the official code has them."""
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    if len(z1) < 2:
        raise ValueError(
            "VICReg's loss needs a batch of 2 images or more: one has neither variance nor "
            "covariance."
        )
    (hinge1, off1), (hinge2, off2) = (_spread(z) for z in (z1, z2))
    return Terms(jnp.mean((z1 - z2) ** 2), (hinge1 + hinge2) / 2, off1 + off2)


def _weighted(terms: Terms, invariance: float, variance: float, covariance: float) -> Array:
    return invariance * terms.invariance + variance * terms.variance + covariance * terms.covariance


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
    halve_variance: bool = True
    projector: tuple[int, ...] = (8192, 8192, 8192)  # widths; 0: the encoder's

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The expander."""
        return heads.mlp(
            heads.fill_in(self.projector, self.encoder.width), bias=True, last_bias=False
        )

    @property
    def network(self) -> Network:
        """Encoder and expander."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """The network and its batch statistics."""
        return self.network.init(key, shape)

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """VICReg's loss of the global batch; its three terms are logged before their coefficients."""
        (z1, z2), extra = apply_to_views(self.network, params, extra, batch.views, groups=1)
        terms = vicreg_terms(z1, z2)
        variance = self.variance if self.halve_variance else 2 * self.variance
        return _weighted(terms, self.invariance, variance, self.covariance), (
            extra,
            terms._asdict(),
        )

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Encoder output and embedding."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
