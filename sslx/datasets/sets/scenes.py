"""Data sets of places: land seen from a satellite, and scenes."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from sslx.datasets.dataset import Archive, Contents, DataSet, Example
from sslx.datasets.sets.archive import damaged, zip_member, zip_members
from sslx.datasets.sets.listed import Listed, images

LAND = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)


def _read_land(paths: Mapping[str, Path]) -> Contents:
    return Contents(LAND, {"train": partial(_iterate_land, paths["EuroSAT.zip"])})


def _iterate_land(path: Path) -> Iterator[Example]:
    for name, content in zip_members(
        path, lambda name: name.startswith("2750/") and name.endswith(".jpg")
    ):
        land, _, file = name.removeprefix("2750/").partition("/")
        if land not in LAND:
            raise damaged(path, f"{name} is in none of the {len(LAND)} class folders")
        # TFDS's key, so that train[:80%] holds the same images as that of its own eurosat/rgb: both store the records
        # in the order of one hash.
        yield f"{land}_{file}", content, LAND.index(land)


def _read_scenes(paths: Mapping[str, Path]) -> Contents:
    path, lists = paths["SUN397.tar.gz"], paths["Partitions.zip"]
    classes = tuple(_words(lists, "ClassName.txt"))
    splits = {}
    for split, name in {"train": "Training_01.txt", "test": "Testing_01.txt"}.items():
        entries = [
            Listed(key, f"SUN397{key}", key.rpartition("/")[0]) for key in _words(lists, name)
        ]
        splits[split] = images(path, entries, classes, lists)
    return Contents(classes, splits)


def _words(path: Path, member: str) -> list[str]:
    return zip_member(path, member).decode("utf-8", "replace").split()


EUROSAT = DataSet(
    name="eurosat",
    title="land use, seen by the Sentinel-2 satellites",
    archives=(
        Archive(
            "EuroSAT.zip",
            # A copy that the author permitted, with the digest of the original, whose host's certificate has expired.
            "https://huggingface.co/datasets/torchgeo/eurosat/resolve/c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
            94280567,
            ("sha256:8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",),
        ),
    ),
    read=_read_land,
    sizes={"train": 27000},
    classes=10,
    shape=(64, 64, 3),
    train="train[:80%]",
    probe="train[:80%]",
    test="train[80%:]",
    licence="MIT",
    home="https://github.com/phelber/EuroSAT",
    source="Helber et al. 2019, JSTARS; there is no official split: the last fifth of the records tests, which is a "
    "random and fixed part, for TFDS stores them in the order of a hash of their names",
    disk=95_000_000,
)

SUN397 = DataSet(
    name="sun397",
    title="photographs of scenes, from abbey to zoo",
    archives=(  # the host is gone; digests and sizes are those that TFDS recorded
        Archive(
            "SUN397.tar.gz",
            size=39077296924,
            digests=("sha256:f404130965a7ad77bed5ececc71e720ab50f3cc1e1bb257257610d38f3b928ec",),
        ),
        Archive(
            "Partitions.zip",
            size=18293705,
            digests=("sha256:e3311ea5f812d4cc6faef194688343d1111f6cd6f70f2c62f393c2b8d6ba1ec9",),
        ),
    ),
    read=_read_scenes,
    sizes={"train": 19850, "test": 19850},
    classes=397,
    shape=(None, None, 3),
    train="train",
    probe="train",
    test="test",
    licence="not stated",
    home="https://www.tensorflow.org/datasets/catalog/sun397",
    source="Xiao et al. 2010, CVPR; the first of the ten official partitions, with 50 images of a class in each split",
    disk=14_000_000_000,
)
