"""BYOL on ImageNet with a ResNet-50, after google-deepmind/deepmind-research: its preset of 1000
epochs.

python train.py --config=configs/imagenet/byol.py

Their README: 74.0 to 74.5 % linear; not run here. Presets for 300 and 100 epochs: a rate of 0.3 and
0.45, a decay of 1e-6, a momentum of 0.99. Crops are cut from stored squares of 256 pixels (252 GB
on disk), theirs from the whole images.
"""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "1000 epochs"
    config.batch_size = 4096
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet", zero_init_residual=True)
    config.method = methods.byol()
    config.views = augmentations.byol(224)
    config.optimizer.name = "lars"
    config.optimizer.learning_rate = 0.2
    config.optimizer.reference_batch = 256
    config.optimizer.weight_decay = 1.5e-6
    config.optimizer.decay_min_ndim = 2
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
