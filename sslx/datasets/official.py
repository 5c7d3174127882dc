"""The data sets that can be prepared by name: the constants of the files in `sets`."""

import difflib
import importlib
import json
import pkgutil
import re
import textwrap
from collections.abc import Collection, Iterator
from pathlib import Path

from sslx.data.progress import amount
from sslx.datasets import sets
from sslx.datasets.archives import instructions
from sslx.datasets.dataset import DataSet

COLUMNS = 160
LICENCE = 29  # characters of it that the table has room for
# What people call them; upper case does not count, and neither does what is no letter and no
# figure.
ALIASES = {
    "cub": "caltech_birds2011",
    "cub200": "caltech_birds2011",
    "cub2002011": "caltech_birds2011",
    "flowers": "oxford_flowers102",
    "imagenet": "imagenet2012",
    "imagenet1k": "imagenet2012",
    "in1k": "imagenet2012",
    "in100": "imagenet100",
    "oxfordpets": "oxford_iiit_pet",
    "pets": "oxford_iiit_pet",
    "stanfordcars": "cars196",
    "textures": "dtd",
}


def nearest(name: str, others: Collection[str] = ()) -> str:
    """The name among DATA_SETS and `others` that `name` is most like, or "" if none is."""
    names = {_letters(known): known for known in (*others, *DATA_SETS)} | ALIASES
    given = _letters(name)
    within = [letters for letters in names if len(given) > 2 and given in letters]
    close = (
        [given]
        if given in names
        else sorted(within, key=len) or difflib.get_close_matches(given, names, n=1)
    )
    return names[close[0]] if close else ""


def prepared_counts(dataset: DataSet, root: Path) -> dict[str, int]:
    """Images by split of the data set as it is prepared in the data folder `root`; empty if it is
    not.
    """
    info = root / dataset.name / dataset.version / "dataset_info.json"
    if not info.exists():
        return {}
    splits = json.loads(info.read_text())["splits"]
    return {split["name"]: sum(map(int, split["shardLengths"])) for split in splits}


def table(root: Path) -> str:
    """All data sets, their sources and what must be fetched by hand, as text of at most 160
    columns.
    """
    header = (
        "name",
        "pretrains on",
        "probes on",
        "tests on",
        "classes",
        "pixels",
        "archives",
        "prepared",
        "licence",
    )
    rows = [header, *(_row(dataset, root) for dataset in DATA_SETS.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    homes: dict[str, list[str]] = {}
    for dataset in DATA_SETS.values():
        homes.setdefault(dataset.home, []).append(dataset.name)
    lines += ["", *(f"{', '.join(names)}: {home}" for home, names in homes.items()), ""]
    for dataset in DATA_SETS.values():
        if by_hand := [archive for archive in dataset.archives if not archive.url]:
            lines.append(f"{dataset.name} by hand: {instructions(dataset, root, by_hand)}")
    wrap = textwrap.TextWrapper(
        COLUMNS, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
    return "\n".join(wrap.fill(line) if len(line) > COLUMNS else line for line in lines)


def _row(dataset: DataSet, root: Path) -> tuple[str, ...]:
    train, probe, test = (
        f"{split} {images_in(split, dataset.sizes):,}"
        for split in (dataset.train, dataset.probe, dataset.test)
    )
    height, width, _ = dataset.shape
    size = sum(archive.size for archive in dataset.archives)
    archives = amount(size) if size else "automatic" if dataset.archives else "none"
    counts = prepared_counts(dataset, root)
    return (
        dataset.name,
        train,
        "the same" if probe == train else probe,
        test,
        f"{dataset.classes:,}",
        f"{height}x{width}" if height and width else "differ",
        archives if all(archive.url for archive in dataset.archives) else f"{archives} by hand",
        "yes" if counts == dataset.sizes else "in part" if counts else "no",
        textwrap.shorten(re.split("[;,]", dataset.licence)[0], LICENCE, placeholder=" ..."),
    )


def images_in(expression: str, sizes: dict[str, int]) -> int:
    """How many images a TFDS split expression holds, such as train[:80%]+validation."""

    def place(text: str, size: int) -> int | None:
        return (
            (round(size * int(text[:-1]) / 100) if text.endswith("%") else int(text))
            if text
            else None
        )

    total = 0
    for part in expression.split("+"):
        split, _, bounds = part.rstrip("]").partition("[")
        begin, _, end = bounds.partition(":")
        total += len(range(sizes[split])[place(begin, sizes[split]) : place(end, sizes[split])])
    return total


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def _gather() -> Iterator[DataSet]:
    for file in pkgutil.iter_modules(sets.__path__):
        module = importlib.import_module(f"{sets.__name__}.{file.name}")
        for value in vars(module).values():
            if isinstance(value, DataSet):
                yield value
            elif isinstance(value, tuple):
                yield from (item for item in value if isinstance(item, DataSet))


DATA_SETS = {dataset.name: dataset for dataset in _gather()}
