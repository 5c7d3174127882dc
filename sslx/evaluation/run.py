"""The checkpoints of a run folder, judged one after the other; what is written is eval.jsonl,
eval.md and eval.png.
"""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sslx.data import sources
from sslx.data.sources import Sources
from sslx.evaluation.evaluate import Settings, Verdict, describe, has_labels, judge, judge_pixels
from sslx.evaluation.features import Extractor, Model
from sslx.evaluation.report import selection, table
from sslx.experiment import load_method
from sslx.method import Method
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.run_folder import choose_features, read_config
from sslx.training.state import model_of

# Of a line of eval.jsonl: what is no value of a metric or a probe.
ABOUT = ("step", "settings", "notes", "probe", "scores", "seconds", "spectrum")


class Subject(NamedTuple):
    """A run that can be judged: its data, its method, and how a checkpoint is read."""

    folder: Path
    data: Sources
    method: Method
    extractor: Extractor
    checkpoints: Checkpoints
    like: Any  # the model's arrays, for `restore_model`
    notes: list[str]


def open_subject(folder: Path, settings: Settings, mesh: Mesh) -> Subject:
    """The run of `folder`, its probes on `settings.probe_data`; raises ValueError where something
    is missing.
    """
    config = read_config(folder)
    notes = choose_features(
        config, features_of=settings.features_of or None, pool=settings.pool or None
    )
    data = sources.load(config.data)
    method = load_method(config, len(data.train.images))
    if settings.probe_data:
        data = with_probes_on(settings.probe_data, data, config.data)
    size = method.views.crops[0].size
    shape = (1, size, size, data.train.images.shape[-1])
    like = parallel.replicated_like(
        model_of(*jax.eval_shape(lambda: method.init(jax.random.key(0), shape))), mesh
    )
    extractor = Extractor(method, mesh, config.evaluation.batch_size)
    return Subject(
        folder, data, method, extractor, Checkpoints(folder / "checkpoints"), like, notes
    )


def with_probes_on(name: str, data: Sources, config: ConfigDict) -> Sources:
    """The same pretraining images, and the probes' splits of another data set, at the same size and
    channels.
    """
    _, side, _, channels = data.train.images.shape
    other = config.copy_and_resolve_references()
    # Only the probes' splits are wanted, but a data set is loaded as a whole.
    other.update(
        name=name, train_split="", probe_split="", test_split="", image_size=side, channels=channels
    )
    _, probe, test = sources.load(other)
    if probe.images.shape[1:] != data.train.images.shape[1:]:
        raise ValueError(
            f"The images of {name} are {probe.images.shape[1:]}, those that the encoder has seen "
            f"{data.train.images.shape[1:]}. Choose another --probe_data."
        )
    return Sources(data.train, probe, test)


def chosen(checkpoint: str, steps: list[int], folder: Path) -> list[int]:
    """The steps that `checkpoint` means: all, last, or one of them; raises ValueError when there
    are none.
    """
    if not steps:
        raise ValueError(
            f"{folder} has no checkpoint yet. Train first, with the command in "
            f"{folder}/environment.jsonl."
        )
    if checkpoint in ("all", "last"):
        return steps if checkpoint == "all" else steps[-1:]
    if not checkpoint.isdigit() or int(checkpoint) not in steps:
        raise ValueError(
            f"--checkpoint is {checkpoint!r}; it takes all, last, or one of "
            f"{', '.join(map(str, steps))}."
        )
    return [int(checkpoint)]


def judge_run(
    folder: Path, settings: Settings, checkpoint: str, mesh: Mesh, *, missing: bool, pixels: bool
) -> str:
    """Judge the chosen checkpoints, write the three files, and return what they say as text.

    With `missing` verdicts at equal settings that eval.jsonl has are taken from it; with `pixels`
    the probes also see raw pixels. Raises ValueError where nothing can be judged."""
    steps = chosen(checkpoint, Checkpoints(folder / "checkpoints").steps(), folder)
    known = {v.step: v for v in read_verdicts(folder, settings)} if missing else {}
    if known.keys() >= set(steps):
        return f"{folder}: all judged already, at these settings"
    subject = open_subject(folder, settings, mesh)
    if not has_labels(subject.data):
        print("note: no labels or no test split, so no kNN and no linear probe")
    with jax.set_mesh(mesh):
        raw = judge_pixels(subject.data, settings) if pixels else {}
        fresh = _judge_all(subject, [step for step in steps if step not in known], settings)
    verdicts = sorted(
        [*(known[step] for step in steps if step in known), *fresh],
        key=lambda verdict: verdict.step,
    )
    if not verdicts:
        raise ValueError(f"No checkpoint of {folder} can be read.")
    notes = describe(settings, subject.data) + subject.notes
    append_verdicts(folder, fresh, settings, notes)
    return _report(folder, verdicts, raw, notes)


def draw_last(folder: Path, settings: Settings, mesh: Mesh) -> str:
    """Draw the pictures of the newest checkpoint, and say where they are."""
    from sslx.evaluation.pictures import draw_pictures

    subject = open_subject(folder, settings, mesh)
    step = subject.checkpoints.steps()[-1]
    with jax.set_mesh(mesh):
        model: Model = subject.checkpoints.restore_model(step, subject.like)
        data = subject.data
        paths = draw_pictures(
            subject.method, model, subject.extractor, data.train, data.test, step, folder
        )
    return f"drawn of step {step}: {', '.join(map(str, paths))}"


def append_verdicts(
    folder: Path, verdicts: list[Verdict], settings: Settings, notes: list[str]
) -> None:
    """Add a line for each verdict to eval.jsonl, with all that it was measured with."""
    with (folder / "eval.jsonl").open("a") as file:
        for verdict in verdicts:
            line = {"step": verdict.step} | {
                name: _json(value) for name, value in verdict.values.items()
            }
            line |= {"probe": verdict.details, "settings": settings._asdict(), "notes": notes}
            line |= {
                "scores": {
                    name: getattr(value, "settings", None) for name, value in verdict.values.items()
                }
            }
            line |= {"seconds": {part: round(value, 3) for part, value in verdict.seconds.items()}}
            line |= {"spectrum": [float(f"{value:.6g}") for value in verdict.spectrum]}
            file.write(json.dumps(line) + "\n")


def read_verdicts(folder: Path, settings: Settings) -> list[Verdict]:
    """What eval.jsonl has at equal settings, the latest of each step."""
    wanted, found = json.loads(json.dumps(settings._asdict())), {}
    for line in read_lines(folder / "eval.jsonl"):
        if line["settings"] == wanted:
            values = {
                name: math.nan if value is None else value
                for name, value in line.items()
                if name not in ABOUT
            }
            found[line["step"]] = Verdict(
                line["step"], values, np.asarray(line["spectrum"]), line["probe"], line["seconds"]
            )
    return list(found.values())


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a JSON file, without one that was cut short by a kill; none where there is no
    file.
    """
    found = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _judge_all(subject: Subject, steps: list[int], settings: Settings) -> list[Verdict]:
    verdicts = []
    for step in steps:
        try:
            model = subject.checkpoints.restore_model(step, subject.like)
        except ValueError as error:
            print(f"warning: {error}; left out")
            continue
        verdicts.append(judge(step, model, subject.extractor, subject.data, settings))
        print(f"judged step {step}", flush=True)
    return verdicts


def _report(
    folder: Path, verdicts: list[Verdict], pixels: dict[str, float], notes: list[str]
) -> str:
    """Write eval.md and eval.png; the text for the console."""
    from sslx.evaluation.plot import (
        plot,  # matplotlib is slow to import, and the checkpoints come first
    )

    rows, said = table(verdicts, pixels), selection(verdicts)
    body = "\n".join([f"# {folder.name}", "", rows, "", *(f"- {line}" for line in [*notes, *said])])
    (folder / "eval.md").write_text(body + "\n")
    plot(verdicts, pixels, folder.name, folder / "eval.png")
    return "\n".join(
        ["", rows, "", *notes, "", *said, "", f"written: {folder}/eval.md, eval.png, eval.jsonl"]
    )


def _json(value: Any) -> Any:
    number = float(value)
    return number if math.isfinite(number) else None
