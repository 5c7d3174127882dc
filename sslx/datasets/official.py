"""The data sets that can be prepared by name: those of `sets/sets.toml`."""

import functools
import importlib
import json
import re
import textwrap
import tomllib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from sslx import hints
from sslx.data.progress import amount
from sslx.data.records import INFO, prepared_names
from sslx.datasets.archives import instructions
from sslx.datasets.dataset import Archive, DataSet

COLUMNS = 160
LICENCE = 29  # characters of it that the table has room for
HEADER = "name, pretrains on, probes on, tests on, classes, pixels, archives, prepared, licence"
FACTS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("sets").joinpath("sets.toml").read_text()
)


def _data_sets() -> Iterator[DataSet]:
    for name, own in FACTS.items():
        facts = FACTS.get(own.get("like", ""), {}) | own
        module, _, function = facts["read"].partition(".")
        facts["read"] = getattr(importlib.import_module(f"sslx.datasets.sets.{module}"), function)
        if "names" in facts:
            facts["read"] = functools.partial(facts["read"], names=tuple(facts["names"]))
        if "shape" in facts:
            facts["shape"] = tuple(facts["shape"])
        facts["archives"] = tuple(
            Archive(**archive | {"digests": tuple(archive["digests"])})
            for archive in facts.get("archives", [])
        )
        for field in ("like", "names", "aliases"):
            facts.pop(field, None)
        yield DataSet(name=name, **facts)


DATA_SETS = {dataset.name: dataset for dataset in _data_sets()}


def check_known(name: str, root: Path) -> None:
    """Raise ValueError, with the nearest name, also of those in `root`, for an unknown name."""
    import tensorflow_datasets as tfds  # here, as it takes a while

    catalogue = tfds.list_builders(with_community_datasets=False)
    if re.split("[/:]", name)[0] in (*catalogue, *DATA_SETS):
        return
    meant = nearest(name, {*catalogue, *prepared_names(root)})
    hint = f" Did you mean {meant!r}?" if meant else ""
    raise ValueError(
        f"There is no data set {name!r}.{hint} All names: python -m sslx.datasets --list. "
        "Your own images: --config.data.name=folder:PATH"
    )


def nearest(name: str, others: Collection[str] = ()) -> str:
    """Return the most similar name of `DATA_SETS` or `others`, or ""; case does not count."""
    names = {_letters(known): known for known in (*others, *DATA_SETS)}
    for known, facts in FACTS.items():
        names |= dict.fromkeys(facts.get("aliases", []), known)
    letters = _letters(name)
    if letters not in names:
        containing = [known for known in names if len(letters) > 2 and letters in known]
        letters = min(containing, key=len, default="") or hints.nearest(letters, names)
    return names.get(letters, "")


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def prepared_counts(dataset: DataSet, root: Path) -> dict[str, int]:
    """Return the images by split of what is prepared in `root`; empty if nothing is."""
    info = dataset.folder(root) / INFO
    if not info.exists():
        return {}
    splits = json.loads(info.read_text())["splits"]
    return {split["name"]: sum(map(int, split["shardLengths"])) for split in splits}


def table(root: Path) -> str:
    """Return all data sets, their sources and what must be fetched by hand, in 160 columns."""
    rows = [HEADER.split(", "), *(_row(dataset, root) for dataset in DATA_SETS.values())]
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


def _row(dataset: DataSet, root: Path) -> list[str]:
    train, probe, test = (
        f"{split} {images_in(split, dataset.sizes):,}"
        for split in (dataset.train, dataset.probe, dataset.test)
    )
    height, width, _ = dataset.shape
    size = sum(archive.size for archive in dataset.archives)
    archives = amount(size) if size else "automatic" if dataset.archives else "none"
    counts = prepared_counts(dataset, root)
    return [
        dataset.name,
        train,
        "the same" if probe == train else probe,
        test,
        f"{dataset.classes:,}",
        f"{height}x{width}" if height and width else "differ",
        archives if all(archive.url for archive in dataset.archives) else f"{archives} by hand",
        "yes" if counts == dataset.sizes else "in part" if counts else "no",
        textwrap.shorten(re.split("[;,]", dataset.licence)[0], LICENCE, placeholder=" ..."),
    ]


def images_in(expression: str, sizes: dict[str, int]) -> int:
    """Return how many images a TFDS split expression holds, such as train[:80%]+validation."""
    total = 0
    for part in expression.split("+"):
        split, _, bounds = part.rstrip("]").partition("[")
        begin, _, end = bounds.partition(":")
        size = sizes[split]
        total += len(range(size)[_place(begin, size) : _place(end, size)])
    return total


def _place(bound: str, size: int) -> int | None:
    if bound.endswith("%"):
        return round(size * int(bound[:-1]) / 100)
    return int(bound) if bound else None
