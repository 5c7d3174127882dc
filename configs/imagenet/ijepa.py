"""I-JEPA on ImageNet with a ViT-B/16 at the scale of the LiDAR paper: 600 epochs, batches of 2048.

python train.py --config=configs/imagenet/ijepa.py

The paper's own probe accuracies depend on its sweep; a ViT-B recipe is not published, the official
configs begin with ViT-H, whose schedule and predictor these are. Not run here. Crops are cut from
stored squares of 256 pixels (252 GB on disk), theirs from the whole images. The published masks:
--config.masks.kind=reference.

A healthy curve: the loss falls quickly, then rises for a part of the run as the target encoder's
features grow richer, and falls again as its momentum nears 1; target_std stays well above 0 and
LiDAR rises. A loss that runs to 0 with target_std is a collapse: lower the rate, or start the
momentum higher."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "600 epochs"
    config.batch_size = 2048
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    shape = {"class_token": False, "pool": "mean", "positions": "sincos", "init": "ijepa"}
    config.model = base.vit(variant="vit_base", patch=16, dtype="bfloat16", **shape)
    config.method = methods.ijepa(predictor_dtype="bfloat16")
    config.views = augmentations.ijepa(224)
    config.masks = base.multi_block()
    config.optimizer.update(
        learning_rate=1e-3, schedule="shifted", warmup="40 epochs", warmup_start=0.2, final=1e-3
    )
    config.optimizer.update(weight_decay=0.04, weight_decay_end=0.4, decay_min_ndim=2)
    config.monitor.lidar_images = 1000
    config.evaluation.lidar_views = 50
    return config
