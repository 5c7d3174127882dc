"""The checkpoints of a run folder, evaluated one after the other into eval.jsonl, .md and .png."""

import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sslx.data.load import load
from sslx.data.source import Sources
from sslx.evaluation.evaluate import describe, evaluate, evaluate_pixels, labelled_splits
from sslx.evaluation.features import Extractor
from sslx.evaluation.report import report
from sslx.evaluation.results import Record, append_result, read_run
from sslx.evaluation.settings import Settings
from sslx.experiment import make_experiment
from sslx.files import write_atomically
from sslx.hints import check_choice
from sslx.method import Method
from sslx.training.checkpoint import Checkpoints
from sslx.training.run_folder import choose_features, read_config


class OpenRun(NamedTuple):
    """A run that can be evaluated: its data, its method, and how a checkpoint is read."""

    data: Sources
    method: Method
    extractor: Extractor
    checkpoints: Checkpoints
    model_like: Any  # what a checkpoint is restored onto
    notes: list[str]  # which features are read, where the method has several


def open_run(folder: Path, settings: Settings, mesh: Mesh) -> OpenRun:
    """Open the run of `folder`, its probes on `settings.probe_data` where that is given.

    Raises ValueError where something is missing.
    """
    config = read_config(folder)
    chosen = {"features_of": settings.features_of or None, "pool": settings.pool or None}
    notes = choose_features(config, **chosen)
    data = load(config.data)
    images = data.train.images
    experiment = make_experiment(config, len(images), images.shape[-1])
    if settings.probe_data:
        data = _with_probes_on(settings.probe_data, data, config.data)
    method, like = experiment.method, experiment.model_like(mesh)
    extractor = Extractor(method, mesh, config.evaluation.batch_size)
    return OpenRun(data, method, extractor, Checkpoints(folder / "checkpoints"), like, notes)


def evaluate_run(
    folder: Path, settings: Settings, checkpoint: str, mesh: Mesh, *, missing: bool, pixels: bool
) -> tuple[list[Record], str]:
    """Evaluate the chosen checkpoints; return their records, and a report as text.

    The report goes to eval.md, a picture to eval.png and the numbers to eval.jsonl in `folder`.
    With `missing`, records that eval.jsonl has at equal settings are taken from it. With `pixels`
    the probes also see raw pixels. Raises ValueError where nothing can be evaluated.
    """
    steps = _chosen_steps(checkpoint, Checkpoints(folder / "checkpoints").steps(), folder)
    records = _records_by_step(folder, settings) if missing else {}
    left = [step for step in steps if step not in records]
    if not left:
        text = f"{folder}: all checkpoints are evaluated already, at these settings"
        return [records[step] for step in steps], text
    run = open_run(folder, settings, mesh)
    if labelled_splits(run.data) is None:
        print("note: no labels or no test split, so no kNN and no linear probe")
    notes = describe(settings, run.data) + run.notes
    done = set(steps) - set(left)
    with jax.set_mesh(mesh):
        of_pixels = evaluate_pixels(run.data, settings) if pixels else {}
        for step in left:
            try:
                model = run.checkpoints.restore_model(step, run.model_like)
            except ValueError as error:
                print(f"warning: {error}; left out")
                continue
            result = evaluate(step, model, run.extractor, run.data, settings)
            append_result(folder, result, settings, notes)
            print(f"evaluated step {step}", flush=True)
            done.add(step)
    if not done:
        raise ValueError(f"No checkpoint of {folder} can be read.")
    records = _records_by_step(folder, settings)
    chosen = [records[step] for step in sorted(done)]
    text = report(folder.name, chosen, of_pixels, notes)
    write_atomically(folder / "eval.md", text)
    files = "eval.md, eval.jsonl"
    if importlib.util.find_spec("matplotlib"):
        from sslx.evaluation.pictures import plot_results  # slow to import, and optional

        plot_results(chosen, of_pixels, folder.name, folder / "eval.png")
        files += ", eval.png"
    else:
        print("note: no picture, as matplotlib is not installed: pip install matplotlib")
    return chosen, f"\n{text}\nwritten: {folder}/{files}"


def check_pictures() -> None:
    """Raise ValueError where pictures cannot be drawn."""
    if not importlib.util.find_spec("matplotlib"):
        raise ValueError("--pictures needs matplotlib, which is missing: pip install matplotlib")


def draw_last(folder: Path, settings: Settings, mesh: Mesh) -> str:
    """Draw the pictures of the newest checkpoint, and return a line with their paths."""
    check_pictures()
    from sslx.evaluation.pictures import draw_pictures  # slow to import, and optional

    run = open_run(folder, settings, mesh)
    step = run.checkpoints.steps()[-1]
    with jax.set_mesh(mesh):
        model = run.checkpoints.restore_model(step, run.model_like)
        paths = draw_pictures(run.method, model, run.extractor, run.data, step, folder)
    return f"drawn of step {step}: {', '.join(map(str, paths))}"


def _records_by_step(folder: Path, settings: Settings) -> dict[int, Record]:
    return {record.step: record for record in read_run(folder) if record.settings == settings}


def _with_probes_on(name: str, data: Sources, config: ConfigDict) -> Sources:
    """The same pretraining images, and the probes' splits of another data set in their shape."""
    shape = data.train.images.shape[1:]
    other = config.copy_and_resolve_references()
    other.update(name=name, image_size=shape[0], channels=shape[-1])
    # Only the probes' splits are wanted, but a data set is loaded as a whole.
    other.update(train_split="", probe_split="", test_split="")
    _, probe, test = load(other)
    if probe.images.shape[1:] != shape:
        raise ValueError(
            f"The images of {name} are {probe.images.shape[1:]}, those that the encoder was "
            f"trained on {shape}. Choose another --probe_data."
        )
    return Sources(data.train, probe, test)


def _chosen_steps(checkpoint: str, steps: list[int], folder: Path) -> list[int]:
    if not steps:
        raise ValueError(
            f"{folder} has no checkpoint yet. Train first, with the command in "
            f"{folder}/environment.jsonl."
        )
    chosen = {"all": steps, "last": steps[-1:]} | {str(step): [step] for step in steps}
    check_choice("--checkpoint", checkpoint, chosen)
    return chosen[checkpoint]
