"""SwAV: views predict each other's soft assignment to prototypes (Caron et al., NeurIPS 2020).

Equations 2 to 5, the mean over the two large views s, the other views v, and images:

    loss = mean of -q_s . log softmax(z_v C / T)

z are projections and C prototypes, both of unit length. q are the codes: scores z C of the batch
and of a queue of older projections, spread evenly over the prototypes by a few Sinkhorn iterations;
they get no gradient. As the official code, where others differ:

- One Sinkhorn per large view (stable-pretraining: both views in one).
- The prototypes are scaled to unit length after each step, and decay and LARC act on those
  (solo-learn: weight norm). They are frozen in the first steps: `config.optimizer.groups`.
- One queue per large view, newest first, used once its last row is filled (solo-learn: before). It
  holds projections of the whole batch, not scores: today's prototypes score them.
- Batch norm sees all crops of one resolution together; in the projector all crops.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import numpy as np

from sslx.hints import check_positive
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.training.parallel import gathered
from sslx.training.schedules import Durations
from sslx.views.views import Crop, Views, multi_crop


def sinkhorn(scores: Array, *, epsilon: float, iterations: int, used: Array | None = None) -> Array:
    """Return codes [B, K] of scores [B, K]: rows sum to 1, and columns are alike.

    `used` [B] leaves rows out, as if not there. Raises ValueError for an epsilon that is not above
    0.
    """
    chex.assert_rank(scores, 2)
    check_positive("epsilon", epsilon, "SwAV's is 0.05")
    used = jnp.ones(len(scores), scores.dtype) if used is None else used.astype(scores.dtype)
    count, prototypes, tiny = jnp.sum(used), scores.shape[1], jnp.finfo(scores.dtype).tiny
    # The highest score cancels in the first division, and without it exp overflows for scores that
    # are no cosines.
    codes = jnp.exp((scores - jnp.max(scores)) / epsilon) * used[:, None]
    codes /= jnp.sum(codes)
    for _ in range(iterations):
        codes /= jnp.maximum(jnp.sum(codes, axis=0), tiny) * prototypes
        codes /= jnp.maximum(jnp.sum(codes, axis=1, keepdims=True), tiny) * count
    return codes * count


def swav_loss(
    embeddings: Array,
    prototypes: Array,
    queue: Array | None = None,
    *,
    temperature: float = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
) -> Array:
    """Return SwAV's loss of embeddings [V, B, D] of V views, the first two large.

    The prototypes [K, D] have rows of unit length. `queue` [2, L, D] holds older embeddings of the
    large views; zeros in its last row mean that it is not full yet. Raises ValueError for a
    temperature that is not above 0, fewer than two views or prototypes of another length.
    """
    chex.assert_rank([embeddings, prototypes], [3, 2])
    views, batch, _ = embeddings.shape
    _check(temperature, views, prototypes)
    scores = jnp.matmul(embeddings, prototypes.T, precision="highest")
    predictions = jax.nn.log_softmax(scores / temperature, axis=-1)
    loss = jnp.zeros((), scores.dtype)
    for assigned in range(2):
        # Every device computes the codes of the whole batch: their sums run over all images, a few
        # times in turn.
        rows, used = gathered(embeddings[assigned]), jnp.ones(batch, bool)
        if queue is not None:
            full = jnp.any(queue[assigned, -1] != 0)
            rows = jnp.concatenate([rows, queue[assigned]])
            used = jnp.concatenate([used, jnp.full(queue.shape[1], full)])
        rows, fixed = jax.lax.stop_gradient((rows, prototypes.T))
        assigned_scores = jnp.matmul(rows, fixed, precision="highest")
        codes = sinkhorn(assigned_scores, epsilon=epsilon, iterations=iterations, used=used)[:batch]
        others = [view for view in range(views) if view != assigned]
        agreement = sum(jnp.mean(jnp.sum(codes * predictions[view], axis=1)) for view in others)
        loss -= agreement / len(others)
    return loss / 2


def enqueue(queue: Array, embeddings: Array) -> Array:
    """Return the queue [2, L, D] with embeddings [2, B, D] in front, and its oldest gone."""
    return jnp.concatenate([embeddings, queue[:, : -embeddings.shape[1]]], axis=1)


def _check(temperature: float, views: int, prototypes: Array) -> None:
    check_positive("temperature", temperature, "SwAV's is 0.1")
    if views < 2:
        raise ValueError(
            "SwAV's loss needs embeddings [V, B, D] of two views or more: codes of one are "
            "predicted by others."
        )
    if not isinstance(prototypes, jax.core.Tracer):
        norms = np.linalg.norm(prototypes, axis=1)
        if np.abs(norms - 1).max() > 1e-3:
            raise ValueError(
                f"The prototypes' rows have lengths from {norms.min():.3g} to {norms.max():.3g}; "
                "they must be 1: prototypes / norm(prototypes, axis=1, keepdims=True)."
            )


@dataclass(frozen=True)
class Method:
    """SwAV; the embedding is the projection, before it is scaled to unit length."""

    encoder: Network
    crops: dict[str, Crop]
    durations: Durations
    temperature: float = 0.1
    epsilon: float = 0.05  # of Sinkhorn's scores; smaller is sharper
    iterations: int = 3  # of Sinkhorn's normalisation
    projector: tuple[int, ...] = (2048, 128)  # widths; 0: the encoder's
    prototypes: int = 3000
    local_views: int = 0  # small crops beside the two large ones, of the recipe `local`
    # Older projections per large view, for small batches; a multiple of the batch size; 0: none
    queue: int = 0
    queue_start: str = "15 epochs"  # before, nothing is put into it

    def __post_init__(self) -> None:
        batch = self.durations.batch_size
        if self.queue < 0 or self.queue % batch:
            raise ValueError(
                f"config.method.queue is {self.queue}; it must be 0 or a multiple of the batch "
                f"size {batch}, such as {max(round(self.queue / batch), 1) * batch}."
            )

    @property
    def views(self) -> Views:
        """Two large crops of each image, then the small ones."""
        return multi_crop(self.crops, self.local_views)

    @property
    def head(self) -> Network:
        """The projector."""
        return heads.mlp(heads.fill_in(self.projector, self.encoder.width), bias=True)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return network, prototypes and an empty queue."""
        network_key, prototype_key = jax.random.split(key)
        params, stats = chain(encoder=self.encoder, projector=self.head).init(network_key, shape)
        size = (self.prototypes, self.head.width)
        bound = self.head.width**-0.5  # torch's start of a linear layer
        prototypes = jax.random.uniform(prototype_key, size, minval=-bound, maxval=bound)
        extra: Extra = {"stats": stats}
        if self.queue:
            extra["queue"] = jnp.zeros((2, self.queue, self.head.width))
        return params | {"prototypes": heads.unit_length(prototypes)}, extra

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return SwAV's loss of the global batch; the new queue begins with its projections."""
        stats = extra["stats"]
        features, encoder = apply_to_views(
            self.encoder, params["encoder"], stats["encoder"], batch.views, groups=0
        )
        projections, projector = apply_to_views(
            self.head, params["projector"], stats["projector"], features, groups=0
        )
        embeddings = jnp.stack([heads.unit_length(z) for z in projections])
        loss = swav_loss(
            embeddings,
            params["prototypes"],
            extra.get("queue"),
            temperature=self.temperature,
            epsilon=self.epsilon,
            iterations=self.iterations,
        )
        extra = extra | {"stats": {"encoder": encoder, "projector": projector}}
        if self.queue:
            moved = enqueue(extra["queue"], gathered(jax.lax.stop_gradient(embeddings[:2])))
            started = step >= self.durations.steps(self.queue_start)
            extra["queue"] = jnp.where(started, moved, extra["queue"])
        return loss, (extra, {"nats_below_chance": jnp.log(1.0 * self.prototypes) - loss})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Scale the prototypes back to unit length."""
        return params | {"prototypes": heads.unit_length(params["prototypes"])}, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the encoder's output and the projection."""
        return Features(*encode(self.encoder, self.head, params, extra["stats"], images))
