"""Data sets of places: land seen from a satellite, and scenes."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from sslx.datasets.dataset import Contents, DataSet, Example, published
from sslx.datasets.sets.archive import damaged, members, read_lists
from sslx.datasets.sets.listed import Listed, images

LAND = """
AnnualCrop Forest HerbaceousVegetation Highway Industrial
Pasture PermanentCrop Residential River SeaLake
"""


def _read_land(paths: Mapping[str, Path]) -> Contents:
    classes = tuple(LAND.split())
    return Contents(classes, {"train": partial(_iterate_land, paths["EuroSAT.zip"], classes)})


def _iterate_land(path: Path, classes: tuple[str, ...]) -> Iterator[Example]:
    wanted = re.compile(r"2750/.*\.jpg", re.DOTALL).fullmatch
    for name, content in members(path, wanted):
        land, _, file = name.removeprefix("2750/").partition("/")
        if land not in classes:
            raise damaged(path, f"{name} is in none of the {len(classes)} class folders")
        # TFDS's key, so that train[:80%] holds the same images as that of its own eurosat/rgb:
        # both store the records in the order of one hash.
        yield f"{land}_{file}", content, classes.index(land)


def _read_scenes(paths: Mapping[str, Path]) -> Contents:
    path, lists = paths["SUN397.tar.gz"], paths["Partitions.zip"]
    texts = read_lists(lists, ["ClassName.txt", "Training_01.txt", "Testing_01.txt"])
    classes, train, test = (tuple(text.split()) for text in texts)
    splits = {}
    for split, keys in (("train", train), ("test", test)):
        entries = [Listed(key, f"SUN397{key}", key.rpartition("/")[0]) for key in keys]
        splits[split] = images(path, entries, classes, lists)
    return Contents(classes, splits)


EUROSAT = DataSet(
    name="eurosat",
    title="land use, seen by the Sentinel-2 satellites",
    archives=published("eurosat"),
    read=_read_land,
    sizes={"train": 27000},
    classes=10,
    home="https://github.com/phelber/EuroSAT",
    # A part that is random and fixed, as TFDS stores records in the order of a hash of their names.
    source="Helber et al. 2019, JSTARS; no official split: the last fifth of the records tests",
    disk=95_000_000,
    shape=(64, 64, 3),
    licence="MIT",
    train="train[:80%]",
    probe="train[:80%]",
    test="train[80%:]",
)

SUN397 = DataSet(
    name="sun397",
    title="photographs of scenes, from abbey to zoo",
    archives=published("sun397"),
    read=_read_scenes,
    sizes={"train": 19850, "test": 19850},
    classes=397,
    home="https://www.tensorflow.org/datasets/catalog/sun397",
    source="Xiao et al. 2010, CVPR; the first of ten official partitions, 50 images of each class",
    disk=14_000_000_000,
)
