"""Small made-up archives in the layout of the published ones.

Each fake_* function writes the archives of one data set into `folder`, under their published names,
and returns what it put in: for each split the (key, image, label) that the data set's reader must
give back, in any order.
"""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sslx.datasets.dataset import DataSet

Examples = list[tuple[str | int, bytes | np.ndarray, int]]

CIFAR10_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def picture(seed: int, shape: tuple[int, ...] = (32, 32, 3)) -> np.ndarray:
    """Random uint8 pixels, the same for the same seed."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def jpeg(seed: int, shape: tuple[int, ...] = (12, 16, 3)) -> bytes:
    """The bytes of a JPEG file; gray with a shape of two entries."""
    buffer = io.BytesIO()
    Image.fromarray(picture(seed, shape)).save(buffer, format="JPEG")
    return buffer.getvalue()


def paths(data: DataSet, folder: Path) -> dict[str, Path]:
    """What `data.read` takes when all archives are in `folder`."""
    return {archive.file: folder / archive.file for archive in data.archives}


def assert_read(data: DataSet, folder: Path, made: dict[str, Examples]) -> None:
    """Assert that `data` reads what was made, as bytes arrays and plain numbers, time and again."""
    contents = data.read(paths(data, folder))
    assert set(contents.splits) == set(made) == set(data.sizes)
    for split, examples in made.items():
        for _ in range(2):
            read = list(contents.splits[split]())
            assert [type(label) for *_, label in read] == [int] * len(examples)
            by_key = {key: (image, label) for key, image, label in read}
            assert len(by_key) == len(read) == len(examples)
            for key, image, label in examples:
                assert by_key[key][1] == label
                if isinstance(image, bytes):
                    assert by_key[key][0] == image
                else:
                    assert by_key[key][0].dtype == np.uint8
                    np.testing.assert_array_equal(by_key[key][0], image, strict=True)


def read_all(data: DataSet, folder: Path) -> None:
    """Reads every split to its end."""
    for examples in data.read(paths(data, folder)).splits.values():
        for _ in examples():
            pass


def error(data: DataSet, folder: Path) -> str:
    """Return the ValueError of one line that reading the archives in `folder` must raise."""
    with pytest.raises(ValueError, match=r"\A[^\n]+\Z") as reason:
        read_all(data, folder)
    return str(reason.value)


def write_tar(path: Path, members: dict[str, bytes], mode: str = "w") -> None:
    """A tar archive with these files; packed with mode w:gz."""
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def write_zip(path: Path, members: dict[str, bytes]) -> None:
    """A zip archive with these files, and folders for names that end in a slash."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def fake_fashion_mnist(folder: Path, train: int = 20, test: int = 10) -> dict[str, Examples]:
    """The four idx archives."""
    made: dict[str, Examples] = {}
    for split, beginning, count, seed in (("train", "train", train, 0), ("test", "t10k", test, 1)):
        images = picture(seed, (count, 28, 28))
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{beginning}-{kind}-ubyte.gz").write_bytes(
                gzip.compress(header + array.tobytes())
            )
        made[split] = list(zip(range(count), images, labels.tolist(), strict=True))
    return made


def fake_cifar10(folder: Path, train: int = 20, test: int = 10) -> dict[str, Examples]:
    """cifar-10-binary.tar.gz; `train` is a multiple of five, for the five batches."""
    made = {"train": _pictures("train", train, 10), "test": _pictures("test", test, 10)}
    size = train // 5
    batches = {
        f"data_batch_{number + 1}": made["train"][number * size :][:size] for number in range(5)
    }
    members = {
        f"cifar-10-batches-bin/{name}.bin": b"".join(
            bytes([label]) + _planar(image) for _, image, label in examples
        )
        for name, examples in (batches | {"test_batch": made["test"]}).items()
    }
    members["cifar-10-batches-bin/batches.meta.txt"] = ("\n".join(CIFAR10_NAMES) + "\n\n").encode()
    # Not in the order of the batches, as in the published archive.
    write_tar(
        folder / "cifar-10-binary.tar.gz", dict(sorted(members.items(), reverse=True)), "w:gz"
    )
    return made


def fake_cifar100(folder: Path, train: int = 20, test: int = 10) -> dict[str, Examples]:
    """cifar-100-binary.tar.gz; the fine classes are called fine_0 to fine_99."""
    made = {"train": _pictures("train", train, 100), "test": _pictures("test", test, 100)}
    members = {
        f"cifar-100-binary/{split}.bin": b"".join(
            bytes([19 - label % 20, label]) + _planar(image) for _, image, label in examples
        )
        for split, examples in made.items()
    }
    for kind, count in (("coarse", 20), ("fine", 100)):
        names = "".join(f"{kind}_{number}\n" for number in range(count))
        members[f"cifar-100-binary/{kind}_label_names.txt"] = names.encode()
    write_tar(folder / "cifar-100-binary.tar.gz", members, "w:gz")
    return made


def fake_imagenet2012(folder: Path, validation: int = 20) -> dict[str, Examples]:
    """Both tars of ImageNet, with one training image in each of the thousand classes."""
    synsets, labels = imagenet_lists()
    made: dict[str, Examples] = {
        "train": [(f"{synset}_7.JPEG", jpeg(label), label) for label, synset in enumerate(synsets)],
        "validation": [
            (
                f"ILSVRC2012_val_{number:08}.JPEG",
                jpeg(1000 + number),
                synsets.index(labels[number - 1]),
            )
            for number in range(1, validation + 1)
        ],
    }
    tars = {}
    for name, content, label in made["train"]:
        inner = io.BytesIO()
        with tarfile.open(fileobj=inner, mode="w") as archive:
            member = tarfile.TarInfo(str(name))
            member.size = len(content)
            archive.addfile(member, io.BytesIO(bytes(content)))
        tars[f"{synsets[label]}.tar"] = inner.getvalue()
    write_tar(folder / "ILSVRC2012_img_train.tar", tars)
    # Not in the order of the numbers, as in the published archive.
    images = {str(name): bytes(content) for name, content, _ in reversed(made["validation"])}
    write_tar(folder / "ILSVRC2012_img_val.tar", images)
    return made


def imagenet_lists() -> tuple[list[str], list[str]]:
    """Return the thousand synsets by number, and the synset of each validation image."""
    import tensorflow_datasets as tfds  # here, as it takes seconds and the others do without

    lists = tfds.core.tfds_path("datasets/imagenet2012")
    synsets, labels = (lists / f"{name}.txt" for name in ("labels", "validation_labels"))
    return synsets.read_text().split(), labels.read_text().split()


def fake_tiny_imagenet(folder: Path, train: int = 20, validation: int = 10) -> dict[str, Examples]:
    """Write tiny-imagenet-200.zip: four classes in turn, every fifth image gray."""
    synsets = ["n01443537", "n01629819", "n02056570", "n04486054"]
    made: dict[str, Examples] = {"train": [], "validation": []}
    members = {
        "tiny-imagenet-200/": b"",
        "tiny-imagenet-200/wnids.txt": "\n".join(reversed(synsets)).encode(),
    }
    members["tiny-imagenet-200/words.txt"] = b"".join(
        f"{synset}\tan animal\n".encode() for synset in synsets
    )
    members["tiny-imagenet-200/test/images/test_0.JPEG"] = jpeg(0)
    annotations = ""
    for number in range(train + validation):
        content = jpeg(number, (64, 64) if number % 5 == 4 else (64, 64, 3))
        label = number % 4
        if number < train:
            name, inside = f"{synsets[label]}_{number // 4}.JPEG", f"train/{synsets[label]}/images"
            members[f"tiny-imagenet-200/train/{synsets[label]}/{synsets[label]}_boxes.txt"] = (
                b"boxes"
            )
        else:
            name, inside = f"val_{number - train}.JPEG", "val/images"
            annotations += f"{name}\t{synsets[label]}\t0\t32\t44\t62\n"
        members[f"tiny-imagenet-200/{inside}/{name}"] = content
        made["train" if number < train else "validation"].append((name, content, label))
    members["tiny-imagenet-200/val/val_annotations.txt"] = annotations.encode()
    write_zip(folder / "tiny-imagenet-200.zip", members)
    return made


def fake_medmnist(
    folder: Path, name: str = "pathmnist", train: int = 20, validation: int = 8, test: int = 10
) -> dict[str, Examples]:
    """Write NAME.npz of MedMNIST, with a name such as pathmnist or bloodmnist_64."""
    family, _, side = name.partition("_")
    classes = {"pathmnist": 9, "dermamnist": 7, "bloodmnist": 8}[family]
    sizes = {"train": train, "validation": validation, "test": test}
    made = {
        split: _pictures(split, count, classes, int(side or 28)) for split, count in sizes.items()
    }
    arrays = {}
    for split, examples in made.items():
        published = "val" if split == "validation" else split
        arrays[f"{published}_images"] = np.stack([image for _, image, _ in examples])
        arrays[f"{published}_labels"] = np.array([[label] for *_, label in examples], np.uint8)
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    return made


def _pictures(split: str, count: int, classes: int, side: int = 32) -> Examples:
    seed = {"train": 0, "validation": 1, "test": 2}[split]
    images = picture(seed, (count, side, side, 3))
    return [
        (f"{split}_{number:05}", images[number], number * 7 % classes) for number in range(count)
    ]


def _planar(image: np.ndarray) -> bytes:
    return image.transpose(2, 0, 1).tobytes()
