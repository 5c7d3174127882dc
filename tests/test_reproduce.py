"""reproduce.py and eval.py --runs as a user runs them, on a study that takes seconds."""

import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from sslx.studies.claims import holder
from tests.commands import run, start

STUDY = """
from sslx.studies.study import ONE_CORE, Study, evaluation, runs

FAST = ONE_CORE | {
    "duration": "20 steps", "optimizer.warmup": "2 steps", "model.width": 4, "batch_size": 64,
}


def get_study(scale):
    recipe, rates = "configs/digits.py:diet", [{"optimizer.learning_rate": r} for r in (0.01, 1e30)]
    grid = runs(recipe, *rates, fixed=FAST, seeds=1)
    grid += runs(recipe, rates[0], fixed=FAST, seeds=2)[1:]
    knn = evaluation(metrics=("rankme",), probes=("knn",))
    return Study(tuple(grid), ("accuracy",), evaluations=(knn,))
"""
DIVERGED = r"digits-diet-learning_rate=1e\+30-seed=0 diverged: .* became non-finite in step \d"
TRAINED = [f"digits-diet-learning_rate=0.01-seed={seed}" for seed in (0, 1)]


@pytest.fixture(scope="module", autouse=True)
def _quick_compilation():
    """Spare the commands LLVM's optimisations, as the fixture `quick_compilation` does here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
        yield


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


def results(root: Path) -> dict[str, bytes]:
    folder = root / "tiny-desk" / "results"
    return {
        name: (folder / name).read_bytes()
        for name in ("accuracy.md", "accuracy.csv", "accuracy.tex", "cells.csv")
    }


def wait_for_training(*folders: Path) -> None:
    """Wait until the runs are in the middle of their training."""
    deadline = time.time() + 120
    while not all((folder / "checkpoints" / "0").exists() for folder in folders):
        assert time.time() < deadline
        time.sleep(0.05)


def test_a_study_ends_in_its_table_with_what_diverged(whole, cache, study):
    root, output = whole
    assert "tiny-desk: 3 runs" in output
    assert output.count("done after") == 2
    assert re.search(DIVERGED, results(root)["accuracy.md"].decode())
    assert b"(2 of 3)" in results(root)["accuracy.md"]
    words = f"--study={study}", f"--runs={root}"
    again = run(cache, "reproduce.py", *words)
    assert "0 of them missing" in again
    assert "training" not in again
    assert "3 of 3 runs are finished" in run(cache, "reproduce.py", *words, "--status")
    assert "0 of 3 runs are missing" in run(cache, "reproduce.py", *words, "--dry")


@pytest.mark.slow
def test_after_ctrl_c_and_kill_9_the_tables_are_the_same(whole, cache, study, tmp_path):
    words = ("reproduce.py", f"--study={study}", f"--runs={tmp_path}")
    folder = tmp_path / "tiny-desk"
    shutil.copytree(whole[0] / "tiny-desk", folder)  # what diverged need not diverge again
    for name in ("claims", "results", *TRAINED):
        shutil.rmtree(folder / name)
    first, second = (folder / name for name in TRAINED)

    process = start(cache, *words)
    wait_for_training(first)
    process.send_signal(signal.SIGINT)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "the same command goes on" in output
    assert [holder(folder / "claims", name) for name in TRAINED] == ["", ""]

    shards = [start(cache, *words, f"--shard={i}/2") for i in (1, 2)]
    wait_for_training(second)
    for process in shards:
        process.send_signal(signal.SIGKILL)
    for process in shards:
        process.communicate()
    assert not (folder / "results").exists()

    shards = [start(cache, *words, f"--shard={i}/2") for i in (1, 2)]
    outputs = [process.communicate(timeout=300)[0] for process in shards]
    assert [process.returncode for process in shards] == [0, 0], outputs
    run(cache, *words, "--tables")
    assert results(tmp_path) == results(whole[0])


def test_the_best_of_a_study_s_runs_is_chosen_with_and_without_labels(whole, cache, tmp_path):
    shutil.copytree(whole[0] / "tiny-desk", tmp_path / "runs")
    pattern = f"--runs={tmp_path}/runs/*seed*"
    words = ("eval.py", pattern, "--select=rankme", "--metrics=rankme")
    output = run(cache, *words, "--probe=knn", "--checkpoint=last")
    assert re.search(r"rankme/representation picks digits-diet-learning_rate=\S+-seed=\d", output)
    assert "regret" in output
    assert "no labels" in run(cache, *words, "--probe=", "--checkpoint=last")
    output = run(cache, "eval.py", pattern, "--select=rankem", "--metrics=rankme", expect=2)
    assert "Did you mean 'rankme'?" in output
    facts = tmp_path / "runs" / TRAINED[0] / "data.json"
    facts.write_text(facts.read_text().replace('"hash": "', '"hash": "other'))
    output = run(cache, *words, expect=2)
    assert "Selection across data sets means nothing, but the train images differ" in output
    assert "matches no run" in run(cache, "eval.py", f"--runs={tmp_path}/none*", expect=2)


def test_a_mistake_is_one_line(cache):
    study = "--study=configs/studies/lidar_vicreg.py"
    output = run(cache, "reproduce.py", study, "--shard=3/2", expect=2)
    assert (
        output == "error: --shard is '3/2'; it takes i/n with i from 1 to n, such as 1/2 and 2/2.\n"
    )
