"""From a data set's name to uint8 images and labels.

Each kind of source says how many images it has and how one of them is read; what follows is the
same for all: one decoder, one pass that checks and fingerprints every image, and a cache. Nothing
here knows of views: those are made on the device.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Source(NamedTuple):
    """One split: images uint8 [n, H, W, C], labels int32 [n] or None, and what identifies the data.

    `images` is an array, mapped from a file, or a `Streamed`, which is indexed like one and decodes
    what is asked for."""

    images: Any
    labels: np.ndarray | None
    facts: dict[str, Any]  # name, split, count, shape, hash, class names, skipped files


# An image as it is kept, encoded or uint8 [H, W, C], or the reason why it cannot be read; and its
# label, -1 for none.
Content = tuple[bytes | np.ndarray | str, int]


class Split(NamedTuple):
    """A split before it is decoded: `identity` changes whenever its images or labels would."""

    name: str
    identity: str
    size: int  # images, before unreadable ones are left out
    classes: list[str] | None  # None: no labels
    channels: int
    read: Callable[
        [Sequence[int]], list[Content]
    ]  # images by number; ValueError where more than one file is damaged
    where: Callable[[int], str]  # image i in words: its path, or its place in the data set


class Splits(NamedTuple):
    """What pretrains, what the probes learn from (None: the same images), and what they are judged
    on.
    """

    train: Split
    probe: Split | None
    test: Split | None


class Sources(NamedTuple):
    """What pretrains, what the probes learn from, and what they are judged on (None where there is
    nothing).
    """

    train: Source
    probe: Source
    test: Source | None

    def facts(self) -> dict[str, Any]:
        """What a run's folder keeps of its data, by split."""
        facts = {"train": self.train.facts, "test": self.test.facts if self.test else None}
        return facts if self.probe is self.train else facts | {"probe": self.probe.facts}


def load(config: Any) -> Sources:
    """The splits of `config.data`.

    Raises ValueError for an unknown, empty or damaged data set, an unreadable image, or images of
    different sizes."""
    if config.on_corrupt not in ("refuse", "skip"):
        raise ValueError(
            f"config.data.on_corrupt is {config.on_corrupt!r}; it takes 'refuse' or 'skip'."
        )
    if config.channels not in (1, 3):
        raise ValueError(
            f"config.data.channels is {config.channels}; it takes 3 for colour or 1 for gray."
        )
    from sslx.data.cache import cached

    splits = _find(config)
    train, probe, test = (split and cached(split, config) for split in splits)
    assert train is not None
    return Sources(train, probe or train, test)


def _find(config: Any) -> Splits:
    # Imported here: a prepared TFDS split must not pay for the folder reader, nor a folder for
    # TFDS.
    kind = config.name.partition(":")[0]
    if kind == "folder":
        from sslx.data.folder import splits
    elif kind in ("npz", "array_record"):
        from sslx.data.files import splits
    else:
        from sslx.data.records import splits
    return splits(config)


def data_dir(config: Any) -> Path:
    """Where TFDS keeps its data sets."""
    return Path(
        config.dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    ).expanduser()


def cache_dir(config: Any) -> Path:
    """Where this library keeps decoded images."""
    return Path(config.cache).expanduser() if config.cache else data_dir(config) / "sslx_decoded"
