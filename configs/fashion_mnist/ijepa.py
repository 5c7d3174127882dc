"""I-JEPA with a small vision transformer of 4-pixel patches on Fashion-MNIST.

python train.py --config=configs/fashion_mnist/ijepa.py

Where the images come from: configs/fashion_mnist/simclr.py. Not tuned. What a healthy curve looks
like: configs/mnist5k/ijepa.py.
"""

from ml_collections import ConfigDict

from configs import base
from configs.fashion_mnist.simclr import on_fashion
from configs.mnist5k import ijepa


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images, with smaller patches and the published masks."""
    config = on_fashion(ijepa.get_config())
    config.model.patch = 4
    config.views = ConfigDict({"crop": base.crop(28, area=(0.5, 1.0), mean=(0.286,), std=(0.353,))})
    config.masks = base.multi_block(min_keep=6)
    return config
