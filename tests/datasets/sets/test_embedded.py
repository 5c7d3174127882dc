"""Digits, MNIST5k and Fashion-MNIST: images, splits and keys, on which earlier runs depend."""

import gzip
import hashlib
import re

import numpy as np
import pytest

from sslx.datasets.official import DATA_SETS
from sslx.datasets.sets.archive import read_idx
from tests.datasets.sets import fakes

DIGITS, MNIST5K, FASHION_MNIST = (
    DATA_SETS[name] for name in ("digits", "mnist5k", "fashion_mnist")
)


def read(data, split):
    """Images [n, H, W] and labels of a split, in order, after a look at the keys."""
    keys, images, labels = zip(*data.read({}).splits[split](), strict=True)
    assert list(keys) == list(range(data.sizes[split]))
    assert {(image.shape, image.dtype) for image in images} == {
        (data.shape[:2], np.dtype(np.uint8))
    }
    return np.stack(images), list(labels)


def test_digits_are_scikit_learns_in_its_order():
    from sklearn.datasets import load_digits

    digits = load_digits()
    for split, part in (("train", slice(1437)), ("test", slice(1437, None))):
        images, labels = read(DIGITS, split)
        np.testing.assert_array_equal(images, np.round(digits.images[part] * 255 / 16))
        assert labels == digits.target[part].tolist()
    assert DIGITS.read({}).classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("split", "count", "fingerprint"),
    [("train", 400, "906021ce9369bfa7"), ("test", 100, "b566957211f5f0ac")],
)
def test_mnist5k_keeps_its_split(split, count, fingerprint):
    images, labels = read(MNIST5K, split)
    assert np.bincount(labels).tolist() == [count] * 10
    assert hashlib.sha256(images.tobytes() + bytes(labels)).hexdigest()[:16] == fingerprint


def test_clothes_that_were_put_in_come_out(tmp_path):
    fakes.assert_read(FASHION_MNIST, tmp_path, fakes.fake_fashion_mnist(tmp_path))
    classes = FASHION_MNIST.read(fakes.paths(FASHION_MNIST, tmp_path)).classes
    assert (len(classes), classes[0], classes[9]) == (10, "T-shirt/top", "Ankle boot")


def test_clothes_whose_labels_do_not_fit_are_refused(tmp_path):
    made = fakes.fake_fashion_mnist(tmp_path)
    path = tmp_path / "t10k-labels-idx1-ubyte.gz"
    for labels, reason in (
        ([1] * 9, "it has 9 labels for 10 images"),
        ([10] * 10, "it has label 10, but the classes"),
    ):
        path.write_bytes(gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, len(labels), *labels])))
        assert fakes.error(FASHION_MNIST, tmp_path).startswith(
            f"{path} is damaged or incomplete ({reason}"
        )
    assert len(made["test"]) == 10


def test_an_idx_file_that_is_not_what_it_should_be_is_refused(tmp_path):
    file, array = tmp_path / "images.gz", np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    whole = bytes([0, 0, 8, 3]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()
    file.write_bytes(gzip.compress(whole))
    for shape in ((2, 3, 4), (-1, 3, 4)):
        np.testing.assert_array_equal(read_idx(file, shape), array)
    for shape in ((3, 3, 4), (2, 12), (24,), (-1, 4, 3)):
        with pytest.raises(
            ValueError, match=r"an idx file of bytes .* begins with .*, it with .* Fetch it again"
        ):
            read_idx(file, shape)
    for content in (whole[:-1], whole + b"0"):
        file.write_bytes(gzip.compress(content))
        text = f"holds {len(content) - 16} bytes after its header, not 24). Fetch it again."
        with pytest.raises(ValueError, match=re.escape(text)):
            read_idx(file, (2, 3, 4))
    packed = gzip.compress(whole)
    for content in (packed[:-9], packed[:12] + b"????" + packed[16:], whole, b""):
        file.write_bytes(content)
        with pytest.raises(
            ValueError, match=r"images.gz is damaged or incomplete .*Fetch it again"
        ):
            read_idx(file, (2, 3, 4))
