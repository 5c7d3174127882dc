"""Fashion-MNIST: 60,000 training images of clothes, 28x28 pixels, gray. mnist5k's recipes.

    python train.py --config=configs/fashion_mnist.py:simclr

The images come from Debian's package dataset-fashion-mnist, or from the four files of the data
set's authors; without either, a run prints where to put them. Some six minutes on 2 quiet CPU
cores, by the pace of SwAV's first 60 steps. Healthy curves: those of configs/mnist5k.py.

    simclr, moco, vicreg, barlow_twins, byol, simsiam, swav, spectral: a ResNet, views of 14 pixels
    dino, data2vec, ijepa: a small vision transformer of 4-pixel patches; ijepa has published masks

Expected numbers: none. Not tuned, no accuracy measured, nothing published with these settings.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import base, mnist5k

NORMALISE = {"mean": (0.286,), "std": (0.353,)}


def get_config(recipe: str = "") -> ConfigDict:
    """Return the config of one of the recipes below."""
    return base.pick(recipe, globals())


def _clothes(config: ConfigDict) -> ConfigDict:
    """Change a recipe of mnist5k for this data set: clothes, unlike digits, may be mirrored."""
    config.data.name = "fashion_mnist"
    config.duration = "5 epochs"
    config.optimizer.warmup = "5%"
    config.views.crop = base.crop(14, area=(0.3, 1.0), blur=0.5, blur_sigma=(0.1, 1.0))
    config.log.every = "5%"
    return config


def _from(recipe: Callable[[], ConfigDict]) -> Callable[[], ConfigDict]:
    """The recipe of mnist5k for this data set."""

    def changed() -> ConfigDict:
        return _clothes(recipe())

    return changed


simclr = _from(mnist5k.simclr)
moco = _from(mnist5k.moco)
vicreg = _from(mnist5k.vicreg)
barlow_twins = _from(mnist5k.barlow_twins)
byol = _from(mnist5k.byol)
simsiam = _from(mnist5k.simsiam)
swav = _from(mnist5k.swav)
spectral = _from(mnist5k.spectral)


def dino() -> ConfigDict:
    config = _clothes(mnist5k.dino())
    config.model = base.vit(variant="vit_nano", patch=4, init="fan_in")
    config.views.crop = base.crop(28, area=(0.4, 1.0), blur=0.5, **NORMALISE)
    config.views.local = base.crop(16, area=(0.1, 0.4), blur=0.5, **NORMALISE)
    config.optimizer.learning_rate = 1e-3
    return config


def data2vec() -> ConfigDict:
    config = _clothes(mnist5k.data2vec())
    config.model.patch = 4
    config.views.crop = base.crop(28, area=(0.5, 1.0), **NORMALISE)
    config.masks = base.block_wise(29, min_block=4)
    return config


def ijepa() -> ConfigDict:
    config = _clothes(mnist5k.ijepa())
    config.model.patch = 4
    config.views.crop = base.crop(28, area=(0.5, 1.0), **NORMALISE)
    config.masks = base.multi_block(min_keep=6)
    return config
