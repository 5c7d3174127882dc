"""A folder of images as a data set: `folder:PATH`.

PATH may hold class sub-folders, or just images (then there are no labels), or folders `train` and
`test` (or `val`, `validation`) of either kind. Which image is number i follows from the names below
PATH alone."""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx.data.sources import Content, Split, Splits

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
HELD_OUT = 5  # without a test folder, every fifth image of a class

Labelled = list[tuple[Path, str]]  # files with the names of their classes, "" where there are none


def splits(config: Any) -> Splits:
    """The splits of `config.data.name`, which is folder:PATH; ValueError where there is nothing to
    read.
    """
    root = Path(config.name.removeprefix("folder:")).expanduser()
    if not root.is_dir():
        raise ValueError(
            f"There is no folder {root}. Give a folder of images: --config.data.name=folder:PATH"
        )
    train_root, probe, test = root / (config.train_split or "train"), None, None
    if train_root.is_dir():
        train = _labelled(train_root)
        names = [config.test_split] if config.test_split else ["test", "val", "validation"]
        test = next((_labelled(root / name) for name in names if (root / name).is_dir()), None)
    else:
        train, test = _hold_out(_labelled(root))
        if test:
            print(
                f"note: {root} has no test folder; {len(test)} of its images are held out for kNN "
                "and probes"
            )
    for field, name in (("probe_split", config.probe_split), ("test_split", config.test_split)):
        if name and not (root / name).is_dir():
            raise ValueError(
                f"There is no folder {root / name}, which --config.data.{field}={name} names."
            )
    if config.probe_split:
        probe = _labelled(root / config.probe_split)
    return _named(config, train, probe, test)


def _named(config: Any, train: Labelled, probe: Labelled | None, test: Labelled | None) -> Splits:
    """The splits, with labels where what teaches the probes has class folders."""
    classes = sorted({label for _, label in probe or train})
    if classes == [""]:
        print(
            f"note: {config.name} has no class folders, so no labels: kNN and probes are off, all "
            "else stays on"
        )
        return Splits(_split(f"{config.name}/train", train, None, config), None, None)
    if test and (unknown := sorted({label for _, label in test} - set(classes))):
        raise ValueError(
            "The test images have class folders that the training images lack, such as "
            f"{unknown[0]!r}."
        )
    folded: dict[str, str] = {}
    for name in classes:
        if (twin := folded.setdefault(name.casefold(), name)) != name:
            raise ValueError(
                f"The class folders {twin!r} and {name!r} differ only in case. Merge or rename one."
            )
    known = classes if {label for _, label in train} <= set(classes) else None
    return Splits(
        _split(f"{config.name}/train", train, known, config),
        _split(f"{config.name}/probe", probe, classes, config) if probe else None,
        _split(f"{config.name}/test", test, classes, config) if test else None,
    )


def _labelled(root: Path) -> Labelled:
    """Image files below `root`, in the order of their names, each with its class folder (""
    directly in root).
    """
    found = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not found:
        raise ValueError(
            f"There are no images in {root}. Files that end in {', '.join(SUFFIXES)} are read."
        )
    # One file system composes an accented letter, another does not: the order must not depend on
    # it.
    named = sorted(
        ([unicodedata.normalize("NFC", part) for part in path.relative_to(root).parts], path)
        for path in found
    )
    files = [(path, parts[0] if len(parts) > 1 else "") for parts, path in named]
    if len({label for _, label in files}) > 1 and (
        loose := [path for path, label in files if not label]
    ):
        raise ValueError(
            f"{root} has class folders and also loose images, such as {loose[0].name}. Move them "
            "into a class folder."
        )
    return files


def _hold_out(files: Labelled) -> tuple[Labelled, Labelled]:
    """Every fifth file of each class as test images, chosen by a hash of its name so that new files
    change little.
    """
    if files[0][1] == "":
        return files, []
    held: set[tuple[Path, str]] = set()
    for label in {label for _, label in files}:
        members = sorted(
            (file for file in files if file[1] == label),
            key=lambda file: hashlib.sha256(
                unicodedata.normalize("NFC", file[0].name).encode()
            ).digest(),
        )
        held.update(members[: len(members) // HELD_OUT])
    return [file for file in files if file not in held], [file for file in files if file in held]


def _split(name: str, files: Labelled, classes: list[str] | None, config: Any) -> Split:
    stats = [
        (os.path.abspath(path), status.st_size, status.st_mtime_ns)
        for path, _ in files
        for status in [path.stat()]
    ]
    identity = hashlib.sha256(repr((stats, classes)).encode()).hexdigest()
    paths = [str(path) for path, _ in files]
    numbers = {label: number for number, label in enumerate(classes or [])}
    labels = [numbers.get(label, -1) for _, label in files]

    def content(path: str) -> bytes | str:
        try:
            with open(path, "rb") as file:
                return file.read()
        except OSError as error:
            return str(error)

    def read(chosen: Sequence[int]) -> list[Content]:
        return [(content(paths[number]), labels[number]) for number in chosen]

    return Split(
        name, identity, len(files), classes, config.channels, read, lambda number: paths[number]
    )
