"""Images in files of many: `npz:FILE` for arrays, `array_record:PATH` for records.

An .npz has `images` and, if there are any, `labels`; or `train_images`, `train_labels`,
`test_images`, ... (MedMNIST's names) or `x_train`, `y_train`, ... (Keras's). PATH is a folder that
TFDS has prepared, with labels, or else one file or a folder of array_record files, each record of
which is the content of an image file."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sslx.data.sources import Content, Split, Splits

SPLITS = ("train", "val", "validation", "test")
HELD_OUT = 5  # without test images, every fifth

Keys = tuple[str, str | None]  # of a split's images and of its labels, if it has any


def splits(config: Any) -> Splits:
    """The splits of `config.data.name`; ValueError for a file that is not there or does not hold
    what it should.
    """
    kind, _, name = config.name.partition(":")
    path = Path(name).expanduser()
    if not path.exists():
        raise ValueError(f"There is no {path}. Give a file: --config.data.name={kind}:PATH")
    return _arrays(config, path) if kind == "npz" else _records(config, path)


def _arrays(config: Any, path: Path) -> Splits:
    found = {name: keys for name in SPLITS if (keys := _keys(path, name))}
    fields = {
        "train_split": config.train_split,
        "probe_split": config.probe_split,
        "test_split": config.test_split,
    }
    if not found and not any(fields.values()):
        return _held_out(config, path)
    for field, name in fields.items():
        if name and name not in found:
            raise ValueError(
                f"{path} has no split {name!r}: set --config.data.{field} to one of "
                f"{', '.join(found)}."
            )
    train = config.train_split or "train"
    test = config.test_split or next(
        (name for name in ("test", "validation", "val") if name in found), ""
    )
    if train not in found:
        raise ValueError(
            f"{path} has {', '.join(found)} and no train: set --config.data.train_split to one of "
            "them."
        )
    everything = slice(None)
    return Splits(
        _array_split(config, path, train, found[train], everything),
        _array_split(config, path, config.probe_split, found[config.probe_split], everything)
        if config.probe_split
        else None,
        _array_split(config, path, test, found[test], everything) if test else None,
    )


def _held_out(config: Any, path: Path) -> Splits:
    """All images of the file; with labels every fifth is held out."""
    names = _open(path)
    images = next((key for key in ("images", "x", "data") if key in names), None)
    labels = next((key for key in ("labels", "y", "targets") if key in names), None)
    if images is None:
        raise ValueError(
            f"{path} holds {', '.join(names) or 'nothing'}, and no images. Save it with "
            f"np.savez({path.name!r}, "
            "images=uint8 [n, H, W, C], labels=integers [n]), labels if there are any."
        )
    if labels is None:
        print(f"note: {path} has no labels: kNN and probes are off, all else stays on")
        return Splits(_array_split(config, path, "train", (images, None), slice(None)), None, None)
    print(f"note: {path} has no test images; every fifth image is held out for kNN and probes")
    every = np.arange(len(names[images]))
    held = every % HELD_OUT == HELD_OUT - 1
    return Splits(
        _array_split(config, path, "train", (images, labels), every[~held]),
        None,
        _array_split(config, path, "test", (images, labels), every[held]),
    )


def _keys(path: Path, split: str) -> Keys | None:
    """The names under which the file has a split's images and labels, if it has them."""
    names = _open(path)
    pairs = ((f"{split}_images", f"{split}_labels"), (f"x_{split}", f"y_{split}"))
    return next(
        (
            (images, labels if labels in names else None)
            for images, labels in pairs
            if images in names
        ),
        None,
    )


def _array_split(config: Any, path: Path, name: str, keys: Keys, rows: Any) -> Split:
    images, labels = _open(path)[keys[0]], None if keys[1] is None else _open(path)[keys[1]]
    if (
        images.dtype != np.uint8
        or images.ndim not in (3, 4)
        or images.shape[3:] not in ((), (1,), (3,))
    ):
        raise ValueError(
            f"{keys[0]} of {path} is {images.dtype} {list(images.shape)}; it must be uint8 [n, H, "
            "W], or [n, H, W, C] "
            "with C = 1 or 3."
        )
    if labels is not None:
        labels = labels.reshape(-1)
        if (
            len(labels) != len(images)
            or not np.issubdtype(labels.dtype, np.integer)
            or labels.min(initial=0) < 0
        ):
            raise ValueError(
                f"{keys[1]} of {path} must be {len(images)} integers from 0 on, one for each image."
            )
    classes = (
        None
        if labels is None
        else [str(number) for number in range(int(labels.max(initial=0)) + 1)]
    )
    places = np.arange(len(images))[rows]
    status = path.stat()
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}|{keys}|{len(places)}"

    def read(numbers: Sequence[int]) -> list[Content]:
        # By way of the path, so that a worker process reads the file itself.
        images = _open(path)[keys[0]]
        return [
            (images[place], -1 if labels is None else int(labels[place]))
            for place in places[list(numbers)]
        ]

    channels = images.shape[3] if images.ndim == 4 else 1
    return Split(
        f"{config.name}/{name}",
        identity,
        len(places),
        classes,
        channels,
        read,
        lambda i: f"{path}, image {places[i]}",
    )


@functools.lru_cache(maxsize=2)
def _open(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (
        Exception
    ) as error:  # zipfile's, zlib's and NumPy's own, among them AttributeError for a single array
        raise ValueError(
            f"{path} cannot be read as .npz ({error}). Save it again with np.savez."
        ) from error


def _records(config: Any, path: Path) -> Splits:
    if (path / "dataset_info.json").exists():
        from sslx.data.records import prepared_splits

        return prepared_splits(config, path)
    files = [path] if path.is_file() else sorted(path.glob("*array_record*"))
    if not files:
        raise ValueError(
            f"{path} has neither a TFDS data set (dataset_info.json) nor array_record files."
        )
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    try:
        source = ArrayRecordDataSource([str(file) for file in files])
        count = len(source)
    except Exception as error:  # the reader's errors are its own
        raise ValueError(
            f"{files[0]} or one beside it is damaged, or no array_record file ({error})."
        ) from error
    print(f"note: {path} has no labels: kNN and probes are off, all else stays on")
    stats = [
        (file.name, status.st_size, status.st_mtime_ns)
        for file in files
        for status in [file.stat()]
    ]

    def read(numbers: Sequence[int]) -> list[Content]:
        try:
            return [(content, -1) for content in source.__getitems__(list(numbers))]
        except Exception as error:  # the reader's errors are its own
            raise ValueError(f"{path} is damaged ({error}). Write it again.") from error

    return Splits(
        Split(
            f"{config.name}/train",
            f"{path.resolve()}|{stats}",
            count,
            None,
            config.channels,
            read,
            lambda i: f"{path}, record {i}",
        ),
        None,
        None,
    )
