"""What every reader of images returns: splits before they are decoded, and sources after it."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# An image, encoded or uint8 [H, W, C], or why it cannot be read; and its label, -1 for none.
Content = tuple[bytes | np.ndarray | str, int]


class Split(NamedTuple):
    """A split before it is decoded; `identity` changes whenever its images or labels would."""

    name: str
    identity: str
    size: int  # images, before unreadable ones are left out
    classes: list[str] | None  # None: no labels
    channels: int
    # Images by number; ValueError where more than one file is damaged.
    read: Callable[[Sequence[int]], list[Content]]
    where: Callable[[int], str]  # image i in words: its path, or its place in the data set


class Splits(NamedTuple):
    """The splits that pretraining, the probes' training and the probes' test use."""

    train: Split
    probe: Split | None  # None: the same images as `train`
    test: Split | None  # None: nothing to test on


def named_splits(
    config: Any,
    known: Collection[str],
    open_split: Callable[[str], Split],
    defaults: Mapping[str, str],
    sliced: bool = False,
) -> Splits:
    """Return the splits that `config.data` names, or else `defaults`, from `open_split`.

    Without defaults the split "train" serves pretraining and the probes, and "test" or else
    "validation" or "val" tests them. A name is one of the `known` ones or, where they can be
    `sliced`, an expression such as train[:80%]+test. ValueError for a split that is not there.
    """
    train = config.train_split or defaults.get("train", "train")
    probe = config.probe_split or (not config.train_split and defaults.get("probe")) or train
    usual = next((name for name in ("test", "validation", "val") if name in known), "")
    test = config.test_split or defaults.get("test", usual)
    for field, name in (("train_split", train), ("probe_split", probe), ("test_split", test)):
        for part in filter(None, name.split("+") if sliced else [name]):
            if (part.split("[")[0] if sliced else part) not in known:
                raise ValueError(
                    f"{config.name} has no split {part!r}. Set --config.data.{field} to one of: "
                    f"{', '.join(known)}."
                )
    return Splits(
        open_split(train),
        open_split(probe) if probe != train else None,
        open_split(test) if test else None,
    )


def unlabelled(config: Any, train: Split, reason: str = "no labels") -> Splits:
    """Return the only split of a data set without labels, after a note of what this means."""
    print(f"note: {config.name} has {reason}: kNN and probes are off, all else stays on")
    return Splits(train, None, None)


class Source(NamedTuple):
    """A decoded split: its images, its labels, and what identifies the data.

    `images` is an array that is mapped from a file, or a `Streamed`, which is indexed like one.
    """

    images: Any  # uint8 [n, H, W, C]
    labels: np.ndarray | None  # int32 [n]
    facts: dict[str, Any]  # name, split, count, shape, hash, class names, skipped files


class Sources(NamedTuple):
    """The decoded splits; `probe` is `train` where the probes learn from the same images."""

    train: Source
    probe: Source
    test: Source | None

    def facts(self) -> dict[str, Any]:
        """Return what a run's folder stores about its data, by split."""
        facts = {"train": self.train.facts, "test": self.test.facts if self.test else None}
        return facts if self.probe is self.train else facts | {"probe": self.probe.facts}


def data_dir(config: Any) -> Path:
    """Return the folder of prepared data sets that `config.data` names."""
    folder = config.dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
    return Path(folder).expanduser()


def cache_dir(config: Any) -> Path:
    """Return the folder of decoded images."""
    return Path(config.cache).expanduser() if config.cache else data_dir(config) / "sslx_decoded"
