"""Judge the checkpoints of a run, with and without labels; or choose among the checkpoints of many
runs.

  python eval.py --run=runs/digits-diet
  python eval.py --run=runs/digits-diet --checkpoint=last --metrics=lidar,rankme --probe=knn
  python eval.py --run=runs/digits-diet --lidar=500x50 --protocol=lidar
  python eval.py --run=runs/digits-diet --probe_data=mnist5k
  python eval.py --runs='runs/*' --select=lidar --checkpoint=last

Writes a table (eval.md), a picture (eval.png) and the numbers with their settings (eval.jsonl) into
the run's folder."""

import glob
from pathlib import Path

from absl import flags

from sslx import command
from sslx.evaluation.evaluate import (
    DEFAULT,
    LABEL_FREE,
    LIDAR_PROTOCOLS,
    PROBES,
    Settings,
    lidar_protocol,
)
from sslx.evaluation.linear_probe import PROTOCOLS
from sslx.evaluation.records import judged, unjudged
from sslx.evaluation.run import draw_last, judge_run
from sslx.evaluation.selection import check_comparable, check_metric, explain
from sslx.training import parallel
from sslx.training.run_folder import read_config

RUN = flags.DEFINE_string("run", None, "The run's folder, as train.py printed it.")
RUNS = flags.DEFINE_string(
    "runs", None, "Folders of many runs to choose among, as a pattern in quotes: 'runs/*'."
)
SELECT = flags.DEFINE_string(
    "select", "lidar", "With --runs: the metric that picks, such as lidar, rankme/embedding."
)
CHECKPOINT = flags.DEFINE_string("checkpoint", "all", "Which checkpoints: all, last, or a step.")
MISSING = flags.DEFINE_bool(
    "missing", False, "Judge only what has no verdict at these settings; always with --runs."
)
METRICS = flags.DEFINE_list(
    "metrics", list(DEFAULT), f"Label-free metrics: {', '.join(LABEL_FREE)}."
)
PROBE = flags.DEFINE_list(
    "probe", list(PROBES), f"What uses labels: {', '.join(PROBES)}; empty for none."
)
PROBE_DATA = flags.DEFINE_string(
    "probe_data", "", "Another data set to learn and judge the probes on."
)
PIXELS = flags.DEFINE_bool(
    "pixels", True, "Let the probes also see raw pixels, for comparison; never with --runs."
)
PROTOCOL = flags.DEFINE_string(
    "protocol", None, f"Of the linear probe: {', '.join(PROTOCOLS)}. [default: the run's config]"
)
IMAGES = flags.DEFINE_integer("images", None, "Images for RankMe. [default: the run's config]")
LIDAR = flags.DEFINE_string(
    "lidar",
    None,
    f"n x q of LiDAR, such as 1000x50, or a name: {', '.join(LIDAR_PROTOCOLS)}. [default: two "
    "flags below]",
)
LIDAR_IMAGES = flags.DEFINE_integer(
    "lidar_images", None, "n of LiDAR, best above the width. [default: the run's config]"
)
LIDAR_VIEWS = flags.DEFINE_integer("lidar_views", None, "q of LiDAR. [default: the run's config]")
DELTA = flags.DEFINE_float("lidar_delta", 1e-4, "The ridge of LiDAR.")
FEATURES_OF = flags.DEFINE_string(
    "features_of", None, "Which network, as config.method.features_of, if it has any."
)
POOL = flags.DEFINE_string(
    "pool", None, "How a transformer's patches become features, as config.method.pool."
)
PICTURES = flags.DEFINE_bool(
    "pictures", False, "Also draw neighbours, attention, patches and masks, where there are."
)


def main() -> None:
    """Judge the chosen checkpoints of one run or of many, one after the other; of many choose the
    best.
    """
    if (RUN.value is None) == (RUNS.value is None):
        raise ValueError(
            "--run is missing: say which run to judge, for example --run=runs/digits-diet"
            if RUN.value is None
            else "--run and --runs exclude each other: judge one run, or choose among many."
        )
    folders = [Path(RUN.value)] if RUN.value else found(RUNS.value or "")
    settings = {folder: read_settings(folder) for folder in folders}
    if many := RUNS.value is not None:
        check_metric(SELECT.value, METRICS.value)
        check_comparable(unjudged(settings))
    command.cache_compilations()
    mesh = parallel.start()
    for number, folder in enumerate(folders, start=1):
        if many:
            print(f"{folder} ({number} of {len(folders)})", flush=True)
        missing, pixels = MISSING.value or many, PIXELS.value and not many
        said = judge_run(
            folder, settings[folder], CHECKPOINT.value, mesh, missing=missing, pixels=pixels
        )
        if not many:
            print(said)
        if PICTURES.value:
            print(draw_last(folder, settings[folder], mesh))
    if many:
        print(explain(judged(settings, CHECKPOINT.value), SELECT.value))


def found(pattern: str) -> list[Path]:
    """The run folders that the pattern matches, by name; raises ValueError when there are none."""
    folders = [
        Path(path) for path in sorted(glob.glob(pattern)) if (Path(path) / "config.json").exists()
    ]
    if not folders:
        raise ValueError(
            f"--runs={pattern} matches no run folder. Write a pattern in quotes, such as "
            "--runs='runs/*'."
        )
    return folders


def read_settings(folder: Path) -> Settings:
    """The flags, and the run's config where a flag is not given."""
    default = read_config(folder).evaluation
    n, q = (
        lidar_protocol(LIDAR.value) if LIDAR.value else (default.lidar_images, default.lidar_views)
    )
    settings = Settings(
        metrics=tuple(METRICS.value),
        probes=tuple(PROBE.value),
        protocol=PROTOCOL.value or default.protocol,
        images=default.images if IMAGES.value is None else IMAGES.value,
        lidar_images=n if LIDAR_IMAGES.value is None else LIDAR_IMAGES.value,
        lidar_views=q if LIDAR_VIEWS.value is None else LIDAR_VIEWS.value,
        seed=0,
        lidar_delta=DELTA.value,
        probe_data=PROBE_DATA.value,
        features_of=FEATURES_OF.value or "",
        pool=POOL.value or "",
    )
    settings.check()
    return settings


if __name__ == "__main__":
    command.run(main)
