"""ImageNet of 2012, the hundred of its classes known as ImageNet-100, and Tiny ImageNet."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from sslx.data.records import INFO
from sslx.datasets.dataset import Contents, Example, contents
from sslx.datasets.sets.archive import damaged, members, nested_tar_members, read_lists

ARCHIVES = {"train": "ILSVRC2012_img_train.tar", "validation": "ILSVRC2012_img_val.tar"}
SUFFIXES = (".jpeg", ".jpg", ".png")

Named = tuple[str, str, bytes]  # WordNet's id of the class, name of the image, the file's bytes
Numbers = dict[str, int]  # of the classes, by WordNet's id


def read_imagenet2012(paths: Mapping[str, Path]) -> Contents:
    """Read the thousand classes; either archive may be a folder of images, or one of records."""
    return _classes_of(paths, _published("labels.txt"))


def read_imagenet100(paths: Mapping[str, Path]) -> Contents:
    """Read the hundred classes of `imagenet100.txt`, from the same archives."""
    # Sorted, as torchvision's ImageFolder, with which CMC and solo-learn train, numbers classes.
    lines = Path(__file__).with_name("imagenet100.txt").read_text().splitlines()
    return _classes_of(paths, sorted(line for line in lines if not line.startswith("#")))


def _classes_of(paths: Mapping[str, Path], synsets: Sequence[str]) -> Contents:
    numbers = {synset: number for number, synset in enumerate(synsets)}

    def examples(split: str) -> Iterator[Example]:
        path = paths[ARCHIVES[split]]
        if (path / INFO).exists():
            return _records(path, split, numbers)
        read = _train if split == "train" else _validation
        return read(path, numbers)

    return contents(synsets, ("train", "validation"), examples)


def read_tiny_imagenet(paths: Mapping[str, Path]) -> Contents:
    """Read the training and the validation images; the test images have no published labels."""
    (path,) = paths.values()
    (text,) = read_lists(path, ["tiny-imagenet-200/wnids.txt"])
    synsets = sorted(text.split())
    numbers = {synset: number for number, synset in enumerate(synsets)}

    def examples(split: str) -> Iterator[Example]:
        read = _tiny_train if split == "train" else _tiny_validation
        return read(path, numbers)

    return contents(synsets, ("train", "validation"), examples)


def _published(file: str) -> list[str]:
    """The lines of a file on ImageNet that is part of TFDS."""
    import tensorflow_datasets as tfds  # here, as it takes a while

    return tfds.core.tfds_path(f"datasets/imagenet2012/{file}").read_text().split()


def _train(path: Path, numbers: Numbers) -> Iterator[Example]:
    read = _folders if path.is_dir() else _class_tars
    return _numbered(path, numbers, read(path, numbers))


def _validation(path: Path, numbers: Numbers) -> Iterator[Example]:
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
    wanted = re.compile(r"tiny-imagenet-200/train/\w+/images/.*\.JPEG").fullmatch
    files = ((PurePosixPath(name), content) for name, content in members(path, wanted))
    named = ((file.parts[2], file.name, content) for file, content in files)
    return _numbered(path, numbers, named)


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
            classes = f"none of the {len(numbers)} classes"
            raise damaged(path, f"{name} is of {synset}, which is {classes}")
        missing.discard(synset)
        yield name, content, numbers[synset]
    if missing:
        raise damaged(path, f"it has no images of {min(missing)}")


def _records(folder: Path, split: str, numbers: Numbers) -> Iterator[Example]:
    """Images of a prepared ImageNet, ours or TFDS's, whose classes are wanted."""
    from sslx.datasets.builders import stored  # here, as TFDS takes a while

    classes, splits = stored(folder)
    for name, image, label in splits[split]():
        if (number := numbers.get(classes[int(label)])) is not None:
            yield name, image, number


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
