"""What a study costs: floating-point operations counted from the traced training step, and times
once there are any.

Nothing is compiled or trained, and the images need not be there.
"""

import json
import statistics
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from sslx.data.order import steps_per_epoch
from sslx.datasets.official import DATA_SETS, images_in
from sslx.experiment import load_method
from sslx.studies.runner import Work, is_finished, read_outcome
from sslx.training.log import clock
from sslx.training.optim import make_optimizer
from sslx.training.schedules import Durations, learning_rate
from sslx.training.state import init_state, make_step

# Operations a second that a run is assumed to reach: what ResNets of 77,000 parameters do on one
# core of a shared x86 server, and a tenth of an H100's 989e12 in bfloat16.
ONE_CORE, ONE_GPU = 2e10, 1e14


class Cost(NamedTuple):
    """Of one run: its steps, all their operations, and the speed that is assumed; 0 steps where it
    is not known.
    """

    steps: int
    operations: float
    speed: float

    def seconds(self) -> float:
        """What training takes at that speed."""
        return self.operations / self.speed


def costs_of(configs: Mapping[str, ConfigDict]) -> dict[str, Cost]:
    """The training cost of each run; runs that differ in nothing but numbers such as a rate are
    traced once.
    """
    known: dict[str, float] = {}
    costs = {}
    for name, config in configs.items():
        count, shape = images_of(config)
        if not count:
            costs[name] = Cost(0, 0.0, 1.0)
            continue
        key = json.dumps(_structure(config.to_dict()))
        if key not in known:
            known[key] = step_operations(config, count, shape)
        steps = Durations(
            config.duration, steps_per_epoch(count, config.batch_size), config.batch_size
        ).total
        costs[name] = Cost(steps, steps * known[key], ONE_CORE if config.devices == 1 else ONE_GPU)
    return costs


def images_of(config: ConfigDict) -> tuple[int, tuple[Any, ...]]:
    """How many images a run trains on, and their shape; 0 for data that is not in
    `sslx.datasets.prepare --list`.
    """
    known = DATA_SETS.get(config.data.name)
    if known is None:
        return 0, ()
    height, width, channels = known.shape
    side = config.data.image_size
    return images_in(config.data.train_split or known.train, known.sizes), (
        side or height,
        side or width,
        channels,
    )


def step_operations(config: ConfigDict, count: int, shape: tuple[Any, ...]) -> float:
    """Operations of one training step on `count` images of `shape`: XLA's count for the program as
    it is written.
    """
    config = config.copy_and_resolve_references()
    if "rows" in config.method:
        config.method.rows = (
            "device"  # where s-DIET's rows are kept does not change what is computed with them
        )
    method = load_method(config, count)
    durations = Durations(
        config.duration, steps_per_epoch(count, config.batch_size), config.batch_size
    )
    optimizer, rate = (
        make_optimizer(config.optimizer, durations),
        learning_rate(config.optimizer, durations),
    )
    size = method.views.crops[0].size
    fresh = jax.eval_shape(
        lambda key: init_state(method, optimizer, key, (1, size, size, shape[-1])),
        jax.random.key(0),
    )
    images = jax.ShapeDtypeStruct((config.batch_size, *shape), "uint8")
    index = jax.ShapeDtypeStruct((config.batch_size,), "int32")
    step: Any = make_step(method, optimizer, rate, 0, resident=False)
    lowered = step.lower(fresh, images, index)
    return float((lowered.cost_analysis() or {}).get("flops", 0.0))


def dry(works: list[Work], configs: Mapping[str, ConfigDict]) -> str:
    """Every run with its command's folder and what it costs, and the sum of those that are left."""
    costs = costs_of(configs)
    lines, left = [], 0.0
    for work in works:
        cost, done = costs.get(work.name), is_finished(work)
        said = "a program" if cost is None else "data of unknown size"
        if cost and cost.steps:
            said = f"{cost.steps} steps, {cost.operations:.1e} operations, {_hours(cost.seconds())}"
            left += 0.0 if done else cost.seconds()
        lines.append(f"{'done   ' if done else 'missing'} {work.name}: {said}")
    speeds = {cost.speed for cost in costs.values() if cost.steps}
    named = {
        ONE_CORE: "core hours at 20 GFLOP/s a core",
        ONE_GPU: "GPU hours at 100 TFLOP/s, an H100's in bfloat16",
    }
    unit = "; ".join(named[speed] for speed in sorted(speeds)) or "hours"
    lines.append(
        f"{sum(not is_finished(work) for work in works)} of {len(works)} runs are missing: "
        "training takes about "
        f"{left / 3600:.1f} {unit}, judging besides. Operations are counted before the compiler "
        "optimises."
    )
    return "\n".join(lines)


def remaining(works: list[Work], costs: Mapping[str, Cost]) -> float:
    """Seconds that the missing runs take one after another: by those that have ended, or else by
    their operations.
    """
    outcomes = {work.name: read_outcome(work.folder) for work in works}
    pace, trained, judged = [], [], []
    for name, outcome in outcomes.items():
        if outcome and outcome.status == "done":
            spent = outcome.seconds.get("train", 0.0)
            trained.append(spent)
            judged.append(sum(outcome.seconds.values()) - spent)
            if (cost := costs.get(name)) and cost.steps and spent:
                pace.append(spent / cost.seconds())
    factor, training, judging = (
        statistics.median(found or [start])
        for found, start in ((pace, 1.0), (trained, 0.0), (judged, 0.0))
    )
    left = 0.0
    for work in works:
        outcome, cost = outcomes[work.name], costs.get(work.name)
        if is_finished(work):
            continue
        if outcome is None or outcome.status == "failed":
            left += factor * cost.seconds() if cost and cost.steps else training
        left += judging
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
