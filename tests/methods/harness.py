"""A short run of any method through the real loop's pieces, for tests: small images, small network, few steps."""

import dataclasses
import importlib
import math
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from sslx.models import Network, heads
from sslx.training import parallel
from sslx.training.input import Input
from sslx.training.method import Method, load_method
from sslx.training.optimizer import make_optimizer
from sslx.training.schedule import Durations, learning_rate
from sslx.training.state import State, init_state, make_step
from sslx.training.store import Store, open_store

METHODS = sorted(path.stem for path in Path("sslx/methods").glob("*.py") if path.stem != "__init__")
# Beside each method's digits recipe: what else of it goes through the whole harness.
VARIANTS = {
    "diet/blockwise": {"head": "blockwise", "block": 40, "projector": (16,), "normalise": True, "learn_scale": True},
    "sdiet/file": {"rows": "file", "negatives": 9, "correction": True, "normalise": "both", "learn_scale": True},
}
IMAGES = np.random.default_rng(0).integers(0, 256, (96, 8, 8, 1), np.uint8)


def flat_encoder() -> Network:
    """An MLP on an image's pixels, for tests of what comes after the encoder: it compiles in a tenth of the time."""
    layers = heads.mlp((32, 16), last_norm=True)

    def init(key: jax.Array, shape: tuple[int, ...]) -> Any:
        return layers.init(key, (1, math.prod(shape[1:])))

    def apply(params: Any, stats: Any, images: jax.Array, *, train: bool) -> Any:
        return layers.apply(params, stats, images.reshape(len(images), -1), train=train)

    return Network(init, apply, layers.width)


class Run(NamedTuple):
    """A method set up on a mesh, with its step and its fresh state."""

    method: Method
    state: State
    step: Any
    inner: Any  # the jitted step; `step` itself, or what a store has put around it
    batches: Input
    store: Store | None
    mesh: Mesh


def recipe(name: str) -> Any:
    """The digits recipe of the method, or of its variant, with a short run: every method ships one."""
    config = importlib.import_module(f"configs.digits.{name.split('/')[0]}").get_config()
    config.method.update(VARIANTS.get(name, {}))
    with config.unlocked():
        config.flat = name in VARIANTS
    config.batch_size, config.duration = 32, "30 steps"
    config.optimizer.warmup = "0 steps"
    return config


def set_up(config: Any, devices: int, *, resident: bool = True) -> Run:
    """As train.py does it, on the first `devices` of the virtual ones."""
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,))
    rate = learning_rate(config.optimizer, Durations(config.duration, 3, config.batch_size), config.batch_size)
    method: Any = load_method(config, len(IMAGES))
    if config.flat:
        method = dataclasses.replace(method, encoder=flat_encoder())
    optimizer = make_optimizer(config.optimizer, rate)
    size = method.views.crops[0].size
    with jax.set_mesh(mesh):
        state = init_state(method, optimizer, jax.random.key(config.seed), (1, size, size, 1))
        state = parallel.place(state, mesh)
    step = make_step(method, optimizer, rate, config.seed, resident=resident)
    batches = Input(IMAGES, config.seed, config.batch_size, mesh, resident_bytes=1e9 if resident else 0)
    store = open_store(method, Path(tempfile.mkdtemp()), config.seed, config.batch_size, mesh)
    return Run(method, state, store.around(step) if store else step, step, batches, store, mesh)


def advance(run: Run, state: State, steps: int) -> tuple[State, list[float]]:
    """`steps` training steps from `state`, and their losses."""
    losses = []
    with jax.set_mesh(run.mesh):
        for number in range(int(state.step), int(state.step) + steps):
            images, index, _ = run.batches.batch(number)
            state, logs = run.step(state, images, index)
            losses.append(float(logs["loss"]))
    return state, losses
