"""Data sets of photographs whose lists, or folders, assign images to splits and classes."""

import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from sslx.datasets.dataset import Contents, Example, class_numbers, contents
from sslx.datasets.sets.archive import damaged, members, read_lists, read_members

BANNER = 20  # pixel rows at the bottom of an aircraft's photograph that name its author


class Listed(NamedTuple):
    """One image of a list."""

    key: str  # its name in the data set
    member: str  # and in the archive
    label: int | str  # its class: the number, from 0, or the name


def read_aircraft(paths: Mapping[str, Path]) -> Contents:
    """Read FGVC-Aircraft by variants, without the banners."""
    (path,) = paths.values()
    folder = "fgvc-aircraft-2013b/data"
    lists = [f"{folder}/images_variant_{name}.txt" for name in ("train", "val", "test")]
    names, *texts = read_lists(path, [f"{folder}/variants.txt", *lists])
    # By line, as names may hold blanks.
    classes = [line.strip() for line in names.splitlines() if line.strip()]
    entries = {}
    for split, text in zip(("train", "validation", "test"), texts, strict=True):
        entries[split] = [
            Listed(f"{image}.jpg", f"{folder}/images/{image}.jpg", variant)
            for image, variant in _rows(path, text, 2)
        ]
    return _listed(path, entries, classes, path, cut_banner)


def cut_banner(content: bytes) -> bytes:
    """Return a JPEG of the image without its lowest 20 rows; raises what Pillow raises."""
    with Image.open(io.BytesIO(content)) as file:
        image = file.convert("RGB")
    upper = image.crop((0, 0, image.width, image.height - BANNER))
    buffer = io.BytesIO()
    # PNG would be two to ten times as large. At this quality, with colour in full resolution,
    # photographs keep a PSNR of 44 dB or more, and the same bytes come out every time.
    upper.save(buffer, format="JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def read_textures(paths: Mapping[str, Path]) -> Contents:
    """Read the first fold of DTD."""
    (path,) = paths.values()
    texts = read_lists(path, [f"dtd/labels/{name}1.txt" for name in ("train", "val", "test")])
    names = dict(zip(("train", "validation", "test"), map(str.split, texts), strict=True))
    classes = sorted({name.partition("/")[0] for split in names.values() for name in split})
    return _listed(path, _by_folder("dtd/images/", names), classes, path)


def read_dishes(paths: Mapping[str, Path]) -> Contents:
    """Read Food-101."""
    (path,) = paths.values()
    texts = read_lists(path, [f"food-101/meta/{name}.txt" for name in ("classes", "train", "test")])
    classes, *names = map(str.split, texts)
    files = [[f"{name}.jpg" for name in own] for own in names]
    by_split = dict(zip(("train", "validation"), files, strict=True))
    return _listed(path, _by_folder("food-101/images/", by_split), classes, path)


def read_scenes(paths: Mapping[str, Path]) -> Contents:
    """Read the first partition of SUN397."""
    lists = paths["Partitions.zip"]
    texts = read_lists(lists, ["ClassName.txt", "Training_01.txt", "Testing_01.txt"])
    classes, train, test = map(str.split, texts)
    entries = _by_folder("SUN397", {"train": train, "test": test})
    return _listed(paths["SUN397.tar.gz"], entries, classes, lists)


def read_pets(paths: Mapping[str, Path]) -> Contents:
    """Read Oxford-IIIT Pet by breeds."""
    path, lists = paths["images.tar.gz"], paths["annotations.tar.gz"]
    texts = read_lists(lists, ["annotations/trainval.txt", "annotations/test.txt"])
    breeds: dict[int, str] = {}
    entries: dict[str, list[Listed]] = {"train": [], "test": []}
    for split, text in zip(entries, texts, strict=True):
        for name, number, _, _ in _rows(lists, text, 4):
            label = int(number) - 1 if number.isdecimal() else -1
            entries[split].append(Listed(f"{name}.jpg", f"images/{name}.jpg", label))
            if label >= 0:
                breeds[label] = name.rpartition("_")[0]
    classes = [breeds[label] for label in sorted(breeds)]
    return _listed(path, entries, classes, lists)


def read_birds(paths: Mapping[str, Path]) -> Contents:
    """Read CUB-200-2011."""
    (path,) = paths.values()
    files = ("classes", "images", "image_class_labels", "train_test_split")
    texts = read_lists(path, [f"CUB_200_2011/{name}.txt" for name in files])
    species, names, labels, trains = (dict(_rows(path, text, 2)) for text in texts)
    entries = {}
    for split, flag in (("train", "1"), ("test", "0")):
        entries[split] = [
            Listed(name, f"CUB_200_2011/images/{name}", species.get(labels.get(image, ""), ""))
            for image, name in names.items()
            if trains.get(image) == flag
        ]
    return _listed(path, entries, list(species.values()), path)


def read_flowers(paths: Mapping[str, Path], names: tuple[str, ...]) -> Contents:
    """Read Oxford Flowers."""
    lists, labels = paths["setid.mat"], paths["imagelabels.mat"]
    numbers = dict(enumerate(_matlab(labels, labels.read_bytes(), "labels").tolist(), start=1))
    entries = {}
    for split, array in {"train": "trnid", "validation": "valid", "test": "tstid"}.items():
        entries[split] = [
            Listed(f"image_{image:05}.jpg", f"jpg/image_{image:05}.jpg", numbers.get(image, 0) - 1)
            for image in _matlab(lists, lists.read_bytes(), array).tolist()
        ]
    return _listed(paths["102flowers.tgz"], entries, names, labels)


def read_cars(paths: Mapping[str, Path]) -> Contents:
    """Read Stanford Cars."""
    devkit, labels = paths["car_devkit.tgz"], paths["cars_test_annos_withlabels.mat"]
    meta, train = read_members(devkit, ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat"])
    classes = [str(name) for name in _matlab(devkit, meta, "class_names")]
    splits: dict[str, Callable[[], Iterator[Example]]] = {}
    for split, lists, content in (("train", devkit, train), ("test", labels, labels.read_bytes())):
        rows = _matlab(lists, content, "annotations")
        entries = [
            Listed(str(image), f"cars_{split}/{image}", int(label) - 1)
            for image, label in zip(rows["fname"], rows["class"], strict=True)
        ]
        archive = paths[f"cars_{split}.tgz"]
        splits |= _listed(archive, {split: entries}, classes, lists).splits
    return Contents(tuple(classes), splits)


def read_land(paths: Mapping[str, Path], names: tuple[str, ...]) -> Contents:
    """Read EuroSAT, whose images lie in the folders of their classes."""
    (path,) = paths.values()

    def examples(split: str) -> Iterator[Example]:
        wanted = re.compile(r"2750/.*\.jpg", re.DOTALL).fullmatch
        for name, content in members(path, wanted):
            land, _, file = name.removeprefix("2750/").partition("/")
            if land not in names:
                raise damaged(path, f"{name} is in none of the {len(names)} class folders")
            # TFDS's key, so that train[:80%] holds the same images as that of its own eurosat/rgb:
            # both store the records in the order of one hash.
            yield f"{land}_{file}", content, names.index(land)

    return contents(names, ["train"], examples)


def _by_folder(place: str, names: Mapping[str, Sequence[str]]) -> dict[str, list[Listed]]:
    """The images CLASS/FILE of each split, which `place` precedes in the archive."""
    return {
        split: [Listed(name, place + name, name.rpartition("/")[0]) for name in own]
        for split, own in names.items()
    }


def _listed(
    path: Path,
    entries: Mapping[str, Sequence[Listed]],
    classes: Sequence[str],
    lists: Path,
    convert: Callable[[bytes], bytes] = bytes,
) -> Contents:
    """The listed images of each split, converted, in the order of the archive `path`.

    Raises ValueError for labels, which come from the file `lists`, that are not in `classes`; the
    splits for a damaged archive, images that are not in it, and one that `convert` refuses.
    """
    numbers = class_numbers(classes)
    for own in entries.values():
        if wrong := [entry for entry in own if entry.label not in numbers]:
            reason = f"{len(wrong)} of its images have none of the {len(classes)} classes"
            raise damaged(lists, f"{reason}, the first: {wrong[0].key}")

    def examples(split: str) -> Iterator[Example]:
        left = {entry.member: entry for entry in entries[split]}
        for name, content in members(path, left.__contains__):
            entry = left.pop(name)
            try:
                converted = convert(content)
            except Exception as error:  # Pillow's decoders raise a dozen types
                raise damaged(path, f"{name} cannot be read as an image") from error
            yield entry.key, converted, numbers[entry.label]
            if not left:  # the rest may be gigabytes
                return
        if left:
            reason = f"it lacks {len(left)} of {len(entries[split])} images"
            raise damaged(path, f"{reason}, the first: {next(iter(left))}")

    return contents(classes, entries, examples)


def _rows(path: Path, text: str, columns: int) -> list[list[str]]:
    """The lines of a list, cut at blanks; the last column may hold some."""
    rows = [line.strip().split(maxsplit=columns - 1) for line in text.splitlines() if line.strip()]
    if short := [row for row in rows if len(row) < columns]:
        line = " ".join(short[0])
        raise damaged(path, f"a list has the line {line!r}, which has not {columns} columns")
    return rows


def _matlab(path: Path, content: bytes, name: str) -> np.ndarray:
    """The array `name` of a MATLAB file's bytes, without axes of length 1."""
    from scipy.io import loadmat  # here, as it takes a while and few data sets need it

    try:
        return np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)[name])
    except Exception as error:  # a damaged file makes scipy raise a dozen types
        raise damaged(path, f"its MATLAB array {name!r} cannot be read") from error
