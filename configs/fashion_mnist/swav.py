"""SwAV on Fashion-MNIST: 60,000 images of clothes, 28x28 pixels, gray.

python train.py --config=configs/fashion_mnist/swav.py

Where the images come from: configs/fashion_mnist/simclr.py.
"""

from ml_collections import ConfigDict

from configs.fashion_mnist.simclr import on_fashion
from configs.mnist5k import swav


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images."""
    return on_fashion(swav.get_config())
