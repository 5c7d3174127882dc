"""DIET on CIFAR-100 with a ResNet-18; for CIFAR-10 add --config.data.name=cifar10.

python train.py --config=configs/cifar100/diet.py
python train.py --config=configs/cifar100/diet.py:2 --run=runs/cifar100-diet-colour

The number after the colon is the strength of the augmentation, 1 to 3 (default 3). Prepare the data
with TFDS first; the first start says how. AdamW 1e-3, decay 0.05 on everything, label smoothing
0.8, batch 256, 10 epochs of warm-up, cosine, 3x3 stem with padding 2. Linear probe of a ResNet-18
with these settings: not published in a source that we could check; the abstract of arXiv 2302.10260
gives 71.4 % for a ResNet-101. Not run by us: it takes a GPU."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config(strength: str = "3") -> ConfigDict:
    """The recipe with augmentation of the given strength."""
    config = base.get_config()
    config.duration = "1000 epochs"
    config.batch_size = 256
    config.data.name = "cifar100"
    config.model.variant = "resnet18"
    config.model.stem_padding = 2
    config.method = methods.diet()
    normalise = {"mean": (0.5071, 0.4865, 0.4409), "std": (0.2673, 0.2564, 0.2762)}
    config.views = augmentations.diet(32, int(strength), **normalise)
    config.optimizer.warmup_start = 1 / 3
    config.optimizer.final = 1e-3
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config
