"""Write data sets into the data folder, each once; what is half-written is never used."""

import contextlib
import fcntl
import io
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from sslx.data.disk import explained
from sslx.data.records import INFO, NOTE
from sslx.datasets.archives import locate_all, obtain
from sslx.datasets.counts import Counted, describe
from sslx.datasets.dataset import DataSet, write_note
from sslx.datasets.official import DATA_SETS, check_known, prepared_counts

SMALL = 100e6  # bytes of records, up to which a data set at hand needs no command of its own


def prepare(
    dataset: DataSet,
    root: Path,
    manual_dir: Path | None = None,
    allow_incomplete: bool = False,
    option: str = "--data_dir",
) -> Path:
    """Return the folder below `root` with the data set as array_record; write it if it is missing.

    `option` is the flag by which the caller's user chooses `root`. Raises ValueError, which says
    what to do, for archives that are missing, damaged or incomplete, and for a folder that cannot
    be written.
    """
    folder = root / dataset.name / dataset.version
    if prepared_counts(dataset, root):
        _complete(dataset, folder)
        return folder
    with explained(root, option):
        root.mkdir(parents=True, exist_ok=True)
        with _locked(root, dataset.name):
            if not prepared_counts(dataset, root):  # another process may have done it meanwhile
                _write(dataset, root, manual_dir, allow_incomplete, option)
    return folder


def ensure(name: str, root: Path, folder: Path | None) -> None:
    """Prepare the data set `name` below `root` if it is small and at hand, or complete `folder`.

    `folder` is where the data set is prepared, by us or by TFDS, or None.
    """
    dataset = DATA_SETS.get(name)
    if dataset is None:
        if folder is None:
            check_known(name, root)
        return
    if folder is not None:
        ours = root / dataset.name / dataset.version
        _complete(dataset, ours if (ours / INFO).exists() else folder)
    elif dataset.disk <= SMALL and (not dataset.archives or locate_all(dataset, root)):
        prepare(dataset, root, option="--config.data.dir")


def _complete(dataset: DataSet, folder: Path) -> None:
    """Add the note of the default splits to a folder that was prepared without one."""
    if (folder / NOTE).exists():
        return
    try:
        write_note(dataset, folder)
    except OSError as error:
        usual = dataset.train == dataset.probe == "train" and "train" not in dataset.test
        if not usual:  # without the note other images would be used
            raise ValueError(
                f"{folder} has no note of the splits of {dataset.name} and cannot be written "
                f"({error.strerror}). Its owner has to type: python -m sslx.datasets {dataset.name}"
            ) from error


def _write(
    dataset: DataSet, root: Path, manual_dir: Path | None, allow_incomplete: bool, option: str
) -> None:
    for leftover in (root / dataset.name).glob(f"incomplete.*_{dataset.version}"):  # TFDS's name
        shutil.rmtree(leftover)
    if (folder := root / dataset.name / dataset.version).exists():
        raise ValueError(
            f"{folder} exists and is no prepared data set. Remove it, or choose another folder: "
            f"{option}=FOLDER"
        )
    print(f"preparing {dataset.name} in {root}", flush=True)
    archives = obtain(dataset, root, manual_dir)
    counted = Counted(dataset, dataset.read(archives), allow_incomplete)

    import tensorflow_datasets as tfds  # here, as it takes a while

    from sslx.datasets.builders import records_builder

    tfds.disable_progress_bar()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        records_builder(dataset, root, counted.contents).download_and_prepare()
    for split, histogram in counted.histograms.items():
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
