"""Images that lists assign to splits and classes, found in one pass over a tar archive of any size."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sslx.datasets.dataset import Example
from sslx.datasets.sets.archive import damaged, tar_members


class Listed(NamedTuple):
    """One image of a list."""

    key: str  # its name in the data set
    member: str  # and in the archive
    label: int | str  # its class: the number, from 0, or the name


def read_members(path: Path, names: Sequence[str]) -> list[bytes]:
    """Content of each of the named members of a tar archive, in one pass that ends with the last of
    them.

    Raises ValueError for a damaged archive, and where one is missing.
    """
    found: dict[str, bytes] = {}
    for name, content in tar_members(path, lambda name: _plain(name) in names):
        found[_plain(name)] = content
        if len(found) == len(names):  # the rest may be gigabytes
            break
    if missing := [name for name in names if name not in found]:
        raise damaged(path, f"it has no {missing[0]}")
    return [found[name] for name in names]


def read_lists(path: Path, names: Sequence[str]) -> list[str]:
    """The named members as text; raises what `read_members` raises."""
    return [content.decode("utf-8", "replace") for content in read_members(path, names)]


def split_rows(path: Path, text: str, columns: int) -> list[list[str]]:
    """The lines of a list, cut at blanks; the last column may hold some.

    ValueError for a line with too few columns.
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
    """A function that reads the listed images as (key, bytes, class number), in the order of the
    tar archive `path`.

    Raises ValueError for labels that are not in `classes`, naming the file `lists` that they come
    from. The function it returns raises ValueError for a damaged archive, for images that are not
    in it, and for one that `convert` refuses."""
    numbers: dict[int | str, int] = {name: number for number, name in enumerate(classes)}
    numbers |= {number: number for number in range(len(classes))}
    if wrong := [entry for entry in entries if entry.label not in numbers]:
        reason = (
            f"{len(wrong)} of its images have none of the {len(classes)} classes, the first: "
            f"{wrong[0].key}"
        )
        raise damaged(lists, reason)

    def read() -> Iterator[Example]:
        left = {entry.member: entry for entry in entries}
        for name, content in tar_members(path, lambda name: _plain(name) in left):
            entry = left.pop(_plain(name))
            try:
                converted = convert(content)
            except Exception as error:  # Pillow's decoders raise a dozen types
                raise damaged(path, f"{name} cannot be read as an image") from error
            yield entry.key, converted, numbers[entry.label]
            if not left:  # the rest may be gigabytes
                return
        if left:
            raise damaged(
                path,
                f"it lacks {len(left)} of {len(entries)} images, the first: {next(iter(left))}",
            )

    return read


def _plain(name: str) -> str:
    return name.removeprefix("./")  # which some archives have before every name
