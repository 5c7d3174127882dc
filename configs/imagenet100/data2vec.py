"""data2vec on ImageNet-100 with a ViT-S/16.

python train.py --config=configs/imagenet100/data2vec.py

TFDS has no ImageNet-100: give a folder with train and val, --config.data.name=folder:PATH. Not
published; settings are those of configs/imagenet/data2vec.py with a smaller network and batch, the
rate scaled with the batch; not run here."""

from ml_collections import ConfigDict

from configs.imagenet import data2vec


def get_config() -> ConfigDict:
    """ImageNet's recipe with fewer images."""
    config = data2vec.get_config()
    config.duration = "800 epochs"
    config.batch_size = 512
    config.data.name = "imagenet100"
    config.model.variant = "vit_small"
    config.optimizer.learning_rate /= 4
    config.monitor.lidar_images = 1000
    return config
