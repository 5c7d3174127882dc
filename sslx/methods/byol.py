"""BYOL: one view's prediction of the other view, as a slow teacher sees it (Grill et al., NeurIPS
2020, equation 2).

    loss = mean over images of |p1 - t2|^2 + |p2 - t1|^2 = mean of 4 - 2 cos(p1, t2) - 2 cos(p2,
    t1), between 0 and 8

p is the student's prediction, t the teacher's projection, both of unit length; the teacher follows
after each step, t <- tau t + (1 - tau) s, with tau from `momentum` to 1 on a cosine.

| | folklore | official code, and here |
|---|---|---|
| loss | mean of negative cosines, (loss - 4) / 4: another rate for SGD | the squared distances |
| teacher at the start | a copy of the student | drawn by itself |
| teacher's batch norm | running averages of the student | its own, in training mode; averages are not followed |
| heads | | Linear (bias) - BN - ReLU - Linear (no bias), truncated normal kernels |
| batch norm | | each view by itself |
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.method import Array, Batch, Extra, Features, Logs, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.training.schedules import Durations, cosine
from sslx.views.views import Crop, Views, two_views


def byol_loss(p1: Array, p2: Array, t1: Array, t2: Array) -> Array:
    """BYOL's loss of predictions p and targets t [B, k] of two views; the targets get no gradient."""
    chex.assert_rank([p1, p2, t1, t2], 2)
    chex.assert_equal_shape([p1, p2, t1, t2])
    p1, p2, t1, t2 = (heads.unit_length(x) for x in (p1, p2, t1, t2))
    t1, t2 = jax.lax.stop_gradient((t1, t2))
    return jnp.mean(jnp.sum((p1 - t2) ** 2, axis=1) + jnp.sum((p2 - t1) ** 2, axis=1))


@dataclass(frozen=True)
class Method:
    """BYOL; the embedding is the student's projection."""

    encoder: Network
    crops: dict[str, Crop]
    durations: Durations
    projector: tuple[int, ...] = (4096, 256)  # widths; 0: the encoder's
    predictor: tuple[int, ...] = (4096,)  # hidden widths; its output is as wide as the projection
    use_predictor: bool = True
    momentum: float = 0.996
    momentum_end: float = 1.0  # reached by a cosine over the run

    @property
    def views(self) -> Views:
        """Two crops of each image."""
        return two_views(self.crops)

    @property
    def head(self) -> Network:
        """The projector."""
        return _head(heads.fill_in(self.projector, self.encoder.width))

    @property
    def network(self) -> Network:
        """Encoder and projector, of student and teacher."""
        return chain(encoder=self.encoder, projector=self.head)

    @property
    def prediction(self) -> Network:
        """The student's predictor; nothing with `use_predictor=False`, a way to collapse."""
        widths = (*self.predictor, self.head.width)
        return (
            _head(widths) if self.use_predictor else heads.projector(self.head.width, (), norm=True)
        )

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Student and teacher, drawn independently."""
        student_key, teacher_key, predictor_key = jax.random.split(key, 3)
        student, stats = self.network.init(student_key, shape)
        teacher, teacher_stats = self.network.init(teacher_key, shape)
        predictor, predictor_stats = self.prediction.init(predictor_key, (1, self.head.width))
        return student | {"predictor": predictor}, {
            "stats": stats | {"predictor": predictor_stats},
            "teacher": {"params": teacher, "stats": teacher_stats},
        }

    def loss(
        self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array
    ) -> tuple[Array, tuple[Extra, Logs]]:
        """BYOL's loss of the global batch."""
        projections, stats = apply_to_views(
            self.network, params, extra["stats"], batch.views, groups=1
        )
        (p1, p2), predictor_stats = apply_to_views(
            self.prediction, params["predictor"], extra["stats"]["predictor"], projections, groups=1
        )
        teacher = extra["teacher"]
        (t1, t2), teacher_stats = apply_to_views(
            self.network, teacher["params"], teacher["stats"], batch.views, groups=1
        )
        extra = {
            "stats": stats | {"predictor": predictor_stats},
            "teacher": {"params": teacher["params"], "stats": teacher_stats},
        }
        return byol_loss(p1, p2, t1, t2), (extra, {"momentum": self._momentum(step)})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """The teacher follows the student."""
        student = {name: params[name] for name in ("encoder", "projector")}
        teacher = optax.incremental_update(
            student, extra["teacher"]["params"], 1 - self._momentum(step)
        )
        return params, extra | {"teacher": extra["teacher"] | {"params": teacher}}

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """The student's encoder output and projection."""
        return Features(*encode(self.encoder, self.head, params, extra["stats"], images))

    def _momentum(self, step: Array) -> Array:
        return cosine(self.momentum, self.momentum_end, self.durations.total)(step)


def _head(widths: tuple[int, ...]) -> Network:
    return heads.mlp(widths, bias=True, last_bias=False, init="truncated_fan_in")
