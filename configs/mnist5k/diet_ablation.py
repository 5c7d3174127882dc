"""What makes DIET and s-DIET work? {full, batch} cross-entropy x {unit length} x {projector} x
{smoothing 0, 0.8}.

python train.py --config=configs/mnist5k/diet_ablation.py:batch,unit,projector,smooth --run=runs/ablation-bups
python train.py --config=configs/mnist5k/diet_ablation.py:full,smooth --config.batch_size=64 --run=runs/ablation-fs-64

After the colon stands `full` (DIET: all images are classes) or `batch` (s-DIET: those of the
batch), then in any order which of `unit` (features of unit length), `projector` (three-layer MLP to
128) and `smooth` (0.8) are on. Batches of 8 to 2048 images take --config.batch_size; the learning
rate follows it (3e-3 at 128). `VARIANTS` lists all 16. Not published for this data set; two minutes
each on 2 CPU cores."""

from itertools import product

from ml_collections import ConfigDict

from configs import methods
from configs.mnist5k import diet

PARTS = ("unit", "projector", "smooth")
VARIANTS = tuple(
    ",".join([entropy, *(part for part, on in zip(PARTS, chosen, strict=True) if on)])
    for entropy, chosen in product(("full", "batch"), product((False, True), repeat=3))
)


def get_config(variant: str = "full,smooth") -> ConfigDict:
    """The recipe of a variant, such as "batch,unit,projector,smooth"."""
    entropy, *parts = variant.split(",")
    if entropy not in ("full", "batch") or not set(parts) <= set(PARTS):
        raise ValueError(
            f"There is no variant {variant!r}: write full or batch, then any of {','.join(PARTS)}."
        )
    config = diet.get_config()
    projector = (0, 0, 128) if "projector" in parts else ()
    smoothing = 0.8 if "smooth" in parts else 0.0
    if entropy == "full":
        fields = {"normalise": "unit" in parts, "projector_norm": False}
        config.method = methods.diet(projector=projector, label_smoothing=smoothing, **fields)
    else:
        normalise = "projection" if "unit" in parts else "none"
        config.method = methods.sdiet(
            projector=projector, label_smoothing=smoothing, normalise=normalise
        )
    config.optimizer.reference_batch = config.batch_size
    return config
