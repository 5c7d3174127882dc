"""AdamW on rows against optax.adamw on the whole matrix."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx.methods.instance_head.rows import (
    RowAdamW,
    Rows,
    initial_head,
    initial_rows,
    loss_floor,
    stochastically_rounded,
    with_gradient,
)

STEPS, WARMUP = 1500, 100
RATE = optax.join_schedules(
    [optax.linear_schedule(0.0, 1e-3, WARMUP), optax.cosine_decay_schedule(1e-3, STEPS - WARMUP)],
    [WARMUP],
)


def start(count: int, width: int, dtype: object = jnp.float32) -> Rows:
    weights = jnp.asarray(np.random.default_rng(0).uniform(-0.3, 0.3, (count, width)), dtype)
    return Rows(weights, jnp.zeros_like(weights), jnp.zeros_like(weights))


COUNT, WIDTH = 2000, 4  # of the rows below


@functools.cache
def both_ways(scale: float, precision: str) -> tuple[Rows, Rows, np.ndarray]:
    """Final rows of dense and lazy AdamW over random touches of all rows but the last 20, and the
    first rows.
    """
    with jax.enable_x64(precision == "float64"):
        generator = np.random.default_rng(1)
        touched = [generator.permutation(COUNT - 20)[:16] for _ in range(STEPS)]
        gradients = jnp.asarray(generator.normal(size=(STEPS, 16, WIDTH)) * scale, precision)
        first = start(COUNT, WIDTH, precision)
        dense, lazy = scanned(first, jnp.asarray(np.stack(touched), jnp.int32), gradients)
        return jax.device_get((dense, lazy, first.weights))


@jax.jit
def scanned(first: Rows, touched: jax.Array, gradients: jax.Array) -> tuple[Rows, Rows]:
    optimizer = optax.adamw(RATE, weight_decay=0.05)
    lazy = RowAdamW(RATE, STEPS, weight_decay=0.05)

    def step(carry, inputs):
        weights, state, rows, done = carry
        number, index, gradient = inputs
        updates, state = optimizer.update(
            jnp.zeros_like(weights).at[index].set(gradient), state, weights
        )
        own = lazy.catch_up(Rows(*(x[index] for x in rows)), done[index], number)
        own = lazy.update(own, gradient, number)
        rows = Rows(*(x.at[index].set(y) for x, y in zip(rows, own, strict=True)))
        return (
            weights + updates,
            state,
            rows,
            done.at[index].set(number.astype(jnp.int32) + 1),
        ), None

    carry = first.weights, optimizer.init(first.weights), first, jnp.zeros(COUNT, jnp.int32)
    (weights, state, rows, done), _ = jax.lax.scan(
        step, carry, (jnp.arange(STEPS), touched, gradients)
    )
    dense = Rows(weights, state[0].mu, state[0].nu)
    return dense, lazy.catch_up(rows, done, jnp.asarray(STEPS))


def distance(a: Rows, b: Rows, first: jax.Array) -> float:
    """Difference of the weights, relative to how far they have come."""
    a, b, first = (np.asarray(x, np.float64) for x in (a.weights, b.weights, first))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b - first))


@pytest.mark.parametrize("scale", [1e-2, 1e-3, 1e-5, 1e-7])
def test_lazy_equals_dense_over_1500_steps_of_random_touches(scale):
    dense, lazy, first = both_ways(scale, "float64")
    assert distance(lazy, dense, first) <= 2e-6
    for x, y in ((lazy.mean, dense.mean), (lazy.square, dense.square)):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-10 * np.abs(y).max())
    # Rows that were never touched have decayed, and nothing else.
    np.testing.assert_allclose(lazy.weights[-20:], dense.weights[-20:], rtol=1e-6)
    assert not lazy.mean[-20:].any()


@pytest.mark.parametrize("scale", [1e-2, 1e-7])
def test_lazy_in_float32_is_as_near_to_the_truth_as_dense(scale):
    true, _, first = both_ways(scale, "float64")
    dense, lazy, _ = both_ways(scale, "float32")
    assert distance(lazy, true, first) <= distance(dense, true, first) + 2e-6


@pytest.mark.parametrize(
    ("b1", "b2", "repeated"), [(0.9, 0.999, 128), (0.9, 0.99, 134), (0.99, 0.9, 1000)]
)
def test_how_many_steps_are_repeated_follows_from_the_betas(b1, b2, repeated):
    assert RowAdamW(RATE, 1000, b1, b2).repeated == repeated


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.95, 0.95)])
def test_any_number_of_missed_steps_is_made_up_for(betas):
    total = 12_100
    rate = optax.cosine_decay_schedule(1e-3, total)
    optimizer = optax.adamw(rate, *betas, weight_decay=0.05)
    lazy = RowAdamW(rate, total, *betas, weight_decay=0.05)
    with jax.enable_x64(True):
        rows = start(3, 5, jnp.float64)
        gradient = jnp.asarray(np.random.default_rng(2).normal(size=(3, 5)))
        state = optimizer.init(rows.weights)
        updates, state = optimizer.update(gradient, state, rows.weights)
        rows = lazy.update(rows, gradient, 0)
        weights = rows.weights
        np.testing.assert_allclose(weights, start(3, 5, jnp.float64).weights + updates, rtol=1e-12)

        def idle(_, carry):
            weights, state = carry
            updates, state = optimizer.update(jnp.zeros_like(weights), state, weights)
            return weights + updates, state

        @jax.jit
        def both(missed):
            carry = jax.lax.fori_loop(0, missed, idle, (weights, state))
            return carry, lazy.catch_up(rows, jnp.ones(3, jnp.int32), 1 + missed)

        for missed in (0, 1, 2, 127, 128, 129, 500, 12_000):
            (dense, (moments, *_)), caught = both(missed)
            way = jnp.abs(dense - start(3, 5, jnp.float64).weights).max()
            np.testing.assert_allclose(caught.weights, dense, rtol=0, atol=2e-6 * float(way))
            np.testing.assert_allclose(caught.mean, moments.mu, rtol=1e-6, atol=1e-300)
            np.testing.assert_allclose(caught.square, moments.nu, rtol=1e-6)


def test_rows_that_have_waited_for_different_times_are_each_brought_to_the_same_step():
    with jax.enable_x64(True):
        lazy = RowAdamW(RATE, STEPS, weight_decay=0.05)
        rows = lazy.update(start(4, 3, jnp.float64), jnp.ones((4, 3)), 0)
        done = jnp.array([1, 40, 300, 700])
        catch_up = jax.jit(lazy.catch_up)
        together = catch_up(rows, done, jnp.asarray(700))
        for number in range(4):
            part = slice(number, number + 1)
            alone = catch_up(Rows(*(x[part] for x in rows)), done[part], jnp.asarray(700))
            for x, y in zip(together, alone, strict=True):
                np.testing.assert_allclose(x[number], y[0], rtol=1e-12)
        np.testing.assert_array_equal(together.weights[3], rows.weights[3])


def test_skipping_the_missed_steps_would_be_far_off():
    """The test above could pass if missed steps did not matter; they are most of the way."""
    lazy = RowAdamW(optax.constant_schedule(1e-3), STEPS)
    rows = start(2, 3)
    moved = lazy.update(rows, jnp.ones((2, 3)), 0)
    carried = lazy.catch_up(moved, jnp.ones(2, jnp.int32), jnp.asarray(200))
    assert (
        jnp.abs(carried.weights - rows.weights).min()
        > 5 * jnp.abs(moved.weights - rows.weights).max()
    )


def test_a_row_can_be_drawn_alone_or_with_all_others():
    key = jax.random.key(3)
    head = initial_head(key, 2500, 16)
    assert head.shape == (2500, 16)
    np.testing.assert_array_equal(
        head[jnp.array([7, 2499])], initial_rows(key, jnp.array([7, 2499]), 16)
    )
    np.testing.assert_array_equal(head[1100:1500], initial_head(key, 400, 16, first=1100))
    assert float(jnp.abs(head).max()) <= 0.25
    assert float(head.std()) == pytest.approx(0.25 / 3**0.5, rel=0.01)
    assert len(np.unique(np.asarray(head[:, 0]))) == 2500


def test_storing_in_bfloat16_keeps_the_mean():
    value = jnp.full((200, 200), 1.0 + 1 / 1024)  # an eighth of the way to the next bfloat16
    like = Rows(jnp.zeros(1, jnp.bfloat16), jnp.zeros(1), jnp.zeros(1, jnp.bfloat16))
    stored = stochastically_rounded(Rows(value, value, -value), like, jax.random.key(0))
    assert (stored.weights.dtype, stored.mean.dtype, stored.square.dtype) == (
        jnp.bfloat16,
        jnp.float32,
        jnp.bfloat16,
    )
    np.testing.assert_array_equal(stored.mean, value)
    for x, sign in ((stored.weights, 1), (stored.square, -1)):
        assert set(np.unique(np.asarray(x.astype(jnp.float32) * sign))) == {1.0, 1.0078125}
        assert float(jnp.mean(x.astype(jnp.float32))) * sign == pytest.approx(
            1 + 1 / 1024, abs=1e-4
        )


def test_a_known_gradient_is_passed_on_with_its_factor():
    gradient = jnp.array([[1.0, -2.0]])
    value, by_features = jax.value_and_grad(
        lambda f: 3 * with_gradient(jnp.asarray(5.0), f, gradient)
    )(jnp.ones((1, 2)))
    assert float(value) == 15
    np.testing.assert_array_equal(by_features, 3 * gradient)


@pytest.mark.parametrize(
    ("num_images", "floor"),
    [
        (50_000, 9.156),
        (75_750, 9.488),
        (100_000, 9.711),
        (126_689, 9.900),
        (1_281_167, 11.751),
        (256, 4.920),
    ],
)
def test_the_floor_is_the_entropy_of_the_smoothed_target(num_images, floor):
    assert loss_floor(num_images, 0.8) == pytest.approx(floor, abs=6e-4)
