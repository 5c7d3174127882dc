"""Spectral contrastive learning on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/spectral.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.spectral(projector=(128, 64))
    return config
