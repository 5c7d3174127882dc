"""Images in files of many: `npz:FILE` for arrays, `array_record:PATH` for records.

An .npz has `images` and, if there are any, `labels`; or `train_images`, `train_labels`,
`test_images`, ... (MedMNIST's names) or `x_train`, `y_train`, ... (Keras's). PATH is a folder that
TFDS has prepared, with labels, or else one file or a folder of array_record files, each record of
which is the content of an image file.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslx.data.records import INFO, splits_of
from sslx.data.source import Content, Split, Splits, named_splits, unlabelled

HELD_OUT = 5  # without test images, every fifth

Keys = tuple[str, str | None]  # of a split's images and of its labels, if it has any


def splits(config: Any) -> Splits:
    """Return the splits of `config.data.name`; ValueError for a file that is not what it should."""
    kind, _, name = config.name.partition(":")
    path = Path(name).expanduser()
    if not path.exists():
        raise ValueError(f"There is no {path}. Give a file: --config.data.name={kind}:PATH")
    if kind == "npz":
        return _arrays(config, path)
    return splits_of(config, path, {}) if (path / INFO).exists() else _records(config, path)


def _arrays(config: Any, path: Path) -> Splits:
    arrays = _open(path)
    known: dict[str, Keys] = {}
    for name in ("train", "val", "validation", "test"):
        for images, labels in (
            (f"{name}_images", f"{name}_labels"),
            (f"x_{name}", f"y_{name}"),
        ):
            if images in arrays and name not in known:
                known[name] = images, labels if labels in arrays else None
    split = functools.partial(_array_split, config, path)
    if known or config.train_split or config.probe_split or config.test_split:
        return named_splits(config, known, lambda name: split(name, known[name]), {})
    image_key = next((key for key in ("images", "x", "data") if key in arrays), None)
    label_key = next((key for key in ("labels", "y", "targets") if key in arrays), None)
    if image_key is None:
        raise ValueError(
            f"{path} holds {', '.join(arrays) or 'nothing'}, and no images. Save it with "
            f"np.savez({path.name!r}, images=uint8 [n, H, W, C], labels=integers [n]), labels if "
            "there are any."
        )
    keys = image_key, label_key
    if label_key is None:
        return unlabelled(config, split("train", keys))
    print(f"note: {path} has no test images; every fifth image is held out for kNN and probes")
    every = np.arange(len(arrays[image_key]))
    held = every % HELD_OUT == HELD_OUT - 1
    return Splits(split("train", keys, every[~held]), None, split("test", keys, every[held]))


def _array_split(
    config: Any, path: Path, name: str, keys: Keys, rows: np.ndarray | slice = slice(None)
) -> Split:
    arrays = _open(path)
    images, labels = arrays[keys[0]], arrays[keys[1]] if keys[1] else None
    layout = images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))
    if images.dtype != np.uint8 or not layout:
        raise ValueError(
            f"{keys[0]} of {path} is {images.dtype} {list(images.shape)}; it must be uint8 "
            "[n, H, W], or [n, H, W, C] with C = 1 or 3."
        )
    classes = None
    if labels is not None:
        labels = labels.reshape(-1)
        numbers = np.issubdtype(labels.dtype, np.integer) and labels.min(initial=0) >= 0
        if len(labels) != len(images) or not numbers:
            raise ValueError(
                f"{keys[1]} of {path} must be {len(images)} integers from 0 on, one for each image."
            )
        classes = [str(number) for number in range(int(labels.max(initial=0)) + 1)]
    places = np.arange(len(images))[rows]
    status = path.stat()
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{keys}|{len(places)}"

    def read(numbers: Sequence[int]) -> list[Content]:
        images = _open(path)[keys[0]]  # by its path, so that a worker process reads the file itself
        chosen = places[list(numbers)]
        return [(images[i], -1 if labels is None else int(labels[i])) for i in chosen]

    def where(number: int) -> str:
        return f"{path}, image {places[number]}"

    channels = images.shape[3] if images.ndim == 4 else 1
    return Split(f"{config.name}/{name}", identity, len(places), classes, channels, read, where)


@functools.lru_cache(maxsize=2)
def _open(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # zipfile's, zlib's and NumPy's own: AttributeError for one array
        raise ValueError(
            f"{path} cannot be read as .npz ({error}). Save it again with np.savez."
        ) from error


def _records(config: Any, path: Path) -> Splits:
    files = [path] if path.is_file() else sorted(path.glob("*array_record*"))
    if not files:
        raise ValueError(f"{path} has neither a TFDS data set ({INFO}) nor array_record files.")
    from array_record.python.array_record_data_source import ArrayRecordDataSource  # rarely needed

    try:
        source = ArrayRecordDataSource([str(file) for file in files])
        count = len(source)
    except Exception as error:  # the reader's errors are its own
        raise ValueError(
            f"{files[0]} or one beside it is damaged, or no array_record file ({error})."
        ) from error
    stats = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def read(numbers: Sequence[int]) -> list[Content]:
        try:
            return [(content, -1) for content in source.__getitems__(list(numbers))]
        except Exception as error:  # the reader's errors are its own
            raise ValueError(f"{path} is damaged ({error}). Write it again.") from error

    def where(number: int) -> str:
        return f"{path}, record {number}"

    name, identity = f"{config.name}/train", f"{path.resolve()}|{stats}"
    return unlabelled(config, Split(name, identity, count, None, config.channels, read, where))
