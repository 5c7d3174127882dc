"""Barlow Twins on ImageNet with a ResNet-50, after facebookresearch/barlowtwins: 1000 epochs on 16
GPUs.

python train.py --config=configs/imagenet/barlow_twins.py

Their README: 73.3 % linear, with an earlier form of the loss (times 0.024, one rate); not run here.
Their gradient is divided by the number of processes, which matters for biases, batch norm and the
decay: the scale of the loss does that here. Theirs computes in float16. Crops are cut from stored
squares of 256 pixels (252 GB on disk), theirs from the whole images.
"""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "1000 epochs"
    config.batch_size = 2048
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet", zero_init_residual=True)
    config.method = methods.barlow_twins(scale=1 / 16)
    config.views = augmentations.vicreg(224)
    config.optimizer.name = "lars"
    config.optimizer.learning_rate = 0.2
    config.optimizer.reference_batch = 256
    config.optimizer.final = 0.001
    config.optimizer.weight_decay = 1e-6
    config.optimizer.decay_min_ndim = 2
    config.optimizer.groups.one_axis = base.group("(bias|scale)$", rate=0.0048 / 0.2)
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
