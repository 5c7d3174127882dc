"""SimSiam on ImageNet with a ResNet-50, after facebookresearch/simsiam: 100 epochs, --fix-pred-lr.

python train.py --config=configs/imagenet/simsiam.py

Their README: 68.1 % linear; not run here. Crops are cut from stored squares of 256 pixels (252 GB
on disk), theirs from the whole images.
"""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "100 epochs"
    config.batch_size = 512
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet", zero_init_residual=True)
    config.method = methods.simsiam()
    config.views = augmentations.moco(224)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.05
    config.optimizer.reference_batch = 256
    config.optimizer.schedule = "epochs"
    config.optimizer.warmup = "0 steps"
    config.optimizer.weight_decay = 1e-4
    config.optimizer.groups.predictor = base.group("^predictor/", constant=True)
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
