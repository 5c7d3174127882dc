"""SimSiam on CIFAR-10 with a ResNet-18, after solo-learn (scripts/pretrain/cifar/simsiam.yaml).

python train.py --config=configs/cifar10/simsiam.py

solo-learn's README: 90.51 %, of a classifier trained alongside; not run here. Theirs computes in
float16."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods
from configs.cifar10 import moco


def get_config() -> ConfigDict:
    """MoCo's recipe with another method, rate and decay."""
    config = moco.get_config()
    config.method = methods.simsiam(projector=(2048, 2048, 2048), predictor=(512,))
    config.views = augmentations.solo(32, "weak", *augmentations.CIFAR10)
    config.optimizer.learning_rate = 0.5
    config.optimizer.warmup_start = 3e-5 / 0.5
    config.optimizer.weight_decay = 1e-5
    config.optimizer.groups.predictor = base.group("^predictor/", constant=True)
    return config
