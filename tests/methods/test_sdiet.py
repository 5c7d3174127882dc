"""s-DIET against its definition, against dense AdamW, and the same rows wherever they live."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sslx.data.order import order
from sslx.method import Batch
from sslx.methods.diet import diet_loss
from sslx.methods.instance_head.rows import RowAdamW, initial_rows
from sslx.methods.sdiet import Method, sdiet_loss
from sslx.models import Network, heads
from tests.methods.harness import advance, recipe, set_up

pytestmark = pytest.mark.usefixtures("quick_compilation")


def changed(**fields):
    config = recipe("sdiet")
    config.method.update(fields)
    config.flat = True
    return config


@pytest.mark.parametrize("smoothing", [0.0, 0.8])
@pytest.mark.parametrize("count", [6, 11])
def test_the_loss_is_its_definition(smoothing, count):
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        features, rows = (
            jnp.asarray(generator.normal(size=(6, 5))),
            jnp.asarray(generator.normal(size=(count, 5))),
        )
        loss, (by_features, by_rows) = jax.value_and_grad(sdiet_loss, (0, 1))(
            features, rows, label_smoothing=smoothing
        )
        probability = np.exp(features @ rows.T)
        probability /= probability.sum(1, keepdims=True)
        target = np.full((6, count), smoothing / count)
        target[np.arange(6), np.arange(6)] += 1 - smoothing
        assert float(loss) == pytest.approx(
            -(target * np.log(probability)).sum(1).mean(), rel=1e-12
        )
        np.testing.assert_allclose(
            by_features, (probability - target) @ rows / 6, rtol=1e-9, atol=1e-14
        )
        np.testing.assert_allclose(
            by_rows, (probability - target).T @ features / 6, rtol=1e-9, atol=1e-14
        )


@pytest.mark.parametrize("smoothing", [0.0, 0.8])
def test_corrected_and_with_all_rows_it_is_diet(smoothing):
    generator = np.random.default_rng(1)
    with jax.enable_x64(True):
        features, rows = (
            jnp.asarray(generator.normal(size=(4, 5))),
            jnp.asarray(generator.normal(size=(20, 5))),
        )
        full, by_full = jax.value_and_grad(diet_loss)(
            features, rows, jnp.arange(4), label_smoothing=smoothing
        )
        part, by_part = jax.value_and_grad(sdiet_loss)(
            features, rows, label_smoothing=smoothing, num_images=20
        )
        np.testing.assert_allclose(part, full, rtol=1e-12)
        np.testing.assert_allclose(by_part, by_full, rtol=1e-9, atol=1e-14)


def test_the_corrected_denominator_is_an_unbiased_estimate():
    generator = np.random.default_rng(2)
    features, rows = generator.normal(size=(1, 5)), generator.normal(size=(300, 5))
    samples = jnp.asarray(
        [np.concatenate([[0], 1 + generator.permutation(299)[:15]]) for _ in range(4000)]
    )
    loss = jax.vmap(
        lambda drawn: sdiet_loss(
            features, jnp.asarray(rows)[drawn], label_smoothing=0.0, num_images=300
        )
    )
    estimates = np.exp(
        np.asarray(loss(samples)) + features[0] @ rows[0]
    )  # the loss is ln denominator - own logit
    error = np.std(estimates) / len(estimates) ** 0.5
    assert np.mean(estimates) == pytest.approx(np.exp(features @ rows.T).sum(), abs=4 * error)


IDENTITY = Network(lambda key, shape: ({}, {}), lambda params, stats, x, train: (x, stats), width=4)
RATE = optax.cosine_decay_schedule(1e-2, 40)


def method_of(**fields):
    """s-DIET whose encoder returns its input, so that a test knows the features."""
    settings = {"crops": {}, "projector": (), "normalise": "none"} | fields
    return Method(
        IDENTITY, num_images=20, row_optimizer=RowAdamW(RATE, 40, weight_decay=0.05), **settings
    )


def test_the_rows_are_those_of_dense_adamw_on_the_whole_head():
    method, optimizer = (
        method_of(normalise_rows=True, scale=3.0),
        optax.adamw(RATE, weight_decay=0.05),
    )
    with jax.enable_x64(True):
        params, extra = method.init(jax.random.key(0), (1, 4))
        dense = initial_rows(jax.random.wrap_key_data(extra["head"]["key"]), jnp.arange(20), 4)
        state = optimizer.init(dense)

        @jax.jit
        def both(params, extra, dense, state, images, index, step):
            batch = Batch((images,), index)
            (loss, (extra, _)), by_images = jax.value_and_grad(
                lambda images: method.loss(
                    params, extra, batch._replace(views=(images,)), None, step
                ),
                has_aux=True,
            )(images)

            def dense_loss(images, rows):
                return sdiet_loss(3 * images, heads.unit_length(rows[index]), label_smoothing=0.8)

            dense_value, (expected, gradient) = jax.value_and_grad(dense_loss, (0, 1))(
                images, dense
            )
            updates, state = optimizer.update(gradient, state, dense)
            return extra, dense + updates, state, (loss, by_images), (dense_value, expected)

        for step in range(40):
            index = jnp.asarray(
                order(0, step, num_images=19, batch_size=6)
            )  # row 19 is never touched
            images = jnp.asarray(np.random.default_rng(step).normal(size=(6, 4)))
            extra, dense, state, ours, theirs = both(
                params, extra, dense, state, images, index, jnp.int32(step)
            )
            for x, y in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-6, atol=1e-9)
        head = extra["head"]
        assert head["done"][19] == -1
        assert head["done"][:19].min() > 0
        rows = method.rows_at(
            head["key"], jnp.arange(20), head["rows"], head["done"], jnp.int32(40)
        )
        np.testing.assert_allclose(rows.weights, dense, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("index", [[0, 1, 1], [0, 1, 20], [-1, 1, 2]])
def test_an_index_that_occurs_twice_or_has_no_row_makes_the_loss_nan(index):
    method = method_of()
    params, extra = method.init(jax.random.key(0), (1, 4))
    batch = Batch((jnp.ones((3, 4)),), jnp.asarray(index))
    loss, _ = jax.jit(method.loss)(params, extra, batch, None, jnp.int32(0))
    assert np.isnan(loss)


@pytest.mark.parametrize(
    ("negatives", "places"), [(0, ("device", "host")), (40, ("device", "host", "file"))]
)
def test_rows_on_the_device_in_memory_and_in_a_file_are_the_same_to_the_bit(negatives, places):
    """96 images in batches of 32 with 40 more rows: most steps share rows with the step before."""
    results = []
    for place in places:
        run = set_up(changed(rows=place, negatives=negatives), 1)
        state, losses = advance(run, run.state, 10)
        head = state.extra["head"] if place == "device" else run.store.arrays()
        results.append((losses, state.params, head["rows"], head["done"]))
    for other in results[1:]:
        jax.tree.map(
            lambda x, y: np.testing.assert_array_equal(np.asarray(x), np.asarray(y)),
            results[0],
            other,
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": "disk"}, r"config\.method\.rows is 'disk'; it takes device, host, file"),
        ({"normalise": "rows"}, r"it takes projection, representation, both, none"),
        ({"scale": 0.0}, r"scale \(0\.0\) .* must be above 0"),
        ({"negatives": 77}, r"77 images beside a batch of 32 are requested.*use 0 to 64"),
    ],
)
def test_what_does_not_go_is_said_in_a_line(fields, message):
    with pytest.raises(ValueError, match=message):
        set_up(changed(**fields), 1)


def test_other_optimizers_are_refused():
    config = recipe("sdiet")
    config.optimizer.name = "sgd"
    with pytest.raises(
        ValueError, match=r"needs --config\.optimizer\.name=adamw .* \.clip_norm=0\.$"
    ):
        set_up(config, 1)
