"""A short run of any method through the real loop's pieces, for tests: small images, small network,
few steps.
"""

import contextlib
import dataclasses
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from configs import base
from sslx.experiment import load_method
from sslx.method import Method, Store, open_store
from sslx.models import Network, heads
from sslx.training import parallel
from sslx.training.input import Input
from sslx.training.optim import make_optimizer
from sslx.training.schedules import Durations, learning_rate
from sslx.training.state import State, init_state, make_step

METHODS = sorted(path.stem for path in Path("sslx/methods").glob("*.py") if path.stem != "__init__")
FULL = (
    "diet",
)  # with the recipe's ResNet; the others with a small MLP, which compiles much faster
TOKENS = ("data2vec", "dino", "ijepa")  # with a vision transformer of one block
# Beside each method's digits recipe: what else of it goes through the whole harness.
VARIANTS = {
    "diet/blockwise": {
        "head": "blockwise",
        "block": 40,
        "projector": (16,),
        "normalise": True,
        "learn_scale": True,
    },
    "sdiet/file": {
        "rows": "file",
        "negatives": 9,
        "correction": True,
        "normalise": "both",
        "learn_scale": True,
    },
}
# Four gray squares each, so that crops of an image have something in common.
IMAGES = (
    np.random.default_rng(0)
    .integers(0, 256, (96, 2, 2, 1), np.uint8)
    .repeat(4, axis=1)
    .repeat(4, axis=2)
)


def flat_encoder() -> Network:
    """An MLP on an image's corner, for tests of what comes after the encoder: it compiles in a
    tenth of the time.
    """
    layers = heads.mlp((32, 16), last_norm=True)

    def init(key: jax.Array, shape: tuple[int, ...]) -> Any:
        return layers.init(key, (1, 6 * 6 * shape[-1]))

    def apply(params: Any, stats: Any, images: jax.Array, *, train: bool, groups: int = 1) -> Any:
        corner = images[:, :6, :6].reshape(len(images), -1)  # the smallest view has 6 x 6 pixels
        return layers.apply(params, stats, corner, train=train, groups=groups)

    return Network(init, apply, layers.width)


class Run(NamedTuple):
    """A method set up on a mesh, with its step and its fresh state."""

    method: Method
    state: State
    step: Any
    inner: Any  # the jitted step; `step` itself, or what a store has put around it
    flat: bool
    batches: Input
    store: Store | None
    mesh: Mesh


def recipe(name: str) -> Any:
    """The digits recipe of the method, or of its variant, with a short run: every method ships one."""
    config = importlib.import_module(f"configs.digits.{name.split('/')[0]}").get_config()
    config.method.update(VARIANTS.get(name, {}))
    if name == "swav":  # with all that it can have
        config.method.update(queue=64, queue_start="2 steps", local_views=2)
        config.views.local = base.crop(6, flip=0.0)
    with config.unlocked():
        config.flat = name not in FULL
    if name in TOKENS:
        config.model.update(width=16, depth=1)
        if name == "ijepa":
            config.method.predictor_depth = 1
    config.batch_size, config.duration = 32, "30 steps"
    config.optimizer.warmup = "0 steps"
    if name.startswith("moco"):
        # Several groups, a queue that turns over, and a rate that shows within 30 steps.
        config.method.update(queue=64, bn_group=config.method.bn_group and 8)
        config.optimizer.learning_rate = 1e-2
    return config


def set_up(config: Any, devices: int, *, resident: bool = True) -> Run:
    """As train.py does it, on the first `devices` of the virtual ones; a configuration is traced
    once in a session.
    """
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,))
    known = (str(config), devices, resident)
    if known not in _PARTS:
        _PARTS[known] = _parts(config, resident)
    method, optimizer, step = _PARTS[known]
    size = method.views.crops[0].size
    with jax.set_mesh(mesh):
        state = init_state(method, optimizer, jax.random.key(config.seed), (1, size, size, 1))
        state = parallel.place(state, mesh)
    batches = Input(
        IMAGES, config.seed, config.batch_size, mesh, resident_bytes=1e9 if resident else 0
    )
    store = open_store(method, Path(tempfile.mkdtemp()), config.seed, config.batch_size, mesh)
    return Run(
        method,
        state,
        store.around(step) if store else step,
        step,
        config.flat,
        batches,
        store,
        mesh,
    )


_PARTS: dict[Any, Any] = {}


def _parts(config: Any, resident: bool) -> Any:
    """The method, its optimizer and its jitted step."""
    durations = Durations(config.duration, 3, config.batch_size)
    rate = learning_rate(config.optimizer, durations)
    method: Any = load_method(config, len(IMAGES))
    if config.flat and config.method.name not in TOKENS:
        method = dataclasses.replace(method, encoder=flat_encoder())
    optimizer = make_optimizer(config.optimizer, durations)
    return method, optimizer, make_step(method, optimizer, rate, config.seed, resident=resident)


@contextlib.contextmanager
def quick_compilation(wanted: bool = True) -> Iterator[None]:
    """Spares LLVM's optimisations, which take most of a small step's time and change nothing that
    tests look at.
    """
    jax.config.update("jax_disable_most_optimizations", wanted)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)


def advance(run: Run, state: State, steps: int) -> tuple[State, list[float]]:
    """`steps` training steps from `state`, and their losses."""
    losses = []
    with jax.set_mesh(run.mesh), quick_compilation(run.flat):
        for number in range(int(state.step), int(state.step) + steps):
            images, index, _ = run.batches.batch(number)
            state, logs = run.step(state, images, index)
            losses.append(float(logs["loss"]))
    return state, losses
