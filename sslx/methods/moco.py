"""MoCo v2: a query finds its image's key in a queue of older keys (He et al., CVPR 2020, equation
1; Chen et al. 2020).

    loss = mean over images of  - log( exp(q . k / T) / (exp(q . k / T) + sum over the queue of
    exp(q . n / T)) )

One step, in the official code's order: query forward; the key network k <- m k + (1 - m) q, then
its forward, without gradient; logits with the old queue; enqueue.

| | paper, folklore | official code, and here |
|---|---|---|
| directions | | one, queries from the first view; both, with a queue each: `symmetric=True` |
| batch norm | "shuffling BN" over GPUs | groups of `bn_group` images, keys in a random order, on any devices |
| momentum | 0.999 | parameters alone; batch statistics of the key network come from its own forwards |
| head, v2 | | Linear - ReLU - Linear with biases, no batch norm |
| weight decay | | on everything, batch norm and biases included |

With statistics of the whole batch (`bn_group=0`) the task can be solved by them: queries and keys
of a batch share theirs, the queue's keys do not. solo-learn's "MoCo v2+" has `symmetric=True,
bn_group=0` and a momentum from 0.99 on."""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.method import Array, Batch, Extra, Features, Logs, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.training import parallel
from sslx.training.schedules import Durations, cosine
from sslx.views.views import Crop, Views, two_views


def info_nce(q: Array, k: Array, queue: Array, *, temperature: float) -> Array:
    """InfoNCE of queries and keys [B, D], which it normalises, against a queue [K, D] of unit rows.

    Keys and queue get no gradient. Raises ValueError for a temperature that is not above 0.
    """
    chex.assert_rank([q, k, queue], 2)
    chex.assert_equal_shape([q, k])
    if temperature <= 0:
        raise ValueError(f"temperature is {temperature}; it must be above 0, MoCo v2's is 0.2.")
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
    queue: int = 65536
    momentum: float = 0.999
    momentum_end: float = 0.999  # reached by a cosine over the run
    bn_group: int = 32
    symmetric: bool = False

    def __post_init__(self) -> None:
        batch = self.durations.batch_size
        if self.queue < 1 or self.queue % batch:
            raise ValueError(
                f"config.method.queue is {self.queue}; it must be a multiple of the batch size "
                f"{batch}, "
                f"such as {max(round(self.queue / batch), 1) * batch}."
            )
        if self.bn_group < 0 or (self.bn_group and batch % self.bn_group):
            raise ValueError(
                f"config.method.bn_group is {self.bn_group}; it must divide the batch size "
                f"{batch}, "
                "or be 0 for batch norm over the whole batch."
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
        """The query network, the key network as its copy, and random keys in the queue."""
        network_key, queue_key = jax.random.split(key)
        params, stats = self.network.init(network_key, shape)
        queue = jax.random.normal(
            queue_key, (2 if self.symmetric else 1, self.queue, self.head.width)
        )
        return params, {
            "stats": stats,
            "teacher": {"params": params, "stats": stats},
            "queue": queue / jnp.linalg.norm(queue, axis=-1, keepdims=True),
            "pointer": jnp.zeros((), jnp.int32),
        }

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """InfoNCE against the old queue; the new one holds this batch's keys."""
        momentum = cosine(self.momentum, self.momentum_end, self.durations.total)(step)
        teacher = optax.incremental_update(
            jax.lax.stop_gradient(params), extra["teacher"]["params"], 1 - momentum
        )
        groups = len(batch.indices) // self.bn_group if self.bn_group else 1
        first, second = batch.views
        asked = (first, second) if self.symmetric else (first,)
        answered = (second, first) if self.symmetric else (second,)
        queries, stats = apply_to_views(self.network, params, extra["stats"], asked, groups=groups)
        keys, teacher_stats = self._keys(teacher, extra["teacher"]["stats"], answered, groups, key)
        losses = [
            info_nce(q, k, queue, temperature=self.temperature)
            for q, k, queue in zip(queries, keys, extra["queue"], strict=True)
        ]
        loss = sum(losses[1:], losses[0]) / len(losses)
        fresh = parallel.gathered(jnp.stack([heads.unit_length(k) for k in keys]))
        extra = {
            "stats": stats,
            "teacher": {"params": teacher, "stats": teacher_stats},
            "queue": jax.lax.dynamic_update_slice_in_dim(
                extra["queue"], fresh, extra["pointer"], axis=1
            ),
            "pointer": (extra["pointer"] + len(first)) % self.queue,
        }
        return loss, (extra, {"nats_below_chance": jnp.log(1.0 + self.queue) - loss})

    def _keys(
        self, teacher: Params, stats: Extra, views: tuple[Array, ...], groups: int, key: Array
    ) -> tuple[list[Array], Extra]:
        """Keys [B, D] of each view, with batch norm in other groups than the queries'."""
        if groups == 1:
            return jax.lax.stop_gradient(
                apply_to_views(self.network, teacher, stats, views, groups=1)
            )
        order = jax.random.permutation(key, len(views[0]))
        shuffled = [parallel.split(parallel.gathered(view)[order]) for view in views]
        keys, stats = apply_to_views(self.network, teacher, stats, shuffled, groups=groups)
        back = jnp.argsort(order)
        return jax.lax.stop_gradient(
            ([parallel.split(parallel.gathered(k)[back]) for k in keys], stats)
        )

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Nothing: the key network follows at the start of the next step."""
        return params, extra

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """The query network's encoder output and projection."""
        return Features(*encode(self.encoder, self.head, params, extra["stats"], images))
