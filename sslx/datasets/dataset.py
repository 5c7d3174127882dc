"""What is known of a published data set: its archives, how to read them, and what must come out."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

# A name that no other image of the split has (it fixes the image's place in the prepared data), the
# file's own bytes or uint8 [H, W] or [H, W, 3], and the class: its number or its name.
Example = tuple[str | int, bytes | np.ndarray, int | str]


class Archive(NamedTuple):
    """One file as its authors publish it."""

    file: str  # its published name
    url: str = ""  # empty: no direct download (a licence to accept, or a host that is gone)
    size: int = 0  # bytes; 0: not published
    digests: tuple[
        str, ...
    ] = ()  # "sha256:HEX" or "md5:HEX", any one of which suffices; empty: none is published
    installed: str = ""  # a folder where a package of the operating system puts it


class Contents(NamedTuple):
    """What a reader finds in the archives; `splits` begins anew, from the archive, with every call."""

    classes: tuple[str, ...]  # names by number
    splits: dict[str, Callable[[], Iterator[Example]]]


class DataSet(NamedTuple):
    """A data set under its TFDS-style name, with the official figures that the prepared one is held
    against.
    """

    name: str
    title: str  # what it shows, in a few words
    archives: tuple[Archive, ...]
    read: Callable[[Mapping[str, Path]], Contents]  # takes the archives' paths by `Archive.file`
    sizes: dict[str, int]  # images by split, as published
    classes: int
    shape: tuple[
        int | None, int | None, int
    ]  # of an image: height and width (None: they differ) and channels
    train: str  # TFDS split expressions: what pretrains,
    probe: str  # what the probes learn from,
    test: str  # and what they are judged on
    licence: str
    home: str  # a page that describes it
    source: str  # of the figures and the choice of splits
    disk: int  # bytes of the prepared records, about
    version: str = "1.0.0"  # ours, not that of TFDS's builder of the same name
    # a data set that has all of its images: prepared, its folder does in place of the archives
    within: str = ""
