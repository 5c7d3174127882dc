"""Linear probes on cached features: a grid of learning rates and decays in one pass.

The test split never takes part in the choice. A fixed, class-stratified fifth of the training split
is held out, every setting of the grid is trained on the rest, the best one is trained again on the
whole training split, and so is the protocol's nominal setting, so that both numbers can be
reported.
"""

import math
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from sslx.evaluation.knn import check_split, check_test_split

Setting = tuple[float, float]  # learning rate, penalty
Pair = tuple[np.ndarray, np.ndarray]  # such as features [n, d] and the class [n] of each

# Largest entry of the gradient at which a fit has converged; float32 cannot resolve much less.
_LBFGS_TOLERANCE, _LBFGS_STEPS = 1e-5, 1000
_INIT_STD = 0.01  # of Adam's first weights


@dataclass(frozen=True)
class Protocol:
    """How a probe is trained: by Adam, or with 0 epochs on standardised features by L-BFGS.

    The first learning rate times 1 and the first penalty are the nominal setting.
    """

    description: str
    penalties: tuple[float, ...]  # Adam: decoupled weight decay; L-BFGS: the factor of |W|^2 / 2
    learning_rate: float = 1.0
    rate_factors: tuple[float, ...] = (1.0, 0.3, 3.0, 0.1, 10.0)
    epochs: int = 0
    drops: tuple[float, ...] = ()  # shares of the training after which the rate is divided by 10
    batch_size: int = 256

    @property
    def grid(self) -> list[Setting]:
        """Return the settings; the least extreme one of equally good ones comes first."""
        settings = [
            (self.learning_rate * factor, penalty)
            for penalty in self.penalties
            for factor in self.rate_factors
        ]
        return sorted(settings, key=lambda setting: (self._extremity(setting), setting[0]))

    def _extremity(self, setting: Setting) -> float:
        rate, penalty = setting
        decades = abs(math.log10(rate / self.learning_rate))
        return round(decades + self.penalties.index(penalty), 6)


PROTOCOLS = {
    "lidar": Protocol(
        "Adam, lr 0.01 x {0.1, 0.3, 1, 3, 10}, x0.1 after 15 of 20 epochs, batch 256, "
        "decay {0, 1e-3, 1e-1}",
        penalties=(0.0, 1e-3, 1e-1),
        learning_rate=0.01,
        epochs=20,
        drops=(0.75,),
    ),
    "diet": Protocol(
        "AdamW, lr 0.001 x {0.1, 0.3, 1, 3, 10}, x0.1 after 50 and 75 of 100 epochs, batch 256, "
        "decay {0, 0.01, 0.1}",
        penalties=(0.01, 0.0, 0.1),
        learning_rate=0.001,
        epochs=100,
        drops=(0.5, 0.75),
    ),
    "lbfgs": Protocol(
        "multinomial logistic regression on standardised features, L-BFGS to convergence, "
        "L2 {1e-5, 1e-4, 1e-3, 1e-2, 1e-1}",
        penalties=(1e-3, 1e-2, 1e-4, 1e-1, 1e-5),
        rate_factors=(1.0,),
    ),
}


class ProbeResult(NamedTuple):
    """A probe's accuracies in [0, 1], and how they came about."""

    accuracy: float  # on the test split, of the selected setting
    nominal_accuracy: float  # the same for the protocol's nominal setting
    validation_accuracy: float  # of the selected setting, trained without the held-out rows
    selected: dict[str, float]
    grid: list[dict[str, Any]]  # every setting with its validation accuracy and whether it diverged


class Head(NamedTuple):
    """The linear classifier: weights [d, c] and bias [c]; of a grid with a leading axis [g]."""

    weights: jax.Array
    bias: jax.Array


Carry = tuple[Head, optax.OptState]


def linear_probe(
    train_features: ArrayLike,
    train_labels: ArrayLike,
    test_features: ArrayLike,
    test_labels: ArrayLike,
    *,
    protocol: str = "lidar",
    seed: int = 0,
) -> ProbeResult:
    """Train a linear classifier on features [n, d] with labels [n] and test it on [m, d] with [m].

    `seed` decides the first weights and the batch order, and nothing else does. Test labels absent
    from training count as wrong. Protocols: "lidar" is that of Thilak et al. 2024 for I-JEPA,
    "diet" that of public DIET code, "lbfgs" a logistic regression for small sets.
    Raises ValueError for an unknown protocol, features that are not finite matrices of one width,
    labels that are not integers, fewer than 2 classes, and classes with one row only.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(
            f"Unknown probe protocol {protocol!r}. Known are {', '.join(map(repr, PROTOCOLS))}."
        )
    recipe = PROTOCOLS[protocol]
    train, classes, targets = check_split("train", train_features, train_labels)
    test, test_targets = check_test_split(train, classes, test_features, test_labels)
    if len(classes) < 2:
        raise ValueError(
            f"A linear probe needs 2 classes or more, but all {len(train)} training rows share one."
        )
    fit = partial(_fit_and_score, recipe, seed, (train, targets), len(classes))
    held_out, grid = held_out_rows(targets), recipe.grid
    validation, diverged = fit(grid, ~held_out, (train[held_out], targets[held_out]))
    if diverged.all():
        raise ValueError(
            f"Every setting of the probe protocol {protocol!r} diverged on features of size up to "
            f"{np.abs(train).max():.3g}. Rescale the features, or pass protocol='lbfgs', which "
            "standardises them."
        )
    best = int(np.argmax(validation))
    every_row = np.ones(len(train), bool)
    final, final_diverged = fit([grid[best], grid[0]], every_row, (test, test_targets))
    if final_diverged.any():
        warnings.warn(
            f"Probe protocol {protocol!r}: a setting diverged and its accuracy counts as 0.",
            stacklevel=2,
        )
    return ProbeResult(
        accuracy=float(final[0]),
        nominal_accuracy=float(final[1]),
        validation_accuracy=float(validation[best]),
        selected=_describe(recipe, grid[best]),
        grid=[
            _describe(recipe, setting)
            | {"validation_accuracy": float(accuracy), "diverged": bool(bad)}
            for setting, accuracy, bad in zip(grid, validation, diverged, strict=True)
        ],
    )


def held_out_rows(targets: np.ndarray) -> np.ndarray:
    """Return a mask [n] of a fixed fifth of every class, at least one row of a class with two.

    The choice depends on the targets [n] alone, so every protocol and seed validates on the same
    rows. Raises ValueError if no class has two rows.
    """
    shuffled = np.random.default_rng(0).permutation(len(targets))
    mask = np.zeros(len(targets), bool)
    for index in range(targets.max() + 1):
        members = shuffled[targets[shuffled] == index]
        if len(members) > 1:
            mask[members[: max(1, round(len(members) / 5))]] = True
    if not mask.any():
        raise ValueError(
            f"A linear probe holds out a fifth of every class, but each of the {targets.max() + 1} "
            "classes has only 1 training row. Pass at least 2 rows of some class; 5 of each are "
            "advised."
        )
    return mask


def _describe(recipe: Protocol, setting: Setting) -> dict[str, float]:
    rate, penalty = setting
    return {"learning_rate": rate, "weight_decay": penalty} if recipe.epochs else {"l2": penalty}


def _fit_and_score(
    recipe: Protocol,
    seed: int,
    train: Pair,
    num_classes: int,
    settings: list[Setting],
    used: np.ndarray,
    scored: Pair,
) -> Pair:
    """Accuracies [g] on `scored` of the settings fitted to the `used` rows of `train`.

    With a mask [g] of those that diverged, which have accuracy 0.
    """
    features, targets = train
    scored_features, scored_targets = scored
    if recipe.epochs:
        shape = (features.shape[1], num_classes)
        first = np.random.default_rng(seed).normal(0, _INIT_STD, shape).astype(np.float32)
        rates, penalties = np.array(settings, np.float32).T
        heads = _train_with_adam(
            recipe, first, features[used], targets[used], rates, penalties, seed
        )
    else:
        mean, scale = _moments(features[used])
        features = ((features - mean) / scale).astype(np.float32)
        scored_features = ((scored_features - mean) / scale).astype(np.float32)
        # Unused rows get weight 0 and are not cut off, so that both fits share one compilation.
        weights = (used / used.sum()).astype(np.float32)
        rows = jax.device_put((features, targets, weights))
        fits = [_train_with_lbfgs(num_classes, *rows, penalty) for _, penalty in settings]
        heads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *fits)
    correct, finite = jax.device_get(_score(heads, scored_features, scored_targets))
    return np.where(finite, correct / len(scored_targets), 0.0), ~finite


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and scale [d] of the training rows [n, d]; constant features get scale 1."""
    mean, std = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    # The mean of n equal numbers has a rounding error, which must not become unit variance.
    return mean, np.where(std > 1e-7 * np.abs(mean), std, 1.0)


def _logits(head: Head, features: jax.Array) -> jax.Array:
    return jnp.matmul(features, head.weights, precision=jax.lax.Precision.HIGHEST) + head.bias


@jax.jit
def _score(heads: Head, features: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    def score(head: Head) -> tuple[jax.Array, jax.Array]:
        logits = _logits(head, features)
        return (logits.argmax(axis=1) == targets).sum(), jnp.isfinite(logits).all()

    # One setting after another: the logits of a whole grid can be larger than the features.
    return jax.lax.map(score, heads)


@partial(jax.jit, static_argnames="recipe")
def _train_with_adam(
    recipe: Protocol,
    weights: jax.Array,
    features: jax.Array,
    targets: jax.Array,
    rates: jax.Array,
    penalties: jax.Array,
    seed: int,
) -> Head:
    n, num_classes = len(features), weights.shape[1]
    batch_size = min(recipe.batch_size, n)
    steps = -(-n // batch_size)
    first = Head(weights, jnp.zeros(num_classes))
    drops = jnp.array([round(fraction * recipe.epochs) for fraction in recipe.drops])

    def train(rate: jax.Array, penalty: jax.Array) -> Head:
        adamw = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(penalty))

        def loss(head: Head, rows: jax.Array) -> jax.Array:
            # The last batch of an epoch is filled up with the index n; those rows do not count.
            per_row = optax.softmax_cross_entropy_with_integer_labels(
                _logits(head, features.at[rows].get(mode="clip")), targets.at[rows].get(mode="clip")
            )
            return jnp.mean(per_row, where=rows < n)

        def epoch(carry: Carry, index: jax.Array) -> tuple[Carry, None]:
            order = jax.random.permutation(jax.random.fold_in(jax.random.key(seed), index), n)
            batches = jnp.pad(order, (0, steps * batch_size - n), constant_values=n)
            step_size = rate * 0.1 ** (index >= drops).sum()

            def step(carry: Carry, rows: jax.Array) -> tuple[Carry, None]:
                head, state = carry
                updates, state = adamw.update(jax.grad(loss)(head, rows), state, head)
                updates = jax.tree.map(lambda update: -step_size * update, updates)
                return (optax.apply_updates(head, updates), state), None

            return jax.lax.scan(step, carry, batches.reshape(steps, batch_size))

        (head, _), _ = jax.lax.scan(epoch, (first, adamw.init(first)), jnp.arange(recipe.epochs))
        return head

    return jax.vmap(train)(rates, penalties)


@partial(jax.jit, static_argnames="num_classes")
def _train_with_lbfgs(
    num_classes: int,
    features: jax.Array,
    targets: jax.Array,
    weights: jax.Array,
    penalty: jax.Array,
) -> Head:
    lbfgs = optax.lbfgs()

    def loss(head: Head) -> jax.Array:
        entropies = optax.softmax_cross_entropy_with_integer_labels(
            _logits(head, features), targets
        )
        return weights @ entropies + 0.5 * penalty * jnp.sum(head.weights**2)

    def unfinished(carry: tuple[Carry, int]) -> jax.Array:
        (_, state), index = carry
        gradient_size = optax.tree.norm(optax.tree.get(state, "grad"), ord=jnp.inf)
        return (index == 0) | ((index < _LBFGS_STEPS) & (gradient_size > _LBFGS_TOLERANCE))

    def step(carry: tuple[Carry, int]) -> tuple[Carry, int]:
        (head, state), index = carry
        value, gradient = optax.value_and_grad_from_state(loss)(head, state=state)
        updates, state = lbfgs.update(
            gradient, state, head, value=value, grad=gradient, value_fn=loss
        )
        return (optax.apply_updates(head, updates), state), index + 1

    # The problem is convex, so the start does not matter.
    start = Head(jnp.zeros((features.shape[1], num_classes)), jnp.zeros(num_classes))
    (head, _), _ = jax.lax.while_loop(unfinished, step, ((start, lbfgs.init(start)), 0))
    return head
