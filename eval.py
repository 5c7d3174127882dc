"""Judge the checkpoints of a run, with and without labels.

  python eval.py --run=runs/digits-diet
  python eval.py --run=runs/digits-diet --checkpoint=last --metrics=lidar,rankme --probe=knn
  python eval.py --run=runs/digits-diet --protocol=lidar --lidar_images=500 --lidar_views=50

Writes a table (eval.md), a picture (eval.png) and the numbers with their settings (eval.jsonl) into the run's folder.
"""

import json
from pathlib import Path

import jax
from absl import flags

from sslx import command
from sslx.data import sources
from sslx.evaluation.features import Extractor
from sslx.evaluation.judge import (
    DEFAULT,
    LABEL_FREE,
    PROBES,
    Settings,
    Verdict,
    describe,
    has_labels,
    judge,
    judge_pixels,
)
from sslx.evaluation.linear_probe import PROTOCOLS
from sslx.evaluation.report import selection, table
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.method import load_method
from sslx.training.run_folder import choose_features, read_config
from sslx.training.state import model_of

RUN = flags.DEFINE_string("run", None, "The run's folder, as train.py printed it.")
CHECKPOINT = flags.DEFINE_string("checkpoint", "all", "Which checkpoints: all, last, or a step.")
METRICS = flags.DEFINE_list("metrics", list(DEFAULT), f"Label-free metrics: {', '.join(LABEL_FREE)}.")
PROBE = flags.DEFINE_list("probe", list(PROBES), f"What uses labels: {', '.join(PROBES)}; empty for none.")
PROTOCOL = flags.DEFINE_string(
    "protocol", None, f"Of the linear probe: {', '.join(PROTOCOLS)}. [default: the run's config]"
)
IMAGES = flags.DEFINE_integer("images", None, "Images for RankMe. [default: the run's config]")
LIDAR_IMAGES = flags.DEFINE_integer(
    "lidar_images", None, "n of LiDAR, best above the width. [default: the run's config]"
)
FEATURES_OF = flags.DEFINE_string("features_of", None, "Which network, as config.method.features_of, if it has any.")
POOL = flags.DEFINE_string("pool", None, "How a transformer's patches become features, as config.method.pool.")
PICTURES = flags.DEFINE_bool("pictures", False, "Also draw neighbours, attention, patches and masks, where there are.")
LIDAR_VIEWS = flags.DEFINE_integer("lidar_views", None, "q of LiDAR. [default: the run's config]")


def main() -> None:
    """Judge the chosen checkpoints one after the other."""
    if RUN.value is None:
        raise ValueError("--run is missing: say which run to judge, for example --run=runs/digits-diet")
    folder = Path(RUN.value)
    config = read_config(folder)
    of = choose_features(config, features_of=FEATURES_OF.value, pool=POOL.value)
    command.cache_compilations()
    settings = read_settings(config)
    settings.check()
    mesh = parallel.start()
    data = sources.load(config.data)
    train = data.train
    if not has_labels(data):
        print("note: no labels or no test split, so no kNN and no linear probe")
    method = load_method(config, len(train.images))
    size = method.views.crops[0].size
    shapes = jax.eval_shape(lambda: method.init(jax.random.key(0), (1, size, size, train.images.shape[-1])))
    like = parallel.replicated_like(model_of(*shapes), mesh)
    verdicts = []
    with jax.set_mesh(mesh):
        checkpoints = Checkpoints(folder / "checkpoints")
        extractor = Extractor(method, mesh, config.evaluation.batch_size)
        pixels = judge_pixels(data, settings)
        for step in chosen(checkpoints.steps(), folder):
            try:
                model = checkpoints.restore_model(step, like)
            except ValueError as error:
                print(f"warning: {error}; left out")
                continue
            verdicts.append(judge(step, model, extractor, data, settings))
            print(f"judged step {step}", flush=True)
        if not verdicts:
            raise ValueError(f"No checkpoint of {folder} can be read.")
        report(folder, verdicts, pixels, settings, describe(settings, data) + of)
        if PICTURES.value:
            from sslx.evaluation.pictures import draw_pictures

            paths = draw_pictures(method, model, extractor, train, data.test, verdicts[-1].step, folder)
            print(f"drawn of step {verdicts[-1].step}: {', '.join(map(str, paths))}")


def read_settings(config) -> Settings:
    """The flags, and the run's config where a flag is not given."""
    default = config.evaluation
    return Settings(
        metrics=tuple(METRICS.value),
        probes=tuple(PROBE.value),
        protocol=PROTOCOL.value or default.protocol,
        images=default.images if IMAGES.value is None else IMAGES.value,
        lidar_images=default.lidar_images if LIDAR_IMAGES.value is None else LIDAR_IMAGES.value,
        lidar_views=default.lidar_views if LIDAR_VIEWS.value is None else LIDAR_VIEWS.value,
        seed=0,
    )


def chosen(steps: list[int], folder: Path) -> list[int]:
    """The steps that --checkpoint means; raises ValueError when there are none."""
    if not steps:
        raise ValueError(
            f"{folder} has no checkpoint yet. Train first, with the command in {folder}/environment.jsonl."
        )
    if CHECKPOINT.value in ("all", "last"):
        return steps if CHECKPOINT.value == "all" else steps[-1:]
    if not CHECKPOINT.value.isdigit() or int(CHECKPOINT.value) not in steps:
        raise ValueError(
            f"--checkpoint is {CHECKPOINT.value!r}; it takes all, last, or one of {', '.join(map(str, steps))}."
        )
    return [int(CHECKPOINT.value)]


def report(
    folder: Path, verdicts: list[Verdict], pixels: dict[str, float], settings: Settings, notes: list[str]
) -> None:
    """Print the table and write the three files."""
    from sslx.evaluation.plot import plot  # matplotlib is slow to import, and the checkpoints come first

    rows, lines = table(verdicts, pixels), selection(verdicts)
    print("\n".join(["", rows, "", *notes, "", *lines]))
    body = "\n".join([f"# {folder.name}", "", rows, "", *(f"- {line}" for line in [*notes, *lines])])
    (folder / "eval.md").write_text(body + "\n")
    with (folder / "eval.jsonl").open("a") as file:
        for verdict in verdicts:
            line = (
                {"step": verdict.step}
                | verdict.values
                | {"probe": verdict.details, "settings": settings._asdict(), "notes": notes}
                | {"scores": {name: getattr(value, "settings", None) for name, value in verdict.values.items()}}
            )
            file.write(json.dumps(line) + "\n")
    plot(verdicts, pixels, folder.name, folder / "eval.png")
    print(f"\nwritten: {folder}/eval.md, eval.png, eval.jsonl")


if __name__ == "__main__":
    command.run(main)
