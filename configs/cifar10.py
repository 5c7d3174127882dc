"""CIFAR-10: 50,000 training images of 32x32 pixels; a ResNet-18, or a ViT-Ti/4 with masks.

    python train.py --config=configs/cifar10.py:simclr

Expected accuracy in percent; none was run here:

    recipe          accuracy   whose, from where
    simclr          90.74      solo-learn's README; scripts/pretrain/cifar/simclr.yaml
    moco            92.94      the same, mocov2plus.yaml
    vicreg          92.07      the same, vicreg.yaml
    barlow_twins    92.10      the same, barlow.yaml
    byol            92.58      the same, byol.yaml
    simsiam         90.51      the same, simsiam.yaml
    swav            89.17      the same, swav.yaml
    dino            89.52      the same, dino.yaml
    spectral        none       jhaochenz96/spectral_contrastive_learning publishes no accuracy
    data2vec        none       not published at this size
    ijepa           none       not published at this size

solo-learn's numbers are of a classifier trained alongside. What differs from its code: theirs
computes in float16, and

- simclr, swav: its batch norm sees each view by itself.
- moco: MoCo v2+, which is MoCo v2 with queries from both views, batch norm over the whole batch and
  a momentum that rises; its latest projector has batch norm, this one none.
- vicreg: the expander's last layer has a bias.
- barlow_twins: the projector's layers have biases, which the batch norm behind each cancels.
- byol: its teacher starts as a copy of the student, and the heads' last layers have biases; here
  they are as in the official code.
- swav: two crops; its prototypes have weight norm where these are scaled to unit length after each
  step, and its queue, filled from the first step on, is in use in epoch 50 where this one starts to
  fill.
- dino: two crops; it clips no gradients.

spectral is configs/spectral_resnet_mlp1000_norelu_cifar10_lr003_mu1.yaml of its repository. Theirs
normalises images with ImageNet's mean and standard deviation, evaluates the head's output, has the
full rate in the very first step, and on several GPUs each has its own negatives.

data2vec and ijepa are the ImageNet runs' settings with masks that 8 x 8 patches allow, and the
teacher's momentum for batches of 256 (data2vec) or a smaller predictor (ijepa): our choice.

Healthy curves: DINO's loss leaves ln 4096 = 8.32 within the first epochs and goes on falling; kNN
rises with it. For data2vec and ijepa see configs/imagenet.py.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import augmentations, base
from configs.augmentations import CIFAR10


def get_config(recipe: str = "") -> ConfigDict:
    """Return the config of one of the recipes below."""
    return base.pick(recipe, globals())


def _shared(method: ConfigDict, views: ConfigDict) -> ConfigDict:
    config = base.get_config()
    config.batch_size = 256
    config.data.name = "cifar10"
    config.method = method
    config.views = views
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config


def _solo(
    method: ConfigDict, views: ConfigDict, rate: float, decay: float, optimizer: str = "larc"
) -> ConfigDict:
    """What solo-learn's recipes share; their warm-up starts at a rate of 3e-5."""
    config = _shared(method, views)
    config.duration = "1000 epochs"
    config.model.stem_padding = 2
    config.optimizer.update(name=optimizer, learning_rate=rate, reference_batch=256)
    config.optimizer.warmup_start = 3e-5 / rate
    config.optimizer.weight_decay = decay
    if optimizer == "larc":
        config.optimizer.update(decay_min_ndim=2, trust=0.02, trust_clip=True)
    return config


def _masked(method: ConfigDict, views: ConfigDict, **model: Any) -> ConfigDict:
    """What data2vec and I-JEPA share."""
    config = _shared(method, views)
    config.duration = "800 epochs"
    config.model = base.vit(variant="vit_tiny", patch=4, pool="mean", **model)
    config.optimizer.warmup = "40 epochs"
    config.optimizer.decay_min_ndim = 2
    config.monitor.lidar_images = 500
    return config


def simclr() -> ConfigDict:
    method = base.method("simclr", temperature=0.2, projector=(2048, 256), projector_norm=False)
    views = augmentations.solo(32, "symmetric", *CIFAR10)
    return _solo(method, views, rate=0.4, decay=1e-4)


def moco() -> ConfigDict:
    method = base.method("moco", projector=(2048, 256), queue=32768, momentum=0.99)
    method.update(bn_group=0, symmetric=True)
    views = augmentations.solo(32, "weak", *CIFAR10)
    return _solo(method, views, rate=0.3, decay=1e-4, optimizer="sgd")


def vicreg() -> ConfigDict:
    method = base.method("vicreg", halve_variance=False, projector=(2048, 2048, 2048))
    views = augmentations.solo(32, "vicreg", *CIFAR10)
    return _solo(method, views, rate=0.3, decay=1e-4)


def barlow_twins() -> ConfigDict:
    method = base.method("barlow_twins", scale=0.1, projector=(2048, 2048, 2048))
    views = augmentations.solo(32, "asymmetric", *CIFAR10)
    return _solo(method, views, rate=0.3, decay=1e-4)


def byol() -> ConfigDict:
    method = base.method("byol", projector=(4096, 256), predictor=(4096,), momentum=0.99)
    views = augmentations.solo(32, "asymmetric", *CIFAR10)
    return _solo(method, views, rate=1.0, decay=1e-5)


def simsiam() -> ConfigDict:
    method = base.method("simsiam", projector=(2048, 2048, 2048), predictor=(512,))
    views = augmentations.solo(32, "weak", *CIFAR10)
    config = _solo(method, views, rate=0.5, decay=1e-5, optimizer="sgd")
    config.optimizer.groups.predictor = base.group("^predictor/", constant=True)
    return config


def swav() -> ConfigDict:
    method = base.method("swav", queue=3840, queue_start="50 epochs")
    views = augmentations.solo(32, "symmetric", *CIFAR10)
    config = _solo(method, views, rate=0.6, decay=1e-6)
    config.optimizer.groups.prototypes = base.group("^prototypes$", frozen="2 epochs")
    return config


def dino() -> ConfigDict:
    method = base.method("dino", prototypes=4096, local_views=0, momentum=0.9995)
    method.update(teacher_temperature=0.07, teacher_warmup="50 epochs")
    views = augmentations.solo(32, "asymmetric", *CIFAR10)
    config = _solo(method, views, rate=0.3, decay=1e-6)
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    return config


def spectral() -> ConfigDict:
    method = base.method("spectral", mu=1.0, projector=(2048, 1000))
    config = _shared(method, augmentations.moco(32, *CIFAR10, blur=0.0))
    config.update(duration="800 epochs", batch_size=512)
    config.optimizer.update(name="sgd", learning_rate=0.03, reference_batch=256)
    config.optimizer.update(schedule="linspace", weight_decay=5e-4)
    return config


def data2vec() -> ConfigDict:
    method = base.method("data2vec", momentum=0.998, momentum_end=0.9998)
    beit = {"positions": "relative", "init": "beit", "key_bias": False, "layer_scale": 0.1}
    config = _masked(method, augmentations.data2vec(32, *CIFAR10), drop_path=0.1, **beit)
    config.masks = base.block_wise(38, min_block=4)
    config.optimizer.update(learning_rate=1e-3, schedule="linspace", clip_norm=3.0)
    config.optimizer.update(weight_decay=0.05, no_decay="pos_embed|cls_token")
    return config


def ijepa() -> ConfigDict:
    predictor = {"predictor_width": 96, "predictor_depth": 6, "predictor_heads": 3}
    method = base.method("ijepa", **predictor, predictor_init="fan_in")
    shape = {"class_token": False, "positions": "sincos", "init": "fan_in"}
    config = _masked(method, augmentations.ijepa(32, *CIFAR10), **shape)
    config.masks = base.multi_block(min_keep=6)
    config.optimizer.update(learning_rate=1e-3, schedule="shifted", warmup_start=0.2, final=1e-3)
    config.optimizer.update(weight_decay=0.04, weight_decay_end=0.4)
    return config
