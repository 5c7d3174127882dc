"""eval.jsonl and records.jsonl: what is written is read back, and which results are comparable."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from metrics import rankme
from sslx.evaluation.results import (
    Result,
    append_result,
    bare_record,
    read_records,
    read_run,
    total_steps,
    write_records,
)
from sslx.evaluation.settings import Settings

OTHER = Settings(
    metrics=("rankme",),
    probes=(),
    protocol="diet",
    images=7,
    lidar_images=8,
    lidar_views=9,
    seed=1,
    lidar_delta=0.5,
    probe_data="mnist5k",
    features_of="target",
    pool="mean",
)
# As runs of before the redesign have it.
OLD_LINE = {
    "step": 3,
    "lidar/representation": 41.18,
    "rankme/representation": None,
    "linear": 0.9,
    "probe": {"linear": {"selected": {"l2": 0.001}, "validation": 0.8, "nominal": 0.9}},
    "settings": {
        "metrics": ["lidar", "rankme"],
        "probes": ["linear", "knn"],
        "protocol": "lbfgs",
        "images": 10000,
        "lidar_images": 1000,
        "lidar_views": 10,
        "seed": 0,
        "lidar_delta": 0.0001,
        "probe_data": "",
        "features_of": "",
        "pool": "",
    },
    "notes": ["LiDAR: n = 1000"],
    "scores": {"lidar/representation": {"n": 1000}, "linear": None},
    "seconds": {"images": 1.156},
    "spectrum": [2.0, 1.0],
}


@pytest.fixture
def folder(tmp_path):
    """A run of 20 steps in which nothing is evaluated yet."""
    folder = tmp_path / "digits-diet"
    folder.mkdir()
    config = {
        "duration": "2 epochs",
        "batch_size": 10,
        "devices": 4,
        "data": {"name": "digits", "dir": "/data"},
        "method": {"name": "diet", "area": [0.2, 1.0]},
    }
    facts = {"train": {"name": "digits/train", "hash": "abc", "count": 107}, "test": None}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "data.json").write_text(json.dumps(facts))
    return folder


def result(step: int, **values: float) -> Result:
    return Result(step, values, np.array([3.0, 1.23456789]), {}, {"images": 0.12345})


@pytest.mark.parametrize("field", Settings._fields)
def test_a_result_at_another_setting_is_not_one_at_the_plain_settings(field, folder):
    plain = Settings()
    other = plain._replace(**{field: getattr(OTHER, field)})
    append_result(folder, result(5, linear=0.1), other, [])
    assert [record.settings == plain for record in read_run(folder)] == [False]
    append_result(folder, result(5, linear=0.2), plain, [])
    values = {record.settings: record.values["linear"] for record in read_run(folder)}
    assert values == {plain: 0.2, other: 0.1}


def test_a_line_has_all_that_the_result_was_measured_with(folder):
    score = rankme(np.random.default_rng(0).normal(size=(30, 4)))
    values = {"rankme/representation": score, "knn": math.nan}
    measured = Result(5, values, np.array([3.0, 1.23456789]), {"linear": {}}, {"images": 0.12345})
    append_result(folder, measured, OTHER, ["a note"])
    line = json.loads((folder / "eval.jsonl").read_text())
    assert list(line) == ["step", *values, *list(OLD_LINE)[4:]]
    assert (line["rankme/representation"], line["knn"]) == (float(score), None)
    assert line["scores"] == {"rankme/representation": score.settings, "knn": None}
    assert line["spectrum"] == [3.0, 1.23457]
    assert (line["seconds"], line["notes"]) == ({"images": 0.123}, ["a note"])
    assert line["settings"] == OTHER._asdict() | {"metrics": ["rankme"], "probes": []}


def test_lines_of_earlier_versions_are_read_and_broken_or_foreign_ones_left_out(folder):
    foreign = OLD_LINE | {"settings": OLD_LINE["settings"] | {"crops": 2}}
    fewer = OLD_LINE | {"settings": {"metrics": ["lidar"]}}
    lines = [json.dumps(line) for line in (foreign, OLD_LINE, fewer)]
    (folder / "eval.jsonl").write_text("\n".join([*lines, lines[0][:40]]))
    (record,) = read_run(folder)
    assert record.settings == Settings(metrics=("lidar", "rankme"))
    assert list(record.values) == ["lidar/representation", "rankme/representation", "linear"]
    assert record.values["lidar/representation"] == 41.18
    assert math.isnan(record.values["rankme/representation"])
    assert (record.step, record.last) == (3, False)
    assert (record.seconds, record.spectrum) == ({"images": 1.156}, [2.0, 1.0])


def test_records_come_in_the_order_of_steps_and_the_later_of_two_counts(folder):
    for step, accuracy in ((20, 0.5), (3, 0.6), (20, 0.7)):
        append_result(folder, result(step, linear=accuracy), Settings(), [])
    records = read_run(folder, row="DIET")
    assert [(r.step, r.last, r.values["linear"]) for r in records] == [
        (3, False, 0.6),
        (20, True, 0.7),
    ]
    assert {(r.run, r.row) for r in records} == {("digits-diet", "DIET")}
    assert total_steps(folder) == 20


def test_a_bare_record_has_the_config_without_places_and_the_data(folder):
    record = bare_record(folder, OTHER)
    assert record.config == {
        "duration": "2 epochs",
        "batch_size": 10,
        "data.name": "digits",
        "method.name": "diet",
        "method.area": [0.2, 1.0],
    }
    assert record.data == {"train": "digits/train abc"}
    assert (record.row, record.settings, record.values) == ("diet", OTHER, {})
    assert read_run(folder) == []
    with pytest.raises(ValueError, match="none is no run folder.*python train.py"):
        read_run(folder.parent / "none")


def test_records_are_written_and_read_back(folder, tmp_path):
    for settings in (Settings(), OTHER):
        append_result(folder, result(20, linear=0.5, knn=0.25), settings, [])
    records = read_run(folder)
    path = tmp_path / "results/records.jsonl"
    write_records(records, path)
    assert read_records(path) == records
    undefined = records[0]._replace(values={"linear": math.nan})
    write_records([undefined], path)
    assert '"linear": null' in path.read_text()
    assert math.isnan(read_records(path)[0].values["linear"])
    path.write_text(path.read_text().replace('"pool"', '"pooling"'))
    assert read_records(path) == []


@pytest.mark.parametrize("path", sorted(Path("results").glob("*/records.jsonl")), ids=str)
def test_committed_records_are_read_and_written_to_the_same_bytes(path, tmp_path):
    records = read_records(path)
    assert len(records) == len(path.read_text().splitlines())
    write_records(records, tmp_path / "records.jsonl")
    assert (tmp_path / "records.jsonl").read_bytes() == path.read_bytes()
