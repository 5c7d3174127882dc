"""A run folder, evaluated: which files are written, and what is left out with which words."""

import sys

import jax
import numpy as np
import pytest

from configs import base, digits
from sslx.data.load import load
from sslx.evaluation.run import check_pictures, draw_last, evaluate_run, open_run
from sslx.evaluation.settings import Settings
from sslx.experiment import make_experiment, make_training
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.run_folder import open_run as create_run
from tests.methods import harness

pytestmark = pytest.mark.usefixtures("quick_compilation")

IMAGES = harness.IMAGES[:32]  # as many everywhere, so that features are compiled once
SETTINGS = Settings(("rankme",), ("knn",))


@pytest.fixture(scope="module")
def mesh():
    return parallel.start(1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, mesh):
    """A run with the checkpoints 0, 5, 10 and 15, all of one state that was never trained."""
    folder = tmp_path_factory.mktemp("runs") / "npz-simclr"
    path = folder.parent / "images.npz"
    labels = np.arange(len(IMAGES)) % 3
    arrays = {"train_images": IMAGES, "train_labels": labels}
    np.savez(path, **arrays, test_images=IMAGES, test_labels=labels)
    config = digits.get_config("simclr")
    config.data.update(name=f"npz:{path}", channels=1, cache=str(folder.parent / "decoded"))
    config.model = base.vit(variant="vit_nano", patch=4, width=16, depth=1)
    config.batch_size, config.duration = 16, "20 steps"
    config.optimizer.warmup = "0 steps"
    data = load(config.data)
    create_run(folder, config, data.facts())
    experiment = make_experiment(config, len(IMAGES), 1)
    checkpoints = Checkpoints(folder / "checkpoints")
    with jax.set_mesh(mesh):
        state = parallel.place(make_training(experiment, resident=True).init(), mesh)
        for step in (0, 5, 10, 15):
            checkpoints.save(step, state, {})
    checkpoints.close()
    return folder


def evaluate(folder, mesh, checkpoint="all", settings=SETTINGS, **options):
    options = {"missing": False, "pixels": False} | options
    return evaluate_run(folder, settings, checkpoint, mesh, **options)


def test_a_run_is_evaluated_into_three_files(folder, mesh, capsys):
    records, text = evaluate(folder, mesh, pixels=True)
    assert [record.step for record in records] == [0, 5, 10, 15]
    assert {record.settings for record in records} == {SETTINGS}
    assert "evaluated step 15" in capsys.readouterr().out
    assert text == f"\n{(folder / 'eval.md').read_text()}\nwritten: " + (
        f"{folder}/eval.md, eval.jsonl, eval.png"
    )
    assert "raw pixels" in text
    assert "Best kNN %: step 5" in text
    assert (folder / "eval.png").stat().st_size > 1000
    assert len((folder / "eval.jsonl").read_text().splitlines()) == 4


def test_only_what_is_missing_at_these_settings_is_evaluated(folder, mesh, capsys):
    settings = SETTINGS._replace(seed=1)
    evaluate(folder, mesh, "5", settings)
    capsys.readouterr()
    records, _ = evaluate(folder, mesh, "all", settings, missing=True)
    assert [record.step for record in records] == [0, 5, 10, 15]
    output = capsys.readouterr().out
    assert "evaluated step 10" in output
    assert "evaluated step 5" not in output
    again, text = evaluate(folder, mesh, "last", settings, missing=True)
    assert text == f"{folder}: all checkpoints are evaluated already, at these settings"
    assert again == records[-1:]
    assert capsys.readouterr().out == ""


def test_the_probes_of_another_data_set_have_its_images(folder, mesh):
    other = folder.parent / "other.npz"
    np.savez(other, images=IMAGES[:20], labels=np.arange(20) % 2)
    settings = SETTINGS._replace(probe_data=f"npz:{other}")
    run = open_run(folder, settings, mesh)
    assert len(run.data.train.images) == len(IMAGES)
    assert (len(run.data.probe.images), len(run.data.test.images)) == (16, 4)


def test_a_damaged_checkpoint_is_left_out_with_a_warning(folder, mesh, capsys):
    model = folder / "checkpoints/10/model"
    model.rename(folder / "model")
    try:
        records, _ = evaluate(folder, mesh)
        assert [record.step for record in records] == [0, 5, 15]
        assert "left out" in capsys.readouterr().out
        with pytest.raises(ValueError, match="No checkpoint of .*npz-simclr can be read"):
            evaluate(folder, mesh, "10")
    finally:
        (folder / "model").rename(model)


def test_without_matplotlib_all_but_the_picture_is_written(folder, mesh, capsys, monkeypatch):
    (folder / "eval.png").unlink(missing_ok=True)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    _, text = evaluate(folder, mesh, "last")
    note = "note: no picture, as matplotlib is not installed: pip install matplotlib\n"
    assert capsys.readouterr().out.count(note) == 1
    assert text.endswith(f"written: {folder}/eval.md, eval.jsonl")
    assert not (folder / "eval.png").exists()
    for draw in (check_pictures, lambda: draw_last(folder, SETTINGS, mesh)):
        with pytest.raises(ValueError, match="--pictures needs matplotlib.*pip install matplotlib"):
            draw()


@pytest.mark.parametrize("checkpoint", ["7", "best"])
def test_a_checkpoint_that_does_not_exist_is_refused(checkpoint, folder, mesh):
    message = f"--checkpoint is '{checkpoint}'; it takes all, last, 0, 5, 10, 15"
    with pytest.raises(ValueError, match=message):
        evaluate(folder, mesh, checkpoint)


def test_a_run_without_checkpoints_is_refused_with_what_to_do(tmp_path, mesh):
    with pytest.raises(ValueError, match="has no checkpoint yet. Train first, with the command in"):
        evaluate(tmp_path, mesh)
