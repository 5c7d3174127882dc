"""SimCLR: two views of an image attract, all others of the batch repel (Chen, ICML 2020).

Equation 1, the mean over the 2B anchors a:

    loss = mean of -log(exp(cos(a, a+) / T) / sum_{b != a} exp(cos(a, b) / T))

- The official code has the sum of both directions, twice this mean: without LARS, our rate is twice
  theirs.
- Projector: Linear - BN - ReLU (the encoder's width), Linear - BN without offset; no biases,
  kernels N(0, 0.01). Version 2 has a third layer: `projector=(0, 0, 128)`. solo-learn's is
  Linear - ReLU - Linear with biases: `projector_norm=False`.
- Batch norm is over both views and all devices.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.hints import check_positive
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.views.views import Crop, Views, two_views


def nt_xent(z1: Array, z2: Array, *, temperature: float) -> Array:
    """Return the mean over 2B anchors of NT-Xent, for projections [B, k] of two views.

    Raises ValueError for a temperature that is not above 0.
    """
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    check_positive("temperature", temperature, "SimCLR's is 0.1 to 0.5")
    z = heads.unit_length(jnp.concatenate([z1, z2]))
    similarity = jnp.matmul(z, z.T, precision="highest") / temperature
    anchors = len(z)
    candidates = jnp.where(jnp.eye(anchors, dtype=bool), -jnp.inf, similarity)
    positive = similarity[jnp.arange(anchors), (jnp.arange(anchors) + len(z1)) % anchors]
    return jnp.mean(jax.nn.logsumexp(candidates, axis=1) - positive)


@dataclass(frozen=True)
class Method:
    """SimCLR; the embedding is the projection."""

    encoder: Network
    crops: dict[str, Crop]
    temperature: float = 0.5  # of the CIFAR command; ImageNet's is 0.1
    projector: tuple[int, ...] = (0, 128)  # widths; 0: the encoder's
    projector_norm: bool = True  # batch norm; without it, solo-learn's projector

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The projector."""
        widths = heads.fill_in(self.projector, self.encoder.width)
        if self.projector_norm:
            return heads.mlp(widths, last_norm=True, init="normal_0.01")
        return heads.mlp(widths, norm=False, bias=True)

    @property
    def network(self) -> Network:
        """Encoder and projector."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return the network and its batch statistics."""
        return self.network.init(key, shape)

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return NT-Xent over the global batch."""
        (z1, z2), extra = apply_to_views(self.network, params, extra, batch.views, groups=0)
        loss = nt_xent(z1, z2, temperature=self.temperature)
        chance = jnp.log(2.0 * len(z1) - 1)
        return loss, (extra, {"nats_below_chance": chance - loss})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: nothing follows the encoder."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output and the projection."""
        return Features(*encode(self.encoder, self.head, params, extra, images))
