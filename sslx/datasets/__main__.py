"""Fetch, verify and write data sets into the data folder, each once: python -m sslx.datasets NAME.

With --list it shows the names. What is half-written is never used: the same command, typed again,
begins the writing anew, and goes on with a download.
"""

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from sslx.data.source import data_dir
from sslx.datasets.counts import check
from sslx.datasets.official import DATA_SETS, check_known, prepared_counts, table
from sslx.datasets.prepare import prepare

# Runs in a process of its own, as TensorFlow would take the GPU's memory. Its last line of output
# is the error.
WITH_TENSORFLOW = """
import sys
try:
    import tensorflow_datasets as tfds
    name, root, manual_dir = sys.argv[1:]
    builder = tfds.builder(name, data_dir=root, file_format="array_record")
    downloads = tfds.download.DownloadConfig(manual_dir=manual_dir or None)
    builder.download_and_prepare(download_config=downloads)
except BaseException as error:
    print(" ".join(f"{type(error).__name__}: {error}".split()))
    sys.exit(1)
"""


def main(arguments: list[str]) -> int:
    """Run the command; return 0 if done, 2 for an explained mistake, 130 if interrupted."""
    try:
        _run(_parse(arguments))
    except KeyboardInterrupt:
        print(
            "interrupted: the same command begins the writing anew, and goes on with a download",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:  # as of --list | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ValueError, OSError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


def _run(options: argparse.Namespace) -> None:
    root = data_dir(options)
    manual_dir = Path(options.manual_dir).expanduser() if options.manual_dir else None
    if options.list:
        print(table(root), flush=True)
        return
    if foreign := [name for name in options.names if name not in DATA_SETS]:
        _expect_tensorflow(foreign, root, options.check)
    for name in options.names:
        if name in foreign:
            _prepare_with_tensorflow(name, root, manual_dir)
            continue
        dataset = DATA_SETS[name]
        if options.check:
            check(dataset, root)
        else:
            prepare(dataset, root, manual_dir, options.allow_incomplete)
        counts = prepared_counts(dataset, root)
        splits = ", ".join(f"{split} {count:,}" for split, count in counts.items())
        missing = "; images are missing: remove the folder to prepare it anew"
        print(
            f"{name} is prepared in {dataset.folder(root)}: {splits}"
            + (missing if counts != dataset.sizes else "")
        )


def _expect_tensorflow(names: list[str], root: Path, checks: bool) -> None:
    """ValueError for names that TFDS does not know, and where its builders cannot do the work."""
    for name in names:
        check_known(name, root)
    if checks:
        raise ValueError(
            f"The counts of {names[0]} are not known: --check takes the names that --list shows."
        )
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{names[0]} is written by TFDS's own builder, which needs TensorFlow (training does "
            "not): pip install tensorflow-cpu"
        )


def _prepare_with_tensorflow(name: str, root: Path, manual_dir: Path | None) -> None:
    print(f"preparing {name} with TensorFlow in {root}", flush=True)
    child = subprocess.run(
        [sys.executable, "-c", WITH_TENSORFLOW, name, str(root), str(manual_dir or "")],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdout=subprocess.PIPE,
        text=True,
    )
    if child.returncode:
        reason = (child.stdout.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        raise ValueError(f"TFDS could not prepare {name}: {reason}")
    print(f"{name} is prepared in {root / name}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. See python -m sslx.datasets --help")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser("python -m sslx.datasets", description=str(__doc__), allow_abbrev=False)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="a name of --list, or of TFDS's catalogue")
    add("--manual_dir", metavar="FOLDER", help="where archives lie that were fetched by hand")
    default = "$TFDS_DATA_DIR or ~/tensorflow_datasets"
    add("--data_dir", metavar="FOLDER", dest="dir", help=f"where to write; else {default}")
    add("--list", action="store_true", help="show all data sets and what is prepared")
    add("--check", action="store_true", help="read what is prepared, and count it")
    add("--allow_incomplete", action="store_true", help="prepare the images that there are")
    options = parser.parse_args(arguments)
    if not options.names and not options.list:
        parser.error("say which data set")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
