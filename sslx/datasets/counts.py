"""Whether a data set is whole: its images and classes, compared with the published figures."""

import functools
import sys
from collections.abc import Iterator
from pathlib import Path

from sslx.data.progress import progress
from sslx.data.records import INFO
from sslx.datasets.dataset import Contents, DataSet, Example, class_numbers

Histogram = list[int]  # images by class number


class Counted:
    """The contents of a data set, counted while they are read.

    `contents` has class numbers and lacks empty images; `histograms` has the splits that are read.
    Raises ValueError for other splits than the published ones and, when a split ends, for other
    counts of images and classes; with `partial` these are a warning.
    """

    def __init__(self, dataset: DataSet, contents: Contents, partial: bool = False) -> None:
        if set(contents.splits) != set(dataset.sizes):
            raise ValueError(
                f"{dataset.name} has the splits {', '.join(contents.splits)}, not "
                f"{', '.join(dataset.sizes)}."
            )
        splits = {split: functools.partial(self._count, split) for split in contents.splits}
        self.contents = Contents(contents.classes, splits)
        self.histograms: dict[str, Histogram] = {}
        self._dataset, self._given, self._partial = dataset, contents, partial

    def _count(self, split: str) -> Iterator[Example]:
        name, size = self._dataset.name, self._dataset.sizes[split]
        numbers = class_numbers(self._given.classes)
        histogram = self.histograms[split] = [0] * len(self._given.classes)
        empty = []
        with progress(f"{name}: reading {split}", size) as bar:
            for key, image, label in self._given.splits[split]():
                bar.update()
                if label not in numbers:
                    raise ValueError(
                        f"{name}: {key} of {split} has the class {label!r}, which the data set "
                        "does not have."
                    )
                if not len(image):
                    empty.append(str(key))
                    continue
                histogram[numbers[label]] += 1
                yield key, image, numbers[label]
        if problem := self._shortfall(split, empty):
            if not self._partial:
                raise ValueError(
                    f"{problem}. Fetch the archives again, or go on with what there is: "
                    f"python -m sslx.datasets {name} --allow_incomplete"
                )
            print(f"warning: {problem}", file=sys.stderr)

    def _shortfall(self, split: str, empty: list[str]) -> str:
        """Return what differs from the published figures, or ""."""
        histogram, size = self.histograms[split], self._dataset.sizes[split]
        classes = zip(self._given.classes, histogram, strict=True)
        missing = [name for name, count in classes if not count]
        present = len(histogram) - len(missing)
        if (sum(histogram), present) == (size, self._dataset.classes):
            return ""
        text = (
            f"{self._dataset.name}: {split} has {sum(histogram):,} images of {size:,} and "
            f"{present:,} classes of {self._dataset.classes:,}"
        )
        for reason, names in (("empty files", empty), ("no images of", missing)):
            if names:
                more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
                text += f"; {reason}: {', '.join(names[:5])}{more}"
        return text


def check(dataset: DataSet, root: Path) -> dict[str, Histogram]:
    """Read every record that is prepared in the data folder `root`; return histograms by split.

    Raises ValueError when the data set is not prepared, when records are damaged and when the
    counts are not the published ones.
    """
    # Here, as TFDS takes a while to import.
    import tensorflow_datasets as tfds

    from sslx.datasets.builders import stored_records

    folder = root / dataset.name / dataset.version
    if not (folder / INFO).exists():
        raise ValueError(
            f"{dataset.name} is not prepared in {root}. Type: python -m sslx.datasets "
            f"{dataset.name}"
        )
    builder = tfds.builder_from_directory(folder)

    def examples(split: str) -> Iterator[Example]:
        for number, record in stored_records(builder, split):
            name = record.get("file_name", b"").decode()
            yield name or number, record["image"], int(record["label"])

    classes = tuple(builder.info.features["label"].names)
    splits = {split: functools.partial(examples, split) for split in builder.info.splits}
    counted = Counted(dataset, Contents(classes, splits))
    try:
        for begin in counted.contents.splits.values():
            for _ in begin():
                pass
    except (OSError, RuntimeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{folder} is damaged ({reason}). Remove it, and prepare it again."
        ) from error
    return counted.histograms


def describe(split: str, histogram: Histogram) -> str:
    """Return one line: images, classes, and how evenly they are filled."""
    low, high = min(histogram), max(histogram)
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    return f"{split}: {sum(histogram):,} images, {each} in each of {len(histogram):,} classes"
