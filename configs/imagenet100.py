"""ImageNet-100 at 224 pixels: 100 classes of ImageNet, 126,689 training images; mostly a ResNet-18.

    python train.py --config=configs/imagenet100.py:byol --config.data.name=folder:PATH

TFDS has no ImageNet-100: give a folder with train and val as above. Crops are cut from stored
squares of 256 pixels, those of the reference codes from the whole images. Expected accuracy in
percent; none was run here:

    recipe          accuracy        whose, from where
    simclr          77.64 online    solo-learn's README; scripts/pretrain/imagenet-100/simclr.yaml
    moco            79.28 linear    the same, mocov2plus.yaml
    vicreg          79.40 linear    the same, vicreg.yaml
    barlow_twins    80.16 linear    the same, barlow.yaml
    byol            80.32 linear    the same, byol.yaml
    simsiam         78.72 linear    the same, simsiam.yaml
    swav            74.28 linear    the same, swav.yaml
    dino            74.92 linear    the same, dino.yaml; 74.84 online
    spectral        none            no recipe for it in the official repository or in solo-learn
    data2vec        none            not published
    ijepa           none            not published

"Online" is a classifier trained alongside. Other differences from solo-learn's code: those that
configs/cifar10.py lists by method. In the file of simsiam that we read the two views are Barlow
Twins', not CIFAR's weak ones; swav and dino have two crops.

spectral is the official ImageNet recipe, a ResNet-50 with batches of 384, for 400 epochs: our
choice, that of solo-learn's other methods. data2vec and ijepa are those of configs/imagenet.py
with a ViT-S/16 and batches of 512, the rate scaled with the batch; that page has their healthy
curves.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import augmentations, base
from configs.augmentations import IMAGENET


def get_config(recipe: str = "") -> ConfigDict:
    """Return the config of one of the recipes below."""
    return base.pick(recipe, globals())


def _shared(method: ConfigDict, views: ConfigDict) -> ConfigDict:
    config = base.get_config()
    config.data.update(name="imagenet100", image_size=256)
    config.method = method
    config.views = views
    return config


def _solo(
    method: ConfigDict, views: ConfigDict, rate: float, decay: float, optimizer: str = "larc"
) -> ConfigDict:
    """What solo-learn's recipes share; their warm-up starts at a rate of 3e-5."""
    config = _shared(method, views)
    config.update(duration="400 epochs", batch_size=256)
    config.model = base.resnet(variant="resnet18", stem="imagenet")
    config.optimizer.update(name=optimizer, learning_rate=rate, reference_batch=256)
    config.optimizer.warmup_start = 3e-5 / rate
    config.optimizer.weight_decay = decay
    if optimizer == "larc":
        config.optimizer.update(decay_min_ndim=2, trust=0.02, trust_clip=True)
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config


def _masked(method: ConfigDict, views: ConfigDict, **model: Any) -> ConfigDict:
    """What data2vec and I-JEPA share."""
    config = _shared(method, views)
    config.update(duration="800 epochs", batch_size=512)
    config.model = base.vit(variant="vit_small", pool="mean", dtype="bfloat16", **model)
    config.optimizer.decay_min_ndim = 2
    config.monitor.lidar_images = 1000
    config.evaluation.lidar_views = 50
    return config


def simclr() -> ConfigDict:
    method = base.method("simclr", temperature=0.2, projector=(4096, 512), projector_norm=False)
    views = augmentations.solo(224, "symmetric", *IMAGENET)
    return _solo(method, views, rate=0.3, decay=1e-4)


def moco() -> ConfigDict:
    method = base.method("moco", projector=(2048, 256), queue=65536, momentum=0.99)
    method.update(bn_group=0, symmetric=True)
    views = augmentations.solo(224, "weak", *IMAGENET)
    return _solo(method, views, rate=0.3, decay=1e-4, optimizer="sgd")


def vicreg() -> ConfigDict:
    method = base.method("vicreg", halve_variance=False, projector=(2048, 2048, 2048))
    views = augmentations.solo(224, "vicreg", *IMAGENET, blur=0.5)
    return _solo(method, views, rate=0.3, decay=1e-4)


def barlow_twins() -> ConfigDict:
    method = base.method("barlow_twins", scale=0.1, projector=(2048, 2048, 2048))
    return _solo(method, augmentations.vicreg(224), rate=0.3, decay=1e-4)


def byol() -> ConfigDict:
    method = base.method("byol", projector=(4096, 256), predictor=(8192,), momentum=0.99)
    return _solo(method, augmentations.vicreg(224), rate=0.5, decay=1e-6)


def simsiam() -> ConfigDict:
    method = base.method("simsiam", projector=(2048, 2048, 2048), predictor=(512,))
    config = _solo(method, augmentations.vicreg(224), rate=0.5, decay=1e-5, optimizer="sgd")
    config.optimizer.groups.predictor = base.group("^predictor/", constant=True)
    return config


def swav() -> ConfigDict:
    method = base.method("swav", queue=3840, queue_start="50 epochs")
    views = augmentations.solo(224, "symmetric", *IMAGENET)
    config = _solo(method, views, rate=0.6, decay=1e-6)
    config.optimizer.groups.prototypes = base.group("^prototypes$", frozen="2 epochs")
    return config


def dino() -> ConfigDict:
    method = base.method("dino", prototypes=4096, local_views=0, momentum=0.9995)
    method.update(teacher_temperature=0.07, teacher_warmup="50 epochs")
    config = _solo(method, augmentations.vicreg(224), rate=0.3, decay=1e-6)
    config.batch_size = 128
    # Their start is not scaled with the batch, the peak, here 0.15, is.
    config.optimizer.warmup_start = 3e-5 / 0.15
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    return config


def spectral() -> ConfigDict:
    method = base.method("spectral", mu=10.0, projector=(8192, 8192, 8192))
    config = _shared(method, augmentations.moco(224))
    config.update(duration="400 epochs", batch_size=384)
    config.model = base.resnet(variant="resnet50", stem="imagenet", zero_init_residual=True)
    config.optimizer.update(name="sgd", learning_rate=0.05, reference_batch=256)
    config.optimizer.update(warmup="0 steps", weight_decay=1e-4)
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config


def data2vec() -> ConfigDict:
    beit = {"positions": "relative", "init": "beit", "key_bias": False, "layer_scale": 1e-4}
    views = augmentations.data2vec(224)
    config = _masked(base.method("data2vec"), views, drop_path=0.25, **beit)
    config.masks = base.block_wise(120)
    config.optimizer.update(learning_rate=2e-3 / 4, schedule="linspace", final=1e-5 / 2e-3)
    config.optimizer.update(weight_decay=0.05, no_decay="pos_embed|cls_token", clip_norm=3.0)
    return config


def ijepa() -> ConfigDict:
    method = base.method("ijepa", predictor_dtype="bfloat16")
    shape = {"class_token": False, "positions": "sincos", "init": "ijepa"}
    config = _masked(method, augmentations.ijepa(224), **shape)
    config.masks = base.multi_block()
    config.optimizer.update(learning_rate=1e-3 / 4, schedule="shifted", warmup="40 epochs")
    config.optimizer.update(warmup_start=0.2, final=1e-3)
    config.optimizer.update(weight_decay=0.04, weight_decay_end=0.4)
    return config
