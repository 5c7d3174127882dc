"""SimCLR on ImageNet with a ResNet-50, after google-research/simclr: its README's command of 100
epochs.

python train.py --config=configs/imagenet/simclr.py

Their README: "around 64.5 %" linear; not run here. The head has the code's three layers, the first
paper's had two. The official loss is twice ours: that matters for what LARS does not adapt, and for
the decay, so both are made up for. Crops are cut from stored squares of 256 pixels (252 GB on
disk), theirs from the whole images."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "100 epochs"
    config.batch_size = 4096
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model.update(variant="resnet50", stem="imagenet", zero_init_residual=True)
    config.method = methods.simclr(temperature=0.1, projector=(0, 0, 128))
    config.views = augmentations.simclr(224)
    config.optimizer.name = "lars_simclr"
    config.optimizer.learning_rate = 0.3
    config.optimizer.reference_batch = 256
    config.optimizer.weight_decay = 1e-4 / 2  # beside half the gradient
    config.optimizer.decay_min_ndim = 2
    config.optimizer.groups.not_adapted = base.group("(bias|scale)$", rate=2.0)
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config
