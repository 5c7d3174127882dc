"""Spectral contrastive learning on CIFAR-100 with a ResNet-18.

python train.py --config=configs/cifar100/spectral.py

Settings and differences are those of configs/cifar10/spectral.py; the repository has no recipe for
CIFAR-100, so that nothing is published. Not run here.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import spectral


def get_config() -> ConfigDict:
    """CIFAR-10's recipe with other images."""
    config = spectral.get_config()
    config.data.name = "cifar100"
    for view in config.views.values():
        view.mean, view.std = augmentations.CIFAR100
    return config
