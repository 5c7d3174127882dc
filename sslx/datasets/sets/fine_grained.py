"""Data sets of classes that differ in details, listed in text files: aircraft, pets, birds, ..."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from sslx.datasets.dataset import Contents, DataSet, published
from sslx.datasets.sets.archive import read_lists
from sslx.datasets.sets.listed import Listed, images, split_rows

BANNER = 20  # pixel rows at the bottom of an aircraft's photograph that name its author


def _read_aircraft(paths: Mapping[str, Path]) -> Contents:
    path, folder = paths["fgvc-aircraft-2013b.tar.gz"], "fgvc-aircraft-2013b/data"
    files = {"train": "train", "validation": "val", "test": "test"}
    lists = [f"{folder}/images_variant_{name}.txt" for name in files.values()]
    names, *texts = read_lists(path, [f"{folder}/variants.txt", *lists])
    # By line, as names may hold blanks.
    classes = tuple(line.strip() for line in names.splitlines() if line.strip())
    splits = {}
    for split, text in zip(files, texts, strict=True):
        entries = [
            Listed(f"{image}.jpg", f"{folder}/images/{image}.jpg", variant)
            for image, variant in split_rows(path, text, 2)
        ]
        splits[split] = images(path, entries, classes, path, cut_banner)
    return Contents(classes, splits)


def cut_banner(content: bytes) -> bytes:
    """Return a JPEG of the image without its lowest 20 rows; raises what Pillow raises."""
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
    texts = read_lists(path, [f"dtd/labels/{name}1.txt" for name in ("train", "val", "test")])
    names = [text.split() for text in texts]
    classes = tuple(sorted({_folder(name) for split in names for name in split}))
    return _by_folder(path, "dtd/images/{}", classes, ("train", "validation", "test"), names)


def _read_dishes(paths: Mapping[str, Path]) -> Contents:
    path = paths["food-101.tar.gz"]
    texts = read_lists(path, [f"food-101/meta/{name}.txt" for name in ("classes", "train", "test")])
    classes, *names = (text.split() for text in texts)
    names = [[f"{name}.jpg" for name in split] for split in names]
    return _by_folder(path, "food-101/images/{}", tuple(classes), ("train", "validation"), names)


def _by_folder(
    path: Path,
    place: str,
    classes: tuple[str, ...],
    splits: Sequence[str],
    names: Sequence[Sequence[str]],
) -> Contents:
    """Contents of lists of CLASS/FILE by split, whose member in the archive is `place`."""
    readers = {}
    for split, members in zip(splits, names, strict=True):
        entries = [Listed(name, place.format(name), _folder(name)) for name in members]
        readers[split] = images(path, entries, classes, path)
    return Contents(classes, readers)


def _folder(name: str) -> str:
    return name.partition("/")[0]


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


FGVC_AIRCRAFT = DataSet(
    name="fgvc_aircraft",
    title="photographs of aircraft by model variant",
    archives=published("fgvc_aircraft"),
    read=_read_aircraft,
    sizes={"train": 3334, "validation": 3333, "test": 3333},
    classes=100,
    train="train+validation",
    probe="train+validation",
    licence="non-commercial research only; the photographers keep the copyright",
    home="https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/",
    source="Maji et al. 2013, arXiv:1306.5151; classes are the variants; the banner is cut off",
    disk=4_000_000_000,
)

DTD = DataSet(
    name="dtd",
    title="textures by the adjective that describes them",
    archives=published("dtd"),
    read=_read_textures,
    sizes={"train": 1880, "validation": 1880, "test": 1880},
    classes=47,
    train="train+validation",
    probe="train+validation",
    licence="for research purposes",
    home="https://www.robots.ox.ac.uk/~vgg/data/dtd/",
    source="Cimpoi et al. 2014, CVPR; the first of the ten official folds, as in TFDS",
    disk=630_000_000,
)

OXFORD_IIIT_PET = DataSet(
    name="oxford_iiit_pet",
    title="cats and dogs by breed",
    archives=published("oxford_iiit_pet"),
    read=_read_pets,
    sizes={"train": 3680, "test": 3669},
    classes=37,
    licence="CC BY-SA 4.0",
    home="https://www.robots.ox.ac.uk/~vgg/data/pets/",
    source="Parkhi et al. 2012, CVPR; trainval.txt is the training split",
    disk=790_000_000,
)

CALTECH_BIRDS2011 = DataSet(
    name="caltech_birds2011",
    title="birds by species (CUB-200-2011)",
    archives=published("caltech_birds2011"),
    read=_read_birds,
    sizes={"train": 5994, "test": 5794},
    classes=200,
    home="https://www.vision.caltech.edu/datasets/cub_200_2011/",
    source="Wah et al. 2011, Caltech report CNS-TR-2011-001; the split of train_test_split.txt",
    disk=1_150_000_000,
)

FOOD101 = DataSet(
    name="food101",
    title="dishes",
    archives=published("food101"),
    read=_read_dishes,
    sizes={"train": 75750, "validation": 25250},
    classes=101,
    test="validation",
    licence="scientific fair use; the photographers keep the rights",
    home="https://data.vision.ee.ethz.ch/cvl/datasets_extra/food-101/",
    source="Bossard et al. 2014, ECCV; the test split has the name that TFDS gives it, validation",
    disk=5_000_000_000,
)
