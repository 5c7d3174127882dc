"""CIFAR from small archives in the published layout, and the errors for damaged ones."""

import tarfile

import pytest

from sslx.datasets.official import DATA_SETS
from tests.datasets.sets import fakes

CIFAR10, CIFAR100 = DATA_SETS["cifar10"], DATA_SETS["cifar100"]
BOTH = [(CIFAR10, fakes.fake_cifar10), (CIFAR100, fakes.fake_cifar100)]


def members(path):
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}


@pytest.mark.parametrize(("data", "fake"), BOTH)
def test_what_was_put_in_comes_out(data, fake, tmp_path):
    fakes.assert_read(data, tmp_path, fake(tmp_path))
    classes = data.read(fakes.paths(data, tmp_path)).classes
    assert len(classes) == data.classes
    assert classes[3] == {"cifar10": "cat", "cifar100": "fine_3"}[data.name]


@pytest.mark.parametrize(("data", "fake"), BOTH)
def test_a_missing_or_cut_member_is_named(data, fake, tmp_path):
    fake(tmp_path)
    path = tmp_path / data.archives[0].file
    whole = members(path)
    for name in whole:
        if "coarse" in name:
            continue
        fakes.write_tar(
            path, {other: content for other, content in whole.items() if other != name}, "w:gz"
        )
        assert (
            fakes.error(data, tmp_path)
            == f"{path} is damaged or incomplete (it has no {name}). Fetch it again."
        )
        if name.endswith(".bin"):
            fakes.write_tar(path, whole | {name: whole[name][:-1]}, "w:gz")
            assert (
                f"{path} is damaged or incomplete ({name} is no whole number of records of 307"
                in fakes.error(data, tmp_path)
            )


@pytest.mark.parametrize(("data", "fake"), BOTH)
def test_a_label_without_a_class_is_refused(data, fake, tmp_path):
    fake(tmp_path)
    path = tmp_path / data.archives[0].file
    whole = members(path)
    name = next(name for name in whole if "test" in name)
    record = len(whole[name]) // 10
    labels = record - 3072
    fakes.write_tar(
        path, whole | {name: bytes([data.classes] * labels) + whole[name][labels:]}, "w:gz"
    )
    last = data.classes - 1
    assert (
        f"it has label {data.classes}, but the classes are 0 to {last}). Fetch it"
        in fakes.error(data, tmp_path)
    )


@pytest.mark.parametrize("size", [0, 1, 1000, -1000])
def test_a_cut_archive_is_one_line(size, tmp_path):
    fakes.fake_cifar10(tmp_path)
    path = tmp_path / CIFAR10.archives[0].file
    path.write_bytes(path.read_bytes()[:size])
    message = fakes.error(CIFAR10, tmp_path)
    assert message.startswith(f"{path} is damaged or incomplete (")
    assert message.endswith("). Fetch it again.")


def test_a_file_that_is_not_there_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError):
        CIFAR10.read(fakes.paths(CIFAR10, tmp_path))
