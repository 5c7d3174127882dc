"""MoCo v2: a query finds its image's key among older keys (He et al., CVPR 2020; Chen et al. 2020).

Equation 1, the mean over images, with n the keys of the queue:

    loss = mean of -log(exp(q . k / T) / (exp(q . k / T) + sum_n exp(q . n / T)))

One step, in the official code's order: query forward; the key network k <- m k + (1 - m) q, then
its forward, without gradient; logits with the old queue; enqueue. As there:

- One direction, queries from the first view. With `symmetric=True` both, and a queue each.
- Batch norm sees groups of `bn_group` images, keys in a random order, on any number of devices: the
  "shuffling BN" over GPUs. With the whole batch (`bn_group=0`) statistics can solve the task:
  queries and keys of a batch share theirs, the queue's keys do not.
- The momentum 0.999 is for parameters alone; the key network's batch statistics come from its own
  forwards.
- Head of version 2: Linear - ReLU - Linear with biases, no batch norm.
- Weight decay acts on everything, batch norm and biases included.

solo-learn's "MoCo v2+" has `symmetric=True, bn_group=0` and a momentum from 0.99 on.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.hints import check_positive
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.training import parallel
from sslx.training.schedules import Durations, cosine
from sslx.views.views import Crop, Views, two_views


def info_nce(q: Array, k: Array, queue: Array, *, temperature: float) -> Array:
    """Return InfoNCE of queries and keys [B, D] against a queue [K, D] of rows of unit length.

    It scales queries and keys to unit length. Keys and queue get no gradient. Raises ValueError for
    a temperature that is not above 0.
    """
    chex.assert_rank([q, k, queue], 2)
    chex.assert_equal_shape([q, k])
    check_positive("temperature", temperature, "MoCo v2's is 0.2")
    q = heads.unit_length(q)
    k, queue = jax.lax.stop_gradient((heads.unit_length(k), queue))
    positive = jnp.sum(q * k, axis=1, keepdims=True)
    negatives = jnp.matmul(q, queue.T, precision="highest")
    logits = jnp.concatenate([positive, negatives], axis=1) / temperature
    return jnp.mean(jax.nn.logsumexp(logits, axis=1) - logits[:, 0])


@dataclass(frozen=True)
class Method:
    """MoCo v2; the embedding is the query network's projection."""

    encoder: Network
    crops: dict[str, Crop]
    durations: Durations
    temperature: float = 0.2
    projector: tuple[int, ...] = (0, 128)  # widths; 0: the encoder's
    queue: int = 65536  # keys; a multiple of the batch size
    momentum: float = 0.999  # of the key network
    momentum_end: float = 0.999  # reached by a cosine over the run
    bn_group: int = 32  # images that share batch statistics; 0: the whole batch
    symmetric: bool = False  # queries from both views, a queue for each

    def __post_init__(self) -> None:
        batch = self.durations.batch_size
        if self.queue < 1 or self.queue % batch:
            raise ValueError(
                f"config.method.queue is {self.queue}; it must be a multiple of the batch size "
                f"{batch}, such as {max(round(self.queue / batch), 1) * batch}."
            )
        if self.bn_group < 0 or (self.bn_group and batch % self.bn_group):
            raise ValueError(
                f"config.method.bn_group is {self.bn_group}; it must divide the batch size "
                f"{batch}, or be 0 for batch norm over the whole batch."
            )

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The projector."""
        return heads.mlp(heads.fill_in(self.projector, self.encoder.width), norm=False, bias=True)

    @property
    def network(self) -> Network:
        """Encoder and projector."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return the query network, the key network as its copy, and random keys in the queue."""
        network_key, queue_key = jax.random.split(key)
        params, stats = self.network.init(network_key, shape)
        size = (2 if self.symmetric else 1, self.queue, self.head.width)
        queue = jax.random.normal(queue_key, size)
        return params, {
            "stats": stats,
            "teacher": {"params": params, "stats": stats},
            "queue": queue / jnp.linalg.norm(queue, axis=-1, keepdims=True),
            "pointer": jnp.zeros((), jnp.int32),
        }

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return InfoNCE against the old queue; the new one holds this batch's keys."""
        old = extra["teacher"]
        momentum = cosine(self.momentum, self.momentum_end, self.durations.total)(step)
        student = jax.lax.stop_gradient(params)
        teacher = optax.incremental_update(student, old["params"], 1 - momentum)
        groups = len(batch.indices) // self.bn_group if self.bn_group else 1
        first, second = batch.views
        asked = (first, second) if self.symmetric else (first,)
        answered = (second, first) if self.symmetric else (second,)
        queries, stats = apply_to_views(self.network, params, extra["stats"], asked, groups=groups)
        keys, teacher_stats = self._keys(teacher, old["stats"], answered, groups, key)
        losses = [
            info_nce(q, k, queue, temperature=self.temperature)
            for q, k, queue in zip(queries, keys, extra["queue"], strict=True)
        ]
        loss = sum(losses[1:], losses[0]) / len(losses)
        fresh = parallel.gathered(jnp.stack([heads.unit_length(k) for k in keys]))
        pointer = extra["pointer"]
        extra = {
            "stats": stats,
            "teacher": {"params": teacher, "stats": teacher_stats},
            "queue": jax.lax.dynamic_update_slice_in_dim(extra["queue"], fresh, pointer, axis=1),
            "pointer": (pointer + len(first)) % self.queue,
        }
        return loss, (extra, {"nats_below_chance": jnp.log(1.0 + self.queue) - loss})

    def _keys(
        self, teacher: Params, stats: Extra, views: tuple[Array, ...], groups: int, key: Array
    ) -> tuple[list[Array], Extra]:
        """Keys [B, D] of each view, with batch norm in other groups than the queries'."""
        if groups == 1:
            keys, stats = apply_to_views(self.network, teacher, stats, views, groups=1)
            return jax.lax.stop_gradient((keys, stats))
        order = jax.random.permutation(key, len(views[0]))
        shuffled = [parallel.split(parallel.gathered(view)[order]) for view in views]
        keys, stats = apply_to_views(self.network, teacher, stats, shuffled, groups=groups)
        back = jnp.argsort(order)
        keys = [parallel.split(parallel.gathered(k)[back]) for k in keys]
        return jax.lax.stop_gradient((keys, stats))

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Return both as they are: the key network follows at the start of the next step."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the query network's encoder output and projection."""
        return Features(*encode(self.encoder, self.head, params, extra["stats"], images))
