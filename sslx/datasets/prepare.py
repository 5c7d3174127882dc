"""Fetch, verify and write data sets into the data folder, each once: python -m
sslx.datasets.prepare NAME.

With --list it shows the names. What is half-written is never used: the same command, typed again,
begins the writing anew, and goes on with a download.
"""

import argparse
import contextlib
import errno
import fcntl
import importlib.util
import io
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from sslx.datasets.archives import obtain
from sslx.datasets.counts import Histogram, check, counted, describe
from sslx.datasets.dataset import DataSet
from sslx.datasets.official import DATA_SETS, nearest, prepared_counts, table

# Runs in a process of its own, for TensorFlow would take the GPU's memory. Its last line of output
# is the error.
WITH_TENSORFLOW = """
import sys
try:
    import tensorflow_datasets as tfds
    name, root, manual_dir = sys.argv[1:]
    builder = tfds.builder(name, data_dir=root, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir=manual_dir or None))
except BaseException as error:
    print(" ".join(f"{type(error).__name__}: {error}".split()))
    sys.exit(1)
"""
# Errors of the file system for which another data folder is the way out.
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def prepare(
    dataset: DataSet, root: Path, manual_dir: Path | None = None, allow_incomplete: bool = False
) -> Path:
    """The folder below `root` with the data set as array_record, which is written now if it is not
    there.

    Raises ValueError, which says what to do, for archives that are missing, damaged or incomplete,
    and for a folder that cannot be written.
    """
    folder = root / dataset.name / dataset.version
    if prepared_counts(dataset, root):
        return folder
    with _explained(root):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root, dataset.name):
            if not prepared_counts(dataset, root):  # another process may have done it meanwhile
                _write(dataset, root, manual_dir, allow_incomplete)
    return folder


def main(arguments: list[str]) -> int:
    """Run the command and return its exit status: 0 done, 2 a mistake that the message explains,
    130 interrupted.
    """
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


def _write(dataset: DataSet, root: Path, manual_dir: Path | None, allow_incomplete: bool) -> None:
    for leftover in (root / dataset.name).glob(
        f"incomplete.*_{dataset.version}"
    ):  # TFDS's name for it
        shutil.rmtree(leftover)
    if (folder := root / dataset.name / dataset.version).exists():
        raise ValueError(
            f"{folder} is there and is no prepared data set. Remove it, or choose --data_dir=FOLDER"
        )
    print(f"preparing {dataset.name} in {root}", flush=True)
    archives = obtain(dataset, root, manual_dir)
    histograms: dict[str, Histogram] = {}
    contents = counted(dataset, dataset.read(archives), histograms, allow_incomplete)

    import tensorflow_datasets as tfds  # here, for it takes a while

    from sslx.datasets.builders import records_builder

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        records_builder(dataset, root, contents).download_and_prepare()
    for split, histogram in histograms.items():
        print(describe(split, histogram))


@contextlib.contextmanager
def _locked(root: Path, name: str) -> Iterator[None]:
    """Only one process at a time; the system opens the lock of a process that dies."""
    with (root / f".{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process that prepares {name} in {root}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Turns what the file system says of the data folder into a ValueError that says what to do."""
    try:
        yield
    except RuntimeError as error:
        if "write() failed" not in str(
            error
        ):  # this is how array_record passes on what the system says
            raise
        raise ValueError(
            f"{root} cannot be written ({str(error).split(';')[0]}). {_place(full=True)}"
        ) from error
    except OSError as error:
        path = (
            Path(str(error.filename)) if error.filename else root
        )  # it may be an archive that cannot be read
        if error.errno not in UNWRITABLE + FULL or not (
            path.is_relative_to(root) or root.is_relative_to(path)
        ):
            raise
        raise ValueError(
            f"{root} cannot be written ({error.strerror}). {_place(error.errno in FULL)}"
        ) from error


def _place(full: bool) -> str:
    return (
        "Make room, or choose another place" if full else "Choose a folder of yours"
    ) + " with --data_dir=FOLDER"


def _run(options: argparse.Namespace) -> None:
    root = Path(
        options.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()
    manual_dir = Path(options.manual_dir).expanduser() if options.manual_dir else None
    if options.list:
        print(table(root), flush=True)
        return
    foreign = [name for name in options.names if name not in DATA_SETS]
    if foreign:
        _expect_tensorflow(foreign, options.check)
    for name in options.names:
        if name in foreign:
            _prepare_with_tensorflow(name, root, manual_dir)
            continue
        dataset = DATA_SETS[name]
        if options.check:
            histograms = check(dataset, root)
            print("\n".join(describe(split, histogram) for split, histogram in histograms.items()))
        else:
            prepare(dataset, root, manual_dir, options.allow_incomplete)
        print(_prepared(dataset, root))


def _prepared(dataset: DataSet, root: Path) -> str:
    folder, counts = root / dataset.name / dataset.version, prepared_counts(dataset, root)
    splits = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    lacks = (
        ""
        if counts == dataset.sizes
        else "; not all there is: remove the folder to prepare it anew"
    )
    return f"{dataset.name} is prepared in {folder}: {splits}{lacks}"


def _expect_tensorflow(names: list[str], check: bool) -> None:
    """Raise ValueError for names that TFDS does not know, and where its builders cannot do what is
    asked.
    """
    import tensorflow_datasets as tfds

    catalogue = tfds.list_builders(with_community_datasets=False)
    for name in names:
        if name.split("/")[0].split(":")[0] not in catalogue:
            near = nearest(name, catalogue)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ValueError(
                f"There is no data set {name!r}.{hint} All: python -m sslx.datasets.prepare --list"
            )
    if check:
        raise ValueError(
            f"The counts of {names[0]} are not known: --check takes the names that --list shows."
        )
    if importlib.util.find_spec("tensorflow") is None:
        raise ValueError(
            f"{names[0]} is written by TFDS's own builder, which needs TensorFlow (training does "
            "not): "
            "pip install tensorflow-cpu"
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
        raise ValueError(f"TFDS could not prepare {name}. It says: {reason}")
    print(f"{name} is prepared in {root / name}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}. See python -m sslx.datasets.prepare --help")


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = _Parser(
        "python -m sslx.datasets.prepare", description=str(__doc__), allow_abbrev=False
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="a name of --list, or of TFDS's catalogue"
    )
    parser.add_argument(
        "--manual_dir", metavar="FOLDER", help="where archives lie that were fetched by hand"
    )
    parser.add_argument(
        "--data_dir", metavar="FOLDER", help="$TFDS_DATA_DIR or ~/tensorflow_datasets"
    )
    parser.add_argument(
        "--list", action="store_true", help="show all data sets and what is prepared"
    )
    parser.add_argument("--check", action="store_true", help="read what is prepared, and count it")
    parser.add_argument(
        "--allow_incomplete", action="store_true", help="prepare what there is of the images"
    )
    options = parser.parse_args(arguments)
    if not options.names and not options.list:
        parser.error("say which data set")
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
