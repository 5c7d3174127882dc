"""data2vec on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/data2vec.py
"""

from ml_collections import ConfigDict

from configs import base, methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's duration with another method, a small vision transformer and masks."""
    config = simclr.get_config()
    config.model = base.vit(
        variant="vit_nano",
        patch=2,
        width=32,
        depth=2,
        pool="mean",
        positions="relative",
        init="fan_in",
        key_bias=False,
    )
    config.method = methods.data2vec(target_blocks=1, momentum=0.99, momentum_end=0.99)
    config.views = ConfigDict(
        {"crop": base.crop(8, area=(0.6, 1.0), flip=0.0, mean=(0.3,), std=(0.38,))}
    )
    config.masks = base.block_wise(8, min_block=2)
    config.optimizer.clip_norm = 3.0
    return config
