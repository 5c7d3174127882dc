import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.method import Batch
from sslx.methods.moco import Method
from sslx.models import Network, heads
from sslx.training.schedules import Durations
from sslx.views.views import Crop
from tests.methods.golden import PRECISIONS, assert_close, load
from tests.methods.harness import as_float64, flat_encoder

pytestmark = pytest.mark.usefixtures("quick_compilation")

LINEAR = Network(
    lambda key, shape: ({"kernel": jnp.zeros((6, 8))}, {}),
    lambda params, stats, x, train, groups=1: (x @ params["kernel"], stats),
    8,
)


class Headless(Method):
    """MoCo without a projector, as the reference was run."""

    @property
    def head(self):
        return heads.projector(self.encoder.width, (), norm=False)


def moco(**fields):
    fields = {
        "encoder": LINEAR,
        "queue": 16,
        "momentum": 0.99,
        "momentum_end": 0.99,
        "bn_group": 0,
    } | fields
    return Headless(crops={"crop": Crop(8)}, durations=Durations("6 steps", 6, 4), **fields)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_six_steps_equal_the_official_code(precision):
    golden, rtol = load("moco_a"), PRECISIONS[precision]
    with jax.enable_x64(precision == "f64"):
        method = moco(temperature=0.07)
        dtype = jnp.float64 if precision == "f64" else jnp.float32
        get = lambda name: jnp.asarray(golden[name], dtype)  # noqa: E731

        def params(kernel):
            return {"encoder": {"kernel": kernel.T}, "projector": {}}

        stats = {"encoder": {}, "projector": {}}
        extra = {
            "stats": stats,
            "teacher": {"params": params(get("in.Wk0")), "stats": stats},
            "queue": get("in.queue0").T[None],
            "pointer": jnp.zeros((), jnp.int32),
        }
        step = jax.jit(jax.value_and_grad(method.loss, has_aux=True))
        for number in range(6):
            batch = Batch((get("in.xq")[number], get("in.xk")[number]), jnp.arange(4))
            out, gradient = step(
                params(get("in.Wq")[number]), extra, batch, jax.random.key(0), jnp.int32(number)
            )
            loss, (extra, _) = out
            assert_close(loss, golden[f"moco.{precision}.loss"][number], rtol)
            assert_close(gradient["encoder"]["kernel"].T, golden["moco.f64.grad.Wq"][number], rtol)
            assert_close(
                extra["teacher"]["params"]["encoder"]["kernel"].T,
                golden["moco.f64.Wk"][number],
                rtol,
            )
            assert int(extra["pointer"]) == golden["moco.ptr"][number]
            if number == 0:
                assert_close(extra["queue"][0].T, golden["moco.f64.queue_after_step0"], rtol)
        assert_close(extra["queue"][0].T, golden["moco.f64.queue_last"], rtol)


def first_steps(method, keys):
    """Loss, extra and logs of the first step with each of the keys, in float64."""
    with jax.enable_x64(True):
        views = tuple(jax.random.normal(jax.random.key(view), (4, 8, 8, 1)) for view in (1, 2))
        fresh = method.init(jax.random.key(0), (1, 8, 8, 1))
        params, extra = jax.tree.map(as_float64, jax.device_put(fresh))
        batch, step = Batch(views, jnp.arange(4)), jax.jit(method.loss)
        outcomes = [step(params, extra, batch, jax.random.key(k), jnp.int32(0)) for k in keys]
        return jax.device_get(outcomes)


def test_keys_in_groups_have_other_batch_mates_than_queries():
    method = moco(encoder=flat_encoder(), bn_group=2)
    losses = {round(float(loss), 6) for loss, _ in first_steps(method, range(12))}
    assert len(losses) == 3  # the ways to split four keys into two pairs
    whole = dataclasses.replace(method, bn_group=0)
    assert len({round(float(loss), 6) for loss, _ in first_steps(whole, range(3))}) == 1


def test_shuffled_keys_come_back_in_order():
    """Without batch norm the order leaves no trace."""
    plain = heads.mlp((8,), norm=False)

    def apply(params, stats, x, *, train, groups=1):
        return plain.apply(params, stats, x.reshape(len(x), -1), train=train, groups=groups)

    encoder = Network(lambda key, shape: plain.init(key, (1, 64)), apply, 8)
    methods = (moco(encoder=encoder, bn_group=group) for group in (2, 0))
    (shuffled,), (ordered,) = (first_steps(method, [0]) for method in methods)
    np.testing.assert_allclose(shuffled[0], ordered[0], rtol=1e-12)
    np.testing.assert_allclose(shuffled[1][0]["queue"], ordered[1][0]["queue"], atol=1e-12)


def test_a_symmetric_step_asks_both_views_and_fills_two_queues():
    method = moco(encoder=flat_encoder(), symmetric=True)
    ((loss, (extra, _)),) = first_steps(method, [0])
    assert extra["queue"].shape == (2, 16, 16)
    np.testing.assert_allclose(np.linalg.norm(extra["queue"], axis=-1), 1.0, rtol=1e-5)
    assert not np.allclose(extra["queue"][0, :4], extra["queue"][1, :4])
    assert np.isfinite(loss)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"queue": 18}, "queue is 18; it must be a multiple of the batch size 4, such as 16"),
        ({"queue": 0}, "queue is 0; it must be a multiple of the batch size 4, such as 4"),
        ({"bn_group": 3}, "bn_group is 3; it must divide the batch size 4, or be 0"),
    ],
)
def test_mistakes_are_one_clear_line(fields, message):
    with pytest.raises(ValueError, match=message):
        partial(moco, **fields)()
