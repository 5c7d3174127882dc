"""train.py and eval.py end to end: what they write, and how they resume."""

import json
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.commands import LIGHT, RECIPE, SHORT, run, start, train


def records(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def final_checkpoint(folder: Path) -> dict:
    """The CRC-32 of every leaf of the last checkpoint."""
    return json.loads((folder / "checkpoints/20/_CHECKPOINT_METADATA").read_text())[
        "custom_metadata"
    ]["crc32"]


def test_a_run_prints_what_it_does_and_keeps_a_record(finished):
    folder, output = finished
    assert re.search(
        r"step  5/20  loss \d\.\d+ \(.* nats above floor\)  \d+ images/s  eta 0:\d\d  input wait "
        r"\d+%",
        output,
    )
    assert re.search(r"at step 0: RankMe .* of 16, LiDAR .*, feature std .*, kNN .*%", output)
    assert f"python eval.py --run={folder}" in output
    lines = records(folder / "metrics.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [5, 10, 15, 20]
    assert [line["step"] for line in lines if "lidar/representation" in line] == list(
        range(0, 21, 2)
    )
    assert all(line["monitor_seconds"] > 0 for line in lines if "knn" in line)
    config = json.loads((folder / "config.json").read_text())
    assert config["method"]["name"] == "diet"
    assert config["batch_size"] == 64
    environment = records(folder / "environment.jsonl")[0]
    assert environment["packages"]["jax"]
    assert "cpu" in environment["devices"][0]
    data = json.loads((folder / "data.json").read_text())
    assert data["train"]["count"] == 1437
    assert len(data["train"]["hash"]) == 16


def test_a_finished_run_is_not_trained_again(finished, cache):
    assert "is complete" in train(cache, finished[0])


def test_eval_evaluates_every_checkpoint(finished, cache):
    folder = finished[0]
    output = run(
        cache, "eval.py", f"--run={folder}", "--lidar_images=120", "--lidar_views=3", "--images=300"
    )
    assert "raw pixels" in output
    assert "0 (untrained)" in output
    assert "n = 120 images of digits/train, q = 3 views" in output
    lines = records(folder / "eval.jsonl")
    assert [line["step"] for line in lines] == list(range(0, 21, 2))
    for line in lines:
        assert line["settings"]["lidar_views"] == 3
        assert 1 <= line["lidar/representation"] <= 16.1
        assert 1 <= line["rankme/representation"] <= 16.1
        assert 0.1 < line["linear"] <= 1
        assert 0.1 < line["knn"] <= 1
    assert (folder / "eval.md").read_text().count("\n|") == 14
    assert np.asarray(Image.open(folder / "eval.png")).std() > 10
    output = run(
        cache,
        "eval.py",
        f"--run={folder}",
        "--checkpoint=last",
        "--metrics=rankme",
        "--probe=",
        "--pictures",
    )
    assert f"drawn of step 20: {folder}/neighbours-20.png" in output
    assert np.asarray(Image.open(folder / "neighbours-20.png")).std() > 10
    assert "LiDAR" not in output
    assert len(records(folder / "eval.jsonl")) == 12


def test_ctrl_c_and_sigterm_save_and_the_same_command_goes_on(finished, cache, tmp_path):
    folder = tmp_path / "run"
    rarely = ("--config.log.every=1 steps", "--config.checkpoint.every=100%")
    words = ("train.py", RECIPE, f"--run={folder}", *SHORT, *LIGHT, *rarely)
    stopped = 0
    for number, step in ((signal.SIGTERM, 3), (signal.SIGINT, 9)):
        process = start(cache, *words)
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith(f"step {step:2}/20"):
                process.send_signal(number)
                break
        rest = "".join(lines) + process.communicate(timeout=120)[0]
        assert process.returncode == 130, rest
        assert (f"going on from step {stopped}" if stopped else "training from scratch") in rest
        stopped = int(re.search(r"saved at step (\d+) of 20\. The same command goes on", rest)[1])
        assert step <= stopped < 20
    output = run(cache, *words)
    assert f"going on from step {stopped}" in output
    assert [line["step"] for line in records(folder / "metrics.jsonl") if "loss" in line] == list(
        range(1, 21)
    )
    assert final_checkpoint(folder) == final_checkpoint(finished[0])


@pytest.mark.slow
def test_twenty_kills_change_nothing(finished, cache, tmp_path):
    """SIGKILL at random moments: each restart, with resident and streamed images in turn, goes on
    to the same bits.
    """
    generator = np.random.default_rng(0)
    folder, kills, output = tmp_path / "run", 0, ""
    words = (
        "train.py",
        RECIPE,
        f"--run={folder}",
        *SHORT,
        *LIGHT,
        "--config.checkpoint.every=1 steps",
    )
    streamed = ("--config.data.resident_gib=0", "--config.data.decoded_gib=0")
    while "done: 20 steps" not in output:
        process = start(cache, *words, *(streamed if kills % 2 else ()))
        first = process.stdout.readline()
        assert first, "the process died by itself"
        if kills < 20:
            while "from s" not in first:  # training from scratch, going on from step
                first = process.stdout.readline()
                assert first, "the process died by itself"
            time.sleep(generator.uniform(0, 1.2))
            process.kill()
            kills += process.poll() is None or process.wait() != 0
        output = process.communicate(timeout=120)[0]
    assert kills == 20, f"the run was over after {kills} kills"
    assert final_checkpoint(folder) == final_checkpoint(finished[0])


@pytest.mark.slow
def test_rows_in_a_file_survive_kills(cache, tmp_path):
    """As above, for s-DIET's rows: killed while rows are read, written and saved, the run ends with
    the same rows.
    """
    place = (
        "--config.method.rows=file",
        "--config.method.negatives=64",
        "--config.checkpoint.every=2 steps",
    )
    words = (
        "train.py",
        "--config=configs/digits.py:sdiet",
        *SHORT,
        *LIGHT,
        "--config.monitor.every=0 steps",
        *place,
    )
    whole, folder = tmp_path / "whole", tmp_path / "run"
    run(cache, *words, f"--run={whole}")
    generator, kills = np.random.default_rng(0), 0
    while kills < 6:
        process = start(cache, *words, f"--run={folder}")
        line = process.stdout.readline()
        while "from s" not in line:
            assert line, "the process died by itself"
            line = process.stdout.readline()
        time.sleep(generator.uniform(0, 1.5))
        process.kill()
        kills += 1
        process.communicate()
    assert "done: 20 steps" in run(cache, *words, f"--run={folder}")
    assert final_checkpoint(folder) == final_checkpoint(whole)
    for name in ("rows", "done"):
        a, b = (
            np.load(path / "rows" / "20" / f"{name}.npy", allow_pickle=False)
            for path in (whole, folder)
        )
        np.testing.assert_array_equal(a, b)
    assert not (folder / "rows" / "working").exists()


def test_a_full_disk_while_saving_is_explained_and_loses_nothing(cache, tmp_path):
    folder = tmp_path / "run"
    train(cache, folder, "--config.duration=20 steps", "--config.checkpoint.every=10 steps")
    newest = folder / "checkpoints/20"
    for path in sorted(newest.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    newest.rmdir()

    output = train(cache, folder, "--config.checkpoint.every=10 steps", expect=2, file_blocks=20)
    assert "Step 20 could not be saved" in output
    assert "The last good checkpoint is step 10" in output
    assert "Traceback" not in output
    assert "going on from step 10" in train(cache, folder, "--config.checkpoint.every=10 steps")


def test_a_loss_that_is_not_finite_stops_the_run(cache, tmp_path):
    words = (
        "--config.optimizer.name=sgd",
        "--config.optimizer.learning_rate=1e30",
        "--config.monitor.every=0 steps",
    )
    output = train(cache, tmp_path / "run", *words, expect=3)
    step = int(
        re.search(
            r"became non-finite in step (\d+)\. The last good checkpoint is step (\d+)", output
        )[1]
    )
    assert 1 < step <= 6
    saved = [
        int(path.name) for path in (tmp_path / "run/checkpoints").iterdir() if path.name.isdigit()
    ]
    assert max(saved) < step


def test_a_flat_folder_trains_and_is_evaluated_without_labels(cache, tmp_path):
    images = tmp_path / "photos"
    images.mkdir()
    generator = np.random.default_rng(0)
    for number in range(80):
        Image.fromarray(generator.integers(0, 256, (12, 12), np.uint8)).save(
            images / f"{number}.png"
        )
    words = (
        f"--config.data.name=folder:{images}",
        "--config.data.channels=1",
        "--config.log.tensorboard=True",
    )
    output = train(cache, tmp_path / "run", *words)
    assert output.count("no labels") == 1
    assert "kNN 1" not in output
    assert list((tmp_path / "run/tensorboard").iterdir())
    output = run(
        cache,
        "eval.py",
        f"--run={tmp_path / 'run'}",
        "--checkpoint=last",
        "--lidar_images=50",
        "--lidar_views=4",
    )
    assert "no labels" in output
    assert "linear" not in output.split("note:")[-1].split("written")[0].replace(
        "no linear probe", ""
    )
