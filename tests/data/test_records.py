"""From a name to a prepared data set: ours, TFDS's own of that name, and which split does what."""

import subprocess
import sys

from tests.datasets.sets import fakes, fakes_fine

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
import tensorflow_datasets as tfds
from configs import base
from sslx.datasets import archives, builders, official
from sslx.data import sources
from sslx.datasets.prepare import prepare

root = Path(sys.argv[1])

def smaller(name, installed="", **sizes):
    known = official.DATA_SETS[name]
    bare = tuple(a._replace(size=0, digests=(), installed=installed) for a in known.archives)
    official.DATA_SETS[name] = known._replace(sizes=sizes, archives=bare, disk=10_000)
    return official.DATA_SETS[name]

def load(name, folder="data", **fields):
    config = base.get_config().data
    config.update(name=name, dir=str(root / folder), **fields)
    return sources.load(config)

def error(*words, **fields):
    try:
        load(*words, **fields)
    except ValueError as found:
        assert "\\n" not in str(found)
        return str(found)
    raise AssertionError

# A small set whose archives are at hand is prepared on first use, here from a package of the
# system.
fashion = smaller("fashion_mnist", str(root / "debian"), train=20, test=10)
train, probe, test = load("fashion_mnist")
assert (len(train.images), len(test.images), probe is train) == (20, 10, True)
assert train.facts["classes"][9] == "Ankle boot" and (root / "data/fashion_mnist/1.0.0").exists()
smaller("fashion_mnist", "", train=20, test=10)
assert "python -m sslx.datasets.prepare fashion_mnist" in error("fashion_mnist", "empty")

# TFDS's own of that name serves as well, and ours is then not made.
class Upstream(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    name, VERSION = "fashion_mnist", tfds.core.Version("3.0.1")
    def _info(self):
        features = {"image": tfds.features.Image(shape=(28, 28, 1)), "label": tfds.features.ClassLabel(num_classes=10)}
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))
    def _split_generators(self, _):
        return {"train": self._generate_examples(), "test": self._generate_examples()}
    def _generate_examples(self):
        contents = fashion.read(archives.locate_all(fashion, root))
        for key, image, label in contents.splits["test"]():
            yield key, {"image": builders._png(image // 2), "label": label}
Upstream(data_dir=root / "theirs", file_format="array_record").download_and_prepare()
assert len(load("fashion_mnist", "theirs").train.images) == 10
assert not (root / "theirs/fashion_mnist/1.0.0").exists()

# The split table: what trains need not be what teaches the probes.
blood = smaller("bloodmnist_as_printed", train=12, validation=6, test=8)._replace(classes=8)
official.DATA_SETS["bloodmnist_as_printed"] = blood
prepare(blood, root / "data", root / "blood", allow_incomplete=True)
train, probe, test = load("bloodmnist_as_printed")
assert (len(train.images), len(probe.images), len(test.images)) == (26, 12, 8)
names = [source.facts["name"].split("/")[1] for source in (train, probe, test)]
assert names == ["train+validation+test", "train", "test"], names
train, probe, test = load("bloodmnist_as_printed", train_split="validation", test_split="train[:50%]")
assert (len(train.images), probe is train, len(test.images)) == (6, True, 6)
said = error("bloodmnist_as_printed", probe_split="train+val")
assert "no split 'val'. Set --config.data.probe_split to one of: train, validation, test" in said, said

# Slices of TFDS's order: fixed, disjoint, and together everything.
satellite = smaller("eurosat", train=100)
prepare(satellite, root / "data", root / "eurosat", allow_incomplete=True)
train, _, test = load("eurosat")
assert (len(train.images), len(test.images)) == (80, 20)
everything = load("eurosat", train_split="train", test_split="train[:5]").train
np.testing.assert_array_equal(np.concatenate([train.images, test.images]), everything.images)

# ImageNet-100 from a prepared ImageNet is what it is from the archives.
whole = smaller("imagenet2012", train=1000, validation=60)
hundred = smaller("imagenet100", train=100, validation=60)
prepare(whole, root / "whole", root / "imagenet", allow_incomplete=True)
for folder, archives_at in (("whole", None), ("tars", root / "imagenet")):
    prepare(hundred, root / folder, archives_at, allow_incomplete=True)
shards = [sorted((root / folder / "imagenet100/1.0.0").glob("*array_record*")) for folder in ("whole", "tars")]
assert [shard.name for shard in shards[0]] == [shard.name for shard in shards[1]] and len(shards[0]) == 2
assert all(a.read_bytes() == b.read_bytes() for a, b in zip(*shards, strict=True))
hundreds = load("imagenet100", "whole", image_size=8)
assert len(hundreds.train.images) == 100 == len(set(hundreds.train.labels)) == len(hundreds.train.facts["classes"])

# By its path, under no name; streamed; and a record that is damaged after all.
folder = root / "data/eurosat/1.0.0"
by_path = load(f"array_record:{folder}", train_split="train[:80%]", test_split="train[80%:]")
assert by_path.train.facts["hash"] == train.facts["hash"] and by_path.train.facts["classes"] == train.facts["classes"]
streamed = load("eurosat", decoded_gib=0.0).train
assert streamed.facts == train.facts
np.testing.assert_array_equal(streamed.images[10:20], train.images[10:20])
(shard,) = folder.glob("*array_record*")
whole = shard.read_bytes()
for content in (whole[: len(whole) // 2], whole[:5000] + b"????" + whole[5004:], None):
    shard.write_bytes(content) if content else shard.unlink()
    for fields in ({"cache": str(root / "fresh")}, {"cache": str(root / "fresh"), "on_corrupt": "skip"}):
        said = error("eurosat", **fields)
        assert f"{folder} is damaged" in said and said.endswith("Delete it and prepare it again."), said
assert "tensorflow" not in sys.modules
"""


def test_data_sets_are_found_by_name_with_their_splits(tmp_path):
    for name in ("debian", "blood", "eurosat", "imagenet"):
        (tmp_path / name).mkdir()
    fakes.fake_fashion_mnist(tmp_path / "debian", train=20, test=10)
    fakes.fake_medmnist(tmp_path / "blood", name="bloodmnist", train=12, validation=6, test=8)
    fakes.fake_imagenet2012(tmp_path / "imagenet", validation=60)
    fakes_fine.fake_eurosat(tmp_path / "eurosat", per_class=10)
    subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], check=True, timeout=120)
