"""MoCo v2+ on CIFAR-10 with a ResNet-18, after solo-learn (scripts/pretrain/cifar/mocov2plus.yaml).

python train.py --config=configs/cifar10/moco.py

MoCo v2 with queries from both views, batch norm over the whole batch and a momentum that rises.
solo-learn's README: 92.94 %, of a classifier trained alongside; not run here. Theirs computes in
float16, and its latest projector has batch norm, this one none.
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
    config.method = methods.moco(
        projector=(2048, 256), queue=32768, momentum=0.99, bn_group=0, symmetric=True
    )
    config.views = augmentations.solo(32, "weak", *augmentations.CIFAR10)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.3
    config.optimizer.reference_batch = 256
    config.optimizer.warmup_start = 3e-5 / 0.3
    config.optimizer.weight_decay = 1e-4
    config.monitor.lidar_images = 1000  # more than the 512 features
    config.checkpoint.every = "5%"
    config.log.every = "1 epochs"
    return config
