"""Members of published archives, streamed without extraction; a damaged archive is one line that
says to fetch it.
"""

import contextlib
import errno
import gzip
import math
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

# A RuntimeError is zipfile's word for encryption and formats that it does not know.
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turns what the tar, zip and gzip readers raise for a damaged archive into a ValueError of one
    line.
    """
    try:
        yield
    except DAMAGE as error:
        # The others are the file system's: no such file, no permission. A damaged zip seeks to
        # before its beginning.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        reason = (
            str(error).partition("\n")[0].rstrip(":")
        )  # tarfile lists each format that it tried
        raise damaged(path, reason) from error


def damaged(path: Path, reason: str) -> ValueError:
    """The error for an archive whose content is not what was published."""
    return ValueError(f"{path} is damaged or incomplete ({reason}). Fetch it again.")


def class_number(path: Path, label: int, classes: int) -> int:
    """The label that `path` gives, which must be one of 0 to classes - 1; ValueError for another."""
    if not 0 <= label < classes:
        raise damaged(path, f"it has label {label}, but the classes are 0 to {classes - 1}")
    return label


def tar_members(
    path: Path, wanted: Callable[[str], object] = lambda name: True
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file whose name is `wanted`, in the order of a tar archive, packed
    or not.

    A tar that was cut between two members looks whole, so count what must come. Raises ValueError
    for a damaged one."""
    with reading(path), tarfile.open(path) as archive:
        for name, file in _files(archive, wanted):
            yield name, file.read()


def nested_tar_members(
    path: Path, wanted: Callable[[str], object]
) -> Iterator[tuple[str, str, bytes]]:
    """Name of the inner tar, name and content of its member, for each unpacked tar inside a tar
    whose name is `wanted`.

    Raises ValueError for a damaged archive.
    """
    with reading(path), tarfile.open(path) as archive:
        for outer, file in _files(archive, wanted):
            with tarfile.open(fileobj=file, mode="r:") as inner:
                for name, member in _files(inner, lambda name: True):
                    yield outer, name, member.read()


def tar_member(path: Path, name: str) -> bytes:
    """Content of one member of a tar archive; ValueError for a damaged archive, and where there is
    no such member.
    """
    for _, content in tar_members(path, lambda other: other == name):
        return content
    raise damaged(path, f"it has no {name}")


def zip_members(
    path: Path, wanted: Callable[[str], object] = lambda name: True
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file whose name is `wanted`, in the order of a zip archive.

    Raises ValueError for a damaged archive.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.is_dir() and wanted(entry.filename):
                yield entry.filename, archive.read(entry)


def zip_member(path: Path, name: str) -> bytes:
    """Content of one member of a zip archive; ValueError for a damaged archive, and where there is
    no such member.
    """
    for _, content in zip_members(path, lambda other: other == name):
        return content
    raise damaged(path, f"it has no {name}")


def npz_rows(path: Path, name: str) -> Iterator[np.ndarray]:
    """The array `name` of an npz file row by row, for the whole may not fit in memory.

    Raises ValueError for a damaged file and a missing array.
    """
    member = f"{name}.npy"
    with reading(path), zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise damaged(path, f"it has no {member}")
        with archive.open(member) as file:
            shape, dtype = _npy_header(path, member, file)
            size = dtype.itemsize * math.prod(shape[1:])
            for _ in range(shape[0]):
                row = file.read(size)
                if len(row) != size:
                    raise damaged(path, f"{member} ends early")
                yield np.frombuffer(row, dtype).reshape(shape[1:])


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Array uint8 of the given shape from a gzipped file in the idx format, which is described on
    MNIST's page.

    With -1 as its first entry, the file says how many. Raises ValueError for a damaged file,
    another type or shape, and too few or too many bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged, or no gzip file ({error}). Fetch it again."
        ) from error
    if shape[0] == -1:
        shape = (int.from_bytes(content[4:8], "big"), *shape[1:])
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, and each of them: big-endian.
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    if content[: len(header)] != header:
        raise ValueError(
            f"{path} is no idx file of unsigned bytes and shape {shape}: it begins with "
            f"{content[: len(header)].hex()} "
            f"in place of {header.hex()}. Fetch it again."
        )
    if len(content) - len(header) != math.prod(shape):
        raise ValueError(
            f"{path} holds {len(content) - len(header)} bytes after its header, not "
            f"{math.prod(shape)}. Fetch it again."
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def _files(
    archive: tarfile.TarFile, wanted: Callable[[str], object]
) -> Iterator[tuple[str, IO[bytes]]]:
    while member := archive.next():
        archive.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header
        file = archive.extractfile(member) if member.isfile() and wanted(member.name) else None
        if file is not None:
            yield member.name, file


def _npy_header(path: Path, member: str, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    try:
        np.lib.format.read_magic(file)
        shape, in_columns, dtype = np.lib.format.read_array_header_1_0(file)
    except ValueError as error:
        raise damaged(path, f"{member} is no npy file") from error
    if in_columns or not shape or dtype.hasobject:
        raise damaged(path, f"{member} is no array of numbers in rows")
    return shape, dtype
