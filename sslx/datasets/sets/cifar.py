"""CIFAR-10 and CIFAR-100 in their binary versions, which need no pickle."""

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from sslx.datasets.dataset import Archive, Contents, DataSet, Example
from sslx.datasets.sets.archive import class_number, damaged, tar_member, tar_members

PIXELS = 3 * 32 * 32  # of an image: all of the red ones first, then the green, then the blue


def _read_cifar10(paths: Mapping[str, Path]) -> Contents:
    folder = "cifar-10-batches-bin"
    batches = {"train": [f"{folder}/data_batch_{number}.bin" for number in range(1, 6)]}
    batches["test"] = [f"{folder}/test_batch.bin"]
    return _contents(
        paths["cifar-10-binary.tar.gz"], f"{folder}/batches.meta.txt", batches, labels=1
    )


def _read_cifar100(paths: Mapping[str, Path]) -> Contents:
    folder = "cifar-100-binary"
    batches = {"train": [f"{folder}/train.bin"], "test": [f"{folder}/test.bin"]}
    # The label of the twenty coarse classes precedes that of the hundred fine ones, which are the
    # data set's classes.
    return _contents(
        paths["cifar-100-binary.tar.gz"], f"{folder}/fine_label_names.txt", batches, labels=2
    )


def _contents(path: Path, names: str, batches: dict[str, list[str]], *, labels: int) -> Contents:
    classes = tuple(tar_member(path, names).decode("ascii", "replace").split())
    return Contents(
        classes,
        {
            split: functools.partial(_examples, path, split, members, labels, len(classes))
            for split, members in batches.items()
        },
    )


def _examples(
    path: Path, split: str, members: list[str], labels: int, classes: int
) -> Iterator[Example]:
    found = dict(tar_members(path, members.__contains__))
    number = 0
    for member in members:
        if member not in found:
            raise damaged(path, f"it has no {member}")
        if len(found[member]) % (labels + PIXELS):
            raise damaged(
                path, f"{member} is no whole number of records of {labels + PIXELS} bytes"
            )
        for record in np.frombuffer(found[member], np.uint8).reshape(-1, labels + PIXELS):
            image = record[labels:].reshape(3, 32, 32).transpose(1, 2, 0)
            yield (
                f"{split}_{number:05}",
                image,
                class_number(path, int(record[labels - 1]), classes),
            )
            number += 1


CIFAR10 = DataSet(
    name="cifar10",
    title="objects and animals in ten classes, 32x32 pixels",
    archives=(
        Archive(
            "cifar-10-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            170_052_171,
            ("sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",),
        ),
    ),
    read=_read_cifar10,
    sizes={"train": 50_000, "test": 10_000},
    classes=10,
    shape=(32, 32, 3),
    train="train",
    probe="train",
    test="test",
    licence="not stated",
    home="https://www.cs.toronto.edu/~kriz/cifar.html",
    source="Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    disk=150_000_000,
)

CIFAR100 = CIFAR10._replace(
    name="cifar100",
    title="objects, animals and plants in a hundred classes, 32x32 pixels",
    archives=(
        Archive(
            "cifar-100-binary.tar.gz",
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            168_513_733,
            ("sha256:58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",),
        ),
    ),
    read=_read_cifar100,
    classes=100,
)
