"""Do the theorems about DIET hold when they are run? With the published scores.

python reproduce.py --study=configs/studies/diet_theory.py
python reproduce.py --study=configs/studies/diet_theory.py:paper

The programs of theory/ are three: DIET with squared error as spectral contrastive learning
(theory.spectral); which of two features it learns first (theory.noise, whose constants are our
choice); and whether cross-entropy recovers latents (theory.identifiability). Of the last, `paper`
has every setting of the table of arXiv 2410.21869, with one seed where that has five; the program
prints the published scores. `desk` has the base setting for 3000 of its 50,000 steps.

Data: none.
Cost: python reproduce.py --study=configs/studies/diet_theory.py --dry
"""

from sslx.studies.study import Changes, Run, Study, check_scale, name

VMF = "configs/theory.py:vmf"
SETTINGS: tuple[Changes, ...] = (
    {},
    {"instances": 100_000},
    {"dim": 10},
    {"dim": 20},
    {"classes": 10},
    {"classes": 1000},
    {"kappa": 5.0},
    {"kappa": 50.0},
    {"conditional": "laplace"},
    {"conditional": "normal"},
)
HEADS: tuple[Changes, ...] = ({"rows": "unit"}, {"rows": "free"}, {"rows": "free", "labels": True})


def get_study(scale: str = "desk") -> Study:
    """Return the study at the given scale."""
    check_scale(scale)
    grid = [
        Run("spectral", "", {}, "spectral contrastive loss", "theory.spectral"),
        Run("noise", "", {"seeds": 5 if scale == "desk" else 40}, "two features", "theory.noise"),
    ]
    if scale == "desk":
        grid += [_identify({"steps": 3000}, head) for head in HEADS]
    for setting in SETTINGS if scale == "paper" else ():
        steps = 50_000 * max(setting.get("instances", 1000) // 1024, 1)
        # Nothing was published for labels at this number of rows.
        heads = HEADS[:2] if "instances" in setting else HEADS
        grid += [_identify(setting | {"steps": steps}, head) for head in heads]
    return Study(tuple(grid), ("theory",))


def _identify(setting: Changes, head: Changes) -> Run:
    changes = setting | head | {"seed": 0}
    shown = [f"{field} {value}" for field, value in (setting | head).items() if field != "steps"]
    row = ", ".join(shown)
    return Run(name("vmf", changes), VMF, changes, row, "theory.identifiability")
