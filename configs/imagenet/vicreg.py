"""VICReg on ImageNet with a ResNet-50, after facebookresearch/vicreg: 1000 epochs with batches of
2048.

python train.py --config=configs/imagenet/vicreg.py

Their README: 73.2 % linear; not run here. Its command for one machine: 100 epochs, batches of 512
and a rate of 0.3. Theirs computes in float16. Crops are cut from stored squares of 256 pixels (252
GB on disk), theirs from the whole images.
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
    config.method = methods.vicreg()
    config.views = augmentations.vicreg(224)
    config.optimizer.name = "lars"
    config.optimizer.learning_rate = 0.2
    config.optimizer.reference_batch = 256
    config.optimizer.final = 0.001
    config.optimizer.weight_decay = 1e-6
    config.optimizer.decay_min_ndim = 2
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
