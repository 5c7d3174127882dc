"""All that a study's tables and figures are made of: results of checkpoints and facts of runs."""

import json
import statistics
from collections.abc import Callable, Hashable, Iterable, Mapping
from operator import attrgetter
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
    """Records of all evaluations, and facts by the name of the run."""

    records: list[Record]
    facts: dict[str, Facts]

    def of(self, evaluation: Evaluation) -> list[Record]:
        """Return the records at equal settings, field by field."""
        return [record for record in self.records if record.settings == evaluation.settings]

    def final(self, evaluation: Evaluation) -> list[Record]:
        """Return the records of finished runs' last checkpoints."""
        return [record for record in self.of(evaluation) if record.last]

    def epochs(self, record: Record) -> float:
        """Return how many epochs the run had been trained for."""
        return record.step / (self.facts[record.run].images // record.config["batch_size"])


def gather(plan: Plan) -> Evidence:
    """Read the folders of the study's runs; what is not there yet counts as missing."""
    facts, records = {}, []
    for run in plan.study.runs:
        folder = plan.folder / run.name
        config = plan.configs.get(run.name)
        facts[run.name] = _facts(run, folder, config.data.name if config else "")
        if (folder / "data.json").exists():
            records += read_run(folder, run.row)
    by_settings = group(records, attrgetter("settings"))
    wanted = dict.fromkeys(evaluation.settings for evaluation in plan.study.evaluations)
    return Evidence([r for settings in wanted for r in by_settings.get(settings, [])], facts)


def write_evidence(evidence: Evidence, folder: Path) -> None:
    """Write what makes the tables again: results to records.jsonl, all else to runs.json."""
    bare = (record._replace(config={}, data={}) for record in evidence.records)
    write_records(bare, folder / "records.jsonl")
    about = {
        record.run: {"config": record.config, "data": record.data} for record in evidence.records
    }
    runs = {name: facts._asdict() | about.get(name, {}) for name, facts in evidence.facts.items()}
    write_atomically(folder / "runs.json", to_json(runs, indent=1) + "\n")


def read_evidence(folder: Path) -> Evidence:
    """Read what `write_evidence` has written."""
    facts, about = {}, {}
    for name, fields in json.loads((folder / "runs.json").read_text()).items():
        about[name] = {"config": fields.pop("config", {}), "data": fields.pop("data", {})}
        facts[name] = Facts(**fields | {"output": tuple(fields["output"])})
    records = read_records(folder / "records.jsonl")
    return Evidence([record._replace(**about[record.run]) for record in records], facts)


def group(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Return the items by their key, both in the order of first appearance."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _facts(run: Run, folder: Path, dataset: str) -> Facts:
    outcome = read_outcome(folder)
    seconds: dict[str, float] = {}
    for part, value in outcome.seconds.items():
        kind = "train" if part == "train" else "evaluate"
        seconds[kind] = seconds.get(kind, 0.0) + value
    logged = read_lines(folder / "metrics.jsonl")
    speeds = [line["images_per_second"] for line in logged if line.get("images_per_second")]
    data, output = folder / "data.json", folder / "output.txt"
    is_program = run.program != "train.py" and output.exists()
    return Facts(
        row=run.row,
        status=outcome.status,
        reason=outcome.reason,
        dataset=dataset,
        images=json.loads(data.read_text())["train"]["count"] if data.exists() else 0,
        images_per_second=round(statistics.median(speeds or [0.0]), 1),
        memory_gib=round(outcome.memory_gib, 3),
        device_gib=round(max((line.get("device_gib") or 0.0 for line in logged), default=0.0), 3),
        seconds={kind: round(value, 1) for kind, value in seconds.items()},
        environment=_environment(read_lines(folder / "environment.jsonl")),
        output=tuple(output.read_text().splitlines()) if is_program else (),
    )


def _environment(starts: list[dict[str, Any]]) -> str:
    if not starts:
        return ""
    last = starts[-1]
    kinds = sorted({device.partition(" ")[2] for device in last["devices"]})
    versions = f"jax {last['packages']['jax']}, Python {last['python']}"
    return f"{len(last['devices'])} x {', '.join(kinds)}, {versions}"
