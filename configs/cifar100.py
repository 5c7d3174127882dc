"""CIFAR-100: 50,000 training images of 32x32 pixels; DIET, and the recipes of CIFAR-10.

    python train.py --config=configs/cifar100.py:diet
    python train.py --config=configs/cifar100.py:sdiet,2 --run=runs/cifar100-sdiet-colour

After the comma stands the strength of DIET's augmentation, 1 to 3 (default 3). For CIFAR-10 with
DIET add --config.data.name=cifar10. Prepare the data first; the first start prints how. Expected
accuracy in percent; none was run here, it takes a GPU:

    recipe          accuracy   whose, from where
    diet            none       for a ResNet-18, in no source that we could check; 71.4 for a
                               ResNet-101 in the abstract of arXiv 2302.10260
    sdiet           none       in no source that we could check
    simclr          65.78      solo-learn's README, of a classifier trained alongside
    moco            69.89      the same
    vicreg          68.54      the same
    barlow_twins    70.90      the same
    byol            70.46      the same
    simsiam         66.04      the same
    swav            64.88      the same
    dino            66.76      the same
    spectral        none       the repository has no recipe for CIFAR-100
    data2vec        none       not published
    ijepa           none       not published

Settings, differences and healthy curves of all but DIET and s-DIET: configs/cifar10.py. DIET's:
AdamW 1e-3, decay 0.05 on everything, label smoothing 0.8, batch 256, 10 epochs of warm-up, cosine,
3x3 stem with padding 2. s-DIET is trained with the same settings, in the papers too; the width of
its projector is our choice, as it is not published.
"""

from collections.abc import Callable

from ml_collections import ConfigDict

from configs import augmentations, base, cifar10


def get_config(recipe: str = "") -> ConfigDict:
    """Return the config of one of the recipes below."""
    return base.pick(recipe, globals())


def diet(strength: str = "3") -> ConfigDict:
    config = base.get_config()
    config.duration = "1000 epochs"
    config.batch_size = 256
    config.data.name = "cifar100"
    config.model.stem_padding = 2
    config.method = base.method("diet")
    mean, std = augmentations.CIFAR100
    config.views = augmentations.diet(32, strength, mean=mean, std=std)
    config.optimizer.warmup_start = 1 / 3
    config.optimizer.final = 1e-3
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config


def sdiet(strength: str = "3") -> ConfigDict:
    config = diet(strength)
    config.method = base.method("sdiet")
    return config


def _hundred(recipe: Callable[[], ConfigDict]) -> Callable[[], ConfigDict]:
    """The recipe of CIFAR-10 with the images of CIFAR-100."""

    def changed() -> ConfigDict:
        config = recipe()
        config.data.name = "cifar100"
        for view in config.views.values():
            view.mean, view.std = augmentations.CIFAR100
        return config

    return changed


simclr = _hundred(cifar10.simclr)
moco = _hundred(cifar10.moco)
vicreg = _hundred(cifar10.vicreg)
barlow_twins = _hundred(cifar10.barlow_twins)
byol = _hundred(cifar10.byol)
simsiam = _hundred(cifar10.simsiam)
swav = _hundred(cifar10.swav)
dino = _hundred(cifar10.dino)
spectral = _hundred(cifar10.spectral)
data2vec = _hundred(cifar10.data2vec)
ijepa = _hundred(cifar10.ijepa)
