"""DINO with a small vision transformer of 4-pixel patches on Fashion-MNIST.

python train.py --config=configs/fashion_mnist/dino.py

Where the images come from: configs/fashion_mnist/simclr.py. Not tuned. What a healthy curve looks
like: configs/mnist5k/dino.py.
"""

from ml_collections import ConfigDict

from configs import base
from configs.fashion_mnist.simclr import on_fashion
from configs.mnist5k import dino


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images, with a vision transformer and larger, mirrored views."""
    config = on_fashion(dino.get_config())
    config.model = base.vit(variant="vit_nano", patch=4, init="fan_in")
    recipe = {"blur": 0.5, "mean": (0.286,), "std": (0.353,)}
    config.views.crop = base.crop(28, area=(0.4, 1.0), **recipe)
    config.views.local = base.crop(16, area=(0.1, 0.4), **recipe)
    config.optimizer.learning_rate = 1e-3
    return config
