"""From a data set's name to uint8 images.

Every image is decoded and resized once, into one array file per split; later runs map that file into memory and
start at once. Nothing here knows of views: those are made on the device.
"""

import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Source(NamedTuple):
    """One split: images uint8 [n, H, W, C], labels int32 [n] or None, and what identifies the data."""

    images: np.ndarray
    labels: np.ndarray | None
    facts: dict[str, Any]  # name, split, count, shape, hash, class names, skipped files


class Split(NamedTuple):
    """A split before it is decoded: `identity` changes whenever the decoded array would."""

    name: str
    identity: str
    size: int  # images, before unreadable ones are left out
    classes: list[str] | None
    decode: Callable[[], Iterable[tuple[np.ndarray | str, int]]]  # (uint8 [H, W, C] or the reason why not, label)


def load(config: Any) -> tuple[Source, Source | None]:
    """The training split and the test split (None where there is none) of `config.data`.

    Raises ValueError for an unknown or empty data set, an unreadable image, or images of different sizes.
    """
    if config.on_corrupt not in ("refuse", "skip"):
        raise ValueError(f"config.data.on_corrupt is {config.on_corrupt!r}; it takes 'refuse' or 'skip'.")
    # Imported here: a prepared TFDS split must not pay for the folder reader, nor a folder for TFDS.
    if config.name.startswith("folder:"):
        from sslx.data.folder import splits
    else:
        from sslx.data.catalogue import splits
    train, test = splits(config)
    return _decoded(train, config), test and _decoded(test, config)


def data_dir(config: Any) -> Path:
    """Where TFDS keeps its data sets, and this library the decoded arrays."""
    return Path(config.dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def _decoded(split: Split, config: Any) -> Source:
    """The split's array, from the cache or decoded now."""
    recipe = f"{split.identity}|{config.image_size}|{config.channels}|{config.on_corrupt}"
    name = re.sub(r"[^\w.-]+", "_", split.name)[-80:]
    folder = data_dir(config) / "sslx_decoded" / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    if not (folder / "facts.json").exists():
        _decode(split, config, folder)
    facts = json.loads((folder / "facts.json").read_text())
    images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    labels = np.load(folder / "labels.npy", allow_pickle=False) if split.classes is not None else None
    if len(images) != facts["count"]:
        raise ValueError(
            f"{folder} is damaged (it holds {len(images)} of {facts['count']} images). Delete it and try again."
        )
    return Source(images, labels, facts)


def _decode(split: Split, config: Any, folder: Path) -> None:
    """Write images.npy, labels.npy and facts.json into a new folder, which appears only when it is whole."""
    temporary = folder.with_name(f"{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir(parents=True)
    try:
        facts = _write_arrays(split, config, temporary)
        (temporary / "facts.json").write_text(json.dumps(facts, indent=1))
        try:
            temporary.rename(folder)
        except OSError:
            if not (folder / "facts.json").exists():  # else another process has just finished the same work
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_arrays(split: Split, config: Any, folder: Path) -> dict[str, Any]:
    images, digest = None, hashlib.sha256()
    labels: list[int] = []
    skipped: list[str] = []
    for image, label in split.decode():
        if isinstance(image, str):
            if config.on_corrupt == "refuse":
                raise ValueError(
                    f"{image}. Repair or remove the file, or go on without it: --config.data.on_corrupt=skip"
                )
            skipped.append(image)
            continue
        if images is None:
            shape = (split.size, *image.shape)
            _check_space(folder, int(np.prod(shape)))
            images = np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        if image.shape != images.shape[1:]:
            raise ValueError(
                f"The images of {split.name} differ in size: {_size(images[0])} and {_size(image)}. "
                "Say to what they are to be resized, for example --config.data.image_size=64."
            )
        images[len(labels)] = image
        labels.append(label)
        digest.update(image.tobytes())
    if images is None:
        raise ValueError(f"{split.name} has no readable image.")
    images.flush()
    if skipped:  # the file was made for all of them
        whole = np.lib.format.open_memmap(
            folder / "whole.npy", mode="w+", dtype=np.uint8, shape=(len(labels), *images.shape[1:])
        )
        whole[:] = images[: len(labels)]
        whole.flush()
        (folder / "whole.npy").replace(folder / "images.npy")
        print(f"warning: {len(skipped)} unreadable files of {split.name} are left out, the first: {skipped[0]}")
    label_array = np.asarray(labels, np.int32)
    digest.update(label_array.tobytes())
    np.save(folder / "labels.npy", label_array, allow_pickle=False)
    return {
        "name": split.name,
        "count": len(labels),
        "shape": list(images.shape[1:]),
        "hash": digest.hexdigest()[:16],
        "classes": split.classes,
        "skipped": skipped,
    }


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise ValueError(
            f"The decoded images need {needed / 1e9:.1f} GB in {folder.parent}, and {free / 1e9:.1f} GB are free. "
            "Choose another place with --config.data.dir, or smaller images with --config.data.image_size."
        )


def _size(image: np.ndarray) -> str:
    height, width, channels = image.shape
    return f"{width}x{height} with {channels} channel{'s' if channels > 1 else ''}"
