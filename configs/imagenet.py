"""ImageNet at 224 pixels, after the official codes: a ResNet-50, or vision transformers.

    python train.py --config=configs/imagenet.py:vicreg

Crops are cut from stored squares of 256 pixels (252 GB on disk), those of the official codes from
the whole images. Expected accuracy in percent, from the README of each; none was run here:

    recipe          accuracy               whose, and which of its runs
    simclr          "around 64.5" linear   google-research/simclr: its command of 100 epochs
    moco            67.5 +- 0.1 linear     facebookresearch/moco, 5 runs: 200 epochs on 8 GPUs;
                                           71.1 after 800 epochs
    vicreg          73.2 linear            facebookresearch/vicreg: 1000 epochs, batches of 2048
    barlow_twins    73.3 linear            facebookresearch/barlowtwins: 1000 epochs on 16 GPUs
    byol            74.0 to 74.5 linear    google-deepmind/deepmind-research: preset of 1000 epochs
    simsiam         68.1 linear            facebookresearch/simsiam: 100 epochs, --fix-pred-lr
    swav            75.3 linear            facebookresearch/swav: scripts/swav_800ep_pretrain.sh
    spectral        none                   jhaochenz96/spectral_contrastive_learning
    dino            76.0 linear, 73.3 kNN  facebookresearch/dino: ViT-S/16, its boosted run, 2.6
                                           days on 16 GPUs
    data2vec        none                   facebookresearch/data2vec_vision: ViT-B/16, 800 epochs
    ijepa           none                   facebookresearch/ijepa: ViT-B/16, 600 epochs

Other runs of the same codes, and what differs from them, stands at each recipe. Healthy curves:

- dino leaves ln 65536 = 11.09 within the first epochs and goes on falling; a loss that stays there
  is a collapse.
- data2vec falls for some epochs, may then rise slowly while the targets grow richer; target_std
  and prediction_std stay well above 0, RankMe rises. A loss that runs to 0 with target_std is a
  collapse: lower the rate, or raise the teacher's momentum.
- ijepa falls quickly, then rises for a part of the run as the target encoder's features grow
  richer, and falls again as its momentum nears 1; target_std stays well above 0 and LiDAR rises. A
  loss that runs to 0 with target_std is a collapse: lower the rate, or start the momentum higher.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import augmentations, base


def get_config(recipe: str = "") -> ConfigDict:
    """Return the config of one of the recipes below."""
    return base.pick(recipe, globals())


def _shared(method: ConfigDict, views: ConfigDict) -> ConfigDict:
    config = base.get_config()
    config.data.update(name="imagenet2012", image_size=256)
    config.method = method
    config.views = views
    return config


def _resnet50(method: ConfigDict, views: ConfigDict, **model: Any) -> ConfigDict:
    """What the recipes with a ResNet-50 start from."""
    config = _shared(method, views)
    config.model = base.resnet(variant="resnet50", stem="imagenet", **model)
    config.monitor.update(images=2500, lidar_images=2500)  # more than the 2048 features
    config.evaluation.lidar_images = 5000
    return config


def _vit(method: ConfigDict, views: ConfigDict, **model: Any) -> ConfigDict:
    """What the recipes with a vision transformer start from."""
    config = _shared(method, views)
    config.model = base.vit(patch=16, dtype="bfloat16", **model)
    config.optimizer.decay_min_ndim = 2
    config.monitor.lidar_images = 1000
    return config


def simclr() -> ConfigDict:
    """The head has the code's three layers, the first paper's had two.

    The official loss is twice ours: that matters for what LARS does not adapt, and for the decay,
    so both are made up for.
    """
    method = base.method("simclr", temperature=0.1, projector=(0, 0, 128))
    config = _resnet50(method, augmentations.simclr(224), zero_init_residual=True)
    config.update(duration="100 epochs", batch_size=4096)
    config.optimizer.update(name="lars_simclr", learning_rate=0.3, reference_batch=256)
    config.optimizer.update(weight_decay=1e-4 / 2, decay_min_ndim=2)  # beside half the gradient
    config.optimizer.groups.not_adapted = base.group("(bias|scale)$", rate=2.0)
    return config


def moco() -> ConfigDict:
    """Batch norm sees 32 images, as theirs does with 256 on 8 GPUs."""
    config = _resnet50(base.method("moco", bn_group=32), augmentations.moco(224))
    config.update(duration="200 epochs", batch_size=256)
    config.optimizer.update(name="sgd", learning_rate=0.03, weight_decay=1e-4)
    config.optimizer.update(schedule="epochs", warmup="0 steps")
    return config


def vicreg() -> ConfigDict:
    """Its command for one machine has 100 epochs, batches of 512 and a rate of 0.3.

    Theirs computes in float16.
    """
    method = base.method("vicreg")
    config = _resnet50(method, augmentations.vicreg(224), zero_init_residual=True)
    config.update(duration="1000 epochs", batch_size=2048)
    config.optimizer.update(name="lars", learning_rate=0.2, reference_batch=256, final=0.001)
    config.optimizer.update(weight_decay=1e-6, decay_min_ndim=2)
    return config


def barlow_twins() -> ConfigDict:
    """The published number is with an earlier form of the loss (times 0.024, one rate).

    Their gradient is divided by the number of processes, which matters for biases, batch norm and
    the decay: the scale of the loss does that here. Theirs computes in float16.
    """
    method = base.method("barlow_twins", scale=1 / 16)
    config = _resnet50(method, augmentations.vicreg(224), zero_init_residual=True)
    config.update(duration="1000 epochs", batch_size=2048)
    config.optimizer.update(name="lars", learning_rate=0.2, reference_batch=256, final=0.001)
    config.optimizer.update(weight_decay=1e-6, decay_min_ndim=2)
    config.optimizer.groups.one_axis = base.group("(bias|scale)$", rate=0.0048 / 0.2)
    return config


def byol() -> ConfigDict:
    """Presets for 300, 100 epochs: rates of 0.3, 0.45, a decay of 1e-6, a momentum of 0.99."""
    config = _resnet50(base.method("byol"), augmentations.byol(224), zero_init_residual=True)
    config.update(duration="1000 epochs", batch_size=4096)
    config.optimizer.update(name="lars", learning_rate=0.2, reference_batch=256)
    config.optimizer.update(weight_decay=1.5e-6, decay_min_ndim=2)
    return config


def simsiam() -> ConfigDict:
    config = _resnet50(base.method("simsiam"), augmentations.moco(224), zero_init_residual=True)
    config.update(duration="100 epochs", batch_size=512)
    config.optimizer.update(name="sgd", learning_rate=0.05, reference_batch=256)
    config.optimizer.update(schedule="epochs", warmup="0 steps", weight_decay=1e-4)
    config.optimizer.groups.predictor = base.group("^predictor/", constant=True)
    return config


def swav() -> ConfigDict:
    """Crops are 2x224 + 6x96 pixels; theirs computes in float16.

    Its setting for batches of 256: a queue of 3840 from epoch 15, a rate of 0.6 without warm-up,
    prototypes frozen for 5005 steps.
    """
    config = _resnet50(base.method("swav", local_views=6), augmentations.swav(224, 96))
    config.update(duration="800 epochs", batch_size=4096)
    # Without exclusions: biases and norms decay and are adapted.
    config.optimizer.update(name="larc", learning_rate=4.8, weight_decay=1e-6)
    config.optimizer.update(schedule="linspace", warmup_start=0.3 / 4.8, final=0.001)
    config.optimizer.groups.prototypes = base.group("^prototypes$", frozen="313 steps")
    return config


def spectral() -> ConfigDict:
    """Its configs/spectral_resnet_mlp8192_norelu_3layer_imagenet_lr005_mu10_bs384_100eps.yaml.

    It trains for 101 epochs. The repository publishes no accuracy; theirs evaluates the head's
    output, and each GPU has its own negatives.
    """
    method = base.method("spectral", mu=10.0, projector=(8192, 8192, 8192))
    config = _resnet50(method, augmentations.moco(224), zero_init_residual=True)
    config.update(duration="101 epochs", batch_size=384)
    config.optimizer.update(name="sgd", learning_rate=0.05, reference_batch=256)
    config.optimizer.update(warmup="0 steps", weight_decay=1e-4)
    return config


def dino() -> ConfigDict:
    """Eight small crops; linear is on the last four blocks' class tokens: eval.py --pool=class4.

    For a ResNet-50 their advice is SGD at 0.03, a decay of 1e-4 and crops of (0.14, 1) and
    (0.05, 0.14) of the area.
    """
    method = base.method("dino", teacher_temperature=0.07, teacher_warmup="30 epochs")
    method.train_last_scale = True
    config = _vit(method, augmentations.dino(224, 96), variant="vit_small", drop_path=0.1)
    config.update(duration="300 epochs", batch_size=1024)
    config.optimizer.update(learning_rate=5e-4, reference_batch=256)
    config.optimizer.update(schedule="linspace", final=1e-6 / 2e-3)
    config.optimizer.update(weight_decay=0.04, weight_decay_end=0.4, clip_tensor_norm=3.0)
    config.optimizer.groups.last = base.group("^last/", frozen="1 epochs")
    return config


def data2vec() -> ConfigDict:
    """Its README's run, without its dropout of attention weights (0.05).

    The linear probe of that run is not published.
    """
    shape = {"variant": "vit_base", "pool": "mean", "drop_path": 0.25}
    beit = {"positions": "relative", "init": "beit", "key_bias": False, "layer_scale": 1e-4}
    config = _vit(base.method("data2vec"), augmentations.data2vec(224), **shape, **beit)
    config.update(duration="800 epochs", batch_size=2048)
    config.masks = base.block_wise(120)
    config.optimizer.update(learning_rate=2e-3, schedule="linspace", final=1e-5 / 2e-3)
    config.optimizer.update(weight_decay=0.05, no_decay="pos_embed|cls_token", clip_norm=3.0)
    config.evaluation.lidar_views = 50
    return config


def ijepa() -> ConfigDict:
    """The scale is the LiDAR paper's, whose own probe accuracies depend on its sweep.

    A ViT-B recipe is not published; the official configs begin with ViT-H, whose schedule and
    predictor these are. The published masks: --config.masks.kind=reference.
    """
    method = base.method("ijepa", predictor_dtype="bfloat16")
    shape = {"class_token": False, "pool": "mean", "positions": "sincos", "init": "ijepa"}
    config = _vit(method, augmentations.ijepa(224), variant="vit_base", **shape)
    config.update(duration="600 epochs", batch_size=2048)
    config.masks = base.multi_block()
    config.optimizer.update(learning_rate=1e-3, schedule="shifted", warmup="40 epochs")
    config.optimizer.update(warmup_start=0.2, final=1e-3)
    config.optimizer.update(weight_decay=0.04, weight_decay_end=0.4)
    config.evaluation.lidar_views = 50
    return config
