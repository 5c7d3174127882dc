"""What is known of a published data set: its archives, how to read them, and what must come out."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.data.records import NOTE
from sslx.files import to_json, write_atomically

# A name that no other image of the split has (it fixes the image's place in the prepared data), the
# file's own bytes or uint8 [H, W] or [H, W, 3], and the class: its number or its name.
Example = tuple[str | int, bytes | np.ndarray, int | str]


class Archive(NamedTuple):
    """One file as its authors publish it."""

    file: str  # its published name
    url: str = ""  # empty: no direct download (a licence to accept, or a host that is gone)
    size: int = 0  # bytes; 0: not published
    # "sha256:HEX" or "md5:HEX", any one of which suffices; empty: none is published
    digests: tuple[str, ...] = ()
    installed: str = ""  # a folder where a package of the operating system puts it


class Contents(NamedTuple):
    """What a reader finds in the archives; `splits` begin anew, from the archive, at every call."""

    classes: tuple[str, ...]  # names by number
    splits: Mapping[str, Callable[[], Iterator[Example]]]


class DataSet(NamedTuple):
    """A data set under its TFDS-style name, with its published figures, which are checked."""

    name: str
    title: str  # what it shows, in a few words
    archives: tuple[Archive, ...]
    read: Callable[[Mapping[str, Path]], Contents]  # takes the archives' paths by `Archive.file`
    sizes: dict[str, int]  # images by split, as published
    classes: int
    home: str  # a page that describes it
    source: str  # of the figures and the choice of splits
    disk: int  # bytes of the prepared records, about
    shape: tuple[int | None, int | None, int] = (None, None, 3)  # None: the images differ
    licence: str = "not stated"
    train: str = "train"  # TFDS split expressions: what pretrains,
    probe: str = "train"  # what the probes learn from,
    test: str = "test"  # and what they are tested on
    version: str = "1.0.0"  # ours, not that of TFDS's builder of the same name
    # A data set that has all of its images: prepared, its folder serves in place of the archives.
    within: str = ""

    def folder(self, root: Path) -> Path:
        """Return where its prepared records lie in the data folder `root`."""
        return root / self.name / self.version


def contents(
    classes: Sequence[str], splits: Iterable[str], examples: Callable[[str], Iterator[Example]]
) -> Contents:
    """Return contents whose splits are what `examples` yields for their names."""
    return Contents(tuple(classes), {split: functools.partial(examples, split) for split in splits})


def class_numbers(classes: Sequence[str]) -> dict[int | str, int]:
    """Return the number of a class by its name and by its number itself."""
    numbers: dict[int | str, int] = {name: number for number, name in enumerate(classes)}
    return numbers | {number: number for number in range(len(classes))}


def write_note(dataset: DataSet, folder: Path) -> None:
    """Write the default splits into the prepared folder, where `sslx.data` reads them."""
    names = {"train": dataset.train, "probe": dataset.probe, "test": dataset.test}
    write_atomically(folder / NOTE, to_json(names))
