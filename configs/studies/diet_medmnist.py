"""Does DIET learn from medical images? With s-DIET, SimCLR, MoCo v2, VICReg on MedMNIST v2.

python reproduce.py --study=configs/studies/diet_medmnist.py
python reproduce.py --study=configs/studies/diet_medmnist.py:paper

From the s-DIET paper (TMLR 2025): PathMNIST, DermaMNIST and BloodMNIST, a ResNet-18, DIET's
augmentation for all, here beside each method's own. Our choice: images of 28 pixels (theirs are not
known to us), the official splits (theirs for Derma and Blood look like all images, which are
dermamnist_as_printed and bloodmnist_as_printed here), CIFAR's recipes and as many images encoded by
every method. `desk` has BloodMNIST, a small ResNet, crops without colour of 14 pixels and 10 epochs
of one view.

Data: for `desk` first python -m sslx.datasets bloodmnist, for `paper` also pathmnist and
dermamnist.
Cost: python reproduce.py --study=configs/studies/diet_medmnist.py --dry
"""

from configs.studies import diet_small
from sslx.studies.study import Study, check_scale

HALF = (0.5, 0.5, 0.5)
SETS = ("pathmnist", "dermamnist", "bloodmnist")


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    if scale == "desk":
        flips = {"views.crop.flip": 0.5}  # cells have no left and right, digits do
        grid = diet_small.compare_small("bloodmnist", "mnist5k", 10, flips)
        return Study(tuple(grid), ("accuracy",))
    sets = [diet_small.Data(name, "cifar100", size=28, statistics=(HALF, HALF)) for name in SETS]
    grid = [run for data in sets for run in diet_small.compare(data)]
    unpublished = "not published in a source that we could check"
    return Study(
        tuple(grid), ("accuracy",), evaluations=(diet_small.EVALUATION,), unpublished=unpublished
    )
