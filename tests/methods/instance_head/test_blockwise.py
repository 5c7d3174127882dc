"""The blockwise cross-entropy against the materialised one: value, gradients, AdamW steps, devices,
memory.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh

from sslx.methods.diet import diet_loss
from sslx.methods.instance_head.blockwise import blockwise_cross_entropy, fresh_rows
from sslx.methods.instance_head.rows import RowAdamW, Rows, initial_head
from tests.methods.harness import quick_compilation

N, D, B = 1037, 12, 24


def mesh_of(count: int) -> Mesh:
    return Mesh(np.asarray(jax.devices()[:count]), ("data",), axis_types=(AxisType.Auto,))


def problem(dtype: object) -> tuple[jax.Array, jax.Array, jax.Array]:
    generator = np.random.default_rng(0)
    features = jnp.asarray(generator.normal(size=(B, D)) * 2, dtype)
    weights = jnp.asarray(generator.normal(size=(N, D)), dtype)
    return features, weights, jnp.asarray(generator.permutation(N)[:B]).at[0].set(N - 1)


def keep_gradient(rows: Rows, gradient: jax.Array, place: jax.Array) -> Rows:
    return rows._replace(mean=gradient)


whole_head = jax.jit(jax.value_and_grad(diet_loss, (0, 1)))


def rows_of(weights: jax.Array) -> Rows:
    return Rows(weights, jnp.zeros_like(weights), jnp.zeros_like(weights))


@pytest.mark.parametrize("block", [1, 40, 64, 1037, 5000])
@pytest.mark.parametrize(("precision", "rtol"), [("f64", 1e-10), ("f32", 1e-5)])
def test_value_and_both_gradients_are_those_of_the_whole_head(block, precision, rtol):
    settings = {"update": keep_gradient, "num_classes": N, "block": block}
    loss = partial(blockwise_cross_entropy, **settings)
    blockwise = jax.jit(jax.value_and_grad(loss, has_aux=True))
    with jax.enable_x64(precision == "f64"), quick_compilation():
        features, weights, index = problem(jnp.float64 if precision == "f64" else jnp.float32)
        for smoothing in (0.0, 0.8):
            expected, (by_features, by_weights) = whole_head(
                features, weights, index, label_smoothing=smoothing
            )
            (value, rows), gradient = blockwise(
                features, rows_of(weights), index, label_smoothing=smoothing
            )
            np.testing.assert_allclose(value, expected, rtol=rtol)
            for got, wanted in ((gradient, by_features), (rows.mean, by_weights)):
                largest = float(jnp.abs(wanted).max())
                np.testing.assert_allclose(got, wanted, rtol=rtol, atol=rtol * largest)
            np.testing.assert_array_equal(rows.weights, weights)


@pytest.mark.parametrize("devices", [1, 2, 8])
def test_steps_on_several_devices_are_those_of_dense_adamw(devices):
    with jax.enable_x64(True), quick_compilation():
        steps_are_those_of_dense_adamw(devices)


def steps_are_those_of_dense_adamw(devices: int) -> None:
    features, _, index = problem(jnp.float64)
    rate = optax.cosine_decay_schedule(1e-2, 20)
    optimizer, own = optax.adamw(rate, weight_decay=0.05), RowAdamW(rate, 20, weight_decay=0.05)
    weights = initial_head(jax.random.key(0), N, D)
    state = optimizer.init(weights)
    with jax.set_mesh(mesh_of(devices)):
        rows = fresh_rows(jax.random.key(0), N, D, dtype="float64", moments_dtype="float64")
        assert rows.weights.shape == (2048, D)
        assert len(rows.weights.addressable_shards[0].data) == 2048 // devices
        np.testing.assert_array_equal(np.asarray(rows.weights)[:N], weights)
        padding = np.asarray(rows.weights)[N:]

        @jax.jit
        def step(rows, number):
            def loss(features):
                def update(rows, gradient, place):
                    return own.update(rows, gradient, number)

                return blockwise_cross_entropy(
                    features, rows, index, update, num_classes=N, label_smoothing=0.8, block=100
                )

            (value, rows), gradient = jax.value_and_grad(loss, has_aux=True)(features)
            return value, gradient, rows

        for number in range(5):
            value, gradient, rows = step(rows, number)
            expected, (by_features, by_weights) = whole_head(
                features, weights, index, label_smoothing=0.8
            )
            updates, state = optimizer.update(by_weights, state, weights)
            weights = weights + updates
            np.testing.assert_allclose(value, expected, rtol=1e-12)
            np.testing.assert_allclose(gradient, by_features, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(np.asarray(rows.weights)[:N], weights, rtol=1e-9, atol=1e-10)
        np.testing.assert_array_equal(np.asarray(rows.weights)[N:], padding)
        assert len(rows.weights.addressable_shards[0].data) == 2048 // devices


def test_neither_logits_nor_a_second_head_are_ever_in_memory():
    count, width, batch, block = 100_000, 32, 64, 1024
    rows = rows_of(jnp.zeros((count, width)))
    own = RowAdamW(optax.constant_schedule(1e-3), 10)

    def step(features, rows, index):
        def loss(features):
            def update(rows, gradient, place):
                return own.update(rows, gradient, jnp.asarray(0))

            settings = {"num_classes": count, "label_smoothing": 0.8, "block": block}
            return blockwise_cross_entropy(features, rows, index, update, **settings)

        return jax.value_and_grad(loss, has_aux=True)(features)

    arguments = jnp.ones((batch, width)), rows, jnp.arange(batch)
    memory = jax.jit(step, donate_argnums=1).lower(*arguments).compile().memory_analysis()
    head = count * width * 4
    assert memory.alias_size_in_bytes >= 3 * head  # written in place
    assert memory.temp_size_in_bytes < 0.2 * head  # a copy of the rows would be 1, the logits 2


def test_an_index_without_a_row_makes_the_loss_nan():
    features, weights, index = problem(jnp.float32)
    for wrong in (-1, N):
        loss, _ = blockwise_cross_entropy(
            features,
            rows_of(weights),
            index.at[3].set(wrong),
            keep_gradient,
            num_classes=N,
            label_smoothing=0.8,
            block=64,
        )
        assert math.isnan(loss)


def test_large_logits_do_not_overflow():
    with jax.enable_x64(True):
        features, weights, index = problem(jnp.float64)
        features, weights = features * 1e3, weights * 1e3
        settings = {"num_classes": N, "label_smoothing": 0.0, "block": 100}
        loss, _ = blockwise_cross_entropy(
            features, rows_of(weights), index, keep_gradient, **settings
        )
        expected = diet_loss(features, weights, index, label_smoothing=0.0)
        np.testing.assert_allclose(loss, expected, rtol=1e-12)


def test_devices_that_cannot_share_the_rows_are_named():
    with (
        jax.set_mesh(mesh_of(3)),
        pytest.raises(ValueError, match=r"1, 2, 4, \.\.\. 1024 devices, not 3"),
    ):
        fresh_rows(jax.random.key(0), N, D, dtype="float32", moments_dtype="float32")
