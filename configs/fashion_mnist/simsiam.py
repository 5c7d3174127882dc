"""SimSiam on Fashion-MNIST: 60,000 images of clothes, 28x28 pixels, gray.

python train.py --config=configs/fashion_mnist/simsiam.py

Where the images come from: configs/fashion_mnist/simclr.py.
"""

from ml_collections import ConfigDict

from configs.fashion_mnist.simclr import on_fashion
from configs.mnist5k import simsiam


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images."""
    return on_fashion(simsiam.get_config())
