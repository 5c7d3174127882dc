"""DINO on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/dino.py
"""

from ml_collections import ConfigDict

from configs import base, methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method, a small vision transformer and two small crops."""
    config = simclr.get_config()
    config.model = base.vit(variant="vit_nano", patch=2, width=32, depth=2, init="fan_in")
    config.method = methods.dino(
        projector=(64, 32), projector_norm=True, prototypes=256, local_views=2, momentum=0.97
    )
    config.views.local = base.crop(4, area=(0.1, 0.4), flip=0.0)
    config.optimizer.weight_decay = 0.04
    config.optimizer.clip_tensor_norm = 3.0
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    return config
