"""MoCo v2 on ImageNet with a ResNet-50, after facebookresearch/moco: 200 epochs on 8 GPUs.

python train.py --config=configs/imagenet/moco.py

Their README: 67.5 +- 0.1 % linear over 5 runs, 71.1 after 800 epochs; not run here. Crops are cut
from stored squares of 256 pixels (252 GB on disk), theirs from the whole images."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "200 epochs"
    config.batch_size = 256
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet")
    config.method = methods.moco(bn_group=32)  # 256 images on 8 GPUs
    config.views = augmentations.moco(224)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.03
    config.optimizer.schedule = "epochs"
    config.optimizer.warmup = "0 steps"
    config.optimizer.weight_decay = 1e-4
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
