"""Images that lists assign to splits and classes, read in one pass over an archive."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.datasets.dataset import Example, class_numbers
from sslx.datasets.sets.archive import damaged, members


class Listed(NamedTuple):
    """One image of a list."""

    key: str  # its name in the data set
    member: str  # and in the archive
    label: int | str  # its class: the number, from 0, or the name


def split_rows(path: Path, text: str, columns: int) -> list[list[str]]:
    """Return the lines of a list, cut at blanks; the last column may hold some.

    Raises ValueError for a line with too few columns.
    """
    rows = [line.strip().split(maxsplit=columns - 1) for line in text.splitlines() if line.strip()]
    if short := [row for row in rows if len(row) < columns]:
        raise damaged(
            path, f"a list has the line {' '.join(short[0])!r}, which has not {columns} columns"
        )
    return rows


def images(
    path: Path,
    entries: Sequence[Listed],
    classes: Sequence[str],
    lists: Path,
    convert: Callable[[bytes], bytes] = bytes,
) -> Callable[[], Iterator[Example]]:
    """Return a function that yields the listed images in the order of the archive `path`.

    They come as (key, bytes, class number). Raises ValueError for labels that are not in `classes`,
    naming the file `lists` that they come from. The function raises ValueError for a damaged
    archive, for images that are not in it, and for one that `convert` refuses.
    """
    numbers = class_numbers(classes)
    if wrong := [entry for entry in entries if entry.label not in numbers]:
        reason = f"{len(wrong)} of its images have none of the {len(classes)} classes"
        raise damaged(lists, f"{reason}, the first: {wrong[0].key}")

    def read() -> Iterator[Example]:
        left = {entry.member: entry for entry in entries}
        for name, content in members(path, left.__contains__):
            entry = left.pop(name)
            try:
                converted = convert(content)
            except Exception as error:  # Pillow's decoders raise a dozen types
                raise damaged(path, f"{name} cannot be read as an image") from error
            yield entry.key, converted, numbers[entry.label]
            if not left:  # the rest may be gigabytes
                return
        if left:
            reason = f"it lacks {len(left)} of {len(entries)} images"
            raise damaged(path, f"{reason}, the first: {next(iter(left))}")

    return read
