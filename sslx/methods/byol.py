"""BYOL: predict one view from the other, as a slow teacher sees it (Grill et al., NeurIPS 2020).

Equation 2, between 0 and 8; p is the student's prediction, t the teacher's projection, of unit
length:

    loss = mean over images of |p1 - t2|^2 + |p2 - t1|^2
         = mean over images of 4 - 2 cos(p1, t2) - 2 cos(p2, t1)

The teacher follows after each step, t <- tau t + (1 - tau) s, with tau from `momentum` to 1 on a
cosine. As the official code, where folklore differs:

- The loss is the squared distances; (loss - 4) / 4, the mean of negative cosines, needs another
  rate with SGD.
- The teacher is drawn by itself at the start; it is no copy of the student.
- The teacher's batch norm is its own, in training mode; it does not follow the student's averages.
- Heads: Linear (bias) - BN - ReLU - Linear (no bias), truncated normal kernels. Batch norm sees
  each view by itself.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp
import optax

from sslx.method import Array, Batch, Extra, Features, Loss, Params
from sslx.models import Network, apply_to_views, chain, encode, heads
from sslx.training.schedules import Durations, cosine
from sslx.views.views import Crop, Views, two_views


def byol_loss(p1: Array, p2: Array, t1: Array, t2: Array) -> Array:
    """Return BYOL's loss of predictions p and targets t [B, k]; the targets get no gradient."""
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
    # The preset of 1,000 epochs; those of 300 and 100 have a momentum of 0.99
    projector: tuple[int, ...] = (4096, 256)  # widths; 0: the encoder's
    predictor: tuple[int, ...] = (4096,)  # hidden widths; its output is as wide as the projection
    use_predictor: bool = True
    momentum: float = 0.996  # of the teacher
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
        if self.use_predictor:
            return _head((*self.predictor, self.head.width))
        return heads.projector(self.head.width, (), norm=True)

    def init(self, key: Array, shape: tuple[int, ...]) -> tuple[Params, Extra]:
        """Return student and teacher, drawn independently."""
        student_key, teacher_key, predictor_key = jax.random.split(key, 3)
        student, stats = self.network.init(student_key, shape)
        teacher, teacher_stats = self.network.init(teacher_key, shape)
        predictor, predictor_stats = self.prediction.init(predictor_key, (1, self.head.width))
        return student | {"predictor": predictor}, {
            "stats": stats | {"predictor": predictor_stats},
            "teacher": {"params": teacher, "stats": teacher_stats},
        }

    def loss(self, params: Params, extra: Extra, batch: Batch, key: Array, step: Array) -> Loss:
        """Return BYOL's loss of the global batch."""
        old, teacher = extra["stats"], extra["teacher"]
        projections, stats = apply_to_views(self.network, params, old, batch.views, groups=1)
        (p1, p2), predictor_stats = apply_to_views(
            self.prediction, params["predictor"], old["predictor"], projections, groups=1
        )
        (t1, t2), teacher_stats = apply_to_views(
            self.network, teacher["params"], teacher["stats"], batch.views, groups=1
        )
        extra = {
            "stats": stats | {"predictor": predictor_stats},
            "teacher": {"params": teacher["params"], "stats": teacher_stats},
        }
        return byol_loss(p1, p2, t1, t2), (extra, {"momentum": self._momentum(step)})

    def after_step(self, params: Params, extra: Extra, step: Array) -> tuple[Params, Extra]:
        """Let the teacher follow the student."""
        student = {name: params[name] for name in ("encoder", "projector")}
        teacher = extra["teacher"]
        followed = optax.incremental_update(student, teacher["params"], 1 - self._momentum(step))
        return params, extra | {"teacher": teacher | {"params": followed}}

    def features(self, params: Params, extra: Extra, images: Array) -> Features:
        """Return the student's encoder output and projection."""
        return Features(*encode(self.encoder, self.head, params, extra["stats"], images))

    def _momentum(self, step: Array) -> Array:
        return cosine(self.momentum, self.momentum_end, self.durations.total)(step)


def _head(widths: tuple[int, ...]) -> Network:
    return heads.mlp(widths, bias=True, last_bias=False, init="truncated_fan_in")
