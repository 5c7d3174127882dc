"""MedMNIST from small npz files in the published layout, and the errors for damaged ones."""

import numpy as np
import pytest

from sslx.datasets.official import DATA_SETS
from tests.datasets.sets import fakes

ALL = [data for name, data in DATA_SETS.items() if "mnist" in name and data.shape[2] == 3]
PATHMNIST = DATA_SETS["pathmnist"]


@pytest.mark.parametrize("data", ALL, ids=lambda data: data.name)
def test_what_was_put_in_comes_out(data, tmp_path):
    (archive,) = data.archives
    made = fakes.fake_medmnist(tmp_path, archive.file.removesuffix(".npz"))
    fakes.assert_read(data, tmp_path, made)
    assert made["test"][0][1].shape == data.shape
    assert len(data.read(fakes.paths(data, tmp_path)).classes) == data.classes


def test_names_archives_and_checksums_are_each_their_own():
    assert len({data.name for data in ALL}) == len(ALL) == 14
    assert len({data.archives for data in ALL}) == 12
    assert len({data.archives[0].digests for data in ALL}) == 12
    assert "pathmnist_224" in {data.name for data in ALL}


def test_as_printed_is_the_same_files_with_all_splits_in_pretraining():
    for data, printed, count in (
        (DATA_SETS["dermamnist"], DATA_SETS["dermamnist_as_printed"], 10_015),
        (DATA_SETS["bloodmnist"], DATA_SETS["bloodmnist_as_printed"], 17_092),
    ):
        assert printed.archives == data.archives
        assert (data.train, printed.train) == ("train", "train+validation+test")
        assert sum(printed.sizes[split] for split in printed.train.split("+")) == count
        assert "on the test images too" in printed.title


def test_reading_opens_nothing_before_a_split_is_consumed(tmp_path):
    contents = PATHMNIST.read(fakes.paths(PATHMNIST, tmp_path))
    assert contents.classes[0] == "adipose"
    with pytest.raises(FileNotFoundError):
        next(contents.splits["train"]())


def rewritten(path, **changes):
    with np.load(path) as file:
        arrays = dict(file)
    arrays |= changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"val_labels": None}, "it has no val_labels.npy"),
        ({"test_images": None}, "it has no test_images.npy"),
        (
            {"test_labels": np.zeros((9, 1), np.uint8)},
            "its test split has not one label for each image",
        ),
        (
            {"test_labels": np.zeros((11, 1), np.uint8)},
            "its test split has not one label for each image",
        ),
        (
            {"test_labels": np.zeros((10, 2), np.uint8)},
            "its test split has not one label for each image",
        ),
        ({"test_labels": np.full((10, 1), 9)}, "it has label 9, but the classes are 0 to 8"),
        ({"test_labels": np.full((10, 1), -1)}, "it has label -1, but the classes are 0 to 8"),
        (
            {"val_images": np.zeros((8, 28, 28), np.uint8)},
            "val_images is no array of bytes and shape [n, 28, 28, 3]",
        ),
        (
            {"val_images": np.zeros((8, 28, 28, 3))},
            "val_images is no array of bytes and shape [n, 28, 28, 3]",
        ),
        ({"train_images": np.array(5)}, "train_images.npy is no array of numbers in rows"),
        ({"train_images": np.array([None])}, "train_images.npy is no array of numbers in rows"),
    ],
)
def test_arrays_that_are_not_right_are_named(changes, reason, tmp_path):
    fakes.fake_medmnist(tmp_path)
    path = tmp_path / "pathmnist.npz"
    rewritten(path, **changes)
    assert (
        fakes.error(PATHMNIST, tmp_path)
        == f"{path} is damaged or incomplete ({reason}). Fetch it again."
    )


def test_a_damaged_file_is_one_line(tmp_path):
    fakes.fake_medmnist(tmp_path)
    path = tmp_path / "pathmnist.npz"
    whole = path.read_bytes()
    for content in (
        b"",
        whole[:1000],
        whole[:-10],
        whole[:2000] + b"damage" + whole[2006:],
        b"no archive at all",
    ):
        path.write_bytes(content)
        message = fakes.error(PATHMNIST, tmp_path)
        assert message.startswith(f"{path} is damaged or incomplete (")
        assert message.endswith("). Fetch it again.")
