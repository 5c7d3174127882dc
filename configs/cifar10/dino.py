"""DINO on CIFAR-10 with a ResNet-18 and two crops, after solo-learn
(scripts/pretrain/cifar/dino.yaml).

python train.py --config=configs/cifar10/dino.py

solo-learn's README: 89.52 %, of a classifier trained alongside; not run here. Theirs computes in
float16 and clips no gradients. A healthy loss leaves ln 4096 = 8.32 within the first epochs and
goes on falling; kNN rises with it."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods
from configs.cifar10 import simclr


def get_config() -> ConfigDict:
    """SimCLR's recipe with another method, augmentation, rate and decay."""
    config = simclr.get_config()
    config.method = methods.dino(prototypes=4096, local_views=0, momentum=0.9995)
    config.method.update(teacher_temperature=0.07, teacher_warmup="50 epochs")
    config.views = augmentations.solo(32, "asymmetric", *augmentations.CIFAR10)
    config.optimizer.learning_rate = 0.3
    config.optimizer.warmup_start = 3e-5 / 0.3
    config.optimizer.weight_decay = 1e-6
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    return config
