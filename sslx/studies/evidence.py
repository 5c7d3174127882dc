"""All that a study's tables and figures are made of: results of checkpoints and facts of runs.

`gather` reads run folders. `write_evidence` leaves in `results/` what it takes to make the tables
again, without the weights, and `read_evidence` reads it from there.
"""

import itertools
import json
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from sslx.evaluation.results import Record, read_records, read_run, write_records
from sslx.files import read_lines, to_json, write_atomically
from sslx.studies.runner import read_outcome
from sslx.studies.study import Evaluation, Plan, Run

Item = TypeVar("Item")
Key = TypeVar("Key", bound=Hashable)


class Facts(NamedTuple):
    """What is known of a run beside its results."""

    row: str
    status: str = "missing"  # missing, trained, done, diverged or failed
    reason: str = ""
    dataset: str = ""
    images: int = 0  # that it trains on
    images_per_second: float = 0.0  # median over training
    memory_gib: float = 0.0  # the most that the process held on the host
    device_gib: float = 0.0  # and on the device, where that can be asked
    seconds: Mapping[str, float] = {}  # wall time of training (its last start) and evaluation
    environment: str = ""  # devices and versions
    output: tuple[str, ...] = ()  # what a program of `theory/` printed


class Evidence(NamedTuple):
    """Records by the name of the evaluation, and facts by the name of the run."""

    records: Mapping[str, list[Record]]
    facts: Mapping[str, Facts]

    def final(self, evaluation: Evaluation) -> list[Record]:
        """Return the records of finished runs' last checkpoints."""
        return [record for record in self.records[evaluation.name] if record.last]


def gather(plan: Plan) -> Evidence:
    """Read the folders of the study's runs; what is not there yet counts as missing."""
    facts, records = {}, []
    for run in plan.study.runs:
        folder = plan.folder / run.name
        facts[run.name] = _facts(run, folder)
        if run.name in plan.configs:
            dataset = plan.configs[run.name].data.name
            facts[run.name] = facts[run.name]._replace(dataset=dataset)
        if (folder / "data.json").exists():
            records += read_run(folder, run.row)
    return Evidence(_by_evaluation(records, plan.study.evaluations), facts)


def write_evidence(evidence: Evidence, folder: Path) -> None:
    """Write records.jsonl, a line for each result, and runs.json with configs, data and facts."""
    records = {}
    about: dict[str, dict[str, Any]] = {name: {} for name in evidence.facts}
    for record in itertools.chain(*evidence.records.values()):
        records[record.run, record.step, record.settings] = record._replace(config={}, data={})
        about[record.run] = {"config": record.config, "data": record.data}
    write_records(records.values(), folder / "records.jsonl")
    runs = {name: facts._asdict() | about[name] for name, facts in evidence.facts.items()}
    write_atomically(folder / "runs.json", to_json(runs, indent=1) + "\n")


def read_evidence(folder: Path, evaluations: tuple[Evaluation, ...]) -> Evidence:
    """Read what `write_evidence` has written, for a study with these evaluations."""
    facts, about = {}, {}
    for name, fields in json.loads((folder / "runs.json").read_text()).items():
        about[name] = {"config": fields.pop("config", {}), "data": fields.pop("data", {})}
        facts[name] = Facts(**fields | {"output": tuple(fields["output"])})
    records = [
        record._replace(**about[record.run]) for record in read_records(folder / "records.jsonl")
    ]
    return Evidence(_by_evaluation(records, evaluations), facts)


def group(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return the items by their key, both in the order of first appearance."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _by_evaluation(
    records: list[Record], evaluations: tuple[Evaluation, ...]
) -> dict[str, list[Record]]:
    """Only equal settings count: the same features, n, q, seeds and data, field by field."""
    return {
        evaluation.name: [record for record in records if record.settings == evaluation.settings]
        for evaluation in evaluations
    }


def _facts(run: Run, folder: Path) -> Facts:
    facts = Facts(run.row)
    if run.program != "train.py" and (folder / "output.txt").exists():
        lines = (folder / "output.txt").read_text().splitlines()
        facts = facts._replace(output=tuple(lines))
    if outcome := read_outcome(folder):
        seconds: dict[str, float] = {}
        for part, value in outcome.seconds.items():
            kind = "train" if part == "train" else "evaluate"
            seconds[kind] = seconds.get(kind, 0.0) + value
        facts = facts._replace(
            status=outcome.status,
            reason=outcome.reason,
            memory_gib=round(outcome.memory_gib, 3),
            seconds={kind: round(value, 1) for kind, value in seconds.items()},
        )
    if not (folder / "data.json").exists():
        return facts
    data = json.loads((folder / "data.json").read_text())
    logged = read_lines(folder / "metrics.jsonl")
    speeds = [line["images_per_second"] for line in logged if line.get("images_per_second")]
    devices = [line["device_gib"] for line in logged if line.get("device_gib")]
    return facts._replace(
        images=data["train"]["count"],
        images_per_second=round(statistics.median(speeds or [0.0]), 1),
        device_gib=round(max(devices, default=0.0), 3),
        environment=_environment(read_lines(folder / "environment.jsonl")),
    )


def _environment(starts: list[dict[str, Any]]) -> str:
    if not starts:
        return ""
    last = starts[-1]
    kinds = sorted({device.partition(" ")[2] for device in last["devices"]})
    versions = f"jax {last['packages']['jax']}, Python {last['python']}"
    return f"{len(last['devices'])} x {', '.join(kinds)}, {versions}"
