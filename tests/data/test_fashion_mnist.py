"""Fashion-MNIST from its idx files, here small ones, and what is said of files that are not right."""

import gzip
import re
import subprocess
import sys

import numpy as np
import pytest

from sslx.data.builders import read_idx


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.tobytes()))


def write_clothes(folder, brightness):
    """Fashion-MNIST's four files with 20 and 10 images of one brightness, whose first pixel is the label."""
    for beginning, count in (("train", 20), ("t10k", 10)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = np.full((count, 28, 28), brightness, np.uint8)
        images[:, 0, 0] = labels
        write_idx(folder / f"{beginning}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{beginning}-labels-idx1-ubyte.gz", labels)


def test_fashion_mnist_is_read_from_the_data_folder_then_debian_and_tfds_s_own_stays(tmp_path):
    write_clothes(tmp_path / "debian", 100)
    write_clothes(tmp_path / "manual" / "downloads" / "manual" / "fashion_mnist", 200)
    program = f"""
import sys
from pathlib import Path
from configs import common
from sslx.data import builders, sources
root = Path({str(tmp_path)!r})
Own = builders.FashionMnist
Own.FILES = {{"train": ("train", 20), "test": ("t10k", 10)}}
config = common.get_config().data
config.name = "fashion_mnist"
def load(folder):
    config.dir = str(root / folder)
    return sources.load(config)
Own.DEBIAN = root / "nowhere"
try:
    load("empty")
except ValueError as error:
    text = str(error)
    assert "apt install dataset-fashion-mnist" in text and "empty/downloads/manual/fashion_mnist," in text, text
    assert text.endswith("empty.") and "\\n" not in text, text
else:
    raise AssertionError
Own.DEBIAN = root / "debian"
for folder, brightness in (("cache", 100), ("manual", 200)):
    train, _, test = load(folder)
    assert train.images.shape == (20, 28, 28, 1) and len(test.images) == 10
    for source in (train, test):
        assert (source.images[:, 1:] == brightness).all()
        assert source.images[:, 0, 0, 0].tolist() == source.labels.tolist()
        assert sorted(source.labels) == sorted(list(range(10)) * (len(source.labels) // 10))
    assert train.facts["classes"][0] == "T-shirt/top" and train.facts["classes"][9] == "Ankle boot"
class Upstream(builders.ArrayBuilder, skip_registration=True):
    name = "fashion_mnist"
    VERSION = builders.tfds.core.Version("3.0.1")
    SIDE = 28
    def arrays(self):
        train, test = Own.arrays(self).values()
        return {{"train": (train[0] // 2, train[1]), "test": test}}
    DEBIAN, FILES = Own.DEBIAN, Own.FILES
Upstream(data_dir=root / "theirs", file_format="array_record").download_and_prepare()
assert (load("theirs")[0].images[:, 1:] == 50).all()
assert not (root / "theirs" / "fashion_mnist" / "1.0.0").exists()
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_an_idx_file_that_is_not_what_it_should_be_is_refused(tmp_path):
    file, array = tmp_path / "images.gz", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    write_idx(file, array)
    np.testing.assert_array_equal(read_idx(file, (2, 3, 4)), array)
    whole = gzip.decompress(file.read_bytes())
    for shape in ((3, 3, 4), (2, 12), (24,)):
        with pytest.raises(
            ValueError, match=rf"no idx file of unsigned bytes and shape {re.escape(str(shape))}: it begins"
        ):
            read_idx(file, shape)
    for content in (whole[:-1], whole + b"0"):
        file.write_bytes(gzip.compress(content))
        with pytest.raises(ValueError, match=rf"holds {len(content) - 16} bytes after its header, not 24"):
            read_idx(file, (2, 3, 4))
    packed = gzip.compress(whole)
    for content in (packed[:-9], packed[:12] + b"????" + packed[16:], whole, b""):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"images.gz (is damaged, or no gzip file|is no idx file)"):
            read_idx(file, (2, 3, 4))
