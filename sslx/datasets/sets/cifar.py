"""CIFAR-10 and CIFAR-100 in their binary versions, which need no pickle."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sslx.datasets.dataset import Contents, DataSet, Example, published
from sslx.datasets.sets.archive import class_number, damaged, read_lists, read_members

PIXELS = 3 * 32 * 32  # of an image: all of the red ones first, then the green, then the blue


def _read_cifar10(paths: Mapping[str, Path]) -> Contents:
    folder = "cifar-10-batches-bin"
    batches = {"train": [f"{folder}/data_batch_{number}.bin" for number in range(1, 6)]}
    batches["test"] = [f"{folder}/test_batch.bin"]
    path = paths["cifar-10-binary.tar.gz"]
    return _contents(path, f"{folder}/batches.meta.txt", batches, labels=1)


def _read_cifar100(paths: Mapping[str, Path]) -> Contents:
    folder = "cifar-100-binary"
    batches = {"train": [f"{folder}/train.bin"], "test": [f"{folder}/test.bin"]}
    path = paths["cifar-100-binary.tar.gz"]
    # The label of the twenty coarse classes precedes that of the hundred fine ones, which are the
    # data set's classes.
    return _contents(path, f"{folder}/fine_label_names.txt", batches, labels=2)


def _contents(path: Path, names: str, batches: dict[str, list[str]], *, labels: int) -> Contents:
    classes = tuple(read_lists(path, [names])[0].split())
    examples = functools.partial(_examples, path, labels, len(classes))
    return Contents(
        classes,
        {split: functools.partial(examples, split, members) for split, members in batches.items()},
    )


def _examples(
    path: Path, labels: int, classes: int, split: str, members: list[str]
) -> Iterator[Example]:
    size, number = labels + PIXELS, 0
    for member, content in zip(members, read_members(path, members), strict=True):
        if len(content) % size:
            raise damaged(path, f"{member} is no whole number of records of {size} bytes")
        for record in np.frombuffer(content, np.uint8).reshape(-1, size):
            image = record[labels:].reshape(3, 32, 32).transpose(1, 2, 0)
            label = class_number(path, int(record[labels - 1]), classes)
            yield f"{split}_{number:05}", image, label
            number += 1


CIFAR10 = DataSet(
    name="cifar10",
    title="objects and animals in ten classes, 32x32 pixels",
    archives=published("cifar10"),
    read=_read_cifar10,
    sizes={"train": 50_000, "test": 10_000},
    classes=10,
    home="https://www.cs.toronto.edu/~kriz/cifar.html",
    source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    disk=150_000_000,
    shape=(32, 32, 3),
)

CIFAR100 = CIFAR10._replace(
    name="cifar100",
    title="objects, animals and plants in a hundred classes, 32x32 pixels",
    archives=published("cifar100"),
    read=_read_cifar100,
    classes=100,
)
