"""From run folders to tables: equal to a stored text, whatever is missing."""

import importlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslx.evaluation.tables import markdown
from sslx.studies.evidence import gather, read_evidence, write_evidence
from sslx.studies.results import readme, write_results
from sslx.studies.study import Plan, Published
from sslx.studies.table_files import write_tables
from sslx.studies.tables import make_tables
from tests.studies import fabricated

STORED = Path(__file__).with_name("fabricated.md")


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return fabricated.write(tmp_path_factory.mktemp("runs"))


def tables(plan):
    return {table.name: table for table in make_tables(plan.study, gather(plan))}


def rows(table):
    return {
        tuple(cell.text for cell in row[:2]): [cell.text for cell in row[2:]] for row in table.rows
    }


def test_the_tables_of_fabricated_runs_equal_the_stored_text(plan):
    text = "\n".join(map(markdown, make_tables(plan.study, gather(plan))))
    assert text == STORED.read_text(), "if this is meant, store the new text"


def test_numbers_that_can_be_calculated_by_hand(plan):
    found = rows(tables(plan)["selection"])
    # LiDAR picks 0.95 and 0.96 of the two seeds, which is the best; RankMe picks 0.80 and 0.81.
    assert found["simclr", "LiDAR representation"][0] == "95.5 +- 0.7"
    assert found["simclr", "RankMe representation"][0] == "80.5 +- 0.7"
    assert found["simclr", "RankMe representation"][-1] == "15.0 +- 0.0"
    assert found["simclr", "worst - best run"][0] == "70.0 - 96.0"
    correlations = rows(tables(plan)["correlation"])["simclr", "LiDAR representation"]
    header = tables(plan)["correlation"].header[2:]
    along = dict(zip(header, correlations, strict=True))
    assert along["learning_rate, Spearman"].startswith("+1.00 ")
    # Ranks of accuracy 5 6 3 4 1 2 and of LiDAR 3 4 1 2 5 6: 1 - 6 * (4 + 4 + 4 + 4 + 16 + 16) /
    # (6 * 35); of the 15 pairs 7 are in order.
    assert along["weight_decay, Spearman"].startswith("-0.37 ")
    assert along["weight_decay, tau-b"].startswith("-0.07 ")


def test_every_cell_knows_its_runs(plan):
    table = tables(plan)["selection"]
    row = next(row for row in table.rows if row[1].text == "RankMe representation")
    base = "digits-simclr-learning_rate=0.0001-weight_decay=0.05-seed="
    assert row[2].runs == (f"{base}0", f"{base}1")


def test_what_diverged_and_what_is_missing_is_in_the_notes(plan):
    for table in tables(plan).values():
        assert (
            "digits-simclr-learning_rate=1.0-seed=0 diverged: loss became non-finite in step 3"
            in table.notes
        )
        assert "1 of 12 runs are missing." in table.notes
    found = rows(tables(plan)["accuracy"])
    assert found["digits", "simclr"][0].endswith("(10 of 11)")
    assert found["digits", "diet"][0] == "missing"
    assert found["digits", "diet"][-1] == "not published here"


def test_published_numbers_stand_beside_ours_with_their_source(plan):
    published = (
        Published("simclr", "digits", "99.9", "a paper"),
        Published("byol", "digits", "98.0", "another"),
    )
    study = plan.study._replace(tables=("accuracy",), published=published)
    table = make_tables(study, gather(plan))[0]
    found = rows(table)
    assert found["digits", "simclr"][-1] == "99.9 (a paper)"
    assert found["digits", "diet"][-1] == "not published here"
    assert found["digits", "byol"][0] == "not run"
    picks = (Published("lidar", "learning_rate", "65.0", "a paper"),)
    study = plan.study._replace(tables=("selection",), published=picks)
    table = make_tables(study, gather(plan))[0]
    assert "65.0" in rows(table)["a paper", "LiDAR"]
    assert "not published here" in rows(table)["a paper", "LiDAR"]


def at(plan, **values):
    """The plan's final records, with other values."""
    final = gather(plan).final(plan.study.evaluations[0])
    return [record._replace(values=record.values | values) for record in final]


def test_picks_are_followed_to_other_data(plan):
    main = plan.study.evaluations[0]
    other = main._replace(name="far").with_settings(probe_data="mnist5k")
    study = plan.study._replace(tables=("transfer",), evaluations=(main, other))
    evidence = gather(plan)
    far = [
        r._replace(values={"linear": 0.5 + r.config["seed"] / 10 + (r.values["linear"] < 0.82)})
        for r in at(plan)
    ]
    for record in far:
        values = record.values | {"linear": record.values["linear"] / 2}
        evidence.records.append(record._replace(values=values, settings=other.settings))
    found = rows(make_tables(study, evidence)[0])
    # The oracle and LiDAR pick 0.95 and 0.96, which are 0.25 and 0.30 there; RankMe's picks are
    # below 0.82.
    assert found["simclr", "oracle (labels)"] == ["95.5 +- 0.7", "27.5 +- 3.5"]
    assert found["simclr", "LiDAR representation"] == ["95.5 +- 0.7", "27.5 +- 3.5"]
    assert found["simclr", "RankMe representation"] == ["80.5 +- 0.7", "77.5 +- 3.5"]


def test_settings_of_lidar_are_compared_by_one_probe(plan):
    first = plan.study.evaluations[0]
    short = first._replace(name="few").with_settings(
        lidar_images=100, lidar_views=2, lidar_delta=1e-2, metrics=("lidar",), probes=()
    )
    study = plan.study._replace(tables=("settings",), evaluations=(first, short))
    evidence = gather(plan)
    for record in evidence.final(first):
        values = {"lidar/representation": -record.values["lidar/representation"]}
        about = {"settings": short.settings, "seconds": {"views": 0.5}}
        evidence.records.append(record._replace(values=values, **about))
    main, few = ([cell.text for cell in row] for row in make_tables(study, evidence)[0].rows)
    assert main[1:4] == ["200x4", "0.0001", "LiDAR representation"]
    assert few[1:4] == ["100x2", "0.01", "LiDAR representation"]
    assert (main[5], few[5]) == ("+0.42", "-0.42")
    assert (main[7], few[7], few[8]) == ("1.0 +- 0.0", "0.5 +- 0.0", "missing")


def test_a_method_without_an_embedding_has_a_dash_there(plan):
    evidence = gather(plan)
    half = at(plan)[0]
    diet = half._replace(run="digits-diet-seed=0", row="diet")
    with_embedding = half._replace(values=half.values | {"lidar/embedding": 3.0})
    evidence = evidence._replace(records=[*at(plan), diet, with_embedding])
    table = make_tables(plan.study._replace(tables=("accuracy",)), evidence)[0]
    column = table.header.index("LiDAR embedding") - 2
    assert rows(table)["digits", "diet"][column] == "-"


def test_what_the_programs_of_the_theory_print_becomes_a_table(plan):
    printed = """step  500/3000  loss 5.8  z R2 % 80.25  23 ms/step
after 3000 steps, 1 seed    here  published (5 seeds, 50000 steps)
z R2 %                     99.66  99.0
v R2 %                     99.90  not published"""
    toy = "largest relative error over 5 seeds\n  spans, free head                        1.2e-15"
    evidence = gather(plan)
    facts = evidence.facts["digits-diet-seed=0"]
    evidence.facts.clear()
    evidence.facts["a"] = facts._replace(
        row="free", status="done", output=tuple(printed.splitlines())
    )
    evidence.facts["b"] = facts._replace(
        row="spectral", status="done", output=tuple(toy.splitlines())
    )
    evidence.facts["c"] = facts._replace(row="unit")
    table = make_tables(plan.study._replace(tables=("theory",)), evidence)[0]
    found = [tuple(cell.text for cell in row) for row in table.rows]
    assert found[:3] == [
        ("free", "z R2 %", "99.66", "99.0"),
        ("free", "v R2 %", "99.90", "not published"),
        ("spectral", "spans, free head", "1.2e-15", ""),
    ]
    assert found[-1] == ("unit", "missing", "", "")


def test_results_hold_everything_but_weights_and_can_be_made_again_from_themselves(plan, tmp_path):
    figures = ("metric_against_probe", "over_training", "spectra", "regret", "accuracy_over_epochs")
    plan = plan._replace(study=plan.study._replace(figures=figures))
    paths = write_results(plan, gather(plan), tmp_path)
    assert all(path.stat().st_size for path in paths)
    for name in figures:
        assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 5
        assert (tmp_path / f"{name}.svg").read_text().endswith("</svg>\n")
    text = (tmp_path / "README.md").read_text()
    assert "12 runs, 10 done, 1 diverged, 1 missing" in text
    again = read_evidence(tmp_path)
    assert make_tables(plan.study, again) == make_tables(plan.study, gather(plan))
    write_evidence(again, tmp_path / "again")
    for name in ("records.jsonl", "runs.json"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


OTHER = {
    "metrics": ["lidar"],
    "probes": ["linear"],
    "protocol": "diet",
    "images": 100,
    "lidar_images": 100,
    "lidar_views": 3,
    "seed": 1,
    "lidar_delta": 1e-2,
    "probe_data": "mnist5k",
    "features_of": "teacher",
    "pool": "mean",
}


def test_results_at_other_settings_and_those_cut_short_change_nothing(plan, tmp_path):
    root = tmp_path / "runs"
    shutil.copytree(plan.folder, root)
    path = root / "digits-simclr-learning_rate=0.001-weight_decay=0.05-seed=0" / "eval.jsonl"
    line = json.loads(path.read_text().splitlines()[-1])
    assert OTHER.keys() == line["settings"].keys(), "every field takes part"
    lines = [
        line | {"linear": 0.1, "settings": line["settings"] | {f: v}} for f, v in OTHER.items()
    ]
    text = "".join(json.dumps(other) + "\n" for other in lines)
    path.write_text(path.read_text() + text + json.dumps(line)[:50])
    copy = plan._replace(folder=root)
    assert make_tables(copy.study, gather(copy)) == make_tables(plan.study, gather(plan))


def test_the_seconds_of_training_and_evaluation_are_added_up(plan):
    evidence = gather(plan)
    name = next(iter(evidence.facts))
    assert evidence.facts[name].seconds == {"train": 60.0}
    facts = evidence.facts[name]._replace(seconds={"train": 3600.0, "judge": 1800.0})  # older files
    text = readme(plan, evidence._replace(facts={name: facts}), [], ["A note."], [])
    assert "1.5 hours of single runs, evaluation included. Machine: 1 x cpu" in text
    assert "\n\nA note.\n" in text


def test_without_matplotlib_there_are_tables_and_a_note(plan, tmp_path, monkeypatch):
    plan = plan._replace(study=plan.study._replace(figures=("regret",)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    paths = write_results(plan, gather(plan), tmp_path)
    assert "Figures are left out: they need matplotlib" in (tmp_path / "README.md").read_text()
    assert not [path for path in paths if path.suffix in (".png", ".svg")]


def test_without_labels_selection_works_and_says_why_columns_are_empty(tmp_path):
    plan = fabricated.write(tmp_path, labels=False)
    found = rows(tables(plan)["selection"])
    assert found["simclr", "LiDAR representation"][0] == "no labels"
    row = next(
        row for row in tables(plan)["selection"].rows if row[1].text == "LiDAR representation"
    )
    assert row[2].runs[0] == "digits-simclr-learning_rate=0.01-weight_decay=0.05-seed=0"
    assert rows(tables(plan)["correlation"])["simclr", "LiDAR representation"][0] == "no labels"


def test_an_empty_study_has_tables_that_say_so(tmp_path):
    plan = fabricated.write(tmp_path / "a")._replace(folder=tmp_path / "b")
    for table in tables(plan).values():
        assert "12 of 12 runs are missing." in table.notes
        markdown(table)


@pytest.mark.parametrize("folder", sorted(Path("results").glob("*")), ids=lambda path: path.name)
def test_the_files_in_results_are_those_of_its_records(folder, tmp_path):
    path = f"configs/studies/{folder.name}.py"
    study = importlib.import_module(f"configs.studies.{folder.name}").get_study("desk")
    evidence = read_evidence(folder)
    tables = make_tables(study, evidence)
    write_evidence(evidence, tmp_path)
    for file in (*write_tables(tables, tmp_path), *tmp_path.glob("r*.json*")):
        assert file.read_bytes() == (folder / file.name).read_bytes(), file.name
    assert [run.name for run in study.runs] == list(evidence.facts)
    note = (folder / "README.md").read_text().split("\n\n")[2]
    pictures = [folder / f"{name}.png" for name in study.figures]
    plan = Plan(path, "desk", study, tmp_path, {})
    assert readme(plan, evidence, tables, [note], pictures) == (folder / "README.md").read_text()
