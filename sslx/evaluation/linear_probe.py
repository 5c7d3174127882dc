"""Linear probes on cached features: a grid of learning rates and decays in one pass.

The test split never takes part in the choice. A fixed, class-stratified fifth of the training split
is held out, and every setting of the grid is trained on the rest. The best one and the protocol's
nominal setting are trained again on the whole training split, and both numbers are reported.
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

from sslx.evaluation.knn import Labelled, check_splits
from sslx.hints import check_choice

Grid = list[tuple[float, float]]  # settings: learning rate and penalty

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
    def grid(self) -> Grid:
        """Return the settings; the least extreme one of equally good ones comes first."""
        ranked = [
            (round(abs(math.log10(factor)) + place, 6), self.learning_rate * factor, penalty)
            for place, penalty in enumerate(self.penalties)
            for factor in self.rate_factors
        ]
        return [(rate, penalty) for _, rate, penalty in sorted(ranked)]

    def names(self, rate: float, penalty: float) -> dict[str, float]:
        """Return a setting by the names of what it sets."""
        return {"learning_rate": rate, "weight_decay": penalty} if self.epochs else {"l2": penalty}


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
    train: Labelled, test: Labelled, *, protocol: str = "lidar", seed: int = 0
) -> ProbeResult:
    """Train a linear classifier on features [n, d] with labels [n] and test it on [m, d] with [m].

    `seed` decides the first weights and the batch order, and nothing else does. Test labels absent
    from training count as wrong. Protocols: "lidar" is that of Thilak et al. 2024 for I-JEPA,
    "diet" that of public DIET code, "lbfgs" a logistic regression for small sets.
    Raises ValueError as `check_splits` does, for an unknown protocol, fewer than 2 classes, and
    classes with one row only.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    recipe = PROTOCOLS[protocol]
    train, test = check_splits(train, test)
    if train.labels.max() == 0:
        count = len(train.labels)
        raise ValueError(
            f"A linear probe needs 2 classes or more, but {count} training rows have 1."
        )
    held_out, grid = held_out_rows(train.labels), recipe.grid
    unseen = Labelled(train.features[held_out], train.labels[held_out])
    fit = partial(_fit_and_score, recipe, seed, train)
    validation, diverged = fit(grid, ~held_out, unseen)
    if diverged.all():
        raise ValueError(
            f"Every setting of the probe protocol {protocol!r} diverged on features of size up to "
            f"{np.abs(train.features).max():.3g}. Rescale the features, or pass protocol='lbfgs', "
            "which standardises them."
        )
    best = int(np.argmax(validation))
    final, final_diverged = fit([grid[best], grid[0]], np.ones_like(held_out), test)
    if final_diverged.any():
        warnings.warn(
            f"Probe protocol {protocol!r}: a setting diverged and its accuracy counts as 0.",
            stacklevel=2,
        )
    rows = []
    for setting, score, bad in zip(grid, validation.tolist(), diverged.tolist(), strict=True):
        rows.append(recipe.names(*setting) | {"validation_accuracy": score, "diverged": bad})
    accuracy, nominal = final.tolist()
    return ProbeResult(accuracy, nominal, float(validation[best]), recipe.names(*grid[best]), rows)


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
            f"A linear probe holds out a fifth of every class, but each of {targets.max() + 1} "
            "classes has only 1 training row. Pass at least 2 rows of some class, better 5 of each."
        )
    return mask


def _fit_and_score(
    recipe: Protocol, seed: int, train: Labelled, grid: Grid, used: np.ndarray, scored: Labelled
) -> tuple[np.ndarray, np.ndarray]:
    """Accuracies [g] on `scored` of a grid fitted to the `used` rows; which diverged and have 0."""
    features, queries = train.features, scored.features
    shape = features.shape[1], int(train.labels.max()) + 1
    if recipe.epochs:
        first = np.random.default_rng(seed).normal(0, _INIT_STD, shape).astype(np.float32)
        rows = Labelled(features[used], train.labels[used])
        heads = _train_with_adam(recipe, first, rows, np.array(grid, np.float32), seed)
    else:
        mean = features[used].mean(axis=0, dtype=np.float64)
        std = features[used].std(axis=0, dtype=np.float64)
        # The mean of n equal numbers has a rounding error, which must not become unit variance.
        scale = np.where(std > 1e-7 * np.abs(mean), std, 1.0)
        queries = ((queries - mean) / scale).astype(np.float32)
        rows = Labelled(((features - mean) / scale).astype(np.float32), train.labels)
        # Unused rows get weight 0 and are not cut off, so that both fits share one compilation.
        weights = (used / used.sum()).astype(np.float32)
        rows, weights = jax.device_put((rows, weights))
        fits = [_train_with_lbfgs(shape, rows, weights, penalty) for _, penalty in grid]
        heads = jax.tree.map(lambda *leaves: jnp.stack(leaves), *fits)
    correct, finite = jax.device_get(_score(heads, Labelled(queries, scored.labels)))
    return np.where(finite, correct / len(scored.labels), 0.0), ~finite


def _logits(head: Head, features: jax.Array) -> jax.Array:
    return jnp.matmul(features, head.weights, precision=jax.lax.Precision.HIGHEST) + head.bias


def _cross_entropies(head: Head, features: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(_logits(head, features), labels)


@jax.jit
def _score(heads: Head, rows: Labelled) -> tuple[jax.Array, jax.Array]:
    def score(head: Head) -> tuple[jax.Array, jax.Array]:
        logits = _logits(head, rows.features)
        return (logits.argmax(axis=1) == rows.labels).sum(), jnp.isfinite(logits).all()

    # One setting after another: the logits of a whole grid can be larger than the features.
    return jax.lax.map(score, heads)


@partial(jax.jit, static_argnames="recipe")
def _train_with_adam(
    recipe: Protocol, weights: jax.Array, train: Labelled, settings: jax.Array, seed: int
) -> Head:
    n, num_classes = len(train.features), weights.shape[1]
    batch_size = min(recipe.batch_size, n)
    steps = -(-n // batch_size)
    first = Head(weights, jnp.zeros(num_classes))
    drops = jnp.array([round(fraction * recipe.epochs) for fraction in recipe.drops])

    def fit(rate: jax.Array, penalty: jax.Array) -> Head:
        adamw = optax.chain(optax.scale_by_adam(), optax.add_decayed_weights(penalty))

        def loss(head: Head, rows: jax.Array) -> jax.Array:
            # The last batch of an epoch is filled up with the index n; those rows do not count.
            features, labels = jax.tree.map(lambda array: array.at[rows].get(mode="clip"), train)
            return jnp.mean(_cross_entropies(head, features, labels), where=rows < n)

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

    return jax.vmap(fit)(*settings.T)


@partial(jax.jit, static_argnames="shape")
def _train_with_lbfgs(
    shape: tuple[int, int], train: Labelled, weights: jax.Array, penalty: jax.Array
) -> Head:
    lbfgs = optax.lbfgs()

    def loss(head: Head) -> jax.Array:
        decay = 0.5 * penalty * jnp.sum(head.weights**2)
        return weights @ _cross_entropies(head, *train) + decay

    def unfinished(carry: tuple[Carry, int]) -> jax.Array:
        (_, state), index = carry
        gradient_size = optax.tree.norm(optax.tree.get(state, "grad"), ord=jnp.inf)
        return (index == 0) | ((index < _LBFGS_STEPS) & (gradient_size > _LBFGS_TOLERANCE))

    def step(carry: tuple[Carry, int]) -> tuple[Carry, int]:
        (head, state), index = carry
        value, gradient = optax.value_and_grad_from_state(loss)(head, state=state)
        values = {"value": value, "grad": gradient, "value_fn": loss}
        updates, state = lbfgs.update(gradient, state, head, **values)
        return (optax.apply_updates(head, updates), state), index + 1

    # The problem is convex, so the start does not matter.
    start = Head(jnp.zeros(shape), jnp.zeros(shape[1]))
    (head, _), _ = jax.lax.while_loop(unfinished, step, ((start, lbfgs.init(start)), 0))
    return head
