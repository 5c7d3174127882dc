"""VICReg on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/vicreg.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.vicreg(projector=(128, 128, 128))
    return config
