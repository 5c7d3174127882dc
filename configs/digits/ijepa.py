"""I-JEPA on the 1,437 digits of 8x8 pixels that scikit-learn ships.

python train.py --config=configs/digits/ijepa.py

Half a minute on 2 CPU cores. With pixels as they are and a momentum of 0.99 it collapses: loss
0.01, RankMe 1.4."""

from ml_collections import ConfigDict

from configs import base, methods
from configs.digits import simclr


def get_config() -> ConfigDict:
    """SimCLR's duration with another method, a small vision transformer and masks."""
    config = simclr.get_config()
    shape = {"class_token": False, "pool": "mean", "positions": "sincos", "init": "fan_in"}
    config.model = base.vit(variant="vit_nano", patch=2, width=32, depth=2, **shape)
    config.method = methods.ijepa(
        predictor_width=16, predictor_depth=2, predictor_heads=4, predictor_init="fan_in"
    )
    config.views = ConfigDict(
        {"crop": base.crop(8, area=(0.6, 1.0), flip=0.0, mean=(0.3,), std=(0.38,))}
    )
    config.masks = base.multi_block(targets=2, target_scale=(0.2, 0.3), min_keep=4)
    return config
