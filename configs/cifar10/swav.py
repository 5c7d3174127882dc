"""SwAV on CIFAR-10 with a ResNet-18 and two crops, after solo-learn
(scripts/pretrain/cifar/swav.yaml).

python train.py --config=configs/cifar10/swav.py

solo-learn's README: 89.17 %, of a classifier trained alongside; not run here. Theirs computes in
float16, its batch norm sees each view by itself, its prototypes have weight norm where these are
scaled to unit length after each step, and its queue, filled from the first step on, is in use in
epoch 50 where this one starts to fill."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods
from configs.cifar10 import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method, rate and decay."""
    config = simclr.get_config()
    config.method = methods.swav(queue=3840, queue_start="50 epochs")
    config.views = augmentations.solo(32, "symmetric", *augmentations.CIFAR10)
    config.optimizer.learning_rate = 0.6
    config.optimizer.warmup_start = 3e-5 / 0.6
    config.optimizer.weight_decay = 1e-6
    config.optimizer.groups.prototypes = base.group("^prototypes$", frozen="2 epochs")
    return config
