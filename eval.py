"""Evaluate the checkpoints of a run, with and without labels; or choose among those of many runs.

  python eval.py --run=runs/digits-diet
  python eval.py --run=runs/digits-diet --checkpoint=last --metrics=lidar,rankme --probe=knn
  python eval.py --run=runs/digits-diet --lidar=500x50 --protocol=lidar
  python eval.py --run=runs/digits-diet --probe_data=mnist5k
  python eval.py --runs='runs/*' --select=lidar --checkpoint=last

Writes a table (eval.md), a picture (eval.png) and the numbers with their settings (eval.jsonl) into
the run's folder.
"""

import glob
from pathlib import Path

from absl import flags

from metrics import METRICS
from sslx import command
from sslx.datasets import prepare_small
from sslx.evaluation.linear_probe import PROTOCOLS
from sslx.evaluation.results import Record, bare_record
from sslx.evaluation.run import check_pictures, draw_last, evaluate_run
from sslx.evaluation.selection import check_comparable, check_metric, explain
from sslx.evaluation.settings import LIDAR_PROTOCOLS, PROBES, Settings, parse_lidar
from sslx.training import parallel
from sslx.training.run_folder import read_config

FLAGS = flags.FLAGS
DEFAULTS = Settings()
OF_RUN = ("protocol", "images", "lidar_images", "lidar_views")  # where not given: the run's config
OTHERS = ("lidar_delta", "probe_data", "features_of", "pool")
flags.DEFINE_string("run", None, "The run's folder, as train.py printed it.")
flags.DEFINE_string("runs", None, "Choose among many runs: a pattern in quotes, such as 'runs/*'.")
flags.DEFINE_string("select", "lidar", "With --runs: the metric that picks, as rankme/embedding.")
flags.DEFINE_string("checkpoint", "all", "Which checkpoints: all, last, or a step.")
flags.DEFINE_bool("missing", False, "Only what has no result at these settings, as with --runs.")
flags.DEFINE_list("metrics", list(DEFAULTS.metrics), f"Label-free: {', '.join(METRICS)}.")
flags.DEFINE_list("probe", list(DEFAULTS.probes), f"With labels: {', '.join(PROBES)}; or empty.")
flags.DEFINE_string("probe_data", "", "Another data set to train and test the probes on.")
flags.DEFINE_bool("pixels", True, "Also probe raw pixels, for comparison; never with --runs.")
flags.DEFINE_string("protocol", None, f"Linear probe: {', '.join(PROTOCOLS)}; default: the run's.")
flags.DEFINE_integer("images", None, "Images for RankMe; default: the run's.")
flags.DEFINE_string("lidar", None, f"n x q of LiDAR: 1000x50, or {', '.join(LIDAR_PROTOCOLS)}.")
flags.DEFINE_integer("lidar_images", None, "n of LiDAR, above the width; default: the run's.")
flags.DEFINE_integer("lidar_views", None, "q of LiDAR; default: the run's.")
flags.DEFINE_float("lidar_delta", DEFAULTS.lidar_delta, "The ridge of LiDAR.")
flags.DEFINE_string("features_of", "", "Which network, as config.method.features_of, if any.")
flags.DEFINE_string("pool", "", "How patches become features, as config.method.pool, if any.")
flags.DEFINE_bool("pictures", False, "Also draw neighbours, attention, patches and masks, if any.")


def main() -> None:
    """Evaluate the chosen checkpoints of one run or of many; of many choose the best."""
    many = FLAGS.runs is not None
    if many == (FLAGS.run is not None):
        raise ValueError("Give either --run, as in --run=runs/digits-diet, or --runs='runs/*'.")
    if FLAGS.pictures:
        check_pictures()
    folders = matching_runs(FLAGS.runs) if many else [Path(FLAGS.run)]
    settings = {folder: read_settings(folder) for folder in folders}
    if many:
        check_metric(FLAGS.select, FLAGS.metrics)
        check_comparable([bare_record(folder, settings[folder]) for folder in folders])
    command.cache_compilations()
    mesh = parallel.start()
    options = {"missing": FLAGS.missing or many, "pixels": FLAGS.pixels and not many}
    records: list[Record] = []
    for number, folder in enumerate(folders, start=1):
        if many:
            print(f"{folder} ({number} of {len(folders)})", flush=True)
        data = read_config(folder).data
        prepare_small(data)
        if FLAGS.probe_data:
            data.name = FLAGS.probe_data
            prepare_small(data)
        of_run, text = evaluate_run(folder, settings[folder], FLAGS.checkpoint, mesh, **options)
        records += of_run
        if not many:
            print(text)
        if FLAGS.pictures:
            print(draw_last(folder, settings[folder], mesh))
    if many:
        print(explain(records, FLAGS.select))


def matching_runs(pattern: str) -> list[Path]:
    """Return the run folders that the pattern matches, by name; ValueError when there are none."""
    paths = map(Path, sorted(glob.glob(pattern)))
    folders = [path for path in paths if (path / "config.json").exists()]
    if not folders:
        raise ValueError(f"--runs={pattern} matches no run. Type it in quotes: --runs='runs/*'")
    return folders


def read_settings(folder: Path) -> Settings:
    """Return the flags as settings, with the run's config where a flag is not given."""
    config = read_config(folder).evaluation
    fields = {name: config[name] for name in OF_RUN}
    if FLAGS.lidar:
        fields["lidar_images"], fields["lidar_views"] = parse_lidar(FLAGS.lidar)
    flag_values = {name: FLAGS[name].value for name in (*OF_RUN, *OTHERS)}
    fields |= {name: value for name, value in flag_values.items() if value is not None}
    settings = Settings(tuple(FLAGS.metrics), tuple(FLAGS.probe), **fields)
    settings.check()
    return settings


if __name__ == "__main__":
    command.run(main)
