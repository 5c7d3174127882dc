"""BYOL on CIFAR-10 with a ResNet-18, after solo-learn (scripts/pretrain/cifar/byol.yaml).

python train.py --config=configs/cifar10/byol.py

solo-learn's README: 92.58 %, of a classifier trained alongside; not run here. Theirs computes in
float16, its teacher starts as a copy of the student, and the heads' last layers have biases; here
they are as in the official code."""

from ml_collections import ConfigDict

from configs import augmentations, methods
from configs.cifar10 import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method, augmentation, rate and decay."""
    config = simclr.get_config()
    config.method = methods.byol(projector=(4096, 256), predictor=(4096,), momentum=0.99)
    config.views = augmentations.solo(32, "asymmetric", *augmentations.CIFAR10)
    config.optimizer.learning_rate = 1.0
    config.optimizer.warmup_start = 3e-5
    config.optimizer.weight_decay = 1e-5
    return config
