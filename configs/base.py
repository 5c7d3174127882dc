"""Every field of a run with its default. A recipe in `configs/<dataset>/<method>.py` starts from
here.

Durations are text: "200 epochs", "5000 steps", "1e6 examples" or "5%" of the whole run; "0 steps"
switches a thing off."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """The defaults; `method` and `views` are the recipe's own."""
    config = ConfigDict()
    config.seed = 0
    config.duration = "100 epochs"
    config.batch_size = 256  # of the whole mesh; there is no per-device batch
    config.devices = 0  # 0: all accelerators; on CPU one device per core

    config.data = ConfigDict()
    # python -m sslx.datasets.prepare --list has the names; or folder:PATH, npz:FILE,
    # array_record:PATH
    config.data.name = "digits"
    config.data.dir = (
        ""  # where TFDS keeps its data; empty: $TFDS_DATA_DIR or ~/tensorflow_datasets
    )
    config.data.cache = ""  # where decoded images are kept; empty: sslx_decoded in `dir`
    config.data.train_split = (
        ""  # of TFDS's splits, with its slicing: train[:90%]; empty: the data set's own, or train
    )
    config.data.probe_split = (
        ""  # what probes learn from; empty: the data set's own, or what pretrains
    )
    config.data.test_split = ""  # empty: the data set's own, or test, else validation, else none
    config.data.image_size = (
        0  # pixels of the stored square image; 0: as it is (all images of one size)
    )
    config.data.channels = 3  # of image files: 3 colour, 1 gray
    config.data.on_corrupt = "refuse"  # an unreadable image: refuse or skip
    config.data.resident_gib = (
        2.0  # a training split up to this size, decoded, lives in device memory
    )
    config.data.decoded_gib = (
        100.0  # up to this size a split is kept decoded on disk; above, decoded as it is used
    )
    config.data.workers = 0  # of that decoding: 0 threads, above 0 so many processes

    config.model = ConfigDict()
    config.model.name = "resnet"
    config.model.variant = "resnet18"  # resnet18, resnet34, resnet50, resnet101, resnet_tiny
    config.model.stem = "small"  # small: 3x3, no max-pool; imagenet: 7x7, max-pool
    config.model.stem_padding = 1  # of the small stem; 2 gives solo-learn's and DIET's larger maps
    config.model.norm = "batch"
    config.model.dtype = "float32"  # of the computation; parameters are always float32
    config.model.zero_init_residual = False
    config.model.width = 0  # channels of the first stage; 0: the variant's own

    config.optimizer = ConfigDict()
    config.optimizer.name = (
        "adamw"  # adamw, sgd, lars (VICReg's), lars_simclr, larc (SwAV's, solo-learn's)
    )
    config.optimizer.learning_rate = 1e-3
    config.optimizer.reference_batch = (
        0  # scale the rate by batch_size / reference_batch; 0: take it as it is
    )
    config.optimizer.weight_decay = 0.05
    config.optimizer.weight_decay_end = (
        -1.0
    )  # a cosine from `weight_decay` to it over the run; below 0: constant
    config.optimizer.no_decay = ""  # regular expression of parameter paths without decay
    config.optimizer.decay_min_ndim = 0  # 2: biases and norm scales without decay
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.momentum = 0.9  # of sgd, lars, lars_simclr and larc
    config.optimizer.nesterov = False
    config.optimizer.trust = 0.001  # of lars, lars_simclr and larc: the trust ratio's factor
    config.optimizer.trust_clip = False  # of larc: no tensor's rate exceeds the learning rate
    config.optimizer.clip_norm = 0.0  # of the global gradient norm; 0: off
    config.optimizer.clip_tensor_norm = (
        0.0  # of each tensor's own gradient, before the global norm; 0: off
    )
    config.optimizer.schedule = (
        "cosine"  # cosine, linspace (DINO's), epochs (MoCo's), shifted (I-JEPA's), tri_phase
    )
    config.optimizer.warmup = "10 epochs"
    config.optimizer.warmup_start = 0.0  # fractions of the learning rate: cosine from 1 to `final`
    config.optimizer.final = 0.0
    config.optimizer.cooldown = "15%"  # of tri_phase: the line to `final` at the end
    config.optimizer.groups = ConfigDict(
        sort_keys=False
    )  # name: group(...); the first that matches has a parameter

    config.monitor = (
        ConfigDict()
    )  # during training, on fixed images, without augmentation unless it is LiDAR
    config.monitor.every = "10%"
    config.monitor.images = (
        1000  # for RankMe and the standard deviation, and the reference set of the kNN
    )
    config.monitor.lidar_images = 200
    config.monitor.lidar_views = 8

    config.checkpoint = ConfigDict()
    config.checkpoint.every = "10%"
    config.checkpoint.keep = "all"  # all, or latest+best
    config.checkpoint.best = (
        "lidar/representation"  # the monitored value whose highest checkpoint is kept
    )

    config.evaluation = ConfigDict()  # defaults of eval.py
    config.evaluation.batch_size = 512
    config.evaluation.images = 10000  # for RankMe
    config.evaluation.lidar_images = 1000
    config.evaluation.lidar_views = 10
    config.evaluation.protocol = "lbfgs"  # of the linear probe: lidar, diet, lbfgs

    config.log = ConfigDict()
    config.log.every = "50 steps"
    config.log.tensorboard = False
    return config


def vit(**changes: object) -> ConfigDict:
    """Every field of a vision transformer, for `config.model`, in place of the ResNet's."""
    model = ConfigDict()
    model.name = "vit"
    model.variant = "vit_small"  # vit_nano, vit_tiny, vit_small, vit_base, vit_large
    model.patch = 16  # pixels; every view is a multiple of it
    model.pool = (
        "class"  # what a projector and a probe read: class, mean (of patches), class+mean, class4
    )
    model.class_token = True
    model.positions = "learned"  # learned, sincos (I-JEPA's), relative (BEiT's: one size of views)
    # dino, ijepa, beit: three that are called trunc_normal(0.02); fan_in for narrow ones
    model.init = "dino"
    model.layer_scale = 0.0  # start of a factor per channel of each branch; 0: none
    model.drop_path = 0.0  # of the last block's branches; rises from 0 in the first
    model.key_bias = True  # BEiT has none
    model.small_data = False  # shifted patch tokenisation and locality self-attention
    model.mlp_ratio = 4.0
    model.dtype = (
        "float32"  # of the computation; parameters and the stream between blocks are float32
    )
    model.remat = False  # compute blocks again in the backward pass: less memory, a third more time
    model.width = 0  # 0: the variant's
    model.depth = 0
    model.heads = 0
    model.update(changes)
    return model


def multi_block(**changes: object) -> ConfigDict:
    """Every field of I-JEPA's masks, for `config.masks`; the published values, but for `kind`."""
    masks = ConfigDict()
    masks.targets = 4
    masks.target_scale = (0.15, 0.2)  # fraction of the patches
    masks.target_ratio = (0.75, 1.5)  # height / width
    masks.context_scale = (0.85, 1.0)  # of a square, from which the targets are taken out
    masks.min_keep = 10  # patches that a context has at least
    masks.overlap = False  # contexts keep the targets' patches
    masks.kind = (
        "repaired"  # repaired; reference: the published code's distribution with its unused border
    )
    masks.context_patches = 0  # contexts above are thinned to it; 0: half of the patches
    masks.update(changes)
    return masks


def block_wise(count: int, **changes: object) -> ConfigDict:
    """Every field of data2vec's masks, for `config.masks`: `count` patches are to be hidden, BEiT's
    120 of 196.
    """
    masks = ConfigDict()
    masks.count = count
    masks.min_block = 16
    masks.max_block = 0  # 0: all patches
    masks.min_ratio = 0.3  # height / width is between it and its inverse
    masks.update(changes)
    return masks


def group(paths: str, **changes: object) -> ConfigDict:
    """Parameters whose path (encoder/stem/kernel) has a match of the regular expression, for
    `optimizer.groups`.
    """
    recipe = ConfigDict()
    recipe.paths = paths
    recipe.rate = 1.0  # factor of the learning rate
    recipe.constant = False  # the rate stays at its peak: no warm-up, no schedule
    recipe.frozen = "0 steps"  # until then nothing moves: no update, no decay, no moments
    recipe.update(changes)
    return recipe


def crop(size: int, **changes: object) -> ConfigDict:
    """The recipe of one view with `size` output pixels; torchvision's meaning and defaults."""
    recipe = ConfigDict()
    recipe.size = size
    recipe.area = (0.08, 1.0)
    recipe.ratio = (3 / 4, 4 / 3)
    recipe.interpolation = "bilinear"
    recipe.flip = 0.5
    recipe.jitter = 0.0
    recipe.brightness = 0.4
    recipe.contrast = 0.4
    recipe.saturation = 0.4
    recipe.hue = 0.1
    recipe.gray = 0.0
    recipe.blur = 0.0
    recipe.blur_sigma = (0.1, 2.0)
    recipe.blur_kernel = 0
    recipe.solarise = 0.0
    recipe.solarise_threshold = 0.5
    recipe.erase = 0.0
    recipe.erase_area = (0.02, 0.33)
    recipe.erase_ratio = (0.3, 3.3)
    recipe.mean = (0.0,)
    recipe.std = (1.0,)
    recipe.update(changes)
    return recipe
