"""Published data sets: fetch, verify and write them as records that `sslx.data` reads."""

from typing import Any

from sslx.data.records import NOTE, prepared_folder
from sslx.data.source import data_dir


def prepare_small(config: Any) -> None:
    """Prepare the published data set that `config.data` names, if it is small and at hand.

    At hand are those that a Python package contains, and those whose archives are on this machine.
    One that an earlier version has prepared gets the note of its default splits. Raises ValueError
    for a name that does not exist, and where the data set cannot be prepared.
    """
    if config.name.partition(":")[0] in ("folder", "npz", "array_record"):
        return
    root = data_dir(config)
    folder = prepared_folder(config.name, root)
    if folder is None or not (folder / NOTE).exists():
        from sslx.datasets.prepare import ensure  # here, as the readers take long to import

        ensure(config.name, root, folder)
