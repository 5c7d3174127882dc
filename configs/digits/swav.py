"""SwAV on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/swav.py
"""

from ml_collections import ConfigDict

from configs import methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method."""
    config = simclr.get_config()
    config.method = methods.swav(projector=(64, 32), prototypes=64, queue=0)
    return config
