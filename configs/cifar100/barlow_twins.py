"""Barlow Twins on CIFAR-100 with a ResNet-18.

python train.py --config=configs/cifar100/barlow_twins.py

solo-learn's README: 70.90 %, of a classifier trained alongside; not run here. Settings and
differences: configs/cifar10/barlow_twins.py.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import barlow_twins


def get_config() -> ConfigDict:
    """CIFAR-10's recipe with other images."""
    config = barlow_twins.get_config()
    config.data.name = "cifar100"
    for view in config.views.values():
        view.mean, view.std = augmentations.CIFAR100
    return config
