"""A folder of your own photos, a few thousand or more, at 64, 96 (default) or 224 pixels.

    python train.py --config=configs/photos.py:simclr,96 --config.data.name=folder:PATH
    python eval.py --run=runs/photos-simclr-96

PATH holds images, or class folders of images; without classes kNN and probes are off, all else
stays on. After the comma stands the size of the views in pixels; photos are stored as squares an
eighth larger. The network is a ResNet-18, at 64 pixels with a 3x3 stem. It wants a GPU: on a CPU
take 64 pixels and --config.model.variant=resnet_tiny.

    recipe    when to take it                                         expected numbers
    simclr    first: two views, the batch size matters most           none, not run here
    vicreg    for small batches: no negatives, two views              none, not run here
    diet      few photos: one view, and a row of the head for each    none, not run here
    dino      things of many sizes: six views, about twice the time   none, not run here

Methods and colours are those of configs/cifar10.py, configs/cifar100.py and the official codes,
optimizer and duration our choice. Train two or three of them and let LiDAR choose: python eval.py
--runs='runs/photos-*' --select=lidar. Where left and right matter, set `flip` of each view to 0
(--config.views.crop.flip=0); where colour tells photos apart, lower `hue` and `gray`.

A healthy run: RankMe and LiDAR rise above the untrained values, the features' standard deviation
stays away from 0. simclr starts near ln 255 = 5.54, diet at the logarithm of the number of photos;
dino leaves ln 4096 = 8.32 within the first epochs.
"""

from ml_collections import ConfigDict

from configs import augmentations, base

STORED = {"64": 72, "96": 108, "224": 256}  # pixels of a stored square, by those of the views


def get_config(recipe: str = "") -> ConfigDict:
    """Return the config of one of the recipes below."""
    return base.pick(recipe, globals())


def _photos(method: ConfigDict, size: str) -> ConfigDict:
    """What all recipes start from."""
    if size not in STORED:
        raise ValueError(
            f"Photos of {size!r} pixels have no recipe; it takes {', '.join(STORED)}, for example "
            f"--config=configs/photos.py:{method.name},96"
        )
    config = base.get_config()
    config.duration = "400 epochs"
    config.batch_size = 128
    config.data.name = "folder:PATH"
    config.data.image_size = STORED[size]
    config.data.on_corrupt = "skip"
    config.model = base.resnet(stem="small" if size == "64" else "imagenet")
    config.method = method
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_min_ndim = 2
    config.monitor.lidar_images = 600  # more than the 512 features
    config.log.every = "1 epochs"
    return config


def simclr(size: str = "96") -> ConfigDict:
    config = _photos(base.method("simclr", temperature=0.2, projector=(2048, 256)), size)
    config.views = augmentations.simclr(int(size))
    return config


def vicreg(size: str = "96") -> ConfigDict:
    config = _photos(base.method("vicreg", projector=(2048, 2048, 2048)), size)
    config.views = augmentations.vicreg(int(size))
    return config


def diet(size: str = "96") -> ConfigDict:
    config = _photos(base.method("diet"), size)
    config.views = augmentations.diet(int(size), 3)
    config.optimizer.update(weight_decay=0.05, decay_min_ndim=0)
    return config


def dino(size: str = "96") -> ConfigDict:
    method = base.method("dino", projector_norm=True, prototypes=4096, local_views=4)
    config = _photos(method, size)
    config.views = augmentations.dino(int(size), int(size) // 2)
    config.optimizer.update(learning_rate=5e-4, clip_tensor_norm=3.0)
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    return config
