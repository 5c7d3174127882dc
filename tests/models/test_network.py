"""Networks in a chain, and views that pass a network as batches."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sslx.models import Network, apply_to_views, chain, encode, heads, resnet

pytestmark = pytest.mark.usefixtures("quick_compilation")


def close(a, b, atol=1e-5):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=atol), a, b)


@pytest.fixture(scope="module")
def parts():
    return {"encoder": resnet.network("resnet_tiny", width=4), "projector": heads.mlp((12, 6))}


def run(network, params, stats, x, train):
    """Apply under jit: op by op, every operation would be compiled by itself."""
    return jax.jit(partial(network.apply, train=train))(params, stats, x)


def images(number, size=8):
    return jax.random.normal(jax.random.key(number), (4, size, size, 1))


def test_a_chain_is_its_networks_one_after_another(parts):
    network = chain(**parts)
    assert network.width == 6
    params, stats = network.init(jax.random.key(0), (1, 8, 8, 1))
    keys = jax.random.split(jax.random.key(0))
    assert list(params) == list(stats) == ["encoder", "projector"]
    close(params["projector"], parts["projector"].init(keys[1], (1, parts["encoder"].width))[0], 0)
    out, new = run(network, params, stats, images(0), True)
    x, encoder = run(parts["encoder"], params["encoder"], stats["encoder"], images(0), True)
    z, projector = run(parts["projector"], params["projector"], stats["projector"], x, True)
    close((out, new), (z, {"encoder": encoder, "projector": projector}))
    together = jax.jit(partial(encode, *parts.values()))
    representation, embedding = together(params, new, images(0))
    assert representation.shape == (4, parts["encoder"].width)
    close(embedding, run(network, params, new, images(0), False)[0])


def test_views_pass_one_by_one_or_together(parts):
    network = parts["encoder"]
    params, stats = network.init(jax.random.key(0), (1, 8, 8, 1))
    first, second = images(1), 3 * images(2) + 1
    apply = jax.jit(partial(network.apply, train=True))
    one, after_one = apply(params, stats, first)
    two, after_two = apply(params, after_one, second)
    separate = jax.jit(partial(apply_to_views, network, groups=1))(params, stats, (first, second))
    close(separate, ([one, two], after_two), 1e-4)
    both, after = apply(params, stats, jnp.concatenate([first, second]))
    together = jax.jit(partial(apply_to_views, network, groups=0))(params, stats, (first, second))
    close(together, ([both[:4], both[4:]], after), 1e-4)
    assert np.abs(both[:4] - one).max() > 0.01


def test_views_of_one_size_pass_as_one_batch_and_keep_their_places():
    seen = []

    def apply(params, stats, x, *, train, groups=1):
        seen.append((x.shape, groups))
        return x.reshape(len(x), -1)[:, :1], stats

    counting = Network(lambda key, shape: ({}, {}), apply, 1)
    views = [jnp.full((4, size, size, 1), value) for value, size in enumerate((8, 8, 6, 8, 6))]
    outputs, _ = apply_to_views(counting, {}, {}, views, groups=2)
    assert seen == [((12, 8, 8, 1), 6), ((8, 6, 6, 1), 4)]
    for value, output in enumerate(outputs):
        np.testing.assert_array_equal(output, np.full((4, 1), value))


def test_two_groups_of_each_view_are_normalised_apart(parts):
    network = parts["projector"]
    params, stats = network.init(jax.random.key(0), (1, 5))
    views = [jax.random.normal(jax.random.key(n), (8, 5)) * (n + 1) for n in range(2)]
    outputs, _ = jax.jit(partial(apply_to_views, network, groups=2))(params, stats, views)
    apply = jax.jit(partial(network.apply, train=True))
    for view, output in zip(views, outputs, strict=True):
        for group in range(2):
            alone, _ = apply(params, stats, view[group::2])
            close(output[group::2], alone)
