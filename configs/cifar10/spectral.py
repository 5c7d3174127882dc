"""Spectral contrastive learning on CIFAR-10 with a ResNet-18, after
jhaochenz96/spectral_contrastive_learning.

python train.py --config=configs/cifar10/spectral.py

Its configs/spectral_resnet_mlp1000_norelu_cifar10_lr003_mu1.yaml. The repository publishes no
accuracy; not run here. Theirs normalises images with ImageNet's mean and standard deviation,
evaluates the head's output, has the full rate in the very first step, and on several GPUs each has
its own negatives."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "800 epochs"
    config.batch_size = 512
    config.data.name = "cifar10"
    config.model.variant = "resnet18"
    config.method = methods.spectral(mu=1.0, projector=(2048, 1000))
    config.views = augmentations.moco(32, *augmentations.CIFAR10, blur=0.0)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.03
    config.optimizer.reference_batch = 256
    config.optimizer.schedule = "linspace"
    config.optimizer.weight_decay = 5e-4
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config
