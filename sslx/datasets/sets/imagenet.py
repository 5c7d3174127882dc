"""ImageNet of 2012, the hundred of its classes that are known as ImageNet-100, and Tiny ImageNet."""

import functools
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from sslx.datasets.dataset import Archive, Contents, DataSet, Example
from sslx.datasets.sets.archive import (
    damaged,
    nested_tar_members,
    tar_members,
    zip_member,
    zip_members,
)

TRAIN, VALIDATION, TINY = (
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
    "tiny-imagenet-200.zip",
)
SUFFIXES = (".jpeg", ".jpg", ".png")

# WordNet's id of the class, name of the image, the file's bytes.
Named = tuple[str, str, bytes]


def _read_imagenet2012(paths: Mapping[str, Path]) -> Contents:
    return _contents(paths, _published("labels.txt"))


def _read_imagenet100(paths: Mapping[str, Path]) -> Contents:
    # Sorted, as torchvision's ImageFolder numbers class folders, from which CMC and solo-learn
    # train.
    lines = Path(__file__).with_name("imagenet100.txt").read_text().splitlines()
    return _contents(paths, sorted(line for line in lines if not line.startswith("#")))


def _read_tiny_imagenet(paths: Mapping[str, Path]) -> Contents:
    path = paths[TINY]
    synsets = sorted(
        zip_member(path, "tiny-imagenet-200/wnids.txt").decode("ascii", "replace").split()
    )
    numbers = {synset: number for number, synset in enumerate(synsets)}
    return Contents(
        tuple(synsets),
        {
            "train": functools.partial(_tiny_train, path, numbers),
            "validation": functools.partial(_tiny_validation, path, numbers),
        },
    )


def _contents(paths: Mapping[str, Path], synsets: list[str]) -> Contents:
    """The classes `synsets` of the two archives; either may be a folder with the images unpacked,
    or with records.
    """
    numbers = {synset: number for number, synset in enumerate(synsets)}
    return Contents(
        tuple(synsets),
        {
            "train": functools.partial(_train, paths[TRAIN], numbers),
            "validation": functools.partial(_validation, paths[VALIDATION], numbers),
        },
    )


def _published(file: str) -> list[str]:
    """The lines of a file on ImageNet that is part of TFDS."""
    import tensorflow_datasets as tfds

    return tfds.core.tfds_path(f"datasets/imagenet2012/{file}").read_text().split()


def _train(path: Path, numbers: dict[str, int]) -> Iterator[Example]:
    if _is_prepared(path):
        return _records(path, "train", numbers)
    return _numbered(
        path,
        numbers,
        _class_folders(path, numbers) if path.is_dir() else _class_tars(path, numbers),
    )


def _validation(path: Path, numbers: dict[str, int]) -> Iterator[Example]:
    if _is_prepared(path):
        yield from _records(path, "validation", numbers)
        return
    if any((path / synset).is_dir() for synset in numbers):
        for synset, name, content in _class_folders(path, numbers):
            yield name, content, numbers[synset]
        return
    synsets = _published("validation_labels.txt")

    def synset_of(name: str) -> str:
        number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.\w+", name)
        if not number or not 1 <= int(number[1]) <= len(synsets):
            raise damaged(path, f"{name} is none of the {len(synsets)} validation images")
        return synsets[int(number[1]) - 1]

    files = _images if path.is_dir() else tar_members
    for name, content in files(path, lambda name: synset_of(name) in numbers):
        yield name, content, numbers[synset_of(name)]


def _tiny_train(path: Path, numbers: dict[str, int]) -> Iterator[Example]:
    def named() -> Iterator[Named]:
        for name, content in zip_members(
            path, re.compile(r"tiny-imagenet-200/train/\w+/images/.*\.JPEG").fullmatch
        ):
            yield PurePosixPath(name).parts[2], PurePosixPath(name).name, content

    return _numbered(path, numbers, named())


def _tiny_validation(path: Path, numbers: dict[str, int]) -> Iterator[Example]:
    lines = (
        zip_member(path, "tiny-imagenet-200/val/val_annotations.txt")
        .decode("ascii", "replace")
        .splitlines()
    )
    synsets = {line.split("\t")[0]: line.split("\t")[1] for line in lines if "\t" in line}
    for name, content in zip_members(
        path, re.compile(r"tiny-imagenet-200/val/images/.*\.JPEG").fullmatch
    ):
        file = PurePosixPath(name).name
        if synsets.get(file) not in numbers:
            raise damaged(
                path, f"val_annotations.txt gives {file} none of the {len(numbers)} classes"
            )
        yield file, content, numbers[synsets[file]]


def _numbered(path: Path, numbers: dict[str, int], found: Iterator[Named]) -> Iterator[Example]:
    """The training images with the numbers of their classes, all of which must occur."""
    missing = set(numbers)
    for synset, name, content in found:
        if synset not in numbers:
            raise damaged(
                path, f"{name} is of {synset}, which is none of the {len(numbers)} classes"
            )
        missing.discard(synset)
        yield name, content, numbers[synset]
    if missing:
        raise damaged(path, f"it has no images of {min(missing)}")


def _is_prepared(path: Path) -> bool:
    return (path / "dataset_info.json").exists()


def _records(folder: Path, split: str, numbers: dict[str, int]) -> Iterator[Example]:
    """Images of a prepared ImageNet, ours or TFDS's, whose classes are among those asked for."""
    import tensorflow_datasets as tfds

    from sslx.datasets.builders import stored_records

    builder = tfds.builder_from_directory(folder)
    synsets = builder.info.features["label"].names
    for _, record in stored_records(builder, split):
        if (number := numbers.get(synsets[record["label"]])) is not None:
            yield record["file_name"].decode(), record["image"], number


def _class_tars(path: Path, synsets: Mapping[str, int]) -> Iterator[Named]:
    for tar, name, content in nested_tar_members(
        path, lambda name: name.removesuffix(".tar") in synsets
    ):
        yield tar.removesuffix(".tar"), name, content


def _class_folders(path: Path, synsets: Mapping[str, int]) -> Iterator[Named]:
    for synset in synsets:
        for name, content in _images(path / synset, lambda name: True):
            yield synset, name, content


def _images(folder: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    for file in sorted(folder.glob("*")):
        if file.suffix.lower() in SUFFIXES and wanted(file.name):
            yield file.name, file.read_bytes()


IMAGENET2012 = DataSet(
    name="imagenet2012",
    title="photographs in a thousand classes of WordNet (ILSVRC 2012)",
    archives=(
        Archive(
            TRAIN,
            size=147_897_477_120,
            digests=(
                "sha256:b08200a27a8e34218a0e58fde36b0fe8f73bc377f4acea2d91602057c3ca45bb",
                "md5:1d675b47d978889d74fa0da5fadfb00e",
            ),
        ),
        Archive(
            VALIDATION,
            size=6_744_924_160,
            digests=(
                "sha256:c7e06a6c0baccf06d8dbeb6577d71efff84673a5dbdd50633ab44f8ea0456ae0",
                "md5:29b22e2961454d5413ddabcf34fc5622",
            ),
        ),
    ),
    read=_read_imagenet2012,
    sizes={"train": 1_281_167, "validation": 50_000},
    classes=1000,
    shape=(None, None, 3),
    train="train",
    probe="train",
    test="validation",
    licence="non-commercial research and education; terms of access at image-net.org",
    home="https://image-net.org/challenges/LSVRC/2012/",
    source="Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV, 2015",
    disk=154_000_000_000,
)

IMAGENET100 = IMAGENET2012._replace(
    name="imagenet100",
    title="the hundred classes of ImageNet that Contrastive Multiview Coding chose",
    read=_read_imagenet100,
    sizes={"train": 126_689, "validation": 5_000},
    classes=100,
    source=(
        "Tian, Krishnan, Isola, Contrastive Multiview Coding, 2020: imagenet100.txt of "
        "github.com/HobbitLong/CMC"
    ),
    disk=16_000_000_000,
    within="imagenet2012",
)

TINY_IMAGENET = DataSet(
    name="tiny_imagenet",
    title="photographs of 64x64 pixels in two hundred classes of ImageNet",
    archives=(
        Archive(
            TINY,
            "http://cs231n.stanford.edu/tiny-imagenet-200.zip",
            248_100_043,
            ("md5:90528d7ca1a48142e341f4ef8d21d0de",),
        ),
    ),
    read=_read_tiny_imagenet,
    sizes={"train": 100_000, "validation": 10_000},
    classes=200,
    shape=(64, 64, 3),
    train="train",
    probe="train",
    test="validation",
    licence="not stated",
    home="http://cs231n.stanford.edu/",
    source=(
        "Le, Yang, Tiny ImageNet Visual Recognition Challenge, 2015; its test images have no "
        "published labels"
    ),
    disk=250_000_000,
)
