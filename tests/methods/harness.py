"""A short run of any method through the real loop's pieces, for tests: small images, small network, few steps."""

import importlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from sslx.training import parallel
from sslx.training.input import Input
from sslx.training.method import Method, load_method
from sslx.training.optimizer import make_optimizer
from sslx.training.schedule import Durations, learning_rate
from sslx.training.state import State, init_state, make_step

METHODS = sorted(path.stem for path in Path("sslx/methods").glob("*.py") if path.stem != "__init__")
IMAGES = np.random.default_rng(0).integers(0, 256, (96, 8, 8, 1), np.uint8)


class Run(NamedTuple):
    """A method set up on a mesh, with its step and its fresh state."""

    method: Method
    state: State
    step: Any
    batches: Input
    mesh: Mesh


def recipe(name: str) -> Any:
    """The digits recipe of the method with a short run: every method ships one."""
    config = importlib.import_module(f"configs.digits.{name}").get_config()
    config.batch_size, config.duration = 32, "30 steps"
    config.optimizer.warmup = "0 steps"
    return config


def set_up(config: Any, devices: int, *, resident: bool = True) -> Run:
    """As train.py does it, on the first `devices` of the virtual ones."""
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,))
    rate = learning_rate(config.optimizer, Durations(config.duration, 3, config.batch_size), config.batch_size)
    method = load_method(config, len(IMAGES))
    optimizer = make_optimizer(config.optimizer, rate)
    size = method.views.crops[0].size
    with jax.set_mesh(mesh):
        state = init_state(method, optimizer, jax.random.key(config.seed), (1, size, size, 1))
        state = parallel.replicate(state, mesh)
    step = make_step(method, optimizer, rate, config.seed, resident=resident)
    batches = Input(IMAGES, config.seed, config.batch_size, mesh, resident_bytes=1e9 if resident else 0)
    return Run(method, state, step, batches, mesh)


def advance(run: Run, state: State, steps: int) -> tuple[State, list[float]]:
    """`steps` training steps from `state`, and their losses."""
    losses = []
    with jax.set_mesh(run.mesh):
        for number in range(int(state.step), int(state.step) + steps):
            images, index, _ = run.batches.batch(number)
            state, logs = run.step(state, images, index)
            losses.append(float(logs["loss"]))
    return state, losses
