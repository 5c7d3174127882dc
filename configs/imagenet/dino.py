"""DINO on ImageNet with a ViT-S/16 and eight small crops, after facebookresearch/dino: its boosted
run.

python train.py --config=configs/imagenet/dino.py

Their README: 73.3 % kNN, 76.0 % linear (class tokens of the last four blocks: eval.py
--pool=class4), 2.6 days on 16 GPUs; not run here. Crops are cut from stored squares of 256 pixels
(252 GB on disk), theirs from the whole images.

A healthy loss leaves ln 65536 = 11.09 within the first epochs and goes on falling; one that stays
there is a collapse. For a ResNet-50 their advice is SGD at 0.03, a decay of 1e-4 and crops of
(0.14, 1) and (0.05, 0.14) of the area."""

from ml_collections import ConfigDict

from configs import augmentations, base, methods


def get_config() -> ConfigDict:
    """The recipe."""
    config = base.get_config()
    config.duration = "300 epochs"
    config.batch_size = 1024
    config.data.name = "imagenet2012"
    config.data.image_size = 256
    config.model = base.vit(variant="vit_small", patch=16, drop_path=0.1, dtype="bfloat16")
    config.method = methods.dino(
        teacher_temperature=0.07, teacher_warmup="30 epochs", train_last_scale=True
    )
    config.views = augmentations.dino(224, 96)
    config.optimizer.learning_rate = 5e-4
    config.optimizer.reference_batch = 256
    config.optimizer.schedule = "linspace"
    config.optimizer.final = 1e-6 / 2e-3
    config.optimizer.weight_decay = 0.04
    config.optimizer.weight_decay_end = 0.4
    config.optimizer.decay_min_ndim = 2
    config.optimizer.clip_tensor_norm = 3.0
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    config.monitor.lidar_images = 1000
    return config
