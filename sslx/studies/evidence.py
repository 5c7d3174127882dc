"""All that a study's tables and figures are made of: judged checkpoints and facts of runs, from run
folders alone.

`write_evidence` leaves it in `results/` without the weights, and `read_evidence` reads it from
there."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sslx.evaluation.records import Record, read_records, read_run, write_records
from sslx.evaluation.run import read_lines
from sslx.studies.plan import Plan, judged_by
from sslx.studies.runner import read_outcome
from sslx.studies.study import Judgement, Run


class Facts(NamedTuple):
    """What is known of a run beside its verdicts."""

    row: str
    status: str = "missing"  # done, diverged, failed, missing
    reason: str = ""
    dataset: str = ""
    images: int = 0  # that it trains on
    images_per_second: float = 0.0  # median over training
    memory_gib: float = 0.0  # the most that the process held on the host
    device_gib: float = 0.0  # and on the device, where that can be asked
    seconds: Mapping[str, float] = {}  # wall time of training (its last start) and judging
    environment: str = ""  # devices and versions
    output: tuple[str, ...] = ()  # what a program of `theory/` printed


class Evidence(NamedTuple):
    """Records by the name of the judgement, and facts by the name of the run."""

    records: Mapping[str, list[Record]]
    facts: Mapping[str, Facts]

    def final(self, judgement: str) -> list[Record]:
        """The records of finished runs' last checkpoints."""
        return [record for record in self.records[judgement] if record.last]


def gather(plan: Plan) -> Evidence:
    """Read the folders of the study's runs; what is not there yet is missing, and said to be."""
    records: dict[str, list[Record]] = {judgement.name: [] for judgement in plan.study.judgements}
    facts = {}
    for run in plan.study.runs:
        folder = plan.folder / run.name
        config = plan.configs.get(run.name)
        facts[run.name] = _facts(run, folder)._replace(dataset=config.data.name if config else "")
        found = read_run(folder, run.row) if (folder / "data.json").exists() else []
        for judgement in plan.study.judgements:
            records[judgement.name] += _judged(found, judgement)
    return Evidence(records, facts)


def write_evidence(evidence: Evidence, folder: Path) -> None:
    """Write records.jsonl, a line for each verdict, and runs.json, with each run's config, data and
    facts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unique = {
        json.dumps([r.run, r.step, r.settings]): r
        for found in evidence.records.values()
        for r in found
    }
    about = {r.run: {"config": r.config, "data": r.data} for r in unique.values()}
    write_records(
        (r._replace(config={}, data={}) for r in unique.values()), folder / "records.jsonl"
    )
    runs = {name: facts._asdict() | about.get(name, {}) for name, facts in evidence.facts.items()}
    temporary = folder / "runs.json.tmp"
    temporary.write_text(json.dumps(runs, indent=1) + "\n")
    temporary.replace(folder / "runs.json")


def read_evidence(folder: Path, judgements: tuple[Judgement, ...]) -> Evidence:
    """What `write_evidence` has written, for a study with these judgements."""
    runs = json.loads((folder / "runs.json").read_text())
    about = {
        name: {"config": said.pop("config", {}), "data": said.pop("data", {})}
        for name, said in runs.items()
    }
    facts = {name: Facts(**said | {"output": tuple(said["output"])}) for name, said in runs.items()}
    found = [
        record._replace(**about[record.run]) for record in read_records(folder / "records.jsonl")
    ]
    return Evidence({judgement.name: _judged(found, judgement) for judgement in judgements}, facts)


def _judged(records: list[Record], judgement: Judgement) -> list[Record]:
    wanted = judged_by(judgement)
    return [record for record in records if wanted.items() <= record.settings.items()]


def _facts(run: Run, folder: Path) -> Facts:
    outcome = read_outcome(folder)
    output: tuple[str, ...] = ()
    if run.program != "train.py" and (folder / "output.txt").exists():
        output = tuple((folder / "output.txt").read_text().splitlines())
    facts = Facts(run.row, output=output)
    if outcome:
        facts = facts._replace(
            status=outcome.status, reason=outcome.reason, memory_gib=round(outcome.memory_gib, 3)
        )
        seconds = {("judge" if part != "train" else part): 0.0 for part in outcome.seconds}
        for part, value in outcome.seconds.items():
            seconds["train" if part == "train" else "judge"] += value
        facts = facts._replace(seconds={part: round(value, 1) for part, value in seconds.items()})
    if not (folder / "data.json").exists():
        return facts
    data = json.loads((folder / "data.json").read_text())["train"]
    logged = read_lines(folder / "metrics.jsonl")
    speeds = [line["images_per_second"] for line in logged if line.get("images_per_second")]
    devices = [line["device_gib"] for line in logged if line.get("device_gib")]
    return facts._replace(
        images=data["count"],
        images_per_second=round(statistics.median(speeds), 1) if speeds else 0.0,
        device_gib=round(max(devices, default=0.0), 3),
        environment=_environment(read_lines(folder / "environment.jsonl")),
    )


def _environment(starts: list[dict[str, Any]]) -> str:
    if not starts:
        return ""
    last = starts[-1]
    kinds = sorted({device.partition(" ")[2] for device in last["devices"]})
    return (
        f"{len(last['devices'])} x {', '.join(kinds)}, jax {last['packages']['jax']}, Python "
        f"{last['python']}"
    )
