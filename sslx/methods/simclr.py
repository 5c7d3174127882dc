"""SimCLR: two views of an image attract, all other views of the batch repel (Chen et al., ICML 2020, equation 1).

    loss = mean over the 2B anchors a of  - log( exp(cos(a, a+) / T) / sum_{b != a} exp(cos(a, b) / T) )

The official code sums the two directions, which is twice this mean; for optimizers other than LARS halve its rate.
The projector is the official one: Linear - BN - ReLU (width of the encoder), Linear - BN without offset; no biases,
kernels N(0, 0.01). Both views pass the network as one batch, so BatchNorm sees all 2B images.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.data.views import Crop, Views
from sslx.models import Network, heads
from sslx.training.method import Array, Batch, Extra, Features, Logs, Params


def nt_xent(z1: Array, z2: Array, *, temperature: float) -> Array:
    """Normalised temperature-scaled cross-entropy of projections [B, k] of two views, as the mean over 2B anchors."""
    chex.assert_rank([z1, z2], 2)
    chex.assert_equal_shape([z1, z2])
    z = heads.unit_length(jnp.concatenate([z1, z2]))
    similarity = jnp.matmul(z, z.T, precision="highest") / temperature
    anchors = len(z)
    candidates = jnp.where(jnp.eye(anchors, dtype=bool), -jnp.inf, similarity)
    positive = similarity[jnp.arange(anchors), (jnp.arange(anchors) + len(z1)) % anchors]
    return jnp.mean(jax.nn.logsumexp(candidates, axis=1) - positive)


@dataclass(frozen=True)
class Method:
    """SimCLR with one recipe for both views; the embedding is the projection."""

    encoder: Network
    crops: dict[str, Crop]
    temperature: float = 0.5
    projector_width: int = 128

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return Views((self.crops["crop"], self.crops["crop"]))

    @property
    def projector(self) -> Network:
        """Two layers; BatchNorm after both."""
        widths = (self.encoder.width, self.projector_width)
        return heads.mlp(widths, last_norm=True, last_norm_bias=False, init="normal_0.01")

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Encoder and projector."""
        encoder_key, projector_key = jax.random.split(key)
        encoder, encoder_stats = self.encoder.init(encoder_key, shape)
        projector, projector_stats = self.projector.init(projector_key, (1, self.encoder.width))
        params = {"encoder": encoder, "projector": projector}
        return params, {"encoder": encoder_stats, "projector": projector_stats}

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """NT-Xent over the global batch."""
        # Image-major [B, 2] -> [2B]: the views of an image stay on its device, where a concatenation would move them.
        pairs = jnp.stack(batch.views, axis=1)
        images = pairs.reshape(-1, *pairs.shape[2:])
        features, encoder_stats = self.encoder.apply(params["encoder"], extra["encoder"], images, train=True)
        z, projector_stats = self.projector.apply(params["projector"], extra["projector"], features, train=True)
        z1, z2 = jnp.moveaxis(z.reshape(-1, 2, z.shape[-1]), 1, 0)
        loss = nt_xent(z1, z2, temperature=self.temperature)
        chance = jnp.log(2.0 * len(z1) - 1)
        return loss, ({"encoder": encoder_stats, "projector": projector_stats}, {"nats_below_chance": chance - loss})

    def after_step(self, params: Params, extra: Extra, step: Array) -> Extra:
        """Nothing follows the encoder."""
        return extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Encoder output and projection."""
        features, _ = self.encoder.apply(params["encoder"], extra["encoder"], images, train=False)
        projection, _ = self.projector.apply(params["projector"], extra["projector"], features, train=False)
        return Features(features, projection)
