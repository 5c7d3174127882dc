"""Small archives in the published layout of the data sets of `sets/listed.py`, with made-up images.

Each function writes them into a folder and returns what it put in. `per_class` images of each class
go into each split; the archive member `without` is left out.
"""

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

LAND = (
    "AnnualCrop Forest HerbaceousVegetation Highway Industrial Pasture PermanentCrop Residential "
    "River SeaLake"
)


class Fake(NamedTuple):
    """What was written."""

    paths: dict[str, Path]  # of the archives, by `Archive.file`
    classes: tuple[str, ...]  # empty where the archives do not name them
    splits: dict[
        str, dict[str, tuple[bytes, int]]
    ]  # by split and key: an image's bytes and its class


class Drawn(NamedTuple):
    """An image before it has a place."""

    split: str
    number: int  # from 1, through all splits
    label: int
    content: bytes


def picture(seed: int, kind: str = "JPEG", size: tuple[int, int] = (30, 40)) -> bytes:
    """An image file of noise, without two alike."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, kind)
    return buffer.getvalue()


def draw(splits: Sequence[str], classes: int, per_class: int, **how: Any) -> list[Drawn]:
    """Images of every class for every split, the classes in turn."""
    places = [
        (split, label) for split in splits for _ in range(per_class) for label in range(classes)
    ]
    return [
        Drawn(split, number, label, picture(number, **how))
        for number, (split, label) in enumerate(places, 1)
    ]


def write_tar(
    path: Path, members: Mapping[str, bytes], without: str = "", mode: str = "w:gz"
) -> Path:
    """A tar archive, with the folder entries and a hidden file of macOS among the members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for folder in sorted(
            {str(parent) for name in members for parent in Path(name).parents} - {"."}
        ):
            entry = tarfile.TarInfo(folder)
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        for name, content in {"._hidden.jpg": b"no image", **members}.items():
            if name != without:
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def write_zip(path: Path, members: Mapping[str, bytes], without: str = "") -> Path:
    """A zip archive of the members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            if name != without:
                archive.writestr(name, content)
    return path


def lines(items: Sequence[str]) -> bytes:
    return "".join(f"{item}\n" for item in items).encode()


def matlab(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    savemat(buffer, arrays)
    return buffer.getvalue()


def fake_fgvc_aircraft(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """FGVC-Aircraft; images have 20 white rows below, and one is in gray."""
    classes, root = ("707-320", "Falcon 2000", "F/A-18"), "fgvc-aircraft-2013b/data"
    files = {"train": "train", "validation": "val", "test": "test"}
    drawn = draw(tuple(files), len(classes), per_class)
    drawn = [image._replace(content=_with_banner(image)) for image in drawn]
    members = {f"{root}/images/{image.number:07}.jpg": image.content for image in reversed(drawn)}
    members[f"{root}/variants.txt"] = lines(classes)
    members[f"{root}/images_variant_trainval.txt"] = b"not to be read"
    for split, file in files.items():
        rows = [
            f"{image.number:07} {classes[image.label]}" for image in drawn if image.split == split
        ]
        members[f"{root}/images_variant_{file}.txt"] = lines(rows)
    path = write_tar(folder / "fgvc-aircraft-2013b.tar.gz", members, without)
    return _fake(
        [path], classes, drawn, {image.number: f"{image.number:07}.jpg" for image in drawn}
    )


def _with_banner(image: Drawn) -> bytes:
    height, width = 60, 40
    pixels = np.full((height, width, 3), 10 * image.number % 200, np.uint8)
    pixels[-20:] = 255
    picture, buffer = Image.fromarray(pixels), io.BytesIO()
    (picture.convert("L") if image.number == 1 else picture).save(buffer, "JPEG")
    return buffer.getvalue()


def fake_dtd(folder: Path, per_class: int = 2, without: str = "", mode: str = "w:gz") -> Fake:
    """DTD; `mode` is tarfile's. The lists of a second fold hold other images in each split."""
    classes, files = (
        ("banded", "blotchy", "zigzagged"),
        {"train": "train", "validation": "val", "test": "test"},
    )
    drawn = draw(tuple(files), len(classes), per_class)
    keys = {
        image.number: f"{classes[image.label]}/{classes[image.label]}_{image.number:04}.jpg"
        for image in drawn
    }
    members = {f"dtd/images/{keys[image.number]}": image.content for image in drawn}
    for fold, order in ((1, ("train", "validation", "test")), (2, ("test", "train", "validation"))):
        for split, file in zip(order, files.values(), strict=True):
            rows = [keys[image.number] for image in drawn if image.split == split]
            members[f"dtd/labels/{file}{fold}.txt"] = lines(rows)
    return _fake(
        [write_tar(folder / "dtd-r1.0.1.tar.gz", members, without, mode)], classes, drawn, keys
    )


def fake_oxford_iiit_pet(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """Oxford-IIIT Pet; its second image is a PNG, as some of the published ones are."""
    classes, files = (
        ("Abyssinian", "american_pit_bull_terrier", "Bengal"),
        {"train": "trainval", "test": "test"},
    )
    drawn = draw(tuple(files), len(classes), per_class)
    drawn[1] = drawn[1]._replace(content=picture(2, "PNG"))
    names = {image.number: f"{classes[image.label]}_{image.number}" for image in drawn}
    contents = {f"images/{names[image.number]}.jpg": image.content for image in drawn}
    members = {"annotations/list.txt": b"#Image CLASS-ID SPECIES BREED ID\n"}
    for split, file in files.items():
        rows = [
            f"{names[image.number]} {image.label + 1} 1 1"
            for image in drawn
            if image.split == split
        ]
        members[f"annotations/{file}.txt"] = lines(rows)
    paths = [
        write_tar(folder / "images.tar.gz", contents, without),
        write_tar(folder / "annotations.tar.gz", members, without),
    ]
    return _fake(paths, classes, drawn, {number: f"{name}.jpg" for number, name in names.items()})


def fake_caltech_birds2011(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """CUB-200-2011, without its parts and attributes."""
    classes = ("001.Black_footed_Albatross", "002.Laysan_Albatross", "003.Sooty_Albatross")
    drawn = draw(("train", "test"), len(classes), per_class)
    keys = {
        image.number: f"{classes[image.label]}/Albatross_{image.number:04}_7.jpg" for image in drawn
    }
    root = "CUB_200_2011"
    members = {f"{root}/images/{keys[image.number]}": image.content for image in drawn}
    members |= {
        f"{root}/images.txt": lines([f"{image.number} {keys[image.number]}" for image in drawn]),
        f"{root}/train_test_split.txt": lines(
            [f"{image.number} {int(image.split == 'train')}" for image in drawn]
        ),
        f"{root}/image_class_labels.txt": lines(
            [f"{image.number} {image.label + 1}" for image in drawn]
        ),
        f"{root}/classes.txt": lines(
            [f"{number} {name}" for number, name in enumerate(classes, 1)]
        ),
        "attributes.txt": b"1 has_bill_shape::curved\n",
    }
    return _fake([write_tar(folder / "CUB_200_2011.tgz", members, without)], classes, drawn, keys)


def fake_food101(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """Food-101, without the JSON form of its lists."""
    classes, files = ("apple_pie", "baklava", "waffles"), {"train": "train", "validation": "test"}
    drawn = draw(tuple(files), len(classes), per_class)
    names = {image.number: f"{classes[image.label]}/{1_000_000 + image.number}" for image in drawn}
    members = {f"food-101/images/{names[image.number]}.jpg": image.content for image in drawn}
    members["food-101/meta/classes.txt"] = lines(classes)
    members["food-101/meta/labels.txt"] = lines(("Apple pie", "Baklava", "Waffles"))
    for split, file in files.items():
        rows = [names[image.number] for image in drawn if image.split == split]
        members[f"food-101/meta/{file}.txt"] = lines(rows)
    path = write_tar(folder / "food-101.tar.gz", members, without)
    return _fake([path], classes, drawn, {number: f"{name}.jpg" for number, name in names.items()})


def fake_oxford_flowers102(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """Oxford Flowers with images of the first three classes; it knows all 102, whose names are not
    in the archives.
    """
    drawn = draw(("train", "validation", "test"), 3, per_class)
    keys = {image.number: f"image_{image.number:05}.jpg" for image in drawn}
    images = write_tar(
        folder / "102flowers.tgz", {f"jpg/{keys[i.number]}": i.content for i in drawn}, without
    )
    labels, lists = folder / "imagelabels.mat", folder / "setid.mat"
    labels.write_bytes(matlab(labels=np.array([[image.label + 1 for image in drawn]], np.uint8)))
    numbers = {
        name: np.array([[image.number for image in drawn if image.split == split]], np.uint16)
        for name, split in (("trnid", "train"), ("valid", "validation"), ("tstid", "test"))
    }
    lists.write_bytes(matlab(**numbers))
    return _fake([images, labels, lists], (), drawn, keys)


def fake_cars196(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """Stanford Cars; its file names begin with 00001 in both splits."""
    classes = (
        "AM General Hummer SUV 2000",
        "Ram C/V Cargo Van Minivan 2012",
        "smart fortwo Convertible 2012",
    )
    drawn = draw(("train", "test"), len(classes), per_class)
    count = per_class * len(classes)
    keys = {image.number: f"{(image.number - 1) % count + 1:05}.jpg" for image in drawn}
    fields = [
        (name, object) for name in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")
    ]
    paths, tables = [], {}
    for split in ("train", "test"):
        own = [image for image in drawn if image.split == split]
        contents = {f"cars_{split}/{keys[image.number]}": image.content for image in own}
        paths.append(write_tar(folder / f"cars_{split}.tgz", contents, without))
        rows = [(1, 2, 30, 40, image.label + 1, keys[image.number]) for image in own]
        tables[split] = matlab(annotations=np.array(rows, fields)[None])
    devkit = {
        "devkit/cars_meta.mat": matlab(class_names=np.array([classes], object)),
        "devkit/cars_train_annos.mat": tables["train"],
    }
    paths.append(write_tar(folder / "car_devkit.tgz", devkit, without))
    (folder / "cars_test_annos_withlabels.mat").write_bytes(tables["test"])
    return _fake([*paths, folder / "cars_test_annos_withlabels.mat"], classes, drawn, keys)


def fake_eurosat(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """EuroSAT in RGB: all ten classes, images of 64x64 pixels."""
    classes = tuple(LAND.split())
    drawn = draw(("train",), len(classes), per_class, size=(64, 64))
    names = {
        image.number: f"{classes[image.label]}/{classes[image.label]}_{image.number}.jpg"
        for image in drawn
    }
    members = {f"2750/{names[image.number]}": image.content for image in drawn}
    path = write_zip(
        folder / "EuroSAT.zip",
        {"2750/": b"", **members, "__MACOSX/2750/._River.jpg": b"no"},
        without,
    )
    keys = {number: name.replace("/", "_") for number, name in names.items()}
    return _fake([path], classes, drawn, keys)


def fake_sun397(folder: Path, per_class: int = 2, without: str = "") -> Fake:
    """SUN397 with four scenes, a second partition and images in no partition; four file formats
    under one suffix.
    """
    classes, files = (
        ("/a/abbey", "/c/church/indoor", "/c/church/outdoor", "/z/zoo"),
        {"train": "Training", "test": "Testing"},
    )
    drawn = draw(tuple(files), len(classes), per_class)
    kinds = ("JPEG", "PNG", "BMP", "GIF")
    drawn = [
        image._replace(content=picture(image.number, kinds[image.number % 4])) for image in drawn
    ]
    keys = {image.number: f"{classes[image.label]}/sun_{image.number:016}.jpg" for image in drawn}
    members = {"SUN397/a/abbey/sun_listed_nowhere.jpg": picture(0)}
    members |= {f"SUN397{keys[image.number]}": image.content for image in reversed(drawn)}
    lists = {"ClassName.txt": lines(classes)}
    for split, file in files.items():
        lists[f"{file}_01.txt"] = lines(
            [keys[image.number] for image in drawn if image.split == split]
        )
        lists[f"{file}_02.txt"] = lines(
            [keys[image.number] for image in drawn if image.split != split]
        )
    paths = [
        write_tar(folder / "SUN397.tar.gz", members, without),
        write_zip(folder / "Partitions.zip", lists, without),
    ]
    return _fake(paths, classes, drawn, keys)


def _fake(
    paths: Sequence[Path], classes: tuple[str, ...], drawn: Sequence[Drawn], keys: Mapping[int, str]
) -> Fake:
    splits: dict[str, dict[str, tuple[bytes, int]]] = {}
    for image in drawn:
        splits.setdefault(image.split, {})[keys[image.number]] = (image.content, image.label)
    return Fake({path.name: path for path in paths}, classes, splits)
