"""SimCLR on CIFAR-10 with a ResNet-18, after solo-learn (scripts/pretrain/cifar/simclr.yaml).

python train.py --config=configs/cifar10/simclr.py

solo-learn's README: 90.74 %, of a classifier trained alongside; not run here. Theirs computes in
float16, and its batch norm sees each view by itself.
"""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "1000 epochs"
    config.batch_size = 256
    config.data.name = "cifar10"
    config.model.variant = "resnet18"
    config.model.stem_padding = 2
    config.method = methods.simclr(temperature=0.2, projector=(2048, 256), projector_norm=False)
    config.views = augmentations.solo(32, "symmetric", *augmentations.CIFAR10)
    config.optimizer.name = "larc"
    config.optimizer.learning_rate = 0.4
    config.optimizer.reference_batch = 256
    config.optimizer.warmup_start = 3e-5 / 0.4
    config.optimizer.weight_decay = 1e-4
    config.optimizer.decay_min_ndim = 2
    config.optimizer.trust = 0.02
    config.optimizer.trust_clip = True
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config
