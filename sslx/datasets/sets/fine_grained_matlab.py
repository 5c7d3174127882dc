"""Data sets of classes that differ in details, listed in MATLAB files: flowers and cars."""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sslx.datasets.dataset import Contents, DataSet, published
from sslx.datasets.sets.archive import damaged, read_members
from sslx.datasets.sets.listed import Listed, images

# The archives number the flowers without naming them; these are the names that TFDS gives.
FLOWERS = """
pink primrose, hard-leaved pocket orchid, canterbury bells, sweet pea, english marigold, tiger lily,
moon orchid, bird of paradise, monkshood, globe thistle, snapdragon, colt's foot, king protea, spear
thistle, yellow iris, globe-flower, purple coneflower, peruvian lily, balloon flower, giant white
arum lily, fire lily, pincushion flower, fritillary, red ginger, grape hyacinth, corn poppy, prince
of wales feathers, stemless gentian, artichoke, sweet william, carnation, garden phlox, love in the
mist, mexican aster, alpine sea holly, ruby-lipped cattleya, cape flower, great masterwort, siam
tulip, lenten rose, barbeton daisy, daffodil, sword lily, poinsettia, bolero deep blue, wallflower,
marigold, buttercup, oxeye daisy, common dandelion, petunia, wild pansy, primula, sunflower,
pelargonium, bishop of llandaff, gaura, geranium, orange dahlia, pink-yellow dahlia?, cautleya
spicata, japanese anemone, black-eyed susan, silverbush, californian poppy, osteospermum, spring
crocus, bearded iris, windflower, tree poppy, gazania, azalea, water lily, rose, thorn apple,
morning glory, passion flower, lotus, toad lily, anthurium, frangipani, clematis, hibiscus,
columbine, desert-rose, tree mallow, magnolia, cyclamen, watercress, canna lily, hippeastrum, bee
balm, ball moss, foxglove, bougainvillea, camellia, mallow, mexican petunia, bromelia, blanket
flower, trumpet creeper, blackberry lily
"""


def _read_flowers(paths: Mapping[str, Path]) -> Contents:
    path, lists, labels = paths["102flowers.tgz"], paths["setid.mat"], paths["imagelabels.mat"]
    classes = tuple(" ".join(FLOWERS.split()).split(", "))
    numbers = dict(enumerate(read_array(labels, labels.read_bytes(), "labels").tolist(), start=1))
    splits = {}
    for split, name in {"train": "trnid", "validation": "valid", "test": "tstid"}.items():
        entries = [
            Listed(f"image_{image:05}.jpg", f"jpg/image_{image:05}.jpg", numbers.get(image, 0) - 1)
            for image in read_array(lists, lists.read_bytes(), name).tolist()
        ]
        splits[split] = images(path, entries, classes, labels)
    return Contents(classes, splits)


def _read_cars(paths: Mapping[str, Path]) -> Contents:
    devkit, labels = paths["car_devkit.tgz"], paths["cars_test_annos_withlabels.mat"]
    meta, train = read_members(devkit, ["devkit/cars_meta.mat", "devkit/cars_train_annos.mat"])
    classes = tuple(str(name) for name in read_array(devkit, meta, "class_names"))
    splits = {}
    for split, lists, content in (("train", devkit, train), ("test", labels, labels.read_bytes())):
        rows = read_array(lists, content, "annotations")
        entries = [
            Listed(str(image), f"cars_{split}/{image}", int(label) - 1)
            for image, label in zip(rows["fname"], rows["class"], strict=True)
        ]
        splits[split] = images(paths[f"cars_{split}.tgz"], entries, classes, lists)
    return Contents(classes, splits)


def read_array(path: Path, content: bytes, name: str) -> np.ndarray:
    """Return the array `name` of a MATLAB file's bytes, without axes of length 1.

    Raises ValueError, which names `path`, where there is none.
    """
    from scipy.io import loadmat  # here, as it takes a while and few data sets need it

    try:
        return np.atleast_1d(loadmat(io.BytesIO(content), squeeze_me=True)[name])
    except Exception as error:  # a damaged file makes scipy raise a dozen types
        raise damaged(path, f"its MATLAB array {name!r} cannot be read") from error


OXFORD_FLOWERS102 = DataSet(
    name="oxford_flowers102",
    title="flowers that are common in Britain",
    archives=published("oxford_flowers102"),
    read=_read_flowers,
    sizes={"train": 1020, "validation": 1020, "test": 6149},
    classes=102,
    train="train+validation",
    probe="train+validation",
    home="https://www.robots.ox.ac.uk/~vgg/data/flowers/102/",
    source="Nilsback and Zisserman 2008, ICVGIP; the split of setid.mat, whose largest part tests",
    disk=345_000_000,
)

CARS196 = DataSet(
    name="cars196",
    title="cars by make, model and year",
    archives=published("cars196"),
    read=_read_cars,
    sizes={"train": 8144, "test": 8041},
    classes=196,
    home="https://www.tensorflow.org/datasets/catalog/cars196",
    source="Krause et al. 2013, 3dRR workshop; the official split",
    disk=1_960_000_000,
)
