"""DINO on ImageNet-100 with a ResNet-18 and two crops, after solo-learn
(scripts/pretrain/imagenet-100/dino.yaml).

python train.py --config=configs/imagenet100/dino.py

TFDS has no ImageNet-100: give a folder with train and val, --config.data.name=folder:PATH.
solo-learn's README: 74.84 % online, 74.92 % linear; not run here. Differences are those of
configs/cifar10/dino.py, and crops are cut from stored squares of 256 pixels, theirs from the whole
images.
"""

from ml_collections import ConfigDict

from configs import augmentations
from configs.cifar10 import dino


def get_config() -> ConfigDict:
    """CIFAR-10's recipe, of the same authors, for 224 pixels and 400 epochs."""
    config = dino.get_config()
    config.duration = "400 epochs"
    config.batch_size = 128
    config.data.update(name="imagenet100", image_size=256)
    config.model.update(stem="imagenet", stem_padding=1)
    config.views = augmentations.vicreg(224)
    config.optimizer.warmup_start = (
        3e-5 / 0.15
    )  # their start is not scaled with the batch, the peak is
    return config
