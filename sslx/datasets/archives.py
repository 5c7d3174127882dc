"""The archives of a data set: where they lie, whether they are whole, and how they are fetched."""

import hashlib
import http.client
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from ssl import SSLError
from typing import IO, Any

from sslx.data.progress import amount, progress
from sslx.data.records import prepared_folder
from sslx.datasets.dataset import Archive, DataSet
from sslx.files import to_json, write_atomically

CHUNK = 1 << 20
ATTEMPTS = 20  # at a download whose connection breaks
BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, SSLError)
# Folders that serve in place of an unpacked archive: their images are counted, not verified.
UNPACKED = {"ILSVRC2012_img_train.tar": "train", "ILSVRC2012_img_val.tar": "val"}


def obtain(dataset: DataSet, root: Path, manual_dir: Path | None = None) -> dict[str, Path]:
    """Return the verified archives' paths by `Archive.file`; download those that are missing.

    `root` is the data folder. Raises ValueError for an archive that is missing, damaged or out of
    reach, and where the disk has not enough room for downloads and records.
    """
    paths = locate_all(dataset, root, manual_dir)
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
    """Return the unverified paths by `Archive.file` of the archives that are there."""
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
    lacking = not all(located.values())
    if lacking and dataset.within and (records := prepared_folder(dataset.within, root)):
        return dict.fromkeys(located, records)
    return {file: path for file, path in located.items() if path}


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

    The file `notes` lists what is verified, which is read again once its size or date changes.
    """
    size = path.stat().st_size
    stamp = [size, path.stat().st_mtime_ns]
    noted = json.loads(notes.read_text()) if notes and notes.exists() else {}
    known = noted.get(archive.file, [])
    if known[:2] == stamp and known[2] in archive.digests:
        return
    wrong = f"{path} is not the published {archive.file}: it"
    kinds = list(dict.fromkeys(text.split(":")[0] for text in archive.digests))
    # Two digests of a kind are those of two packings of the same content, of which the size is that
    # of the first.
    if archive.size and size != archive.size and len(kinds) == len(archive.digests):
        raise ValueError(f"{wrong} has {size:,} bytes of {archive.size:,}.")
    computed = []
    for kind in kinds:  # a second one is computed only if the first does not match
        digest = hashlib.new(kind, usedforsecurity=False)
        with path.open("rb") as file:
            _pass_on(file, digest.update, f"verifying {path.name}", size)
        computed.append(f"{kind}:{digest.hexdigest()}")
        if computed[-1] in archive.digests:
            if notes:
                noted[archive.file] = [*stamp, computed[-1]]
                write_atomically(notes, to_json(noted, indent=1))
            return
    if kinds:
        expected = f" of {archive.size:,}" if archive.size else ""
        raise ValueError(
            f"{wrong} has the digest {' and '.join(computed)}, expected is "
            f"{' or '.join(archive.digests)}; it has {size:,} bytes{expected}."
        )


def download(archive: Archive, folder: Path, notes: Path | None = None) -> Path:
    """Return the archive's path in `folder` once it, or the rest of it, is fetched and verified.

    Raises ValueError where the server cannot be reached or sends something else.
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


def _check_space(dataset: DataSet, root: Path, missing: list[Archive]) -> None:
    downloads = root / "downloads" / dataset.name
    begun = {archive.file: _size(downloads / f"{archive.file}.part") for archive in missing}
    fetched = sum(max(archive.size - begun[archive.file], 0) for archive in missing)
    free = shutil.disk_usage(root).free
    if free < fetched + dataset.disk:
        archives = f"{amount(fetched)} of archives and " if fetched else ""
        raise ValueError(
            f"{dataset.name} needs {archives}{amount(dataset.disk)} of records, and {amount(free)} "
            f"are free in {root}. Make room, or choose another folder: --data_dir=FOLDER"
        )


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
        with part.open("ab" if begun else "wb") as file:
            _pass_on(response, file.write, f"fetching {archive.file}", total, begun)
    if _size(part) < total:
        raise ConnectionError(f"the connection broke after {_size(part):,} of {total:,} bytes")


def _pass_on(
    source: IO[bytes], use: Callable[[bytes], Any], label: str, total: int, begun: int = 0
) -> None:
    with progress(label, total, "B") as bar:
        bar.update(begun)
        while chunk := source.read(CHUNK):
            use(chunk)
            bar.update(len(chunk))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    cause = getattr(error, "reason", error)
    return getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
