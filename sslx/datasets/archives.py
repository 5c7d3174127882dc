"""The archives of a data set: where they lie, whether they are whole, and how they are fetched."""

import hashlib
import http.client
import json
import shutil
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from sslx.data.progress import amount, progress
from sslx.data.records import prepared_folder
from sslx.datasets.dataset import Archive, DataSet
from sslx.files import to_json, write_atomically

CHUNK = 1 << 20
ATTEMPTS = 20  # at a download whose connection breaks
HTTP_ERRORS = (urllib.error.URLError, http.client.HTTPException)
BROKEN = (*HTTP_ERRORS, ConnectionError, TimeoutError, ssl.SSLError)
# Folders that serve in place of an archive which somebody has unpacked: their images are counted,
# not verified.
UNPACKED = {"ILSVRC2012_img_train.tar": "train", "ILSVRC2012_img_val.tar": "val"}


def obtain(dataset: DataSet, root: Path, manual_dir: Path | None = None) -> dict[str, Path]:
    """Return the verified archives' paths by `Archive.file`; download those that are missing.

    `root` is the data folder. Raises ValueError, which says what to do, for an archive that is
    missing, damaged or out of reach, and where the disk has not enough bytes for downloads and
    records.
    """
    paths = _located(dataset, root, manual_dir)
    missing = [archive for archive in dataset.archives if archive.file not in paths]
    if by_hand := [archive for archive in missing if not archive.url]:
        raise ValueError(
            f"{dataset.name} has no direct download. {instructions(dataset, root, by_hand)}"
        )
    _check_space(dataset, root, missing)
    downloads, notes = root / "downloads" / dataset.name, root / "downloads" / "verified.json"
    for archive in dataset.archives:
        path = paths.get(archive.file)
        try:
            if path is None:
                paths[archive.file] = download(archive, downloads, notes)
            elif path.is_file():
                verify(archive, path, notes)
        except ValueError as error:
            if path is not None and path.parent == downloads:
                path.unlink()
                raise ValueError(
                    f"{error} It is removed: type the same command again to fetch it."
                ) from error
            raise ValueError(f"{error} {instructions(dataset, root, [archive])}") from error
    return paths


def locate_all(dataset: DataSet, root: Path, manual_dir: Path | None = None) -> dict[str, Path]:
    """Return the unverified archives' paths by `Archive.file`; empty if one is missing."""
    paths = _located(dataset, root, manual_dir)
    return paths if len(paths) == len(dataset.archives) else {}


def locate(archive: Archive, folders: list[Path]) -> Path | None:
    """Return the archive's path in the first of `folders` that has it, or in its system package.

    Raises ValueError where a file has its name but for upper and lower case.
    """
    unpacked = UNPACKED.get(archive.file, "")
    for folder in [*folders, *([Path(archive.installed)] if archive.installed else [])]:
        if (folder / archive.file).is_file():
            return folder / archive.file
        if unpacked and (folder / unpacked).is_dir():
            return folder / unpacked
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.name.lower() == archive.file.lower():
                raise ValueError(
                    f"{path} is spelt {archive.file}. Type: mv {path} {folder / archive.file}"
                )
    return None


def verify(archive: Archive, path: Path, notes: Path | None = None) -> None:
    """Raise ValueError unless the file has the published size and one of the published digests.

    What is verified is noted in the file `notes`, and is not read again until its size or date
    changes.
    """
    status = path.stat()
    noted = json.loads(notes.read_text()) if notes and notes.exists() else {}
    size, time, digest = noted.get(archive.file, (0, 0, ""))
    if (size, time) == (status.st_size, status.st_mtime_ns) and digest in archive.digests:
        return
    digest = _matching_digest(archive, path, status.st_size)
    if notes and digest:
        noted[archive.file] = (status.st_size, status.st_mtime_ns, digest)
        write_atomically(notes, to_json(noted, indent=1))


def download(archive: Archive, folder: Path, notes: Path | None = None) -> Path:
    """Return the archive's path in `folder` once it is fetched and verified.

    What an earlier call has fetched is kept. Raises ValueError where the server cannot be reached
    or sends something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{archive.file}.part"
    for attempt in range(ATTEMPTS):
        before = _size(part)
        try:
            _fetch(archive, part)
            break
        except BROKEN as error:
            # A further attempt is made only if this one has fetched something.
            if _size(part) <= before or attempt + 1 == ATTEMPTS:
                raise ValueError(f"{archive.url} cannot be fetched ({_reason(error)}).") from error
    try:
        verify(archive, part, notes)
    except ValueError as error:
        part.unlink()
        raise ValueError(f"{archive.url} sent something else, which is removed: {error}") from error
    return part.rename(folder / archive.file)


def instructions(dataset: DataSet, root: Path, archives: list[Archive]) -> str:
    """Return which of the archives to fetch from where, and into which folder to put them."""
    files = [
        archive.file + (f" ({amount(archive.size)})" if archive.size else "")
        for archive in archives
    ]
    places = ", ".join(archive.url for archive in archives if archive.url) or dataset.home
    folders = [UNPACKED[archive.file] for archive in archives if archive.file in UNPACKED]
    unpacked = f", or their images unpacked in folders {' and '.join(folders)}," if folders else ""
    within = f" Or prepare {dataset.within} first, whose records serve as well."
    folder = root / "downloads" / "manual" / dataset.name
    return (
        f"Fetch {', '.join(files)} from {places}, put "
        f"{'them' if len(files) > 1 else 'it'}{unpacked} into {folder} "
        "(or say where else with --manual_dir=FOLDER), and type the same command again."
        + (within if dataset.within else "")
    )


def _located(dataset: DataSet, root: Path, manual_dir: Path | None) -> dict[str, Path]:
    if manual_dir and not manual_dir.is_dir():
        raise ValueError(
            f"There is no folder {manual_dir}: --manual_dir is where the archives of "
            f"{dataset.name} lie."
        )
    downloads = root / "downloads"
    folders = [downloads / "manual" / dataset.name, downloads / "manual", downloads / dataset.name]
    if manual_dir:
        folders.insert(0, manual_dir)
    located = {archive.file: locate(archive, folders) for archive in dataset.archives}
    if dataset.within and not all(located.values()):
        records = prepared_folder(dataset.within, root)
        if records:
            return dict.fromkeys(located, records)
    return {file: path for file, path in located.items() if path}


def _check_space(dataset: DataSet, root: Path, missing: list[Archive]) -> None:
    fetched = 0
    for archive in missing:
        part = root / "downloads" / dataset.name / f"{archive.file}.part"
        fetched += max(archive.size - _size(part), 0)
    free = shutil.disk_usage(root).free
    if free < fetched + dataset.disk:
        archives = f"{amount(fetched)} of archives and " if fetched else ""
        raise ValueError(
            f"{dataset.name} needs {archives}{amount(dataset.disk)} of records, and {amount(free)} "
            f"are free in {root}. Make room, or choose another folder: --data_dir=FOLDER"
        )


def _matching_digest(archive: Archive, path: Path, size: int) -> str:
    """The published digest that the file has, or "" if none is published."""
    kinds = list(dict.fromkeys(digest.split(":")[0] for digest in archive.digests))
    # Two digests of a kind are those of two packings of the same content, of which the size is that
    # of the first.
    if archive.size and size != archive.size and len(kinds) == len(archive.digests):
        raise ValueError(
            f"{path} is not the published {archive.file}: it has {size:,} bytes of "
            f"{archive.size:,}."
        )
    computed = []
    for kind in kinds:  # a second one is computed only if the first does not match
        computed.append(f"{kind}:{_digest(path, kind)}")
        if computed[-1] in archive.digests:
            return computed[-1]
    if not kinds:
        return ""
    expected = f" of {archive.size:,}" if archive.size else ""
    raise ValueError(
        f"{path} is not the published {archive.file}: it has the digest {' and '.join(computed)}, "
        f"expected is {' or '.join(archive.digests)}; it has {size:,} bytes{expected}."
    )


def _digest(path: Path, kind: str) -> str:
    digest = hashlib.new(kind, usedforsecurity=False)
    with (
        path.open("rb") as file,
        progress(f"verifying {path.name}", path.stat().st_size, "B") as bar,
    ):
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            bar.update(len(chunk))
    return digest.hexdigest()


def _fetch(archive: Archive, part: Path) -> None:
    """Append to `part` what it lacks, or all of it if the server cannot send the rest alone."""
    begun = _size(part)
    if archive.size and begun == archive.size:
        return
    headers = {"User-Agent": "sslx"} | ({"Range": f"bytes={begun}-"} if begun else {})
    request = urllib.request.Request(archive.url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE or not begun:
            raise
        part.unlink()  # it is longer than the file
        _fetch(archive, part)
        return
    with response:
        if not response.headers.get("Content-Range", "").startswith(f"bytes {begun}-"):
            begun = 0
        total = begun + int(response.headers.get("Content-Length", 0))
        with (
            part.open("ab" if begun else "wb") as file,
            progress(f"fetching {archive.file}", total, "B") as bar,
        ):
            bar.update(begun)
            while chunk := response.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if _size(part) < total:
        raise ConnectionError(f"the connection broke after {_size(part):,} of {total:,} bytes")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
