"""VICReg on CIFAR-100 with a ResNet-18.

python train.py --config=configs/cifar100/vicreg.py

solo-learn's README: 68.54 %, of a classifier trained alongside; not run here. Settings and
differences: configs/cifar10/vicreg.py.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import vicreg


def get_config() -> ConfigDict:
    """CIFAR-10's recipe with other images."""
    config = vicreg.get_config()
    config.data.name = "cifar100"
    for view in config.views.values():
        view.mean, view.std = augmentations.CIFAR100
    return config
