"""s-DIET on CIFAR-100 with a ResNet-18; for CIFAR-10 add --config.data.name=cifar10.

python train.py --config=configs/cifar100/sdiet.py
python train.py --config=configs/cifar100/sdiet.py:2 --run=runs/cifar100-sdiet-colour

DIET's recipe with s-DIET's head, its strengths of augmentation included; the papers train both with
the same settings. The width of the projector is our choice: it is not published. Linear probe: not
published in a source that we could check. Not run by us: it takes a GPU.
"""

from ml_collections import ConfigDict

from configs import methods
from configs.cifar100 import diet


def get_config(strength: str = "3") -> ConfigDict:
    """The recipe with augmentation of the given strength."""
    config = diet.get_config(strength)
    config.method = methods.sdiet()
    return config
