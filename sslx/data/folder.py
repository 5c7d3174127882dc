"""A folder of images as a data set: `folder:PATH`.

PATH may hold class sub-folders, or just images (then there are no labels), or folders `train` and
`test` (or `val`, `validation`) of either kind. Which image is number i follows from the names below
PATH alone.
"""

import functools
import hashlib
import itertools
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx.data.source import Content, Split, Splits, unlabelled

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
HELD_OUT = 5  # without a test folder, every fifth image of a class

Labelled = list[tuple[Path, str]]  # files with the names of their classes, "" where there are none

# One file system composes an accented letter, another does not: the order must not depend on it.
_composed = functools.partial(unicodedata.normalize, "NFC")


def splits(config: Any) -> Splits:
    """Return the splits of `config.data.name`, folder:PATH; ValueError if there are no images."""
    root = Path(config.name.removeprefix("folder:")).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"There is no folder {root}. Give a folder of images: --config.data.name=folder:PATH"
        )
    train_root = root / (config.train_split or "train")
    if train_root.is_dir():
        train = _labelled(train_root)
        names = [config.test_split] if config.test_split else ["test", "val", "validation"]
        test = next((_labelled(root / name) for name in names if (root / name).is_dir()), None)
    else:
        train, test = _hold_out(_labelled(root))
        if test:
            held = f"{len(test)} of its images are held out for kNN and probes"
            print(f"note: {root} has no test folder; {held}")
    for field, name in (("probe_split", config.probe_split), ("test_split", config.test_split)):
        if name and not (root / name).is_dir():
            raise ValueError(
                f"There is no folder {root / name}, which --config.data.{field}={name} names."
            )
    probe = _labelled(root / config.probe_split) if config.probe_split else None
    return _named(config, train, probe, test)


def _named(config: Any, train: Labelled, probe: Labelled | None, test: Labelled | None) -> Splits:
    """The splits, with labels where the images that the probes learn from have class folders."""
    classes = sorted({label for _, label in probe or train})
    if classes == [""]:
        split = _split(config, "train", train, None)
        return unlabelled(config, split, "no class folders, so no labels")
    if unknown := sorted({label for _, label in test or []} - set(classes)):
        lacking = f"the class folder {unknown[0]!r}, which the training images lack"
        raise ValueError(f"The test images have {lacking}.")
    for name, other in itertools.pairwise(sorted(classes, key=str.casefold)):
        if name.casefold() == other.casefold():
            twins = f"The class folders {name!r} and {other!r}"
            raise ValueError(f"{twins} differ only in case. Merge or rename one.")
    known = {label for _, label in train} <= set(classes)
    return Splits(
        _split(config, "train", train, classes if known else None),
        _split(config, "probe", probe, classes) if probe else None,
        _split(config, "test", test, classes) if test else None,
    )


def _labelled(root: Path) -> Labelled:
    """Image files below `root` in the order of their names, each with its class folder's name."""
    paths: list[Path] = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        visible = [name for name in names if not name.startswith(".")]
        paths += [Path(folder, name) for name in visible if name.lower().endswith(SUFFIXES)]
    if not paths:
        raise ValueError(
            f"There are no images in {root}. Files that end in {', '.join(SUFFIXES)} are read."
        )
    named = sorted(
        ([_composed(part) for part in path.relative_to(root).parts], path) for path in paths
    )
    files = [(path, parts[0] if len(parts) > 1 else "") for parts, path in named]
    loose = [path for path, label in files if not label]
    if loose and len(loose) < len(files):
        raise ValueError(
            f"{root} has class folders and also loose images, such as {loose[0].name}. Move them "
            "into a class folder."
        )
    return files


def _hold_out(files: Labelled) -> tuple[Labelled, Labelled]:
    """Every fifth file of each class is for tests, by a hash of its name, which new files keep."""
    if files[0][1] == "":
        return files, []

    def place(path: Path) -> bytes:
        return hashlib.sha256(_composed(path.name).encode()).digest()

    held: set[Path] = set()
    for label in {label for _, label in files}:
        members = sorted((path for path, own in files if own == label), key=place)
        held.update(members[: len(members) // HELD_OUT])
    kept = [file for file in files if file[0] not in held]
    return kept, [file for file in files if file[0] in held]


def _split(config: Any, name: str, files: Labelled, classes: list[str] | None) -> Split:
    paths = [str(path) for path, _ in files]
    statuses = [(os.path.abspath(path), os.stat(path)) for path in paths]
    stats = [(path, status.st_size, status.st_mtime_ns) for path, status in statuses]
    identity = hashlib.sha256(repr((stats, classes)).encode()).hexdigest()
    numbers = {label: number for number, label in enumerate(classes or [])}
    labels = [numbers.get(label, -1) for _, label in files]

    def content(path: str) -> bytes | str:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            return str(error)

    def read(chosen: Sequence[int]) -> list[Content]:
        return [(content(paths[number]), labels[number]) for number in chosen]

    name, channels = f"{config.name}/{name}", config.channels
    return Split(name, identity, len(files), classes, channels, read, where=paths.__getitem__)
