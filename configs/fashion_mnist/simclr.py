"""SimCLR on Fashion-MNIST: 60,000 images of clothes, 28x28 pixels, gray.

python train.py --config=configs/fashion_mnist/simclr.py

The images come from Debian's package dataset-fashion-mnist, or from the four files of the data
set's authors; without either, a run says where to put them. Some six minutes on 2 quiet CPU cores,
by the pace of SwAV's first 60 steps."""

from ml_collections import ConfigDict

from configs import base
from configs.mnist5k import simclr


def get_config() -> ConfigDict:
    """mnist5k's recipe on more images; clothes, unlike digits, may be mirrored."""
    return on_fashion(simclr.get_config())


def on_fashion(config: ConfigDict) -> ConfigDict:
    """A recipe of mnist5k, changed for this data set."""
    config.data.name = "fashion_mnist"
    config.duration = "5 epochs"
    config.optimizer.warmup = "5%"
    config.views.crop = base.crop(14, area=(0.3, 1.0), flip=0.5, blur=0.5, blur_sigma=(0.1, 1.0))
    config.log.every = "5%"
    return config
