"""Readers of the fine-grained data sets on small archives in the published layout."""

import io
import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from sslx.datasets.official import DATA_SETS
from sslx.datasets.sets.listed import cut_banner
from tests.datasets.sets import fakes_fine as fakes

SETS = {
    "fgvc_aircraft": (DATA_SETS["fgvc_aircraft"], fakes.fake_fgvc_aircraft),
    "dtd": (DATA_SETS["dtd"], fakes.fake_dtd),
    "oxford_iiit_pet": (DATA_SETS["oxford_iiit_pet"], fakes.fake_oxford_iiit_pet),
    "caltech_birds2011": (DATA_SETS["caltech_birds2011"], fakes.fake_caltech_birds2011),
    "food101": (DATA_SETS["food101"], fakes.fake_food101),
    "oxford_flowers102": (DATA_SETS["oxford_flowers102"], fakes.fake_oxford_flowers102),
    "cars196": (DATA_SETS["cars196"], fakes.fake_cars196),
}


def read_all(contents):
    """By split, each image's bytes and class by its key; no key occurs twice."""
    splits = {}
    for split, iterate in contents.splits.items():
        examples = list(iterate())
        splits[split] = {key: (content, label) for key, content, label in examples}
        assert len(splits[split]) == len(examples)
    return splits


def change(path, member, new):
    """The tar archive with another content of one member."""
    with tarfile.open(path) as archive:
        members = {
            entry.name: archive.extractfile(entry).read() for entry in archive if entry.isfile()
        }
    assert member in members
    fakes.write_tar(path, members | {member: new(members[member])})


@pytest.mark.parametrize("name", SETS)
def test_every_image_comes_once_with_its_class_in_its_split(name, tmp_path):
    data_set, write = SETS[name]
    assert data_set.name == name
    put = write(tmp_path)
    assert set(put.paths) == {archive.file for archive in data_set.archives}
    contents = data_set.read(put.paths)
    if put.classes:
        assert contents.classes == put.classes
    examples_by_split = read_all(contents)
    assert list(examples_by_split) == list(data_set.sizes) == list(put.splits)
    wanted = put.splits
    if name == "fgvc_aircraft":
        wanted = {
            split: {k: (cut_banner(c), n) for k, (c, n) in own.items()}
            for split, own in wanted.items()
        }
    assert examples_by_split == wanted
    everything = [content for split in examples_by_split.values() for content, _ in split.values()]
    assert len(set(everything)) == len(everything)
    assert read_all(contents) == examples_by_split  # each call begins anew


@pytest.mark.parametrize("name", SETS)
def test_the_splits_named_are_there_and_the_figures_are_plain(name):
    data_set, _ = SETS[name]
    assert set("+".join((data_set.train, data_set.probe, data_set.test)).split("+")) == set(
        data_set.sizes
    )
    assert data_set.test not in data_set.train.split("+")
    for archive in data_set.archives:
        assert archive.size > 0
        assert all(
            re.fullmatch(r"sha256:[0-9a-f]{64}|md5:[0-9a-f]{32}", digest)
            for digest in archive.digests
        )
        assert archive.url.partition("?")[0].endswith(archive.file) or not archive.url


@pytest.mark.parametrize(
    ("name", "archive", "member"),
    [
        (
            "fgvc_aircraft",
            "fgvc-aircraft-2013b.tar.gz",
            "fgvc-aircraft-2013b/data/images/0000003.jpg",
        ),
        ("dtd", "dtd-r1.0.1.tar.gz", "dtd/images/zigzagged/zigzagged_0003.jpg"),
        ("oxford_iiit_pet", "images.tar.gz", "images/Bengal_3.jpg"),
        (
            "caltech_birds2011",
            "CUB_200_2011.tgz",
            "CUB_200_2011/images/003.Sooty_Albatross/Albatross_0003_7.jpg",
        ),
        ("food101", "food-101.tar.gz", "food-101/images/waffles/1000003.jpg"),
        ("oxford_flowers102", "102flowers.tgz", "jpg/image_00003.jpg"),
        ("cars196", "cars_train.tgz", "cars_train/00003.jpg"),
    ],
)
def test_a_listed_image_that_is_missing_is_named_with_its_archive(name, archive, member, tmp_path):
    data_set, write = SETS[name]
    put = write(tmp_path, without=member)
    contents = data_set.read(put.paths)
    message = (
        rf"{archive} is damaged or incomplete \(it lacks 1 of 6 images, the first: {member}\)\. "
        r"Fetch it again\.$"
    )
    with pytest.raises(ValueError, match=message):
        list(contents.splits["train"]())
    assert len(list(contents.splits[data_set.test]())) == 6


@pytest.mark.parametrize(
    ("name", "archive", "member"),
    [
        ("fgvc_aircraft", "fgvc-aircraft-2013b.tar.gz", "fgvc-aircraft-2013b/data/variants.txt"),
        ("dtd", "dtd-r1.0.1.tar.gz", "dtd/labels/val1.txt"),
        ("oxford_iiit_pet", "annotations.tar.gz", "annotations/test.txt"),
        ("caltech_birds2011", "CUB_200_2011.tgz", "CUB_200_2011/train_test_split.txt"),
        ("food101", "food-101.tar.gz", "food-101/meta/test.txt"),
        ("cars196", "car_devkit.tgz", "devkit/cars_meta.mat"),
    ],
)
def test_a_list_that_is_missing_is_named(name, archive, member, tmp_path):
    data_set, write = SETS[name]
    put = write(tmp_path, without=member)
    with pytest.raises(
        ValueError,
        match=rf"{archive} is damaged or incomplete \(it has no {member}\)\. Fetch it again",
    ):
        data_set.read(put.paths)


@pytest.mark.parametrize(
    ("name", "archive", "member", "old", "new", "count", "key"),
    [
        (
            "fgvc_aircraft",
            "fgvc-aircraft-2013b.tar.gz",
            "fgvc-aircraft-2013b/data/images_variant_val.txt",
            b"Falcon 2000",
            b"Falcon 900",
            "2 of its images",
            "0000008.jpg",
        ),
        (
            "oxford_iiit_pet",
            "annotations.tar.gz",
            "annotations/test.txt",
            b" 3 1 1",
            b" 38 1 1",
            "2 of",
            "Bengal_9.jpg",
        ),
        (
            "oxford_iiit_pet",
            "annotations.tar.gz",
            "annotations/test.txt",
            b"Bengal_9 3",
            b"Bengal_9 x",
            "1 of",
            "Bengal_9.jpg",
        ),
        (
            "caltech_birds2011",
            "CUB_200_2011.tgz",
            "CUB_200_2011/image_class_labels.txt",
            b"\n2 2\n",
            b"\n2 201\n",
            "1 of",
            "002.Laysan_Albatross/Albatross_0002_7.jpg",
        ),
        (
            "food101",
            "food-101.tar.gz",
            "food-101/meta/classes.txt",
            b"baklava",
            b"",
            "2 of",
            "baklava/1000002.jpg",
        ),
    ],
)
def test_a_class_that_is_none_is_refused(name, archive, member, old, new, count, key, tmp_path):
    data_set, write = SETS[name]
    put = write(tmp_path)
    change(put.paths[archive], member, lambda content: content.replace(old, new))
    message = (
        rf"{archive} is damaged or incomplete \({count}.* have none of the \d classes, the first: "
        rf"{key}\)"
    )
    with pytest.raises(ValueError, match=message):
        data_set.read(put.paths)


def test_matlab_labels_out_of_range_and_matlab_files_that_are_none(tmp_path):
    put = fakes.fake_oxford_flowers102(tmp_path)
    labels = put.paths["imagelabels.mat"]
    read = DATA_SETS["oxford_flowers102"].read
    for numbers, count in (
        ([[103] * 18], 6),
        ([[0, 1, 2]], 4),
    ):  # too large; too small and then too few
        labels.write_bytes(fakes.matlab(labels=np.array(numbers, np.uint8)))
        with pytest.raises(
            ValueError,
            match=rf"imagelabels.mat .*{count} of its images have none of the 102 classes",
        ):
            read(put.paths)
    whole = put.paths["setid.mat"].read_bytes()
    for content in (b"", b"x" * 200, whole[:150], fakes.matlab(other=np.zeros(3))):
        labels.write_bytes(content)
        with pytest.raises(
            ValueError,
            match=r"imagelabels.mat is damaged .*'labels' cannot be read\). Fetch it again.$",
        ):
            read(put.paths)


def test_flowers_have_their_102_names(tmp_path):
    classes = (
        DATA_SETS["oxford_flowers102"].read(fakes.fake_oxford_flowers102(tmp_path).paths).classes
    )
    assert (len(classes), len(set(classes))) == (102, 102)
    assert (classes[0], classes[36], classes[101]) == (
        "pink primrose",
        "cape flower",
        "blackberry lily",
    )


def test_a_line_with_too_few_columns_is_shown(tmp_path):
    put = fakes.fake_oxford_iiit_pet(tmp_path)
    change(
        put.paths["annotations.tar.gz"],
        "annotations/test.txt",
        lambda content: content + b"Bengal_1\n",
    )
    with pytest.raises(
        ValueError, match=r"annotations.tar.gz .*the line 'Bengal_1', which has not 4 columns"
    ):
        DATA_SETS["oxford_iiit_pet"].read(put.paths)


def test_a_tar_is_read_packed_or_not_and_one_that_was_cut_is_refused(tmp_path):
    put = fakes.fake_dtd(tmp_path, mode="w:")
    assert put.paths["dtd-r1.0.1.tar.gz"].read_bytes()[:2] != b"\x1f\x8b"
    assert read_all(DATA_SETS["dtd"].read(put.paths)) == put.splits
    packed = fakes.fake_dtd(tmp_path / "packed")
    contents, path = DATA_SETS["dtd"].read(packed.paths), packed.paths["dtd-r1.0.1.tar.gz"]
    assert read_all(contents) == packed.splits
    path.write_bytes(path.read_bytes()[:5000])
    for read in (
        lambda: list(contents.splits["test"]()),
        lambda: DATA_SETS["dtd"].read(packed.paths),
    ):
        with pytest.raises(
            ValueError, match=r"dtd-r1.0.1.tar.gz is damaged or incomplete .*Fetch it again\.$"
        ) as error:
            read()
        assert "\n" not in str(error.value)


def test_members_named_from_the_current_folder_are_found(tmp_path):
    put = fakes.fake_oxford_iiit_pet(tmp_path)
    for path in put.paths.values():
        with tarfile.open(path) as archive:
            members = {
                f"./{entry.name}": archive.extractfile(entry).read()
                for entry in archive
                if entry.isfile()
            }
        fakes.write_tar(path, members)
    assert read_all(DATA_SETS["oxford_iiit_pet"].read(put.paths)) == put.splits


def test_the_banner_is_cut_off_and_nothing_else(tmp_path):
    put = fakes.fake_fgvc_aircraft(tmp_path)
    examples = read_all(DATA_SETS["fgvc_aircraft"].read(put.paths))["train"]
    for key, (original, _) in put.splits["train"].items():
        content = examples[key][0]
        with Image.open(io.BytesIO(original)) as before, Image.open(io.BytesIO(content)) as after:
            assert (before.size, after.size, after.mode, after.format) == (
                (40, 60),
                (40, 40),
                "RGB",
                "JPEG",
            )
            rows = np.asarray(before.convert("RGB"), int)[:40]
            assert np.abs(np.asarray(after, int) - rows).max() <= 3
        assert content == cut_banner(original)


def test_an_aircraft_that_is_no_image_or_lower_than_the_banner_is_named(tmp_path):
    path = fakes.fake_fgvc_aircraft(tmp_path).paths["fgvc-aircraft-2013b.tar.gz"]
    for content in (b"no image", fakes.picture(1, size=(30, 20)), fakes.picture(1)[:500]):
        change(path, "fgvc-aircraft-2013b/data/images/0000002.jpg", lambda _: content)
        contents = DATA_SETS["fgvc_aircraft"].read({path.name: path})
        with pytest.raises(
            ValueError, match=r"2013b.tar.gz is damaged .*/0000002.jpg cannot be read as an image\)"
        ):
            list(contents.splits["train"]())


def test_nothing_is_written_beside_the_archives(tmp_path):
    for name, (data_set, write) in SETS.items():
        put = write(tmp_path / name)
        read_all(data_set.read(put.paths))
        assert set((tmp_path / name).iterdir()) == set(put.paths.values())
