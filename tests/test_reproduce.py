"""reproduce.py and eval.py --runs as a user runs them: real training, on studies that take seconds."""

import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.commands import run, start

STUDY = """
from sslx.studies.study import Judgement, Study, runs

FAST = {"devices": 1, "duration": "20 steps", "optimizer.warmup": "2 steps", "model.width": 4, "batch_size": 64,
        "monitor.every": "0 steps", "checkpoint.every": "50%"}


def get_study(scale):
    rates = [{"optimizer.learning_rate": rate} for rate in (0.01, 1e30)]
    found = runs("configs/digits/diet.py", *rates, fixed=FAST, seeds=1)
    found += runs("configs/digits/diet.py", rates[0], fixed=FAST, seeds=2)[1:]
    return Study(tuple(found), ("accuracy",), judgements=(Judgement(metrics=("rankme",), probe=("knn",)),))
"""
DIVERGED = r"digits-diet-learning_rate=1e\+30-seed=0 diverged: .* became non-finite in step \d"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "tiny.py"
    path.write_text(STUDY)
    return path


@pytest.fixture(scope="module")
def whole(cache, study, tmp_path_factory):
    """The folder of runs after an undisturbed study, and what it printed."""
    root = tmp_path_factory.mktemp("whole")
    return root, run(cache, "reproduce.py", f"--study={study}", f"--runs={root}")


def results(root: Path) -> dict[str, str]:
    folder = root / "tiny-desk" / "results"
    return {
        name: (folder / name).read_text()
        for name in ("accuracy.md", "accuracy.csv", "accuracy.tex", "cells.csv")
    }


def test_a_study_ends_in_its_table_and_says_what_diverged(whole, cache, study):
    root, output = whole
    assert "tiny-desk: 3 runs" in output
    assert output.count("done after") == 2
    assert re.search(DIVERGED, results(root)["accuracy.md"])
    assert re.search(r"\(2 of 3\)", results(root)["accuracy.md"])
    words = f"--study={study}", f"--runs={root}"
    started = time.time()
    again = run(cache, "reproduce.py", *words)
    assert "0 of them missing" in again
    assert "training" not in again
    assert time.time() - started < 60
    assert "3 of 3 runs are finished" in run(cache, "reproduce.py", *words, "--status")
    assert "0 of 3 runs are missing" in run(cache, "reproduce.py", *words, "--dry")


@pytest.mark.slow
def test_shards_killed_and_started_again_make_the_same_tables(whole, cache, study, tmp_path):
    words = ("reproduce.py", f"--study={study}", f"--runs={tmp_path}")
    shards = [start(cache, *words, f"--shard={i}/2") for i in (1, 2)]
    folder = tmp_path / "tiny-desk"
    deadline = time.time() + 120
    while not list(folder.glob("*/checkpoints/0")):  # in the middle of the first runs
        assert time.time() < deadline
        time.sleep(0.1)
    for process in shards:
        process.send_signal(signal.SIGKILL)
    for process in shards:
        process.communicate()
    assert not (folder / "results").exists()
    shards = [start(cache, *words, f"--shard={i}/2") for i in (1, 2)]
    said = [process.communicate(timeout=300)[0] for process in shards]
    assert [process.returncode for process in shards] == [0, 0], said
    run(cache, *words, "--tables")
    assert results(tmp_path) == results(whole[0])
    # A run that was begun by nobody else is begun once: one claim before the kill at most, one
    # after it.
    claims = [path.name for path in (folder / "claims").iterdir()]
    assert len(claims) <= 3 + 2, claims


def test_ctrl_c_saves_and_gives_the_run_back(cache, study, tmp_path):
    words = ("reproduce.py", f"--study={study}", f"--runs={tmp_path}")
    process = start(cache, *words)
    deadline = time.time() + 120
    while not list((tmp_path / "tiny-desk").glob("*/checkpoints/0")):
        assert time.time() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "the same command goes on" in output
    released = [path.read_text() for path in (tmp_path / "tiny-desk" / "claims").iterdir()]
    assert ['"released": true' in text for text in released] == [True]


def test_the_best_of_many_runs_is_chosen_with_and_without_labels(whole, cache, tmp_path):
    shutil.copytree(whole[0] / "tiny-desk", tmp_path / "runs")
    pattern = f"--runs={tmp_path}/runs/*seed*"
    output = run(
        cache,
        "eval.py",
        pattern,
        "--select=rankme",
        "--metrics=rankme",
        "--probe=knn",
        "--checkpoint=last",
    )
    assert re.search(r"rankme/representation picks digits-diet-learning_rate=\S+-seed=\d", output)
    assert "regret" in output
    output = run(
        cache,
        "eval.py",
        pattern,
        "--select=rankme",
        "--metrics=rankme",
        "--probe=",
        "--checkpoint=last",
    )
    assert "no labels" in output
    said = run(cache, "eval.py", pattern, "--select=rankem", "--metrics=rankme", expect=2)
    assert "Did you mean --select=rankme?" in said
    facts = tmp_path / "runs" / "digits-diet-learning_rate=0.01-seed=0" / "data.json"
    facts.write_text(facts.read_text().replace('"hash": "', '"hash": "other'))
    said = run(cache, "eval.py", pattern, "--select=rankme", "--metrics=rankme", expect=2)
    assert "Selection across data sets means nothing, but the train images differ" in said
    assert "matches no run folder" in run(cache, "eval.py", f"--runs={tmp_path}/none*", expect=2)


def test_a_mistake_is_one_line(cache):
    output = run(
        cache, "reproduce.py", "--study=configs/studies/lidar_vicreg.py", "--shard=3/2", expect=2
    )
    assert (
        output == "error: --shard is '3/2'; it takes i/n with i from 1 to n, such as 1/2 and 2/2.\n"
    )
