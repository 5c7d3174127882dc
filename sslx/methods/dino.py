"""DINO: a student's crops match a teacher's assignment of the large ones (Caron et al., ICCV 2021).

Scores of K prototypes, the mean over large crops t of the teacher, other crops v of the student,
and images:

    loss = mean of -softmax((teacher_t - center) / T_teacher) . log softmax(student_v / T_student)

The center is a running mean of the teacher's scores; the teacher follows after each step,
t <- m t + (1 - m) s, with m from `momentum` to 1 on a cosine. As the official code, where folklore
and other codes differ:

- Center: starts at 0 (stable-pretraining: the first batch's mean); used, then updated, with both
  crops.
- The teacher's temperature goes by epoch, not step; the warm-up takes both its ends.
- Teacher: parameters follow, not batch norm's averages; its own batch norm, in training mode.
- Last layer: columns of unit length, times a scale that stays 1 unless `train_last_scale`. It
  starts as torch's linear layer; it is drawn before the rest is set to N(0, 0.02^2). In the first
  epoch it has no update, decay or moments (`config.optimizer.groups`), rather than a gradient of 0.
- Gradients are clipped tensor by tensor: `config.optimizer.clip_tensor_norm`.
- Weight decay from 0.04 to 0.4 on a cosine, on all but biases and tensors of one axis; so it acts
  on positions.
- Batch norm (ResNet) sees all crops of one resolution together.

A loss that stays at ln K is a collapse onto equal scores: lower the rate or the teacher's
temperature, or raise the momentum.
"""

from dataclasses import dataclass
from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.hints import check_choice, check_positive
from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.training.schedules import Durations, cosine, epoch_linspace
from sslx.views.views import Crop, Views, multi_crop

NETWORKS = ("teacher", "student")


def dino_loss(
    student: Array,
    teacher: Array,
    center: Array,
    *,
    student_temperature: float,
    teacher_temperature: float | Array,
) -> Array:
    """Return DINO's loss of scores [V, B, K] of V crops and the teacher's [2, B, K].

    The first two crops are the large ones, which the teacher sees. Its scores and the center [K]
    get no gradient. Raises ValueError for a temperature that is not above 0 and for fewer than two
    crops.
    """
    chex.assert_rank([student, teacher, center], [3, 3, 1])
    chex.assert_shape(teacher, (2, *student.shape[1:]))
    temperatures = {
        "student_temperature": student_temperature,
        "teacher_temperature": teacher_temperature,
    }
    for name, temperature in temperatures.items():
        if not isinstance(temperature, jax.core.Tracer):
            check_positive(name, float(temperature), "DINO's are 0.1 and 0.04")
    views, batch, _ = student.shape
    if views < 2:
        raise ValueError(
            "DINO's loss needs scores [V, B, K] of two crops or more: each is compared to another."
        )
    centered = jax.lax.stop_gradient((teacher - center) / teacher_temperature)
    target = jax.nn.softmax(centered, axis=-1)
    prediction = jax.nn.log_softmax(student / student_temperature, axis=-1)
    pairs = jnp.einsum("tbk,vbk->tv", target, prediction, precision="highest")
    return -jnp.sum(pairs * (1 - jnp.eye(2, views, dtype=pairs.dtype))) / (batch * 2 * (views - 1))


def update_center(center: Array, teacher: Array, momentum: float) -> Array:
    """Return the center [K] after a batch of the teacher's scores [2, B, K]."""
    return momentum * center + (1 - momentum) * jnp.mean(teacher, axis=(0, 1))


def prototype_scores(projections: Array, last: Params) -> Array:
    """Return scores [..., K] of projections [..., D] for the `last` layer.

    It has a `direction` [D, K] and, if that is trained, a `scale` [1, K].
    """
    direction = last["direction"]
    weights = direction * jax.lax.rsqrt(jnp.sum(direction * direction, axis=0, keepdims=True))
    return jnp.matmul(heads.unit_length(projections), weights * last.get("scale", 1.0))


@dataclass(frozen=True)
class Method:
    """DINO; the embedding is the projection, before it is scaled to unit length."""

    encoder: Network
    crops: dict[str, Crop]
    durations: Durations
    # The official defaults; the boosted runs warm the teacher's up to 0.07 over 30 epochs
    student_temperature: float = 0.1
    teacher_temperature: float = 0.04
    teacher_temperature_start: float = 0.04  # of the first epoch
    teacher_warmup: str = "0 epochs"  # until `teacher_temperature` is reached
    # Widths; 0: the encoder's; the last is the bottleneck
    projector: tuple[int, ...] = (2048, 2048, 256)
    projector_norm: bool = False  # batch norm between its layers, an official option too
    prototypes: int = 65536
    train_last_scale: bool = False  # True is recommended for ViT-S
    local_views: int = 8  # small crops beside the two large ones, of the recipe `local`
    center_momentum: float = 0.9
    momentum: float = 0.996  # of the teacher; nearer to 1 for small batches
    momentum_end: float = 1.0  # reached by a cosine over the run
    features_of: str = "teacher"  # or student
    # of a vision transformer's features: class, mean, class+mean, class4; empty: what the loss
    # reads
    pool: str = ""

    def __post_init__(self) -> None:
        check_choice("config.method.features_of", self.features_of, NETWORKS)
        if self.pool and not self.encoder.patch:
            raise ValueError(
                f"config.method.pool is {self.pool!r}, which is for vision transformers: leave it "
                "empty."
            )

    @property
    def views(self) -> Views:
        """Two large crops of each image, then the small ones."""
        return multi_crop(self.crops, self.local_views)

    @property
    def head(self) -> Network:
        """The projector, up to the bottleneck."""
        widths = heads.fill_in(self.projector, self.encoder.width)
        return heads.mlp(
            widths, norm=self.projector_norm, bias=True, activation="gelu", init="normal_0.02"
        )

    @property
    def network(self) -> Network:
        """Encoder and projector, of student and teacher."""
        return chain(encoder=self.encoder, projector=self.head)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return student, a teacher that equals it, and a center of 0."""
        network_key, last_key = jax.random.split(key)
        params, stats = self.network.init(network_key, shape)
        bound = self.head.width**-0.5  # torch's start of a linear layer
        size = (self.head.width, self.prototypes)
        last = {"direction": jax.random.uniform(last_key, size, minval=-bound, maxval=bound)}
        if self.train_last_scale:
            last["scale"] = jnp.ones((1, self.prototypes))
        teacher = {"params": params | {"last": jax.tree.map(jnp.copy, last)}, "stats": stats}
        center = jnp.zeros(self.prototypes)
        return params | {"last": last}, {"stats": stats, "teacher": teacher, "center": center}

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return DINO's loss of the global batch; the new center has seen it."""
        teacher = extra["teacher"]
        projections, stats = apply_to_views(
            self.network, params, extra["stats"], batch.views, groups=0, key=key
        )
        known, teacher_stats = apply_to_views(
            self.network, teacher["params"], teacher["stats"], batch.views[:2], groups=0, skip=False
        )
        student_scores = prototype_scores(jnp.stack(projections), params["last"])
        scores = prototype_scores(jnp.stack(known), teacher["params"]["last"])
        scores = jax.lax.stop_gradient(scores)
        temperature = self._teacher_temperature(step)
        loss = dino_loss(
            student_scores,
            scores,
            extra["center"],
            student_temperature=self.student_temperature,
            teacher_temperature=temperature,
        )
        extra = {
            "stats": stats,
            "teacher": {"params": teacher["params"], "stats": teacher_stats},
            "center": update_center(extra["center"], scores, self.center_momentum),
        }
        logs = {
            "nats_below_chance": jnp.log(1.0 * self.prototypes) - loss,
            "teacher_temperature": temperature,
            "momentum": self._momentum(step),
        }
        return loss, (extra, logs)

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Let the teacher follow the student."""
        teacher = extra["teacher"]
        followed = optax.incremental_update(params, teacher["params"], 1 - self._momentum(step))
        return params, extra | {"teacher": teacher | {"params": followed}}

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return encoder output and projection of the network that `features_of` names."""
        network = self._network_of_features(params, extra)
        params, stats = network["params"], network["stats"]
        output, projection = encode(self.encoder, self.head, params, stats, images)
        if self.pool:
            output, _ = self.encoder.apply(
                params["encoder"], stats["encoder"], images, train=False, pool=self.pool
            )
        return Features(output, projection)

    def encoder_params(self, params: Params, extra: Extra) -> Params:
        """Return the encoder that `features` reads."""
        return self._network_of_features(params, extra)["params"]["encoder"]

    def _network_of_features(self, params: Params, extra: Extra) -> dict[str, Any]:
        student = {"params": params, "stats": extra["stats"]}
        return student if self.features_of == "student" else extra["teacher"]

    def _momentum(self, step: Array) -> Array:
        return cosine(self.momentum, self.momentum_end, self.durations.total)(step)

    def _teacher_temperature(self, step: Array) -> Array:
        epoch = self.durations.steps_per_epoch
        epochs = round(self.durations.steps(self.teacher_warmup) / epoch)
        start, end = self.teacher_temperature_start, self.teacher_temperature
        return epoch_linspace(start, end, epochs, epoch)(step)
