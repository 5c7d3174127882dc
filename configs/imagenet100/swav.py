"""SwAV on ImageNet-100 with a ResNet-18, after solo-learn
(scripts/pretrain/imagenet-100/swav.yaml).

python train.py --config=configs/imagenet100/swav.py

TFDS has no ImageNet-100: give a folder with train and val, --config.data.name=folder:PATH.
solo-learn's README: 74.28 % linear; not run here. Differences are those of configs/cifar10/swav.py,
and crops are cut from stored squares of 256 pixels, theirs from the whole images.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import swav


def get_config() -> ConfigDict:
    """CIFAR-10's recipe, of the same authors, for 224 pixels and 400 epochs."""
    config = swav.get_config()
    config.duration = "400 epochs"
    config.data.update(name="imagenet100", image_size=256)
    config.model.update(stem="imagenet", stem_padding=1)
    config.views = augmentations.solo(224, "symmetric", *augmentations.IMAGENET)
    return config
