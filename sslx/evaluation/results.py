"""Results of evaluated checkpoints: the one reader and writer of eval.jsonl and records.jsonl."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sslx.evaluation.settings import Settings, settings_from_json
from sslx.experiment import durations_of
from sslx.files import append_line, plain, read_lines, to_json, write_atomically
from sslx.training.run_folder import PLACES, flat, read_config

# Of a line of eval.jsonl: all that is not the value of a metric or a probe.
ABOUT = ("step", "settings", "notes", "probe", "scores", "seconds", "spectrum")


class Result(NamedTuple):
    """The numbers of one checkpoint."""

    step: int
    values: dict[str, float]  # such as lidar/representation, rankme/embedding, linear, knn
    spectrum: np.ndarray  # singular values of the representation
    details: dict[str, Any]  # what the linear probe selected
    seconds: dict[str, float] = {}  # features of images and of views, their metrics, the probes


class Record(NamedTuple):
    """One evaluated checkpoint of a run, with what it takes to compare it."""

    run: str  # the folder's name
    row: str  # of tables: the method, unless a study has another name for it
    config: dict[str, Any]  # the resolved fields, flat: {"optimizer.learning_rate": 0.1, "seed": 0}
    data: dict[str, str]  # name and hash of the images, by split
    step: int
    last: bool  # whether training was over at `step`
    values: dict[str, float]  # as in `Result`; undefined ones are nan
    settings: Settings
    seconds: dict[str, float]
    spectrum: list[float]


def append_result(folder: Path, result: Result, settings: Settings, notes: list[str]) -> None:
    """Add a line for the result to the run's eval.jsonl, with all that it was measured with."""
    line = {
        "step": result.step,
        **{name: float(value) for name, value in result.values.items()},
        "probe": result.details,
        "settings": settings._asdict(),
        "notes": notes,
        "scores": {name: getattr(value, "settings", None) for name, value in result.values.items()},
        "seconds": {part: round(value, 3) for part, value in result.seconds.items()},
        "spectrum": [float(f"{value:.6g}") for value in result.spectrum],
    }
    append_line(folder / "eval.jsonl", line)


def read_run(folder: Path, row: str = "") -> list[Record]:
    """Return the evaluated checkpoints of a run in the order of steps.

    Of two results at equal settings the later one counts. Lines whose settings have other fields
    than today's are left out. Raises ValueError when `folder` is not a run.
    """
    bare = bare_record(folder, Settings(), row)
    total = total_steps(folder)
    records = {}
    for line in read_lines(folder / "eval.jsonl"):
        settings, step = settings_from_json(line["settings"]), line["step"]
        if settings is not None:
            records[step, settings] = bare._replace(
                step=step,
                last=step == total,
                values=_numbers({name: line[name] for name in line if name not in ABOUT}),
                settings=settings,
                seconds=line.get("seconds", {}),
                spectrum=line.get("spectrum", []),
            )
    return sorted(records.values(), key=lambda record: record.step)


def bare_record(folder: Path, settings: Settings, row: str = "") -> Record:
    """Return a run's record at step 0 without values; its config has no places and devices.

    Raises ValueError when `folder` is not a run.
    """
    fields = flat(plain(read_config(folder).to_dict()))
    config = {name: v for name, v in fields.items() if name not in (*PLACES, "devices")}
    splits = _read_data(folder).items()
    data = {split: f"{facts['name']} {facts['hash']}" for split, facts in splits if facts}
    row = row or config["method.name"]
    return Record(folder.name, row, config, data, 0, False, {}, settings, {}, [])


def write_records(records: Iterable[Record], path: Path) -> None:
    """Write one line of JSON for each record; `read_records` gives them back."""
    lines = (record._asdict() | {"settings": record.settings._asdict()} for record in records)
    write_atomically(path, "".join(to_json(line) + "\n" for line in lines))


def read_records(path: Path) -> list[Record]:
    """Return what `write_records` has written, without settings of other fields than today's."""
    records = []
    for line in read_lines(path):
        settings = settings_from_json(line["settings"])
        if settings is not None:
            line |= {"values": _numbers(line["values"]), "settings": settings}
            records.append(Record(**line))
    return records


def total_steps(folder: Path) -> int:
    """Return the number of steps of the whole run in `folder`."""
    count = _read_data(folder)["train"]["count"]
    return durations_of(read_config(folder), count).total


def _read_data(folder: Path) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((folder / "data.json").read_text())
    return facts


def _numbers(values: dict[str, float | None]) -> dict[str, float]:
    """JSON has null where a value is undefined."""
    return {name: math.nan if value is None else value for name, value in values.items()}
