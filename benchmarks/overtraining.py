"""Why does a linear probe fall when DIET trains for long, while RankMe and LiDAR go on rising?

    python -m benchmarks.overtraining [--run=FOLDER] [--config.FIELD=VALUE ...]

Trains (or resumes) the digits recipe for 200 epochs instead of 50. Images of the training split are
seen, those of the test split unseen. Printed for every checkpoint:

- test: a probe trained on the seen images and evaluated on the unseen ones, with the L2 that a
  held-out fifth of the seen images chooses;
- strong L2: the same with a hundred times the usual L2, which would repair a probe that merely
  overfits;
- seen: accuracy on that fifth, images that the probe has not seen, but DIET has;
- unseen: a probe trained on one half of the unseen images and evaluated on the other, both ways;
- same number seen: the same with equally many seen images in place of the training half;
- kNN: as eval.py;
- member?: accuracy of finding from the features whether an image took part in pretraining (0.5 is
  chance);
- RankMe seen, RankMe unseen.
"""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from metrics import rankme
from sslx.data.load import load
from sslx.evaluation.features import Extractor
from sslx.evaluation.knn import Labelled, knn_accuracy
from sslx.evaluation.linear_probe import linear_probe
from sslx.experiment import make_experiment
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.run_folder import read_config

RUN = flags.DEFINE_string("run", "runs/digits-diet-long", "The run's folder.")
LONG = ("--config.duration=200 epochs", "--config.monitor.every=0 steps")


def classifier(strength: float):
    """Logistic regression on standardised features; `strength` is scikit-learn's C."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def across(a, a_labels, b, b_labels) -> float:
    """Accuracy on `b` of a probe trained on `a`."""
    return classifier(0.1).fit(a, a_labels).score(b, b_labels)


def look(seen, seen_labels, unseen, unseen_labels) -> dict[str, float]:
    """The columns of one checkpoint."""
    splits = Labelled(seen, seen_labels), Labelled(unseen, unseen_labels)
    result = linear_probe(*splits, protocol="lbfgs")
    strong = classifier(1 / (0.1 * len(seen))).fit(seen, seen_labels)
    order = np.random.default_rng(0).permutation(len(unseen))
    first, second = np.split(order, [len(order) // 2])
    few = np.random.default_rng(1).permutation(len(seen))[: len(first)]
    from_unseen, from_seen = [], []
    for train, test in ((first, second), (second, first)):
        tested = unseen[test], unseen_labels[test]
        from_unseen.append(across(unseen[train], unseen_labels[train], *tested))
        from_seen.append(across(seen[few], seen_labels[few], *tested))
    equal = np.random.default_rng(2).permutation(len(seen))[: len(unseen)]
    both = np.concatenate([seen[equal], unseen])
    member = np.repeat([1, 0], len(unseen))
    return {
        "test": result.accuracy,
        "strong L2": strong.score(unseen, unseen_labels),
        "seen": result.validation_accuracy,
        "unseen": float(np.mean(from_unseen)),
        "same number seen": float(np.mean(from_seen)),
        "kNN": knn_accuracy(*splits),
        "member?": cross_val_score(classifier(0.1), both, member, cv=5).mean(),
        "RankMe seen": rankme(seen[equal]),
        "RankMe unseen": rankme(unseen),
    }


def main(argv: list[str]) -> None:
    """Train where needed, then print a row per checkpoint."""
    command = [
        sys.executable,
        "train.py",
        "--config=configs/digits.py:diet",
        f"--run={RUN.value}",
        *LONG,
        *argv[1:],
    ]
    subprocess.run(command, check=True)
    logging.set_verbosity(logging.ERROR)
    folder = Path(RUN.value)
    config = read_config(folder)
    mesh = parallel.start()
    data = load(config.data)
    experiment = make_experiment(config, len(data.train.images), data.train.images.shape[-1])
    model_like = experiment.model_like(mesh)
    with jax.set_mesh(mesh):
        checkpoints = Checkpoints(folder / "checkpoints")
        extractor = Extractor(experiment.method, mesh, batch_size=512)
        for step in checkpoints.steps():
            model = checkpoints.restore_model(step, model_like)
            seen = extractor.plain(model, data.train.images).representation
            unseen = extractor.plain(model, data.test.images).representation
            columns = look(seen, data.train.labels, unseen, data.test.labels)
            cells = [f"{name} {value:.3f}" for name, value in columns.items()]
            print(f"step {step:5}", *cells, sep="  ", flush=True)


if __name__ == "__main__":
    app.run(main, flags_parser=lambda argv: flags.FLAGS(argv, known_only=True))
