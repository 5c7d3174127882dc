"""Whether a data set is whole: its images and classes, compared with the published figures."""

import sys
from collections.abc import Iterator
from pathlib import Path

from sslx.data.progress import progress
from sslx.data.records import INFO
from sslx.datasets.dataset import Contents, DataSet, Example, class_numbers, contents


class Counted:
    """The contents of a data set, counted while they are read.

    `contents` has class numbers and lacks empty images; `histograms` has the images by class number
    of the splits that are read. Raises ValueError for other splits than the published ones and,
    when a split ends, for other counts of images and classes; with `partial` these are a warning.
    """

    def __init__(self, dataset: DataSet, given: Contents, partial: bool = False) -> None:
        if set(given.splits) != set(dataset.sizes):
            raise ValueError(
                f"{dataset.name} has the splits {', '.join(given.splits)}, not "
                f"{', '.join(dataset.sizes)}."
            )
        self.contents = contents(given.classes, given.splits, self._count)
        self.histograms: dict[str, list[int]] = {}
        self._dataset, self._given, self._partial = dataset, given, partial

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

    def report(self) -> None:
        """Print a line for each split: images, classes, and how evenly they are filled."""
        for split, counts in self.histograms.items():
            low, high = min(counts), max(counts)
            each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
            print(f"{split}: {sum(counts):,} images, {each} in each of {len(counts):,} classes")


def check(dataset: DataSet, root: Path) -> None:
    """Read every record that is prepared in the data folder `root`, and print the counts.

    Raises ValueError where it is not prepared or damaged, and for counts that are not published.
    """
    from sslx.datasets.builders import stored  # here, as TFDS takes a while

    folder = dataset.folder(root)
    if not (folder / INFO).exists():
        raise ValueError(
            f"{dataset.name} is not prepared in {root}. Type: python -m sslx.datasets "
            f"{dataset.name}"
        )
    counted = Counted(dataset, stored(folder))
    try:
        for begin in counted.contents.splits.values():
            for _ in begin():
                pass
    except (OSError, RuntimeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"{folder} is damaged ({reason}). Remove it, and prepare it again."
        ) from error
    counted.report()
