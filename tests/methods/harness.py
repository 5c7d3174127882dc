"""A short run of any method through the real loop's pieces, with small images and networks."""

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh

from configs import base, digits
from sslx.data.order import order
from sslx.experiment import Experiment, Training, make_experiment, make_training
from sslx.method import Method, Store, open_store
from sslx.models import Network, heads
from sslx.training import parallel
from sslx.training import state as training_state
from sslx.training.input import Input
from sslx.training.state import State
from sslx.views.views import Views, training_views

METHODS = sorted(path.stem for path in Path("sslx/methods").glob("*.py") if path.stem != "__init__")
# With the recipe's ResNet; the others have a small MLP, which compiles much faster.
FULL = ("diet",)
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
SQUARES = np.random.default_rng(0).integers(0, 256, (96, 2, 2, 1), np.uint8)
IMAGES = SQUARES.repeat(4, axis=1).repeat(4, axis=2)


def flat_encoder() -> Network:
    """An MLP on an image's corner, for what comes after it: it compiles ten times faster."""
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
    batches: Any  # an Input, or what serves the views of `set_up_float64`
    store: Store | None
    mesh: Mesh
    float64: bool = False


def recipe(name: str) -> Any:
    """The digits recipe that every method ships, or a variant of it, with a short run."""
    config = digits.get_config(name.split("/")[0])
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
    """As train.py does it, on the first `devices` of the virtual ones; a config is traced once."""
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("data",), axis_types=(AxisType.Auto,))
    known = (str(config), resident)
    if known not in _PARTS:
        _PARTS[known] = _parts(config, resident)
    experiment, training = _PARTS[known]
    with jax.set_mesh(mesh):
        fresh = parallel.place(training.init(), mesh)
    batches = Input(
        IMAGES, config.seed, config.batch_size, mesh, resident_bytes=1e9 if resident else 0
    )
    method, step = experiment.method, training.step
    store = open_store(method, Path(tempfile.mkdtemp()), config.seed, config.batch_size, mesh)
    around = store.around(step) if store else step
    return Run(method, fresh, around, step, config.flat, batches, store, mesh)


_PARTS: dict[Any, tuple[Experiment, Training]] = {}


def _parts(config: Any, resident: bool) -> tuple[Experiment, Training]:
    """The experiment, with the small encoder where the config is flat, and its training."""
    experiment = make_experiment(config, len(IMAGES), 1)
    if config.flat and config.method.name not in TOKENS:
        method: Any = experiment.method
        experiment = experiment._replace(method=dataclasses.replace(method, encoder=flat_encoder()))
    return experiment, make_training(experiment, resident=resident)


def set_up_float64(config: Any, devices: int, steps: int) -> Run:
    """The same in float64 for `steps` steps, where another order of sums differs by 1e-16.

    Product code computes in float32 because parameters and views are; here both are converted. The
    views are made once, on one device: they are float32, so that they differ with the mesh by
    rounding (tests/views/test_augment.py compares them).
    """
    run = set_up(config, devices, resident=False)
    if run.store:
        run.store._rows = run.store._rows.astype(np.float64)
        # The setting is a thread's own, and the store reads in a thread.
        run.store._pool = ThreadPoolExecutor(
            1, initializer=lambda: jax.enable_x64(True).__enter__()
        )

    def split(array: np.ndarray) -> jax.Array:
        return parallel.split_batch(array.shape, lambda part: array[part], run.mesh)

    made = [_views(run.method.views, config.seed, config.batch_size, step) for step in range(steps)]
    with jax.enable_x64(True):
        fresh = jax.tree.map(as_float64, run.state)
        served = [(tuple(split(view) for view in views), split(index)) for views, index in made]
    batches = SimpleNamespace(batch=lambda step: (*served[step], 0.0))
    return run._replace(state=fresh, batches=batches, float64=True)


def as_float64(leaf: jax.Array) -> jax.Array:
    if not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    return jax.device_put(np.asarray(leaf).astype(np.float64), leaf.sharding)  # nothing to compile


@functools.cache
def _views(views: Views, seed: int, batch_size: int, step: int) -> tuple[list[np.ndarray], Any]:
    """The views of a step, float64, and its index."""
    index = order(seed, step, num_images=len(IMAGES), batch_size=batch_size)
    made = training_views(jax.random.key(step), IMAGES[index], views)
    return [np.asarray(view, np.float64) for view in made], index


@contextlib.contextmanager
def quick_compilation(wanted: bool = True) -> Iterator[None]:
    """Spare LLVM's optimisations, most of a small step's time, which change nothing tested here."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", wanted)
    try:
        yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@contextlib.contextmanager
def conditions(run: Run) -> Iterator[None]:
    """Those under which the run's step is compiled and called."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.set_mesh(run.mesh))
        stack.enter_context(quick_compilation(run.flat))
        if run.float64:
            stack.enter_context(jax.enable_x64(True))
            # What comes as images are the views.
            as_they_are = lambda key, images, recipe: images  # noqa: E731
            stack.enter_context(mock.patch.object(training_state, "training_views", as_they_are))
        yield


def advance(run: Run, state: State, steps: int) -> tuple[State, list[float]]:
    """`steps` training steps from `state`, and their losses."""
    losses = []
    with conditions(run):
        for number in range(int(state.step), int(state.step) + steps):
            images, index, _ = run.batches.batch(number)
            state, logs = run.step(state, images, index)
            losses.append(float(logs["loss"]))
    return state, losses
