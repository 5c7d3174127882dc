"""Spectral contrastive learning on ImageNet with a ResNet-50, after
jhaochenz96/spectral_contrastive_learning.

python train.py --config=configs/imagenet/spectral.py

Its configs/spectral_resnet_mlp8192_norelu_3layer_imagenet_lr005_mu10_bs384_100eps.yaml, which
trains for 101 epochs. The repository publishes no accuracy; not run here. Theirs evaluates the
head's output, and each GPU has its own negatives. Crops are cut from stored squares of 256 pixels
(252 GB on disk), theirs from the whole images."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "101 epochs"
    config.batch_size = 384
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet", zero_init_residual=True)
    config.method = methods.spectral(mu=10.0, projector=(8192, 8192, 8192))
    config.views = augmentations.moco(224)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.05
    config.optimizer.reference_batch = 256
    config.optimizer.warmup = "0 steps"
    config.optimizer.weight_decay = 1e-4
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
