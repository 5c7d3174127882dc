"""Members of published archives, streamed without extraction.

A damaged archive is a ValueError of one line that says to fetch it again.
"""

import contextlib
import errno
import gzip
import math
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

# A RuntimeError is zipfile's word for encryption and formats that it does not know.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the tar, zip and gzip readers raise for a damaged archive into a ValueError."""
    try:
        yield
    except DAMAGE as error:
        # The others are the file system's: no such file, no permission. A damaged zip seeks to
        # before its beginning.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        # Only the first line, as tarfile lists each format that it tried.
        raise damaged(path, str(error).partition("\n")[0].rstrip(":")) from error


def damaged(path: Path, reason: str) -> ValueError:
    """Return the error for an archive whose content is not what was published."""
    return ValueError(f"{path} is damaged or incomplete ({reason}). Fetch it again.")


def class_number(path: Path, label: int, classes: int) -> int:
    """Return the label that `path` gives; ValueError unless it is one of 0 to classes - 1."""
    if not 0 <= label < classes:
        raise damaged(path, f"it has label {label}, but the classes are 0 to {classes - 1}")
    return label


def members(path: Path, wanted: Callable[[str], object]) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each file whose name is `wanted`, in the order of the archive.

    What does not end in .zip is a tar, packed or not, whose names come without the "./" that some
    have. One that was cut between two members looks whole, so count what must come. Raises
    ValueError for a damaged archive.
    """
    if path.suffix == ".zip":
        with reading(path), zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                if not entry.is_dir() and wanted(entry.filename):
                    yield entry.filename, archive.read(entry)
        return
    with reading(path), tarfile.open(path) as tar:
        for name, file in _files(tar, wanted):
            yield name, file.read()


def nested_tar_members(
    path: Path, wanted: Callable[[str], object]
) -> Iterator[tuple[str, str, bytes]]:
    """Yield tar, name and content of the members of the `wanted` tars inside an unpacked tar."""
    with reading(path), tarfile.open(path) as archive:
        for outer, file in _files(archive, wanted):
            with tarfile.open(fileobj=file, mode="r:") as inner:
                for name, member in _files(inner, lambda name: True):
                    yield outer, name, member.read()


def read_members(path: Path, names: Sequence[str]) -> list[bytes]:
    """Return the content of the named members; ValueError where one is missing or damaged."""
    contents: dict[str, bytes] = {}
    for name, content in members(path, names.__contains__):
        contents[name] = content
        if len(contents) == len(names):  # the rest may be gigabytes
            break
    if missing := [name for name in names if name not in contents]:
        raise damaged(path, f"it has no {missing[0]}")
    return [contents[name] for name in names]


def read_lists(path: Path, names: Sequence[str]) -> list[str]:
    """Return the named members as text."""
    return [content.decode("utf-8", "replace") for content in read_members(path, names)]


def npz_rows(path: Path, name: str) -> Iterator[np.ndarray]:
    """Yield the array `name` of an npz file row by row, as the whole may not fit in memory."""
    member = f"{name}.npy"
    with reading(path), zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise damaged(path, f"it has no {member}")
        with archive.open(member) as file:
            try:
                np.lib.format.read_magic(file)
                shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
            except ValueError as error:
                raise damaged(path, f"{member} is no npy file") from error
            if in_columns or not shape or dtype.hasobject:
                raise damaged(path, f"{member} is no array of numbers in rows")
            size = dtype.itemsize * math.prod(shape[1:])
            for _ in range(shape[0]):
                row = file.read(size)
                if len(row) != size:
                    raise damaged(path, f"{member} ends early")
                yield np.frombuffer(row, dtype).reshape(shape[1:])


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Return the uint8 array of the given shape in a gzipped idx file, the format of MNIST's page.

    A first entry of -1 is taken from the file. Raises ValueError for any other content.
    """
    with reading(path):
        content = gzip.decompress(path.read_bytes())
    if shape[0] == -1:
        shape = (int.from_bytes(content[4:8], "big"), *shape[1:])
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, and each of them: big-endian.
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    begin, array = content[: len(header)], content[len(header) :]
    if begin != header:
        raise damaged(
            path, f"an idx file of bytes {shape} begins with {header.hex()}, it with {begin.hex()}"
        )
    if len(array) != math.prod(shape):
        raise damaged(path, f"it holds {len(array)} bytes after its header, not {math.prod(shape)}")
    return np.frombuffer(array, np.uint8).reshape(shape)


def _files(
    archive: tarfile.TarFile, wanted: Callable[[str], object]
) -> Iterator[tuple[str, IO[bytes]]]:
    while member := archive.next():
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header
        name = member.name.removeprefix("./")
        file = archive.extractfile(member) if member.isfile() and wanted(name) else None
        if file is not None:
            yield name, file
