import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.experiment import load_method
from sslx.methods.diet import diet_loss
from sslx.methods.instance_head.rows import loss_floor
from sslx.training.checkpoint import Checkpoints
from tests.methods.harness import IMAGES, advance, recipe, set_up, set_up_float64


def test_the_floor_is_reached_at_the_optimal_gap_and_nowhere_lower():
    count, smoothing = 256, 0.8
    gap = math.log((0.2 + 0.8 / count) / (0.8 / count))
    assert gap == pytest.approx(4.17, abs=5e-3)
    index = jnp.arange(count)
    for scale, above in ((1.0, 0.0), (0.9, 1e-4), (1.1, 1e-4)):
        loss = float(
            diet_loss(
                jnp.eye(count) * gap * scale, jnp.eye(count), index, label_smoothing=smoothing
            )
        )
        assert loss >= loss_floor(count, smoothing) + above - 1e-5
        if scale == 1.0:
            assert loss == pytest.approx(loss_floor(count, smoothing), abs=1e-5)
    assert loss_floor(count, 0.0) == pytest.approx(0.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.8])
def test_value_and_gradient_equal_the_definition_in_float64(smoothing):
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        features, head = (jnp.asarray(generator.normal(size=shape)) for shape in ((6, 5), (11, 5)))
        index = jnp.array([3, 0, 10, 3, 7, 1])
        value, (by_features, by_head) = jax.value_and_grad(diet_loss, (0, 1))(
            features, head, index, label_smoothing=smoothing
        )
        probability = np.exp(features @ head.T)
        probability /= probability.sum(1, keepdims=True)
        target = np.full((6, 11), smoothing / 11)
        target[np.arange(6), index] += 1 - smoothing
        assert float(value) == pytest.approx(
            -(target * np.log(probability)).sum(1).mean(), rel=1e-12
        )
        np.testing.assert_allclose(
            by_features, (probability - target) @ head / 6, rtol=1e-10, atol=1e-14
        )
        np.testing.assert_allclose(
            by_head, (probability - target).T @ features / 6, rtol=1e-10, atol=1e-14
        )


def test_the_loss_starts_at_the_logarithm_of_the_number_of_images():
    features = jnp.zeros((4, 8))
    assert float(
        diet_loss(features, jnp.ones((1000, 8)), jnp.arange(4), label_smoothing=0.8)
    ) == pytest.approx(math.log(1000))


def blockwise(**fields):
    config = recipe("diet")
    config.method.update(head="blockwise", block=40, **fields)
    config.flat = True
    return config


def test_blockwise_and_full_train_alike():
    """Twenty AdamW steps in float64: the same losses, and the same head in the end."""
    ends = []
    for head in ("full", "blockwise"):
        config = recipe("diet")
        config.method.update(
            head=head, block=40, projector=(0, 16), normalise=True, scale=4.0, learn_scale=True
        )
        config.flat = True
        run = set_up_float64(config, 1, steps=20)
        ends.append(advance(run, run.state, 20))
    (full, full_losses), (block, block_losses) = ends
    np.testing.assert_allclose(block_losses, full_losses, rtol=1e-9)
    rows = np.asarray(block.extra["head"].weights)[: len(IMAGES)]
    np.testing.assert_allclose(rows, full.params["head"], atol=1e-9)


def test_a_head_saved_on_four_devices_goes_on_on_two(tmp_path):
    run = set_up(blockwise(), 4)
    state, _ = advance(run, run.state, 3)
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(3, state, {})
    checkpoints.close()
    expected = advance(run, state, 3)[1]
    other = set_up(blockwise(), 2)
    checkpoints = Checkpoints(tmp_path / "c")
    restored = checkpoints.restore_latest(other.state)
    checkpoints.close()
    rows = restored.extra["head"]
    assert {shard.data.shape[0] for shard in rows.weights.addressable_shards} == {512}
    np.testing.assert_allclose(advance(other, restored, 3)[1], expected, rtol=1e-4)


def test_a_head_in_bfloat16_learns_as_well():
    losses = []
    for fields in ({}, {"head_dtype": "bfloat16", "moments_dtype": "bfloat16"}):
        run = set_up(blockwise(**fields), 1)
        state, course = advance(run, run.state, 30)
        losses.append(np.mean(course[-5:]))
        assert {x.dtype.name for x in state.extra["head"]} == (
            {"bfloat16"} if fields else {"float32"}
        )
    assert losses[1] == pytest.approx(losses[0], abs=0.02)
    assert losses[1] < np.mean(course[:3]) - 0.03


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"head": "rows"}, r"config\.method\.head is 'rows'; it takes full, blockwise"),
        ({"head_dtype": "bfloat16"}, r"are of --config\.method\.head=blockwise"),
        ({"block": 0}, r"block \(0\) .* must be above 0"),
    ],
)
def test_what_does_not_go_is_said_in_a_line(fields, message):
    config = recipe("diet")
    config.method.update(fields)
    with pytest.raises(ValueError, match=message):
        load_method(config, 96)


def test_a_clipped_norm_needs_the_full_head():
    config = blockwise()
    config.optimizer.clip_norm = 1.0
    with pytest.raises(ValueError, match=r"clip_norm=0, or --config\.method\.head=full"):
        load_method(config, 96)
