"""Readers of EuroSAT and SUN397 on small archives in the published layout, and what they refuse."""

import gzip
import subprocess
import sys

import pytest

from sslx.datasets.official import DATA_SETS
from tests.datasets.sets import fakes_fine as fakes

EUROSAT, SUN397 = DATA_SETS["eurosat"], DATA_SETS["sun397"]


def read_all(contents):
    splits = {}
    for split, iterate in contents.splits.items():
        examples = list(iterate())
        splits[split] = {key: (content, label) for key, content, label in examples}
        assert len(splits[split]) == len(examples)
    return splits


@pytest.mark.parametrize(
    ("data_set", "write"), [(EUROSAT, fakes.fake_eurosat), (SUN397, fakes.fake_sun397)]
)
def test_every_image_comes_once_with_its_class_in_its_split(data_set, write, tmp_path):
    put = write(tmp_path)
    assert set(put.paths) == {archive.file for archive in data_set.archives}
    contents = data_set.read(put.paths)
    assert contents.classes == put.classes
    examples_by_split = read_all(contents)
    assert examples_by_split == put.splits
    assert list(examples_by_split) == list(data_set.sizes)
    everything = [content for split in examples_by_split.values() for content, _ in split.values()]
    assert len(set(everything)) == len(everything)
    assert read_all(contents) == examples_by_split  # each call begins anew
    assert set(tmp_path.iterdir()) == set(put.paths.values())


def test_eurosat_names_its_folders_and_refuses_others(tmp_path):
    put = fakes.fake_eurosat(tmp_path)
    assert len(put.classes) == EUROSAT.classes == 10
    path = fakes.write_zip(
        tmp_path / "EuroSAT.zip", {"2750/River/River_1.jpg": b"1", "2750/Sea/Sea_1.jpg": b"2"}
    )
    with pytest.raises(
        ValueError,
        match=r"EuroSAT.zip is damaged .*2750/Sea/Sea_1.jpg is in none of the 10 class fold",
    ):
        read_all(EUROSAT.read({path.name: path}))


def test_a_damaged_zip_is_refused(tmp_path):
    path = fakes.fake_eurosat(tmp_path).paths["EuroSAT.zip"]
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 255
    for content in (whole[:-1000], bytes(flipped), b""):
        path.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"EuroSAT.zip is damaged or incomplete .*Fetch it again\.$"
        ):
            read_all(EUROSAT.read({path.name: path}))


def test_eurosat_s_slices_are_fixed_and_those_of_tfds(tmp_path):
    program = f"""
import hashlib, sys
from pathlib import Path
import tensorflow_datasets as tfds
from sslx.datasets.official import DATA_SETS
from tests.datasets.sets.fakes_fine import fake_eurosat
EUROSAT = DATA_SETS["eurosat"]
put = fake_eurosat(Path({str(tmp_path)!r}) / "archives")
class Land(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    VERSION = tfds.core.Version("1.0.0")
    def _info(self):
        features = tfds.features.FeaturesDict({{"key": tfds.features.Text()}})
        return tfds.core.DatasetInfo(builder=self, features=features)
    def _split_generators(self, download_manager):
        return {{"train": self._generate_examples()}}
    def _generate_examples(self):
        for key, _, _ in EUROSAT.read(put.paths).splits["train"]():
            yield key, {{"key": key}}
builder = Land(data_dir={str(tmp_path)!r}, file_format="array_record")
builder.download_and_prepare()
def keys(split):
    return [record["key"].decode() for record in builder.as_data_source(split)]
# The key that TFDS's own builder of EuroSAT gives, and its hash, which begins with the name of the
# split.
names = [f"{{land}}_{{land}}_{{number}}.jpg" for number, land in enumerate(2 * put.classes, 1)]
def place(key):
    digest = hashlib.md5(b"train")
    digest.update(key.encode())
    return int(digest.hexdigest(), 16)
order = sorted(names, key=place)
assert keys(EUROSAT.train) == order[:16], keys(EUROSAT.train)
assert keys(EUROSAT.test) == order[16:]
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_sun397_is_read_no_further_than_the_last_listed_image(tmp_path):
    put = fakes.fake_sun397(tmp_path)
    path = put.paths["SUN397.tar.gz"]
    whole = gzip.decompress(path.read_bytes())
    # The training images are the last ones of this archive, so that the test images come without
    # its end.
    last = max(
        whole.index(content[:100]) + len(content) for content, _ in put.splits["test"].values()
    )
    path.write_bytes(gzip.compress(whole[: last + 1000]))
    contents = SUN397.read(put.paths)
    assert {
        key: (content, label) for key, content, label in contents.splits["test"]()
    } == put.splits["test"]
    with pytest.raises(
        ValueError, match=r"SUN397.tar.gz is damaged or incomplete .*Fetch it again\.$"
    ):
        list(contents.splits["train"]())


def test_sun397_names_what_is_missing(tmp_path):
    member = "SUN397/c/church/outdoor/sun_0000000000000003.jpg"
    put = fakes.fake_sun397(tmp_path, without=member)
    with pytest.raises(
        ValueError, match=rf"SUN397.tar.gz .*lacks 1 of 8 images, the first: {member}\)\. Fetch it"
    ):
        list(SUN397.read(put.paths).splits["train"]())
    put = fakes.fake_sun397(tmp_path, without="Testing_01.txt")
    with pytest.raises(ValueError, match=r"Partitions.zip .*it has no Testing_01.txt"):
        SUN397.read(put.paths)
    lists = {
        "ClassName.txt": b"/a/abbey\n",
        "Training_01.txt": b"/a/abbey/1.jpg\n/z/zoo/2.jpg\n",
        "Testing_01.txt": b"",
    }
    fakes.write_zip(put.paths["Partitions.zip"], lists)
    with pytest.raises(
        ValueError,
        match=r"Partitions.zip .*1 of its images have none of the 1 classes.*/z/zoo/2.jpg",
    ):
        SUN397.read(put.paths)


@pytest.mark.parametrize("data_set", [EUROSAT, SUN397])
def test_the_splits_named_are_there(data_set):
    assert {data_set.train.partition("[")[0], data_set.test.partition("[")[0]} == set(
        data_set.sizes
    )
    assert data_set.train != data_set.test
    assert data_set.probe == data_set.train
