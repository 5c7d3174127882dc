"""Barlow Twins on CIFAR-10 with a ResNet-18, after solo-learn (scripts/pretrain/cifar/barlow.yaml).

python train.py --config=configs/cifar10/barlow_twins.py

solo-learn's README: 92.10 %, of a classifier trained alongside; not run here. Theirs computes in
float16, and the projector's layers have biases, which the batch norm behind each cancels."""

from ml_collections import ConfigDict

from configs import augmentations, methods
from configs.cifar10 import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method, augmentation and rate."""
    config = simclr.get_config()
    config.method = methods.barlow_twins(scale=0.1, projector=(2048, 2048, 2048))
    config.views = augmentations.solo(32, "asymmetric", *augmentations.CIFAR10)
    config.optimizer.learning_rate = 0.3
    config.optimizer.warmup_start = 3e-5 / 0.3
    return config
