"""DIET: every image is its own class (Balestriero, arXiv 2302.10260; Gan et al., TMLR 2025).

    loss = - sum_j t_j log softmax(W f(x_i))_j,     t_j = (1 - s) [j = i] + s / N

One augmented view x_i of image i, one branch, a linear head W [N, D] without bias over all N images, and label
smoothing s = 0.8 (torch's convention: the true class has its share of s too). No temperature, no normalisation.
The loss starts near ln N and cannot fall below the entropy of t; only its distance to that floor says anything.
After training W is dropped.
"""

import math
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from sslx.data.views import Crop, Views
from sslx.models import Network
from sslx.training.method import Array, Batch, Extra, Features, Logs, Params


def diet_loss(features: Array, head: Array, index: Array, *, label_smoothing: float) -> Array:
    """Mean cross-entropy of features [B, D] against rows `index` [B] of the head [N, D], over all N classes."""
    chex.assert_rank([features, head, index], [2, 2, 1])
    log_probability = jax.nn.log_softmax(features @ head.T)
    own = jnp.take_along_axis(log_probability, index[:, None], axis=1)
    return -jnp.mean((1 - label_smoothing) * own[:, 0] + label_smoothing * jnp.mean(log_probability, axis=1))


def loss_floor(num_images: int, label_smoothing: float) -> float:
    """The entropy of the smoothed target in nats: the lowest value of `diet_loss`."""
    rest = label_smoothing / num_images
    own = 1 - label_smoothing + rest
    return -sum(count * p * math.log(p) for count, p in ((1, own), (num_images - 1, rest)) if p and count)


@dataclass(frozen=True)
class Method:
    """DIET with the materialised N x D head, which reads the representation itself."""

    encoder: Network
    crops: dict[str, Crop]
    num_images: int
    label_smoothing: float = 0.8

    @property
    def views(self) -> Views:
        """One crop of each image."""
        return Views((self.crops["crop"],))

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Encoder, and head rows with torch's default linear initialisation U(+-1/sqrt(D))."""
        encoder_key, head_key = jax.random.split(key)
        encoder, stats = self.encoder.init(encoder_key, shape)
        width = self.encoder.width
        bound = 1 / math.sqrt(width)
        head = jax.random.uniform(head_key, (self.num_images, width), minval=-bound, maxval=bound)
        return {"encoder": encoder, "head": head}, {"stats": stats}

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """Cross-entropy over all images of the training split."""
        features, stats = self.encoder.apply(params["encoder"], extra["stats"], batch.views[0], train=True)
        loss = diet_loss(features, params["head"], batch.indices, label_smoothing=self.label_smoothing)
        logs = {"nats_above_floor": loss - loss_floor(self.num_images, self.label_smoothing)}
        return loss, ({"stats": stats}, logs)

    def after_step(self, params: Params, extra: Extra, step: Array) -> Extra:
        """Nothing follows the encoder."""
        return extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Encoder output; without a projector there is no other embedding."""
        features, _ = self.encoder.apply(params["encoder"], extra["stats"], images, train=False)
        return Features(features, None)
