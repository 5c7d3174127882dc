"""From `config.data` to uint8 images and labels, decoded once and kept on disk for later runs.

Each kind of source says how many images it has and how one of them is read. What follows is the
same for all: one decoder, and one pass that checks every image, takes the hash of all, and keeps
them in one array file per split, which is mapped into memory. A split larger than
`config.data.decoded_gib` is only checked, and then decoded anew whenever its images are used. Both
give the same images in the same order under the same hash.
"""

import hashlib
import json
import math
import re
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from sslx.data import files, folder, records
from sslx.data.disk import alone
from sslx.data.progress import amount, progress
from sslx.data.source import Source, Sources, Split, cache_dir
from sslx.data.stream import CORES, Streamed, in_threads
from sslx.hints import check_choice

CHUNK = 256  # images in the hands of the decoding threads
RULES = 2  # of decoding; another number makes every cache obsolete
READERS = {"folder": folder.splits, "npz": files.splits, "array_record": files.splits}


def load(config: Any) -> Sources:
    """Return the splits of `config.data`, decoded.

    Raises ValueError for an unknown, empty or damaged data set, for images that cannot be read,
    unless `config.data.on_corrupt` is "skip", or differ in size, for a damaged cache, and where
    nothing can be written.
    """
    check_choice("config.data.on_corrupt", config.on_corrupt, ("refuse", "skip"))
    check_choice("config.data.channels", config.channels, (1, 3))
    splits = READERS.get(config.name.partition(":")[0], records.splits)(config)
    train = _cached(splits.train, config)
    probe = _cached(splits.probe, config) if splits.probe else train
    return Sources(train, probe, _cached(splits.test, config) if splits.test else None)


def _cached(split: Split, config: Any) -> Source:
    recipe = f"{RULES}|{split.identity}|{config.image_size}|{split.channels}"
    name = re.sub(r"[^\w.-]+", "_", split.name)[-80:]
    folder = cache_dir(config) / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    facts = _facts(folder, config)
    if facts is None:
        with alone(folder.parent, f"{folder.name}.lock", "--config.data.cache"):
            # Another process may just have done the same work.
            facts = _facts(folder, config) or _fill(folder, split, config)
    if skipped := facts["skipped"]:
        listed = f"{len(skipped)} of {split.size}, listed in {folder / 'unreadable.txt'}"
        if config.on_corrupt == "refuse":
            raise ValueError(
                f"{skipped[0]}; unreadable in {split.name}: {listed}. Repair or remove them, or go "
                "on without them: --config.data.on_corrupt=skip"
            )
        print(f"warning: unreadable and left out of {split.name}: {listed}")
    labels = _array(folder, "labels")
    images: Any = None
    if _fits(facts, config):
        images = _array(folder, "images")
    else:
        images = Streamed(split, _array(folder, "kept"), tuple(facts["shape"]), config.image_size)
    if not len(images) == len(labels) == facts["count"]:
        reason = f"it has not the {facts['count']} images of its facts.json"
        raise ValueError(f"{folder} is damaged ({reason}). Delete it and try again.")
    return Source(images, labels if split.classes is not None else None, facts)


def _facts(folder: Path, config: Any) -> dict[str, Any] | None:
    """The facts of a folder that has what the config needs, else None."""
    file = folder / "facts.json"
    facts = json.loads(file.read_text()) if file.exists() else None
    lacking = facts and _fits(facts, config) and not (folder / "images.npy").exists()
    return None if lacking else facts


def _fits(facts: dict[str, Any], config: Any) -> bool:
    images = facts["count"] + len(facts["skipped"])  # the file is made for all of them
    return images * math.prod(facts["shape"]) <= config.decoded_gib * 2**30


def _array(folder: Path, name: str) -> np.ndarray:
    path = folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r" if name == "images" else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}). Delete {folder} and try again.") from error


def _fill(folder: Path, split: Split, config: Any) -> dict[str, Any]:
    """Write a new folder, which appears only when it is whole, and return its facts."""
    temporary = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)  # left by a run that was killed
    temporary.mkdir()
    try:
        facts = _write(temporary, split, config)
        (temporary / "facts.json").write_text(json.dumps(facts, indent=1))
        if folder.exists():  # checked by a run that did not keep the images, or damaged
            shutil.rmtree(folder)
        temporary.rename(folder)
        return facts
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
                    f"The images of {split.name} differ in size: {shape}, and {image.shape} in "
                    f"{split.where(number)} (height, width, channels). Choose the size to which "
                    "they are to be resized, as in --config.data.image_size=64"
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
    digest.update(np.asarray(labels, np.int32).tobytes())
    np.save(folder / "labels.npy", np.asarray(labels, np.int32), allow_pickle=False)
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
        limit = f"--config.data.decoded_gib={config.decoded_gib:g}"
        print(
            f"note: decoded, {split.name} would take {needed / 2**30:.1f} GiB, more than {limit}: "
            "it is checked once, now, and then decoded as it is used"
        )
        return None
    if needed > free:
        raise ValueError(
            f"Decoded, {split.name} needs {amount(needed)} in {folder.parent}, and {amount(free)} "
            "are free. Choose another folder (--config.data.cache), smaller images "
            "(--config.data.image_size), or decode them as used: --config.data.decoded_gib=0"
        )
    return np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=whole)
