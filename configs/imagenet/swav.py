"""SwAV on ImageNet with a ResNet-50, after facebookresearch/swav (scripts/swav_800ep_pretrain.sh):
2x224 + 6x96 pixels.

python train.py --config=configs/imagenet/swav.py

Their README: 75.3 % linear; not run here. Its setting for batches of 256: a queue of 3840 from
epoch 15, a rate of 0.6 without warm-up, prototypes frozen for 5005 steps. Theirs computes in
float16. Crops are cut from stored squares of 256 pixels (252 GB on disk), theirs from the whole
images.
"""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "800 epochs"
    config.batch_size = 4096
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet")
    config.method = methods.swav(local_views=6)
    config.views = augmentations.swav(224, 96)
    config.optimizer.name = "larc"  # without exclusions: biases and norms decay and are adapted
    config.optimizer.learning_rate = 4.8
    config.optimizer.schedule = "linspace"
    config.optimizer.warmup_start = 0.3 / 4.8
    config.optimizer.final = 0.001
    config.optimizer.weight_decay = 1e-6
    config.optimizer.groups.prototypes = base.group("^prototypes$", frozen="313 steps")
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
