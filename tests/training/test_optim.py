import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from configs import base
from sslx.methods.instance_head.rows import row_adamw
from sslx.training.checkpoint import Checkpoints
from sslx.training.optim import decays, describe_decay, labels, make_optimizer, parameter_groups
from sslx.training.schedules import Durations, learning_rate
from sslx.training.state import State

DURATIONS = Durations("12 steps", steps_per_epoch=2, batch_size=8)


@pytest.fixture
def config():
    config = base.get_config().optimizer
    config.update(learning_rate=0.1, warmup="4 steps")
    return config


def golden(name):
    return np.load(f"tests/golden/{name}.npz", allow_pickle=False)


def run(optimizer, params, gradients):
    state, update, course = optimizer.init(params), jax.jit(optimizer.update), []
    for gradient in gradients:
        updates, state = update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        course.append(params)
    return course, state


def tree():
    """Eight tensors, as a network has them."""
    generator = np.random.default_rng(0)
    shapes = {
        "encoder": {"conv": {"kernel": (3, 3)}, "bn": {"scale": (3,), "bias": (3,)}},
        "predictor": {"kernel": (3, 4), "bias": (4,)},
        "projector": {"kernel": (4, 2), "bias": (2,)},
        "last": (2, 5),
    }
    return jax.tree.map(
        lambda shape: jnp.asarray(generator.normal(size=shape), float),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
    )


def gradients_of(params, steps, seed=1):
    generator = np.random.default_rng(seed)
    return [
        jax.tree.map(
            lambda leaf: jnp.asarray(generator.normal(size=leaf.shape), leaf.dtype), params
        )
        for _ in range(steps)
    ]


def count_of(state, group):
    """Adam's own step count in a group's optimizer, frozen or not."""
    (partition,) = state
    inner = partition.inner_states[group].inner_state
    return getattr(inner, "inner_state", inner)[0]


def test_adamw_with_a_rate_and_a_decay_per_step_equals_torch(config):
    vectors, names = golden("adamw_a"), ("w", "b", "last")
    config.decay_min_ndim = 2
    config.groups.last = base.group("^last$", frozen="2 steps")
    with jax.enable_x64(True):
        rates, decay = jnp.array([0.01, 0.02, 0.005, 0.01]), jnp.array([0.04, 0.1, 0.2, 0.4])
        optimizer = make_optimizer(
            config, DURATIONS, rate=lambda step: rates[step], decay=lambda step: decay[step]
        )
        params = {name: jnp.asarray(vectors[f"in.param.{name}"], float) for name in names}
        gradients = [
            {name: jnp.asarray(vectors[f"in.grads.{name}"][step], float) for name in names}
            for step in range(4)
        ]
        course, state = run(optimizer, params, gradients)
        for name in names:
            values = np.stack([after[name] for after in course])
            np.testing.assert_allclose(
                values, vectors[f"torch.f64.param.{name}"], rtol=1e-9, atol=1e-14
            )
        assert (count_of(state, "rest").count, count_of(state, "last").count) == (4, 2)


def test_sgd_with_coupled_decay_equals_torch(config):
    vectors = golden("sgd_a")
    config.update(name="sgd", weight_decay=0.01, momentum=0.9)
    with jax.enable_x64(True):
        rates = jnp.array([0.1, 0.2, 0.05])
        optimizer = make_optimizer(config, DURATIONS, rate=lambda step: rates[step])
        gradients = [{"w": jnp.asarray(g, float)} for g in vectors["in.grads"]]
        course, _ = run(optimizer, {"w": jnp.asarray(vectors["in.param"], float)}, gradients)
        for after, expected in zip(course, vectors["torch.f64.param"], strict=True):
            np.testing.assert_allclose(after["w"], expected, rtol=1e-9)


def test_sgd_with_nesterov_looks_ahead_as_torch_does(config):
    config.update(name="sgd", weight_decay=0.0, nesterov=True)
    course, _ = run(
        make_optimizer(config, DURATIONS, rate=lambda _: 1.0),
        {"w": jnp.zeros(1)},
        [{"w": jnp.ones(1)}] * 2,
    )
    # buffers 1 and 1.9; steps 1 + 0.9 * 1 and 1 + 0.9 * 1.9
    np.testing.assert_allclose([after["w"][0] for after in course], [-1.9, -1.9 - 2.71], rtol=1e-6)


def test_each_tensors_norm_is_clipped_as_in_dino(config):
    vectors = golden("dino_clip_a")
    config.update(name="sgd", momentum=0.0, weight_decay=0.0, clip_tensor_norm=3.0)
    names = ("a.weight", "a.bias", "last_layer.weight_v")
    with jax.enable_x64(True):
        gradient = {name: jnp.asarray(vectors[f"in.grad.{name}"], float) for name in names}
        optimizer = make_optimizer(config, DURATIONS, rate=lambda _: 1.0)
        (after,), _ = run(optimizer, jax.tree.map(jnp.zeros_like, gradient), [gradient])
        for name in names:
            np.testing.assert_allclose(-after[name], vectors[f"dino.f64.grad.{name}"], rtol=1e-9)


def test_clipping_bounds_the_gradient_not_the_decay(config):
    config.update(name="sgd", momentum=0.0, clip_norm=1.0, weight_decay=1.0)
    params, gradient = {"w": jnp.full(4, 5.0)}, {"w": jnp.full(4, 100.0)}
    (after,), _ = run(make_optimizer(config, DURATIONS, rate=lambda _: 1.0), params, [gradient])
    np.testing.assert_allclose(np.linalg.norm(after["w"]), 1.0, rtol=1e-6)


def test_decay_is_chosen_by_path_and_by_axes(config):
    params = {
        "encoder": {"conv": np.zeros((3, 3)), "bn": {"scale": np.zeros(3)}},
        "head": np.zeros((5, 3)),
    }
    assert all(jax.tree.leaves(decays(params, config)))
    config.decay_min_ndim, config.no_decay = 2, "^head"
    assert decays(params, config) == {
        "encoder": {"conv": True, "bn": {"scale": False}},
        "head": False,
    }
    text = "\n".join(describe_decay(params, config))
    assert "weight decay 0.05 on 9" in text
    assert "encoder/bn/scale, head" in text
    config.weight_decay_end = 0.4
    assert "weight decay 0.05 to 0.4 on 9" in describe_decay(params, config)[0]


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_without_groups_it_is_optax_with_optaxs_state(config, name):
    config.update(name=name, decay_min_ndim=2)
    params, rate = tree(), learning_rate(config, DURATIONS)
    mask = decays(params, config)
    if name == "adamw":
        plain = optax.adamw(rate, weight_decay=0.05, mask=mask)
    else:
        plain = optax.chain(
            optax.add_decayed_weights(0.05, mask), optax.sgd(rate, momentum=0.9, nesterov=False)
        )
    plain, own = optax.chain(plain), make_optimizer(config, DURATIONS)
    gradients = gradients_of(params, 6)
    (expected, state), (course, own_state) = (
        run(plain, params, gradients),
        run(own, params, gradients),
    )
    assert jax.tree.structure(own_state) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, course, expected)
    jax.tree.map(np.testing.assert_array_equal, own_state, state)


def test_a_group_has_its_own_rate_and_the_first_match_wins(config):
    config.update(name="sgd", momentum=0.0, weight_decay=0.0)
    config.groups.predictor = base.group("^predictor/", constant=True, rate=0.5)
    config.groups.biases = base.group("(bias|scale)$", rate=0.25)
    params, rate = tree(), learning_rate(config, DURATIONS)
    found = labels(params, parameter_groups(config))
    assert found["predictor"] == {"kernel": "predictor", "bias": "predictor"}
    assert found["encoder"] == {
        "conv": {"kernel": "rest"},
        "bn": {"scale": "biases", "bias": "biases"},
    }
    ones = [jax.tree.map(jnp.ones_like, params)] * 8
    course, _ = run(make_optimizer(config, DURATIONS), params, ones)
    rates = {"rest": rate, "biases": lambda step: 0.25 * rate(step), "predictor": lambda _: 0.05}
    for step in range(1, 8):
        moved = jax.tree.map(lambda old, new: np.asarray(old - new), course[step - 1], course[step])
        jax.tree.map(
            lambda way, name: np.testing.assert_allclose(way, rates[name](step), atol=1e-6),
            moved,
            found,
        )


def test_the_order_of_groups_is_that_of_the_recipe(config):
    config.groups.zulu = base.group("bias$")
    config.groups.alpha = base.group("^p")
    assert list(parameter_groups(config)) == ["zulu", "alpha"]
    assert labels(tree(), parameter_groups(config))["projector"] == {
        "kernel": "alpha",
        "bias": "zulu",
    }


@pytest.mark.parametrize("name", ["adamw", "sgd", "lars", "lars_simclr", "larc"])
def test_what_is_frozen_starts_late_with_the_runs_rate_and_decay(config, name):
    """Frozen for 3 steps, it goes as an optimizer does that begins at step 3, with the schedules of
    then.
    """
    config.update(name=name, weight_decay_end=0.4)
    params = tree()
    gradients, first = gradients_of(params, 6), 3
    free, _ = run(make_optimizer(config, DURATIONS), params, gradients)
    rate = learning_rate(config, DURATIONS)
    decay = optax.cosine_decay_schedule(1.0, 12)
    late, _ = run(
        make_optimizer(
            config,
            DURATIONS,
            rate=lambda step: rate(step + first),
            decay=lambda step: 0.4 - 0.35 * decay(step + first),
        ),
        params,
        gradients[first:],
    )
    config.groups.last = base.group("^last$", frozen="1.5 epochs")
    optimizer = make_optimizer(config, DURATIONS)
    course, state = run(optimizer, params, gradients[:first])
    assert all((after["last"] == params["last"]).all() for after in course)
    fresh = optimizer.init(params)[0].inner_states["last"].inner_state.inner_state
    jax.tree.map(
        np.testing.assert_array_equal, state[0].inner_states["last"].inner_state.inner_state, fresh
    )
    course, state = run(optimizer, params, gradients)
    for after, whole, begun in zip(course[first:], free[first:], late, strict=True):
        np.testing.assert_allclose(after["last"], begun["last"], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(
            after["projector"]["kernel"], whole["projector"]["kernel"], rtol=1e-6
        )
        assert np.abs(after["last"] - whole["last"]).max() > 1e-5


def test_the_state_is_arrays_that_a_checkpoint_brings_back(config, tmp_path):
    config.update(name="larc", weight_decay_end=0.4, clip_norm=1.0, clip_tensor_norm=1.0)
    config.groups.last = base.group("^last$", frozen="2 steps")
    config.groups.biases = base.group("bias$", rate=0.1)
    params, optimizer = tree(), make_optimizer(config, DURATIONS)
    _, moved = run(optimizer, params, gradients_of(params, 3))
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(moved))
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save(3, State(jnp.int32(3), params, {}, moved), {})
    checkpoints.wait()
    restored = checkpoints.restore_latest(State(jnp.int32(0), params, {}, optimizer.init(params)))
    checkpoints.close()
    assert jax.tree.structure(restored.optimizer) == jax.tree.structure(moved)
    jax.tree.map(np.testing.assert_array_equal, restored.optimizer, moved)


def test_no_collective_stands_inside_the_branch_of_a_frozen_group(config):
    """Two CPU devices could wait there for each other."""
    config.groups.last = base.group(".", frozen="2 steps")
    optimizer, params = make_optimizer(config, DURATIONS), {"w": jnp.ones((3, 4))}
    mesh = Mesh(np.asarray(jax.devices()[:2]), ("data",), axis_types=(AxisType.Auto,))
    batch = jax.device_put(jnp.ones((8, 3)), NamedSharding(mesh, PartitionSpec("data")))
    params, state = jax.device_put(
        (params, optimizer.init(params)), NamedSharding(mesh, PartitionSpec())
    )

    def step(params, state, batch):
        gradient = jax.grad(lambda params: jnp.mean((batch @ params["w"]) ** 2))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    inner, outer = jax.jit(step).lower(params, state, batch).compile().as_text().split("\nENTRY ")
    assert "conditional(" in outer
    assert "all-reduce(" in outer
    assert "all-reduce(" not in inner


def test_groups_are_described_in_a_line_each(config):
    config.groups.late = base.group("^last$", frozen="1 epochs")
    config.groups.predictor = base.group("^predictor", constant=True, rate=0.5)
    lines = describe_decay(tree(), config)[-2:]
    assert (
        lines[0]
        == "  group late: 10 parameters in 1 tensors, learning rate x 1, frozen for 1 epochs"
    )
    assert (
        lines[1] == "  group predictor: 16 parameters in 2 tensors, learning rate x 0.5, constant"
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"path": "x"},
            r"groups\.own has no field 'path'\. Did you mean 'paths'\? It takes: paths, rate,",
        ),
        ({"paths": ""}, r"groups\.own\.paths is empty"),
        ({"paths": "("}, r"groups\.own\.paths is '\(', which is no regular expression"),
        ({"paths": "decoder"}, r"groups\.own\.paths is 'decoder', which matches no parameter"),
        ({"paths": "bias", "rate": -1.0}, r"groups\.own\.rate is -1; a factor"),
        ({"paths": "bias", "frozen": "soon"}, r"'soon' is no duration"),
    ],
)
def test_a_group_that_is_none_is_explained_in_a_line(config, fields, message):
    config.groups.own = fields
    with pytest.raises(ValueError, match=message) as error:
        jax.jit(make_optimizer(config, DURATIONS).init)(tree())
    assert "\n" not in str(error.value)


def test_mistakes_are_explained(config):
    config.groups.rest = base.group("bias")
    with pytest.raises(ValueError, match="must be called something else"):
        make_optimizer(config, DURATIONS)
    config.name = "adam"
    with pytest.raises(ValueError, match="it takes adamw, sgd, lars, lars_simclr, larc"):
        make_optimizer(config, DURATIONS)
    config.no_decay = "("
    with pytest.raises(ValueError, match="no_decay is '\\(', which is no regular expression"):
        decays({"w": np.zeros(2)}, config)


def test_rows_have_plain_adamw_alone_and_the_configs_schedule():
    config = base.get_config()
    config.update(duration="12 steps", batch_size=8)
    config.optimizer.update(warmup="3 steps", schedule="linspace")
    config.optimizer.groups.biases = base.group("bias$")
    assert row_adamw(config, 16).rate(2) == row_adamw(config, 16).rate(3) == jnp.float32(1e-3)
    for fields in (
        {"name": "sgd"},
        {"clip_norm": 1.0},
        {"clip_tensor_norm": 1.0},
        {"weight_decay_end": 0.0},
    ):
        changed = config.copy_and_resolve_references()
        changed.optimizer.update(fields)
        assert row_adamw(changed, 16) is None
    config.optimizer.groups.head = base.group("^head", rate=2.0)
    assert row_adamw(config, 16) is None
