"""Decoded splits on disk, so that later runs start at once.

Every image of a split is decoded once: to check it, to take the split's hash, and to keep it in one
array file per split, which later runs map into memory. A split larger than
`config.data.decoded_gib` is checked in the same way, and then decoded anew whenever its images are
used. Both give the same images in the same order under the same hash.
"""

import contextlib
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sslx.data.disk import explained
from sslx.data.progress import amount, progress
from sslx.data.source import Source, Split, cache_dir
from sslx.data.stream import CORES, Streamed, in_threads

CHUNK = 256  # images in the hands of the decoding threads
RULES = 2  # of decoding; another number makes every cache obsolete


def cached(split: Split, config: Any) -> Source:
    """Return the split's images and labels, from the cache or decoded now.

    Raises ValueError for unreadable images, unless `config.on_corrupt` is "skip", for images of
    different sizes, for a damaged cache, and where nothing can be written.
    """
    recipe = f"{RULES}|{split.identity}|{config.image_size}|{split.channels}"
    name = re.sub(r"[^\w.-]+", "_", split.name)[-80:]
    folder = cache_dir(config) / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not _complete(folder, config):
        with _alone(folder):
            if not _complete(folder, config):  # else another process has just done the same work
                _fill(folder, split, config)
    facts = json.loads((folder / "facts.json").read_text())
    if skipped := facts["skipped"]:
        report = folder / "unreadable.txt"
        if config.on_corrupt == "refuse":
            raise ValueError(
                f"{skipped[0]}; unreadable in {split.name}: {len(skipped)} of {split.size}, listed "
                f"in {report}. Repair or remove them, or go on without them: "
                "--config.data.on_corrupt=skip"
            )
        print(
            f"warning: unreadable and left out of {split.name}: {len(skipped)} of {split.size}, "
            f"listed in {report}"
        )
    labels = _array(folder, "labels")
    images: Any = None
    if _fits(facts, config):
        images = _array(folder, "images")
    else:
        images = Streamed(split, _array(folder, "kept"), tuple(facts["shape"]), config.image_size)
    if not len(images) == len(labels) == facts["count"]:
        raise ValueError(
            f"{folder} is damaged: it does not have {facts['count']} images, as its facts.json "
            "reports. Delete it and try again."
        )
    return Source(images, labels if split.classes is not None else None, facts)


def _complete(folder: Path, config: Any) -> bool:
    facts = folder / "facts.json"
    return facts.exists() and (
        (folder / "images.npy").exists() or not _fits(json.loads(facts.read_text()), config)
    )


def _fits(facts: dict[str, Any], config: Any) -> bool:
    images = facts["count"] + len(facts["skipped"])  # the file is made for all of them
    return images * math.prod(facts["shape"]) <= config.decoded_gib * 2**30


def _array(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r" if name == "images" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}). Delete {folder} and try again.") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time fill the folder."""
    with explained(folder.parent, "--config.data.cache"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_name(f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in folder.parent.glob(f"{folder.name}.*.tmp"):  # by a run that was killed
                shutil.rmtree(left)
            yield


def _fill(folder: Path, split: Split, config: Any) -> None:
    """Write a new folder, which appears only when it is whole."""
    temporary = folder.with_name(f"{folder.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        facts = _write(temporary, split, config)
        (temporary / "facts.json").write_text(json.dumps(facts, indent=1))
        if folder.exists():  # checked by a run that did not keep the images, or damaged
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(folder: Path, split: Split, config: Any) -> dict[str, Any]:
    images: np.memmap | None = None
    shape, digest = None, hashlib.sha256()
    kept: list[int] = []
    labels: list[int] = []
    skipped: list[str] = []
    with progress(f"decoding {split.name}", split.size) as bar:
        for number, (image, label) in enumerate(_decoded(split, config.image_size)):
            bar.update()
            if isinstance(image, str):
                skipped.append(f"{split.where(number)} cannot be read as an image ({image})")
                continue
            if shape is None:
                shape = image.shape
                images = _new_array(folder, split, shape, config)
            if image.shape != shape:
                raise ValueError(
                    f"The images of {split.name} differ in size: {_size(shape)}, and "
                    f"{_size(image.shape)} in {split.where(number)}. Choose the size to which they "
                    "are to be resized, as in --config.data.image_size=64"
                )
            if images is not None:
                images[len(kept)] = image
            kept.append(number)
            labels.append(label)
            digest.update(image.tobytes())
    if shape is None:
        reason = f": {skipped[0]}" if skipped else "."
        raise ValueError(f"{split.name} has no readable image{reason}")
    if images is not None:
        images.flush()
    if skipped:
        (folder / "unreadable.txt").write_text("\n".join(skipped) + "\n")
        if images is not None:  # which was made for all
            np.save(folder / "shorter.npy", images[: len(kept)], allow_pickle=False)
            (folder / "shorter.npy").replace(folder / "images.npy")
    label_array = np.asarray(labels, np.int32)
    digest.update(label_array.tobytes())
    np.save(folder / "labels.npy", label_array, allow_pickle=False)
    np.save(folder / "kept.npy", np.asarray(kept, np.int64), allow_pickle=False)
    return {
        "name": split.name,
        "count": len(kept),
        "shape": list(shape),
        "hash": digest.hexdigest()[:16],
        "classes": split.classes,
        "skipped": skipped,
    }


def _decoded(split: Split, size: int) -> Iterator[tuple[np.ndarray | str, int]]:
    """Yield every image in order, or the reason why it cannot be read, with its label."""
    # By threads, as decoders and resizing work outside the interpreter's lock.
    with ThreadPoolExecutor(CORES) as pool:
        ahead: Iterator[tuple[np.ndarray | str, int]] = iter(())
        for start in range(0, split.size + CHUNK, CHUNK):
            numbers = range(start, min(start + CHUNK, split.size))
            current, ahead = ahead, in_threads(pool, split, numbers, size)
            yield from current


def _new_array(folder: Path, split: Split, shape: tuple[int, ...], config: Any) -> np.memmap | None:
    """Return an array in a file for all images, or None where they are not to be kept."""
    whole = (split.size, *shape)
    needed, free = math.prod(whole), shutil.disk_usage(folder).free
    if needed > config.decoded_gib * 2**30:
        print(
            f"note: decoded, {split.name} would take {needed / 2**30:.1f} GiB, more than "
            f"--config.data.decoded_gib={config.decoded_gib:g}: it is checked once, now, and then "
            "decoded as it is used"
        )
        return None
    if needed > free:
        raise ValueError(
            f"Decoded, {split.name} needs {amount(needed)} in {folder.parent}, and {amount(free)} "
            "are free. Choose another folder with --config.data.cache, smaller images with "
            "--config.data.image_size, or decode them as they are used: "
            "--config.data.decoded_gib=0"
        )
    return np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=whole)


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"
