"""data2vec on CIFAR-10 with a ViT-Ti/4.

python train.py --config=configs/cifar10/data2vec.py

Not published at this size: settings are the ImageNet run's, with masks for 64 patches and the
teacher's momentum for batches of 256; our choice, not run here. What a healthy curve looks like:
configs/imagenet/data2vec.py."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "800 epochs"
    config.data.name = "cifar10"
    shape = {
        "pool": "mean",
        "positions": "relative",
        "init": "beit",
        "key_bias": False,
        "layer_scale": 0.1,
    }
    config.model = base.vit(variant="vit_tiny", patch=4, drop_path=0.1, **shape)
    config.method = methods.data2vec(momentum=0.998, momentum_end=0.9998)
    config.views = augmentations.data2vec(32, *augmentations.CIFAR10)
    config.masks = base.block_wise(38, min_block=4)
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "linspace"
    config.optimizer.warmup = "40 epochs"
    config.optimizer.weight_decay = 0.05
    config.optimizer.decay_min_ndim = 2
    config.optimizer.no_decay = "pos_embed|cls_token"
    config.optimizer.clip_norm = 3.0
    config.monitor.lidar_images = 500
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config
