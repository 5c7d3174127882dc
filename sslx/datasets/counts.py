"""Whether a data set is whole: its images and classes, held against the official figures."""

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from sslx.data.progress import Progress
from sslx.datasets.dataset import Contents, DataSet, Example

Histogram = list[int]  # images by class number


def counted(
    dataset: DataSet, contents: Contents, histograms: dict[str, Histogram], partial: bool = False
) -> Contents:
    """The same contents with class numbers and without empty images; `histograms` fills as a split
    is read.

    Raises ValueError for other splits than the official ones and, when a split ends, for other
    counts of images and classes; if `partial` is allowed, these are a warning.
    """
    if set(contents.splits) != set(dataset.sizes):
        raise ValueError(
            f"{dataset.name} has the splits {', '.join(contents.splits)}, not "
            f"{', '.join(dataset.sizes)}."
        )
    splits: dict[str, Callable[[], Iterator[Example]]] = {
        split: functools.partial(_count, dataset, contents, split, histograms, partial)
        for split in contents.splits
    }
    return Contents(contents.classes, splits)


def check(dataset: DataSet, root: Path) -> dict[str, Histogram]:
    """Histograms by split of the prepared data set in the data folder `root`, of which every record
    is read.

    Raises ValueError when it is not prepared, when records are damaged and when the counts are not
    the official ones."""
    from sslx.datasets.builders import (  # here, for TFDS takes a while
        records_builder,
        stored_records,
    )

    builder = records_builder(dataset, root)

    def records(split: str) -> Iterator[Example]:
        for number, record in stored_records(builder, split):
            yield (
                record.get("file_name", b"").decode() or number,
                record["image"],
                int(record["label"]),
            )

    stored: dict[str, Callable[[], Iterator[Example]]]
    stored = {split: functools.partial(records, split) for split in builder.info.splits}
    histograms: dict[str, Histogram] = {}
    contents = counted(
        dataset, Contents(tuple(builder.info.features["label"].names), stored), histograms
    )
    try:
        for begin in contents.splits.values():
            for _ in begin():
                pass
    except (OSError, RuntimeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{builder.data_dir} is damaged ({reason}). Remove it, and prepare it again."
        ) from error
    return histograms


def describe(split: str, histogram: Histogram) -> str:
    """One line: images, classes, and how evenly they are filled."""
    low, high = min(histogram), max(histogram)
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{split}: {sum(histogram):,} images, {each} in each of {len(histogram):,} classes"


def _count(
    dataset: DataSet,
    contents: Contents,
    split: str,
    histograms: dict[str, Histogram],
    partial: bool,
) -> Iterator[Example]:
    numbers: dict[int | str, int] = {name: number for number, name in enumerate(contents.classes)}
    numbers |= {number: number for number in range(len(contents.classes))}
    histogram = histograms[split] = [0] * len(contents.classes)
    empty = []
    with Progress(f"{dataset.name}: reading {split}", dataset.sizes[split], "images") as progress:
        for number, (key, image, label) in enumerate(contents.splits[split]()):
            progress.show(number)
            if label not in numbers:
                raise ValueError(
                    f"{dataset.name}: {key} of {split} has the class {label!r}, which is none of "
                    "its own."
                )
            if not len(image):
                empty.append(str(key))
                continue
            histogram[numbers[label]] += 1
            yield key, image, numbers[label]
    if problem := _shortfall(dataset, split, contents.classes, histogram, empty):
        if not partial:
            raise ValueError(
                f"{problem}. Fetch the archives again, or go on with what there is: "
                f"python -m sslx.datasets.prepare {dataset.name} --allow_incomplete"
            )
        print(f"warning: {problem}", file=sys.stderr)


def _shortfall(
    dataset: DataSet, split: str, classes: tuple[str, ...], histogram: Histogram, empty: list[str]
) -> str:
    """What differs from the official figures, or ""."""
    missing = [name for name, count in zip(classes, histogram, strict=True) if not count]
    present = len(classes) - len(missing)
    if (sum(histogram), present) == (dataset.sizes[split], dataset.classes):
        return ""
    return (
        f"{dataset.name}: {split} has {sum(histogram):,} images of {dataset.sizes[split]:,} and "
        f"{present:,} classes "
        f"of {dataset.classes:,}"
        + (f"; empty files: {_first(empty)}" if empty else "")
        + (f"; no images of: {_first(missing)}" if missing else "")
    )


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")
