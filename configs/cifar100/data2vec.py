"""data2vec on CIFAR-100 with a ViT-Ti/4.

python train.py --config=configs/cifar100/data2vec.py

Not published; settings and differences: configs/cifar10/data2vec.py.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import data2vec


def get_config() -> ConfigDict:
    """CIFAR-10's recipe with other images."""
    config = data2vec.get_config()
    config.data.name = "cifar100"
    config.views.crop.mean, config.views.crop.std = augmentations.CIFAR100
    return config
