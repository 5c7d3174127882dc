"""Data sets of classes that differ in details, listed in text files: aircraft, textures, pets,
birds and dishes.
"""

import io
from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from sslx.datasets.dataset import Archive, Contents, DataSet
from sslx.datasets.sets.listed import Listed, images, read_lists, split_rows

BANNER = 20  # pixel rows at the bottom of an aircraft's photograph that name its author


def _read_aircraft(paths: Mapping[str, Path]) -> Contents:
    path = paths["fgvc-aircraft-2013b.tar.gz"]
    folder = "fgvc-aircraft-2013b/data"
    files = {
        "train": "images_variant_train",
        "validation": "images_variant_val",
        "test": "images_variant_test",
    }
    names, *lists = read_lists(
        path, [f"{folder}/{name}.txt" for name in ("variants", *files.values())]
    )
    classes = tuple(
        line.strip() for line in names.splitlines() if line.strip()
    )  # they may hold blanks
    splits = {}
    for split, text in zip(files, lists, strict=True):
        rows = split_rows(path, text, 2)
        entries = [
            Listed(f"{image}.jpg", f"{folder}/images/{image}.jpg", variant)
            for image, variant in rows
        ]
        splits[split] = images(path, entries, classes, path, cut_banner)
    return Contents(classes, splits)


def cut_banner(content: bytes) -> bytes:
    """A JPEG of the image without its lowest 20 pixel rows; raises what Pillow raises for what is
    no image.
    """
    with Image.open(io.BytesIO(content)) as file:
        image = file.convert("RGB")
    upper = image.crop((0, 0, image.width, image.height - BANNER))
    buffer = io.BytesIO()
    # PNG would be two to ten times as large. At this quality, with colour in full resolution, what
    # changes is small (photographs keep a PSNR of 44 dB or more), and the same bytes come out every
    # time.
    upper.save(buffer, format="JPEG", quality=95, subsampling=0)
    return buffer.getvalue()


def _read_textures(paths: Mapping[str, Path]) -> Contents:
    path = paths["dtd-r1.0.1.tar.gz"]
    files = {"train": "train1", "validation": "val1", "test": "test1"}
    texts = read_lists(path, [f"dtd/labels/{name}.txt" for name in files.values()])
    names = {split: text.split() for split, text in zip(files, texts, strict=True)}
    classes = tuple(sorted({_folder(name) for split in names.values() for name in split}))
    splits = {}
    for split, members in names.items():
        entries = [Listed(name, f"dtd/images/{name}", _folder(name)) for name in members]
        splits[split] = images(path, entries, classes, path)
    return Contents(classes, splits)


def _read_pets(paths: Mapping[str, Path]) -> Contents:
    path, lists = paths["images.tar.gz"], paths["annotations.tar.gz"]
    texts = read_lists(lists, ["annotations/trainval.txt", "annotations/test.txt"])
    breeds: dict[int, str] = {}
    entries: dict[str, list[Listed]] = {"train": [], "test": []}
    for split, text in zip(entries, texts, strict=True):
        for name, number, _, _ in split_rows(lists, text, 4):
            label = int(number) - 1 if number.isdecimal() else -1
            entries[split].append(Listed(f"{name}.jpg", f"images/{name}.jpg", label))
            if label >= 0:
                breeds[label] = name.rpartition("_")[0]
    classes = tuple(breeds[label] for label in sorted(breeds))
    return Contents(
        classes, {split: images(path, entries[split], classes, lists) for split in entries}
    )


def _read_birds(paths: Mapping[str, Path]) -> Contents:
    path = paths["CUB_200_2011.tgz"]
    files = ("classes", "images", "image_class_labels", "train_test_split")
    texts = read_lists(path, [f"CUB_200_2011/{name}.txt" for name in files])
    species, names, labels, trains = (dict(split_rows(path, text, 2)) for text in texts)
    classes = tuple(species.values())
    splits = {}
    for split, flag in (("train", "1"), ("test", "0")):
        entries = [
            Listed(name, f"CUB_200_2011/images/{name}", species.get(labels.get(image, ""), ""))
            for image, name in names.items()
            if trains.get(image) == flag
        ]
        splits[split] = images(path, entries, classes, path)
    return Contents(classes, splits)


def _read_dishes(paths: Mapping[str, Path]) -> Contents:
    path = paths["food-101.tar.gz"]
    texts = read_lists(path, [f"food-101/meta/{name}.txt" for name in ("classes", "train", "test")])
    classes, *lists = (tuple(text.split()) for text in texts)
    splits = {}
    for split, names in zip(("train", "validation"), lists, strict=True):
        entries = [
            Listed(f"{name}.jpg", f"food-101/images/{name}.jpg", _folder(name)) for name in names
        ]
        splits[split] = images(path, entries, classes, path)
    return Contents(classes, splits)


def _folder(name: str) -> str:
    return name.partition("/")[0]


FGVC_AIRCRAFT = DataSet(
    name="fgvc_aircraft",
    title="photographs of aircraft by model variant",
    archives=(
        Archive(
            "fgvc-aircraft-2013b.tar.gz",
            "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
            2753340328,
            (
                "sha256:e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834",
                "md5:d4acdd33327262359767eeaa97a4f732",
            ),
        ),
    ),
    read=_read_aircraft,
    sizes={"train": 3334, "validation": 3333, "test": 3333},
    classes=100,
    shape=(None, None, 3),
    train="train+validation",
    probe="train+validation",
    test="test",
    licence="non-commercial research only; the photographers keep the copyright",
    home="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    source=(
        "Maji et al. 2013, arXiv:1306.5151; classes are the variants, and the banner below each "
        "image is cut off"
    ),
    disk=4_000_000_000,
)

DTD = DataSet(
    name="dtd",
    title="textures by the adjective that describes them",
    archives=(
        Archive(
            "dtd-r1.0.1.tar.gz",
            "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
            625239812,
            ("sha256:e42855a52a4950a3b59612834602aa253914755c95b0cff9ead6d07395f8e205",),
        ),
    ),
    read=_read_textures,
    sizes={"train": 1880, "validation": 1880, "test": 1880},
    classes=47,
    shape=(None, None, 3),
    train="train+validation",
    probe="train+validation",
    test="test",
    licence="for research purposes",
    home="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    source="Cimpoi et al. 2014, CVPR; the first of the ten official folds, as in TFDS",
    disk=630_000_000,
)

OXFORD_IIIT_PET = DataSet(
    name="oxford_iiit_pet",
    title="cats and dogs by breed",
    archives=(
        Archive(
            "images.tar.gz",
            "https://thor.robots.ox.ac.uk/~vgg/data/pets/images.tar.gz",
            791918971,
            ("sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",),
        ),
        Archive(
            "annotations.tar.gz",
            "https://thor.robots.ox.ac.uk/~vgg/data/pets/annotations.tar.gz",
            19173078,
            ("sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",),
        ),
    ),
    read=_read_pets,
    sizes={"train": 3680, "test": 3669},
    classes=37,
    shape=(None, None, 3),
    train="train",
    probe="train",
    test="test",
    licence="CC BY-SA 4.0",
    home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    source="Parkhi et al. 2012, CVPR; trainval.txt is the training split and test.txt the test split",
    disk=790_000_000,
)

CALTECH_BIRDS2011 = DataSet(
    name="caltech_birds2011",
    title="birds by species (CUB-200-2011)",
    archives=(
        Archive(
            "CUB_200_2011.tgz",
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1",
            1150585339,
            ("sha256:0c685df5597a8b24909f6a7c9db6d11e008733779a671760afef78feb49bf081",),
        ),
    ),
    read=_read_birds,
    sizes={"train": 5994, "test": 5794},
    classes=200,
    shape=(None, None, 3),
    train="train",
    probe="train",
    test="test",
    licence="not stated",
    home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    source="Wah et al. 2011, Caltech report CNS-TR-2011-001; the split of train_test_split.txt",
    disk=1_150_000_000,
)

FOOD101 = DataSet(
    name="food101",
    title="dishes",
    archives=(
        Archive(
            "food-101.tar.gz",
            "http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
            4996278331,
            ("sha256:d97d15e438b7f4498f96086a4f7e2fa42a32f2712e87d3295441b2b6314053a4",),
        ),
    ),
    read=_read_dishes,
    sizes={"train": 75750, "validation": 25250},
    classes=101,
    shape=(None, None, 3),
    train="train",
    probe="train",
    test="validation",
    licence="scientific fair use; the photographers keep the rights",
    home="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    source="Bossard et al. 2014, ECCV; the test split has the name that TFDS gives it, validation",
    disk=5_000_000_000,
)
