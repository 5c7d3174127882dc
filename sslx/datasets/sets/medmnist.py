"""PathMNIST, DermaMNIST and BloodMNIST of MedMNIST v2, in the four sizes that are published."""

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sslx.datasets.dataset import Contents, DataSet, Example, published
from sslx.datasets.sets.archive import class_number, damaged, npz_rows

SPLITS = {"train": "train", "validation": "val", "test": "test"}  # by what the files call them


class Family(NamedTuple):
    """What the four sizes of a data set share."""

    title: str
    sizes: tuple[int, int, int]  # images for training, validation and test
    licence: str
    classes: tuple[str, ...]


FAMILIES = {
    "pathmnist": Family(
        "tissue of the colon under the microscope",
        (89_996, 10_004, 7_180),
        "CC BY 4.0",
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
    ),
    "dermamnist": Family(
        "pigmented skin lesions",
        (7_007, 1_003, 2_005),
        "CC BY-NC 4.0",
        (
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
    ),
    "bloodmnist": Family(
        "blood cells under the microscope",
        (11_959, 1_712, 3_421),
        "CC BY 4.0",
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
    ),
}


def _data_set(name: str) -> DataSet:
    family_name, _, pixels = name.partition("_")
    family, side, file = FAMILIES[family_name], int(pixels or 28), f"{name}.npz"
    return DataSet(
        name=name,
        title=f"{family.title}, {side}x{side} pixels (MedMNIST)",
        archives=published(name),
        read=functools.partial(_read, file, family.classes, side),
        sizes=dict(zip(SPLITS, family.sizes, strict=True)),
        classes=len(family.classes),
        home="https://medmnist.com",
        source="Yang et al., MedMNIST v2, Scientific Data, 2023, and the package medmnist 3.0.2",
        disk=sum(family.sizes) * side * side * 3,
        shape=(side, side, 3),
        licence=family.licence,
    )


def _as_printed(data: DataSet) -> DataSet:
    title = "pretrains on all three splits as the DIET paper counts them, so on the test images too"
    return data._replace(
        name=f"{data.name}_as_printed",
        title=f"{data.title}; {title}",
        train="train+validation+test",
    )


def _read(file: str, classes: tuple[str, ...], side: int, paths: Mapping[str, Path]) -> Contents:
    examples = functools.partial(_examples, paths[file], len(classes), side)
    return Contents(classes, {split: functools.partial(examples, split) for split in SPLITS})


def _examples(path: Path, classes: int, side: int, split: str) -> Iterator[Example]:
    published = SPLITS[split]
    images, labels = npz_rows(path, f"{published}_images"), npz_rows(path, f"{published}_labels")
    for number, (image, label) in enumerate(itertools.zip_longest(images, labels)):
        if image is None or label is None or label.size != 1:
            raise damaged(path, f"its {published} split has not one label for each image")
        if image.shape != (side, side, 3) or image.dtype != np.uint8:
            expected = f"array of bytes and shape [n, {side}, {side}, 3]"
            raise damaged(path, f"{published}_images is no {expected}")
        yield f"{split}_{number:05}", image, class_number(path, int(label.item()), classes)


PATHMNIST, DERMAMNIST, BLOODMNIST = (_data_set(name) for name in FAMILIES)
LARGER = tuple(_data_set(f"{name}_{side}") for name in FAMILIES for side in (64, 128, 224))
DERMAMNIST_AS_PRINTED, BLOODMNIST_AS_PRINTED = _as_printed(DERMAMNIST), _as_printed(BLOODMNIST)
