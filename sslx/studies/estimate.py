"""What a study's runs cost, how far they are, and what is left.

Costs are operations of the traced training step, and times once there are any. Nothing is compiled
or trained, and the images need not be there.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import jax
from ml_collections import ConfigDict

from sslx.datasets.official import DATA_SETS, images_in
from sslx.evaluation.results import total_steps
from sslx.experiment import durations_of, make_experiment, make_training
from sslx.files import read_lines
from sslx.studies.claims import holder
from sslx.studies.runner import Work, is_finished, read_outcome
from sslx.training.log import clock
from sslx.training.run_folder import flat

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
        """Return what training takes."""
        return self.operations / self.speed


def costs_of(configs: Mapping[str, ConfigDict]) -> dict[str, Cost]:
    """Return the training cost of each run by its name; without runs on data of unknown size."""
    operations: dict[str, float] = {}
    costs = {}
    for name, config in configs.items():
        count, shape = images_of(config)
        if not count:
            continue
        # No float, seed or duration changes what a step does: such runs are traced once.
        fields = flat(config.to_dict() | {"seed": 0, "duration": ""}).items()
        key = str([field for field in fields if not isinstance(field[1], float)])
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
    """Return XLA's count of a step's operations on `count` images of `shape`, as it is written."""
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
    """Return every run with what it costs, and the sum of those that are left."""
    costs = costs_of(configs)
    lines = []
    missing = [work.name for work in works if not is_finished(work)]
    for work in works:
        state = "missing" if work.name in missing else "done   "
        if cost := costs.get(work.name):
            text = f"{cost.steps} steps, {cost.operations:.1e} operations, {clock(cost.seconds())}"
        else:
            text = "data of unknown size" if work.name in configs else "a program"
        lines.append(f"{state} {work.name}: {text}")
    hours = sum(costs[name].seconds() for name in missing if name in costs) / 3600
    units = [UNITS[speed] for speed in sorted({cost.speed for cost in costs.values()})]
    lines.append(
        f"{len(missing)} of {len(works)} runs are missing: training takes about {hours:.1f} "
        f"{'; '.join(units) or 'hours'}, evaluation besides. Operations are counted before the "
        "compiler optimises."
    )
    return "\n".join(lines)


def remaining(works: list[Work], costs: Mapping[str, Cost]) -> float:
    """Return the seconds that the missing runs take one after another.

    Times are those of runs that have ended, or else follow from the operations.
    """
    outcomes = {work.name: read_outcome(work.folder) for work in works}
    ended = {
        name: outcome.seconds for name, outcome in outcomes.items() if outcome.status == "done"
    }
    training = {name: seconds.get("train", 0.0) for name, seconds in ended.items()}
    evaluation = [sum(seconds.values()) - training[name] for name, seconds in ended.items()]
    pace = [t / costs[name].seconds() for name, t in training.items() if t and name in costs]
    left = 0.0
    for work in works:
        if is_finished(work):
            continue
        if outcomes[work.name].status in ("missing", "failed"):
            if work.name in costs:
                left += median(pace or [1.0]) * costs[work.name].seconds()
            else:
                left += median(training.values() or [0.0])
        left += median(evaluation or [0.0])
    return left


def status(works: list[Work], claims: Path, seconds_left: float) -> str:
    """Return each run's state and place, and when all will be done, from single runs' seconds."""
    places = [holder(claims, work.name) for work in works]
    states = [_state(work, bool(place)) for work, place in zip(works, places, strict=True)]
    state_width = max(map(len, states))
    name_width = max(len(work.name) for work in works)
    lines = []
    for state, work, place in zip(states, works, places, strict=True):
        lines.append(f"{state:{state_width}}  {work.name:{name_width}}  {place}".rstrip())
    at_work = sum(map(bool, places))
    if not seconds_left:
        end = "nothing is left"
    elif at_work:
        end = f"about {clock(seconds_left / at_work)} to go"
    else:
        end = f"about {clock(seconds_left)} to go once it is started"
    done = sum(map(is_finished, works))
    lines.append(f"{done} of {len(works)} runs are finished, {at_work} at work; {end}")
    return "\n".join(lines)


def _state(work: Work, busy: bool) -> str:
    outcome = read_outcome(work.folder)
    if is_finished(work):
        return outcome.status
    try:
        total = total_steps(work.folder)
    except (OSError, ValueError, KeyError):  # not begun, or another process is writing
        total = 0
    logged = read_lines(work.folder / "metrics.jsonl") if total else []
    step = max((line.get("step", 0) for line in logged), default=0)
    if busy:
        return "evaluating" if total and step == total else f"training {step}/{total or '?'}"
    if outcome.status in ("trained", "failed"):
        return outcome.status
    return f"stopped {step}/{total}" if step else "waiting"
