"""ImageNet of 2012, the hundred of its classes known as ImageNet-100, and Tiny ImageNet."""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from sslx.data.records import INFO
from sslx.datasets.dataset import Contents, DataSet, Example, published
from sslx.datasets.sets.archive import damaged, members, nested_tar_members, read_lists

TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
TINY = "tiny-imagenet-200.zip"
SUFFIXES = (".jpeg", ".jpg", ".png")

Named = tuple[str, str, bytes]  # WordNet's id of the class, name of the image, the file's bytes
Numbers = dict[str, int]  # of the classes, by WordNet's id
Read = Callable[[Numbers], Iterator[Example]]


def _read_imagenet2012(paths: Mapping[str, Path]) -> Contents:
    return _of_tars(paths, _published("labels.txt"))


def _read_imagenet100(paths: Mapping[str, Path]) -> Contents:
    # Sorted, as torchvision's ImageFolder numbers class folders, from which CMC and solo-learn
    # train.
    lines = Path(__file__).with_name("imagenet100.txt").read_text().splitlines()
    return _of_tars(paths, sorted(line for line in lines if not line.startswith("#")))


def _read_tiny_imagenet(paths: Mapping[str, Path]) -> Contents:
    path = paths[TINY]
    (synsets,) = read_lists(path, ["tiny-imagenet-200/wnids.txt"])
    return _contents(
        sorted(synsets.split()), partial(_tiny_train, path), partial(_tiny_validation, path)
    )


def _of_tars(paths: Mapping[str, Path], synsets: list[str]) -> Contents:
    """The classes of the two archives; either may be a folder of images, or one of records."""
    return _contents(
        synsets, partial(_train, paths[TRAIN]), partial(_validation, paths[VALIDATION])
    )


def _contents(synsets: list[str], train: Read, validation: Read) -> Contents:
    numbers = {synset: number for number, synset in enumerate(synsets)}
    splits = {"train": partial(train, numbers), "validation": partial(validation, numbers)}
    return Contents(tuple(synsets), splits)


def _published(file: str) -> list[str]:
    """The lines of a file on ImageNet that is part of TFDS."""
    import tensorflow_datasets as tfds  # here, as it takes a while

    return tfds.core.tfds_path(f"datasets/imagenet2012/{file}").read_text().split()


def _train(path: Path, numbers: Numbers) -> Iterator[Example]:
    if (path / INFO).exists():
        return _records(path, "train", numbers)
    return _numbered(path, numbers, (_folders if path.is_dir() else _class_tars)(path, numbers))


def _validation(path: Path, numbers: Numbers) -> Iterator[Example]:
    if (path / INFO).exists():
        yield from _records(path, "validation", numbers)
        return
    if any((path / synset).is_dir() for synset in numbers):
        for synset, name, content in _folders(path, numbers):
            yield name, content, numbers[synset]
        return
    synsets = _published("validation_labels.txt")

    def synset_of(name: str) -> str:
        number = re.fullmatch(r"ILSVRC2012_val_(\d{8})\.\w+", name)
        if not number or not 1 <= int(number[1]) <= len(synsets):
            raise damaged(path, f"{name} is none of the {len(synsets)} validation images")
        return synsets[int(number[1]) - 1]

    files = _images if path.is_dir() else members
    for name, content in files(path, lambda name: synset_of(name) in numbers):
        yield name, content, numbers[synset_of(name)]


def _tiny_train(path: Path, numbers: Numbers) -> Iterator[Example]:
    def named() -> Iterator[Named]:
        wanted = re.compile(r"tiny-imagenet-200/train/\w+/images/.*\.JPEG").fullmatch
        for name, content in members(path, wanted):
            yield PurePosixPath(name).parts[2], PurePosixPath(name).name, content

    return _numbered(path, numbers, named())


def _tiny_validation(path: Path, numbers: Numbers) -> Iterator[Example]:
    (text,) = read_lists(path, ["tiny-imagenet-200/val/val_annotations.txt"])
    rows = [line.split("\t") for line in text.splitlines() if "\t" in line]
    synsets = {name: synset for name, synset, *_ in rows}
    wanted = re.compile(r"tiny-imagenet-200/val/images/.*\.JPEG").fullmatch
    for name, content in members(path, wanted):
        file = PurePosixPath(name).name
        if synsets.get(file) not in numbers:
            reason = f"val_annotations.txt gives {file} none of the {len(numbers)} classes"
            raise damaged(path, reason)
        yield file, content, numbers[synsets[file]]


def _numbered(path: Path, numbers: Numbers, images: Iterator[Named]) -> Iterator[Example]:
    """The training images with the numbers of their classes, all of which must occur."""
    missing = set(numbers)
    for synset, name, content in images:
        if synset not in numbers:
            reason = f"{name} is of {synset}, which is none of the {len(numbers)} classes"
            raise damaged(path, reason)
        missing.discard(synset)
        yield name, content, numbers[synset]
    if missing:
        raise damaged(path, f"it has no images of {min(missing)}")


def _records(folder: Path, split: str, numbers: Numbers) -> Iterator[Example]:
    """Images of a prepared ImageNet, ours or TFDS's, whose classes are wanted."""
    import tensorflow_datasets as tfds  # here, as it takes a while

    from sslx.datasets.builders import stored_records

    builder = tfds.builder_from_directory(folder)
    synsets = builder.info.features["label"].names
    for _, record in stored_records(builder, split):
        if (number := numbers.get(synsets[record["label"]])) is not None:
            yield record["file_name"].decode(), record["image"], number


def _class_tars(path: Path, synsets: Numbers) -> Iterator[Named]:
    wanted = {f"{synset}.tar" for synset in synsets}
    for tar, name, content in nested_tar_members(path, wanted.__contains__):
        yield tar.removesuffix(".tar"), name, content


def _folders(path: Path, synsets: Numbers) -> Iterator[Named]:
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
    archives=published("imagenet2012"),
    read=_read_imagenet2012,
    sizes={"train": 1_281_167, "validation": 50_000},
    classes=1000,
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
    source="Tian, Krishnan, Isola, Contrastive Multiview Coding, 2020: github.com/HobbitLong/CMC",
    disk=16_000_000_000,
    within="imagenet2012",
)

TINY_IMAGENET = DataSet(
    name="tiny_imagenet",
    title="photographs of 64x64 pixels in two hundred classes of ImageNet",
    archives=published("tiny_imagenet"),
    read=_read_tiny_imagenet,
    sizes={"train": 100_000, "validation": 10_000},
    classes=200,
    shape=(64, 64, 3),
    test="validation",
    home="http://cs231n.stanford.edu/",
    source="Le, Yang, Tiny ImageNet Challenge, 2015; its test images have no published labels",
    disk=250_000_000,
)
