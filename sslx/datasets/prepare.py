"""Write data sets into the data folder, each once; what is half-written is never used."""

import shutil
from pathlib import Path

from sslx.data.disk import alone
from sslx.data.records import INFO, NOTE
from sslx.datasets.archives import locate_all, obtain
from sslx.datasets.counts import Counted
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

    `option` is the flag by which the caller's user chooses `root`. Raises ValueError for archives
    that are missing, damaged or incomplete, and for a folder that cannot be written.
    """
    folder = dataset.folder(root)
    if prepared_counts(dataset, root):
        _complete(dataset, folder)
        return folder
    waiting = f"waiting for another process that prepares {dataset.name} in {root}"
    with alone(root, f".{dataset.name}.lock", option, waiting):
        if prepared_counts(dataset, root):  # the other process has done it
            return folder
        for leftover in folder.parent.glob(f"incomplete.*_{dataset.version}"):  # TFDS's name
            shutil.rmtree(leftover)
        if folder.exists():
            raise ValueError(
                f"{folder} exists and is no prepared data set. Remove it, or choose another "
                f"folder: {option}=FOLDER"
            )
        print(f"preparing {dataset.name} in {root}", flush=True)
        archives = obtain(dataset, root, manual_dir)
        counted = Counted(dataset, dataset.read(archives), allow_incomplete)

        from sslx.datasets.builders import write_records  # here, as TFDS takes a while

        write_records(dataset, root, counted.contents)
        counted.report()
    return folder


def ensure(name: str, root: Path, folder: Path | None) -> None:
    """Prepare a data set below `root` if it is small and at hand; or complete its `folder`."""
    dataset = DATA_SETS.get(name)
    if dataset is None:
        if folder is None:
            check_known(name, root)
    elif folder is not None:
        ours = dataset.folder(root)
        _complete(dataset, ours if (ours / INFO).exists() else folder)
    elif dataset.disk <= SMALL and len(locate_all(dataset, root)) == len(dataset.archives):
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
