"""DINO with a small vision transformer of 4-pixel patches on Fashion-MNIST.

python train.py --config=configs/fashion_mnist/dino.py

Where the images come from: configs/fashion_mnist/simclr.py. Not tuned. What a healthy curve looks like:
configs/mnist5k/dino.py.
"""

from ml_collections import ConfigDict

from configs.fashion_mnist.simclr import on_fashion
from configs.mnist5k import dino


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images, with smaller patches and mirrored views."""
    config = dino.get_config()
    views = config.views
    config = on_fashion(config)
    config.model.patch = 4
    config.views = views
    config.views.crop.update(flip=0.5, mean=(0.286,), std=(0.353,))
    config.views.local.update(size=16, flip=0.5, mean=(0.286,), std=(0.353,))
    return config
