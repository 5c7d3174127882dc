"""data2vec with a small vision transformer of 4-pixel patches on Fashion-MNIST.

python train.py --config=configs/fashion_mnist/data2vec.py

Where the images come from: configs/fashion_mnist/simclr.py. Not tuned. What a healthy curve looks
like: configs/mnist5k/data2vec.py.
"""

from ml_collections import ConfigDict

from configs import base
from configs.fashion_mnist.simclr import on_fashion
from configs.mnist5k import data2vec


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images, with smaller patches."""
    config = on_fashion(data2vec.get_config())
    config.model.patch = 4
    config.views = ConfigDict({"crop": base.crop(28, area=(0.5, 1.0), mean=(0.286,), std=(0.353,))})
    config.masks = base.block_wise(29, min_block=4)
    return config
