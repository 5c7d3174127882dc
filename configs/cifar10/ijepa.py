"""I-JEPA on CIFAR-10 with a ViT-Ti/4.

python train.py --config=configs/cifar10/ijepa.py

Not published at this size: settings are the ImageNet run's, with a smaller predictor and masks that
8 x 8 patches allow; our choice, not run here. What a healthy curve looks like:
configs/imagenet/ijepa.py."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "800 epochs"
    config.data.name = "cifar10"
    shape = {"class_token": False, "pool": "mean", "positions": "sincos", "init": "fan_in"}
    config.model = base.vit(variant="vit_tiny", patch=4, **shape)
    config.method = methods.ijepa(
        predictor_width=96, predictor_depth=6, predictor_heads=3, predictor_init="fan_in"
    )
    config.views = augmentations.ijepa(32, *augmentations.CIFAR10)
    config.masks = base.multi_block(min_keep=6)
    config.optimizer.update(
        learning_rate=1e-3, schedule="shifted", warmup="40 epochs", warmup_start=0.2, final=1e-3
    )
    config.optimizer.update(weight_decay=0.04, weight_decay_end=0.4, decay_min_ndim=2)
    config.monitor.lidar_images = 500
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config
