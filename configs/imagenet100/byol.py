"""BYOL on ImageNet-100 with a ResNet-18, after solo-learn
(scripts/pretrain/imagenet-100/byol.yaml).

python train.py --config=configs/imagenet100/byol.py

TFDS has no ImageNet-100: give a folder with train and val, --config.data.name=folder:PATH.
solo-learn's README: 80.32 % linear; not run here. Differences are those of configs/cifar10/byol.py,
and crops are cut from stored squares of 256 pixels, theirs from the whole images.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import byol


def get_config() -> ConfigDict:
    """CIFAR-10's recipe, of the same authors, for 224 pixels and 400 epochs."""
    config = byol.get_config()
    config.duration = "400 epochs"
    config.data.update(name="imagenet100", image_size=256)
    config.model.update(stem="imagenet", stem_padding=1)
    config.method.update(predictor=(8192,))
    config.views = augmentations.vicreg(224)
    config.optimizer.learning_rate = 0.5
    config.optimizer.warmup_start = 3e-5 / 0.5
    config.optimizer.weight_decay = 1e-6
    return config
