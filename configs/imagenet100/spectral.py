"""Spectral contrastive learning on ImageNet-100 with a ResNet-50: the official ImageNet recipe for
400 epochs.

python train.py --config=configs/imagenet100/spectral.py

TFDS has no ImageNet-100: give a folder with train and val, --config.data.name=folder:PATH. Neither
the official repository nor solo-learn has a recipe for it: the number of epochs is our choice, that
of solo-learn's other methods, and nothing is published. Not run here.
"""

from ml_collections import ConfigDict

from configs.imagenet import spectral


def get_config() -> ConfigDict:
    """ImageNet's recipe with other images."""
    config = spectral.get_config()
    config.duration = "400 epochs"
    config.data.name = "imagenet100"
    return config
