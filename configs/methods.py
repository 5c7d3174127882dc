"""Every field of every method, with the paper's or the official code's values; a recipe changes
what differs.
"""

from ml_collections import ConfigDict


def diet(**changes: object) -> ConfigDict:
    """Every field of DIET, with the paper's values."""
    method = ConfigDict({"name": "diet"})
    method.label_smoothing = 0.8
    method.head = "full"  # full: all logits at once; blockwise: the same, a block of rows at a time
    method.block = 4096  # rows of a block
    # blockwise: of the stored rows, float32 or bfloat16 (rounded at random, not exact)
    method.head_dtype = "float32"
    method.moments_dtype = "float32"  # blockwise: of AdamW's moments
    # widths of an MLP before the head, 0: the encoder's; (0, 128) narrows the head to 128
    method.projector = ()
    method.projector_norm = True  # batch norm between the projector's layers
    method.normalise = False  # features of unit length before the head
    method.scale = 1.0  # factor of the features
    method.learn_scale = False  # train its logarithm, from `scale` on
    method.update(changes)
    return method


def sdiet(**changes: object) -> ConfigDict:
    """Every field of s-DIET; smoothing and unit length are the paper's, the other values our
    choice.
    """
    method = ConfigDict({"name": "sdiet"})
    method.label_smoothing = 0.8
    method.projector = (
        0,
        0,
        128,
    )  # widths of the three-layer ReLU MLP; 0: the encoder's. () for none
    method.projector_norm = False  # batch norm between its layers
    method.normalise = (
        "projection"  # to unit length: projection (what the head reads), representation, both, none
    )
    method.normalise_rows = (
        False  # rows of unit length too: cosines, which need a scale of 5 or more
    )
    method.scale = 1.0  # factor of the features
    method.learn_scale = False  # train its logarithm, from `scale` on
    method.row_rate = 1.0  # the rows' learning rate, as a multiple of the rest's
    method.negatives = 0  # rows beside the batch's, drawn in each step
    # add ln((N - 1) / S) to the logits of the S other rows: an estimate of DIET's own loss
    method.correction = False
    # where rows and moments live: device, host (memory), file (mapped, in the run's folder)
    method.rows = "device"
    method.update(changes)
    return method


def simclr(**changes: object) -> ConfigDict:
    """SimCLR; the temperature is that of its CIFAR command, ImageNet's is 0.1."""
    method = ConfigDict({"name": "simclr"})
    method.temperature = 0.5
    method.projector = (0, 128)  # widths of its layers; 0: the encoder's
    method.projector_norm = True  # batch norm; without it, solo-learn's projector
    method.update(changes)
    return method


def moco(**changes: object) -> ConfigDict:
    """MoCo v2."""
    method = ConfigDict({"name": "moco"})
    method.temperature = 0.2
    method.projector = (0, 128)
    method.queue = 65536  # keys; a multiple of the batch size
    method.momentum = 0.999  # of the key network
    method.momentum_end = 0.999  # reached by a cosine over the run
    method.bn_group = 32  # images that share batch statistics; 0: the whole batch
    method.symmetric = False  # queries from both views, a queue for each
    method.update(changes)
    return method


def vicreg(**changes: object) -> ConfigDict:
    """VICReg."""
    method = ConfigDict({"name": "vicreg"})
    method.invariance = 25.0
    method.variance = 25.0
    method.covariance = 1.0
    method.halve_variance = (
        True  # the official code's term; False: the paper's and solo-learn's, twice that
    )
    method.projector = (8192, 8192, 8192)
    method.update(changes)
    return method


def barlow_twins(**changes: object) -> ConfigDict:
    """Barlow Twins."""
    method = ConfigDict({"name": "barlow_twins"})
    method.weight = 0.0051  # of the entries beside the diagonal
    method.scale = 1.0  # of the whole loss
    method.projector = (8192, 8192, 8192)
    method.update(changes)
    return method


def byol(**changes: object) -> ConfigDict:
    """BYOL, its 1,000-epoch preset; 300 and 100 epochs have a momentum of 0.99."""
    method = ConfigDict({"name": "byol"})
    method.projector = (4096, 256)
    method.predictor = (4096,)  # hidden widths
    method.use_predictor = True
    method.momentum = 0.996  # of the teacher
    method.momentum_end = 1.0  # reached by a cosine over the run
    method.update(changes)
    return method


def simsiam(**changes: object) -> ConfigDict:
    """SimSiam."""
    method = ConfigDict({"name": "simsiam"})
    method.projector = (2048, 2048, 2048)
    method.predictor = (512,)  # hidden widths
    method.stop_gradient = True
    method.update(changes)
    return method


def swav(**changes: object) -> ConfigDict:
    """SwAV."""
    method = ConfigDict({"name": "swav"})
    method.temperature = 0.1
    method.epsilon = 0.05  # of Sinkhorn's scores; smaller is sharper
    method.iterations = 3
    method.projector = (2048, 128)
    method.prototypes = 3000
    method.local_views = 0  # small crops beside the two large ones, of the recipe `local`
    method.queue = (
        0  # older projections per large view, for small batches; a multiple of the batch size
    )
    method.queue_start = "15 epochs"  # before, nothing is put into it
    method.update(changes)
    return method


def spectral(**changes: object) -> ConfigDict:
    """Spectral contrastive learning, the CIFAR recipe; ImageNet has mu 10 and three layers of 8192."""
    method = ConfigDict({"name": "spectral"})
    method.mu = 1.0
    method.projector = (2048, 1000)
    method.update(changes)
    return method


def dino(**changes: object) -> ConfigDict:
    """DINO, the official defaults; the boosted runs warm the teacher's temperature up to 0.07 over
    30 epochs.
    """
    method = ConfigDict({"name": "dino"})
    method.student_temperature = 0.1
    method.teacher_temperature = 0.04
    method.teacher_temperature_start = 0.04  # of the first epoch
    method.teacher_warmup = "0 epochs"  # until `teacher_temperature` is reached
    method.projector = (2048, 2048, 256)  # widths; the last is the bottleneck
    method.projector_norm = (
        False  # batch norm between its layers, an option of the official code too
    )
    method.prototypes = 65536
    method.train_last_scale = False  # True is recommended for ViT-S
    method.local_views = 8  # small crops beside the two large ones, of the recipe `local`
    method.center_momentum = 0.9
    method.momentum = 0.996  # of the teacher; nearer to 1 for small batches
    method.momentum_end = 1.0  # reached by a cosine over the run
    method.features_of = "teacher"  # or student
    method.pool = (
        ""  # of a vision transformer's features; empty: config.model.pool, which the loss reads
    )
    method.update(changes)
    return method


def data2vec(**changes: object) -> ConfigDict:
    """data2vec, the published ViT-B run."""
    method = ConfigDict({"name": "data2vec"})
    method.beta = 2.0  # where smooth L1 turns from a square into a line
    method.target_blocks = 6  # the teacher's last blocks, whose mean is the target
    method.normalise_layers = True
    method.normalise_average = True
    method.momentum = 0.9998  # of the teacher; lower for short runs
    method.momentum_end = 0.9998  # reached by a cosine over the run
    method.features_of = "student"  # or teacher
    method.pool = ""  # of the features; empty: config.model.pool
    method.update(changes)
    return method


def ijepa(**changes: object) -> ConfigDict:
    """I-JEPA, the published ViT-H run's predictor."""
    method = ConfigDict({"name": "ijepa"})
    method.predictor_width = 384
    method.predictor_depth = 12
    method.predictor_heads = 12
    method.predictor_mlp_ratio = 4.0
    method.predictor_init = "ijepa"  # fan_in for a narrow one, see config.model.init
    method.predictor_dtype = "float32"
    method.momentum = 0.996  # of the target encoder
    method.momentum_end = 1.0  # reached by a line over the run
    method.features_of = (
        "context"  # which network LiDAR and the probes read: context, target, predictor
    )
    method.pool = ""  # of the features; empty: config.model.pool
    method.update(changes)
    return method
