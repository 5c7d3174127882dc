"""Judged checkpoints, read from run folders alone or from the file that a study leaves of them in
`results/`.
"""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from sslx.data.order import steps_per_epoch
from sslx.evaluation.evaluate import Settings
from sslx.evaluation.run import ABOUT, read_lines
from sslx.training.run_folder import PLACES, flat
from sslx.training.schedules import Durations


class Record(NamedTuple):
    """One judged checkpoint of a run, with what it takes to compare it."""

    run: str  # the folder's name
    row: str  # of tables: the method, unless a study says otherwise
    config: dict[str, Any]  # the resolved fields, flat: {"optimizer.learning_rate": 0.1, "seed": 0}
    data: dict[str, str]  # hash of the images, by split
    step: int
    last: bool  # whether training was over at `step`
    values: dict[
        str, float
    ]  # "lidar/representation", "rankme/embedding", "linear", "knn"; undefined ones are nan
    settings: dict[str, Any]  # what was measured, and on how much
    seconds: dict[str, float]  # what the features and each metric took
    spectrum: list[float]  # singular values of the representation


def read_run(folder: Path, row: str = "") -> list[Record]:
    """The judged checkpoints of a run folder in the order of steps; of two verdicts at equal
    settings the later one.

    Raises ValueError when `folder` is no run. A line cut short by a kill is left out.
    """
    config, data = _identity(folder)
    total = total_steps(folder)
    found: dict[tuple[int, str], Record] = {}
    for line in read_lines(folder / "eval.jsonl"):
        values = {
            name: math.nan if value is None else value
            for name, value in line.items()
            if name not in ABOUT
        }
        settings = line["settings"]
        found[line["step"], json.dumps(settings, sort_keys=True)] = Record(
            folder.name,
            row or config["method.name"],
            config,
            data,
            line["step"],
            line["step"] == total,
            values,
            settings,
            line.get("seconds", {}),
            line.get("spectrum", []),
        )
    return sorted(found.values(), key=lambda record: record.step)


def write_records(records: Iterable[Record], path: Path) -> None:
    """One line of JSON for each record; `read_records` gives them back."""
    text = "".join(json.dumps(_plain(record._asdict())) + "\n" for record in records)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(text)
    temporary.replace(path)


def read_records(path: Path) -> list[Record]:
    """What `write_records` has written."""
    records = [Record(**line) for line in read_lines(path)]
    return [
        r._replace(values={k: math.nan if v is None else v for k, v in r.values.items()})
        for r in records
    ]


def unjudged(settings: Mapping[Path, Settings]) -> list[Record]:
    """A record of each run as it is going to be judged, without values: so that what does not
    compare is seen first.
    """
    records = []
    for folder, wanted in settings.items():
        config, data = _identity(folder)
        said = json.loads(json.dumps(wanted._asdict()))
        records.append(
            Record(folder.name, config["method.name"], config, data, 0, False, {}, said, {}, [])
        )
    return records


def judged(settings: Mapping[Path, Settings], checkpoint: str) -> list[Record]:
    """The records of many runs at the given settings of each: of all checkpoints, of the last, or
    of one step.
    """
    records = []
    for folder, wanted in settings.items():
        equal = json.loads(json.dumps(wanted._asdict()))
        found = [record for record in read_run(folder) if record.settings == equal]
        if checkpoint == "last":
            found = found[-1:]
        records += [record for record in found if checkpoint in ("all", "last", str(record.step))]
    return records


def _identity(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """A run's config, flat and without places, and the name and hash of each split; ValueError if
    it is no run.
    """
    path = folder / "config.json"
    if not path.exists():
        raise ValueError(
            f"{folder} is no run folder: it has no config.json. Train one: python train.py "
            "--config=CONFIG"
        )
    config = {
        name: value
        for name, value in flat(json.loads(path.read_text())).items()
        if name not in (*PLACES, "devices")
    }
    facts = json.loads((folder / "data.json").read_text())
    return config, {
        split: f"{found['name']} {found['hash']}" for split, found in facts.items() if found
    }


def total_steps(folder: Path) -> int:
    """The steps of the whole run in `folder`."""
    config = json.loads((folder / "config.json").read_text())
    count, batch_size = (
        json.loads((folder / "data.json").read_text())["train"]["count"],
        config["batch_size"],
    )
    return Durations(config["duration"], steps_per_epoch(count, batch_size), batch_size).total


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    values = {
        name: value if math.isfinite(value) else None for name, value in fields["values"].items()
    }
    return fields | {"values": values}
