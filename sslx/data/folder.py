"""A folder of images as a data set: `folder:PATH`.

PATH may hold class sub-folders, or just images (then there are no labels), or folders `train` and
`test` (or `val`, `validation`) of either kind. Which image is number i follows from the names below
PATH alone.
"""

import hashlib
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sslx.data.source import Content, Split, Splits

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
HELD_OUT = 5  # without a test folder, every fifth image of a class

Labelled = list[tuple[Path, str]]  # files with the names of their classes, "" where there are none


def splits(config: Any) -> Splits:
    """Return the splits of `config.data.name`, which is folder:PATH.

    Raises ValueError where there is nothing to read.
    """
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
            print(
                f"note: {root} has no test folder; {len(test)} of its images are held out for kNN "
                "and probes"
            )
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
        print(
            f"note: {config.name} has no class folders, so no labels: kNN and probes are off, all "
            "else stays on"
        )
        return Splits(_split(config, "train", train, None), None, None)
    if unknown := sorted({label for _, label in test or []} - set(classes)):
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
        _split(config, "train", train, known),
        _split(config, "probe", probe, classes) if probe else None,
        _split(config, "test", test, classes) if test else None,
    )


def _labelled(root: Path) -> Labelled:
    """Image files below `root` in the order of their names, each with its class folder's name."""
    paths = []
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        paths += [
            Path(folder, name)
            for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith(".")
        ]
    if not paths:
        raise ValueError(
            f"There are no images in {root}. Files that end in {', '.join(SUFFIXES)} are read."
        )
    # One file system composes an accented letter, another does not: the order must not depend on
    # it.
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


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _hold_out(files: Labelled) -> tuple[Labelled, Labelled]:
    """Every fifth file of each class is for tests, by a hash of its name, which new files keep."""
    if files[0][1] == "":
        return files, []

    def place(file: tuple[Path, str]) -> bytes:
        return hashlib.sha256(_composed(file[0].name).encode()).digest()

    held: set[tuple[Path, str]] = set()
    for label in {label for _, label in files}:
        members = sorted((file for file in files if file[1] == label), key=place)
        held.update(members[: len(members) // HELD_OUT])
    return [file for file in files if file not in held], [file for file in files if file in held]


def _split(config: Any, name: str, files: Labelled, classes: list[str] | None) -> Split:
    paths = [str(path) for path, _ in files]
    stats = []
    for path in paths:
        status = os.stat(path)
        stats.append((os.path.abspath(path), status.st_size, status.st_mtime_ns))
    identity = hashlib.sha256(repr((stats, classes)).encode()).hexdigest()
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

    def where(number: int) -> str:
        return paths[number]

    return Split(
        f"{config.name}/{name}", identity, len(files), classes, config.channels, read, where
    )
