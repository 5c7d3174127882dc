"""From `config.data` to uint8 images and labels.

Each kind of source says how many images it has and how one of them is read. What follows is the
same for all: one decoder, one pass that checks every image and takes the hash of all, and a cache.
Nothing is prepared here, and nothing here knows of views, which are made on the device.
"""

from typing import Any

from sslx.data import files, folder, records
from sslx.data.cache import cached
from sslx.data.source import Sources, Splits
from sslx.hints import check_choice


def load(config: Any) -> Sources:
    """Return the splits of `config.data`, decoded.

    Raises ValueError for an unknown, empty or damaged data set, an unreadable image, and images of
    different sizes.
    """
    check_choice("config.data.on_corrupt", config.on_corrupt, ("refuse", "skip"))
    check_choice("config.data.channels", config.channels, (1, 3))
    splits = _splits(config)
    train = cached(splits.train, config)
    probe = cached(splits.probe, config) if splits.probe else train
    return Sources(train, probe, cached(splits.test, config) if splits.test else None)


def _splits(config: Any) -> Splits:
    kind = config.name.partition(":")[0]
    if kind == "folder":
        return folder.splits(config)
    if kind in ("npz", "array_record"):
        return files.splits(config)
    return records.splits(config)
