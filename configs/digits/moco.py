"""MoCo v2 on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/moco.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.moco(projector=(0, 64), queue=1024, momentum=0.99, momentum_end=0.99)
    return config
