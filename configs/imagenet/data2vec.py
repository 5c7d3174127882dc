"""data2vec on ImageNet with a ViT-B/16, after facebookresearch/data2vec_vision: its README's run of
800 epochs.

python train.py --config=configs/imagenet/data2vec.py

Linear probe: not published. Not run here. Without their dropout of attention weights (0.05). Crops
are cut from stored squares of 256 pixels (252 GB on disk), theirs from the whole images.

A healthy curve: the loss falls for some epochs, may then rise slowly while the targets grow richer;
target_std and prediction_std stay well above 0, RankMe rises. A loss that runs to 0 with target_std
is a collapse: lower the rate, or raise the teacher's momentum.
"""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "800 epochs"
    config.batch_size = 2048
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    shape = {
        "pool": "mean",
        "positions": "relative",
        "init": "beit",
        "key_bias": False,
        "layer_scale": 1e-4,
    }
    config.model = base.vit(variant="vit_base", patch=16, drop_path=0.25, dtype="bfloat16", **shape)
    config.method = methods.data2vec()
    config.views = augmentations.data2vec(224)
    config.masks = base.block_wise(120)
    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "linspace"
    config.optimizer.final = 1e-5 / 2e-3
    config.optimizer.weight_decay = 0.05
    config.optimizer.decay_min_ndim = 2
    config.optimizer.no_decay = "pos_embed|cls_token"
    config.optimizer.clip_norm = 3.0
    config.monitor.lidar_images = 1000
    config.evaluation.lidar_views = 50
    return config
