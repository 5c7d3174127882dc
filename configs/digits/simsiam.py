"""SimSiam on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/simsiam.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.simsiam(projector=(0, 0, 0), predictor=(16,))
    return config
