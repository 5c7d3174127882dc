"""PathMNIST, DermaMNIST and BloodMNIST of MedMNIST v2, in the four sizes that are published."""

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.datasets.dataset import Archive, Contents, DataSet, Example
from sslx.datasets.sets.archive import class_number, damaged, npz_rows

ZENODO = "https://zenodo.org/records/10519652/files"
SPLITS = {"train": "train", "validation": "val", "test": "test"}  # by what the files call them


class Family(NamedTuple):
    """What the four sizes of a data set share, and the checksums by which they differ."""

    title: str
    classes: tuple[str, ...]
    sizes: tuple[int, int, int]  # images for training, validation and test
    licence: str
    md5: dict[int, str]  # by the images' side in pixels


FAMILIES = {
    "pathmnist": Family(
        "tissue of the colon under the microscope",
        (
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
        (89_996, 10_004, 7_180),
        "CC BY 4.0",
        {
            28: "a8b06965200029087d5bd730944a56c1",
            64: "55aa9c1e0525abe5a6b9d8343a507616",
            128: "ac42d08fb904d92c244187169d1fd1d9",
            224: "2c51a510bcdc9cf8ddb2af93af1eadec",
        },
    ),
    "dermamnist": Family(
        "pigmented skin lesions",
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
        (7_007, 1_003, 2_005),
        "CC BY-NC 4.0",
        {
            28: "0744692d530f8e62ec473284d019b0c7",
            64: "b70a2f5635c6199aeaa28c31d7202e1f",
            128: "2defd784463fa5243564e855ed717de1",
            224: "8974907d8e169bef5f5b96bc506ae45d",
        },
    ),
    "bloodmnist": Family(
        "blood cells under the microscope",
        (
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
        (11_959, 1_712, 3_421),
        "CC BY 4.0",
        {
            28: "7053d0359d879ad8a5505303e11de1dc",
            64: "2b94928a2ae4916078ca51e05b6b800b",
            128: "adace1e0ed228fccda1f39692059dd4c",
            224: "b718ff6835fcbdb22ba9eacccd7b2601",
        },
    ),
}


def _read(file: str, classes: tuple[str, ...], side: int, paths: Mapping[str, Path]) -> Contents:
    return Contents(
        classes,
        {
            split: functools.partial(_examples, paths[file], split, len(classes), side)
            for split in SPLITS
        },
    )


def _examples(path: Path, split: str, classes: int, side: int) -> Iterator[Example]:
    images = npz_rows(path, f"{SPLITS[split]}_images")
    labels = npz_rows(path, f"{SPLITS[split]}_labels")
    for number, (image, label) in enumerate(itertools.zip_longest(images, labels)):
        if image is None or label is None or label.size != 1:
            raise damaged(path, f"its {SPLITS[split]} split has not one label for each image")
        if image.shape != (side, side, 3) or image.dtype != np.uint8:
            raise damaged(
                path,
                f"{SPLITS[split]}_images is no array of bytes and shape [n, {side}, {side}, 3]",
            )
        yield f"{split}_{number:05}", image, class_number(path, int(label.item()), classes)


def _data_set(name: str, side: int) -> DataSet:
    family = FAMILIES[name]
    named = name if side == 28 else f"{name}_{side}"
    file = f"{named}.npz"
    return DataSet(
        name=named,
        title=f"{family.title}, {side}x{side} pixels (MedMNIST)",
        archives=(
            Archive(file, f"{ZENODO}/{file}?download=1", digests=(f"md5:{family.md5[side]}",)),
        ),
        read=functools.partial(_read, file, family.classes, side),
        sizes=dict(zip(SPLITS, family.sizes, strict=True)),
        classes=len(family.classes),
        shape=(side, side, 3),
        train="train",
        probe="train",
        test="test",
        licence=family.licence,
        home="https://medmnist.com",
        source="Yang et al., MedMNIST v2, Scientific Data, 2023, and the package medmnist 3.0.2",
        disk=sum(family.sizes) * side * side * 3,
    )


def _as_printed(data: DataSet) -> DataSet:
    return data._replace(
        name=f"{data.name}_as_printed",
        title=(
            f"{data.title}; pretrains on all three splits as the DIET paper counts them, so on the "
            "test images too"
        ),
        train="train+validation+test",
    )


PATHMNIST, DERMAMNIST, BLOODMNIST = (_data_set(name, 28) for name in FAMILIES)
LARGER = tuple(
    _data_set(name, side) for name in FAMILIES for side in (64, 128, 224)
)  # pathmnist_64 and so on
DERMAMNIST_AS_PRINTED = _as_printed(DERMAMNIST)
BLOODMNIST_AS_PRINTED = _as_printed(BLOODMNIST)
