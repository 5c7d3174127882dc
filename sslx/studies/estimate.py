"""What a study costs: operations of the traced training step, and times once there are any.

Nothing is compiled or trained, and the images need not be there.
"""

import json
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from sslx.datasets.official import DATA_SETS, images_in
from sslx.experiment import durations_of, make_experiment, make_training
from sslx.studies.runner import Work, is_finished, read_outcome
from sslx.training.log import clock

# Operations a second that a run is assumed to reach: what ResNets of 77,000 parameters do on one
# core of a shared x86 server, and a tenth of an H100's 989e12 in bfloat16.
ONE_CORE = 2e10
ONE_GPU = 1e14
UNITS = {
    ONE_CORE: "core hours at 20 GFLOP/s a core",
    ONE_GPU: "GPU hours at 100 TFLOP/s, an H100's in bfloat16",
}


class Cost(NamedTuple):
    """What one run costs."""

    steps: int
    operations: float  # of all steps
    speed: float  # operations a second that are assumed

    def seconds(self) -> float:
        """Return what training takes at that speed."""
        return self.operations / self.speed


def costs_of(configs: Mapping[str, ConfigDict]) -> dict[str, Cost]:
    """Return the training cost of each run by its name; without runs on data of unknown size.

    Runs that differ in nothing but numbers such as a learning rate are traced once.
    """
    operations: dict[str, float] = {}
    costs = {}
    for name, config in configs.items():
        count, shape = images_of(config)
        if not count:
            continue
        key = json.dumps(_structure(config.to_dict()))
        if key not in operations:
            operations[key] = step_operations(config, count, shape)
        steps = durations_of(config, count).total
        speed = ONE_CORE if config.devices == 1 else ONE_GPU
        costs[name] = Cost(steps, steps * operations[key], speed)
    return costs


def images_of(config: ConfigDict) -> tuple[int, tuple[Any, ...]]:
    """Return how many images a run trains on, and their shape; 0 for data of unknown size."""
    known = DATA_SETS.get(config.data.name)
    if known is None:
        return 0, ()
    height, width, channels = known.shape
    side = config.data.image_size
    count = images_in(config.data.train_split or known.train, known.sizes)
    return count, (side or height, side or width, channels)


def step_operations(config: ConfigDict, count: int, shape: tuple[Any, ...]) -> float:
    """Return the operations of a training step on `count` images of `shape`, before optimisation.

    It is XLA's count for the program as it is written.
    """
    config = config.copy_and_resolve_references()
    if "rows" in config.method:
        config.method.rows = "device"  # where s-DIET's rows are changes no operation on them
    training = make_training(make_experiment(config, count, shape[-1]), resident=False)
    step: Any = training.step
    images = jax.ShapeDtypeStruct((config.batch_size, *shape), "uint8")
    index = jax.ShapeDtypeStruct((config.batch_size,), "int32")
    lowered = step.lower(jax.eval_shape(training.init), images, index)
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))


def dry(works: list[Work], configs: Mapping[str, ConfigDict]) -> str:
    """Return every run with its folder and what it costs, and the sum of those that are left."""
    costs = costs_of(configs)
    lines = []
    left = 0.0
    for work in works:
        state = "done   " if is_finished(work) else "missing"
        if work.name in costs:
            cost = costs[work.name]
            text = f"{cost.steps} steps, {cost.operations:.1e} operations, {_hours(cost.seconds())}"
            left += 0.0 if is_finished(work) else cost.seconds()
        else:
            text = "data of unknown size" if work.name in configs else "a program"
        lines.append(f"{state} {work.name}: {text}")
    units = [UNITS[speed] for speed in sorted({cost.speed for cost in costs.values()})]
    missing = sum(not is_finished(work) for work in works)
    lines.append(
        f"{missing} of {len(works)} runs are missing: training takes about {left / 3600:.1f} "
        f"{'; '.join(units) or 'hours'}, evaluation besides. Operations are counted before the "
        "compiler optimises."
    )
    return "\n".join(lines)


def remaining(works: list[Work], costs: Mapping[str, Cost]) -> float:
    """Return the seconds that the missing runs take one after another.

    Times are those of runs that have ended, or else follow from the operations.
    """
    pace, training, evaluation = [], [], []
    for work in works:
        outcome = read_outcome(work.folder)
        if outcome and outcome.status == "done":
            seconds = outcome.seconds.get("train", 0.0)
            training.append(seconds)
            evaluation.append(sum(outcome.seconds.values()) - seconds)
            if seconds and work.name in costs:
                pace.append(seconds / costs[work.name].seconds())
    factor = statistics.median(pace or [1.0])
    left = 0.0
    for work in works:
        outcome = read_outcome(work.folder)
        if is_finished(work):
            continue
        if outcome is None or outcome.status == "failed":
            if work.name in costs:
                left += factor * costs[work.name].seconds()
            else:
                left += statistics.median(training or [0.0])
        left += statistics.median(evaluation or [0.0])
    return left


def _structure(tree: Any) -> Any:
    """What a step's operations depend on: no float, seed or duration changes them."""
    if not isinstance(tree, dict):
        return tree
    return {
        name: _structure(value)
        for name, value in tree.items()
        if not isinstance(value, float) and name not in ("seed", "duration")
    }


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 36000 else clock(seconds)
