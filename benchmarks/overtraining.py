"""Why does a linear probe fall when DIET trains for long, while RankMe and LiDAR go on rising?

python -m benchmarks.overtraining [--run=FOLDER] [--config.FIELD=VALUE ...]

Trains (or resumes) the digits recipe for 200 epochs instead of 50, and prints for every checkpoint
  test              probe trained on the features of the pretraining images and judged on unseen
  images, for the L2 that
                    a held-out fifth of the pretraining images chooses
  strong L2         the same with a hundred times the usual L2: would repair a probe that merely
  overfits seen              accuracy on that fifth: images that the probe has not seen, but DIET
  has unseen            probe trained on one half of the unseen images and judged on the other, both
  ways same number seen  the same with equally many pretraining images in place of the training half
  kNN               as eval.py
  member?           accuracy of telling from the features whether an image took part in pretraining
  (0.5: chance) RankMe seen, unseen
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
from sslx.data import sources
from sslx.evaluation.features import Extractor
from sslx.evaluation.knn import knn_accuracy
from sslx.evaluation.linear_probe import linear_probe
from sslx.experiment import load_method
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.run_folder import read_config
from sslx.training.state import model_of

RUN = flags.DEFINE_string("run", "runs/digits-diet-long", "The run's folder.")
LONG = ("--config.duration=200 epochs", "--config.monitor.every=0 steps")


def classifier(strength: float):
    """Logistic regression on standardised features; `strength` is scikit-learn's C."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=2000))


def across(a, a_labels, b, b_labels) -> float:
    """Accuracy of a probe trained on `a` and judged on `b`."""
    return classifier(0.1).fit(a, a_labels).score(b, b_labels)


def look(seen, seen_labels, unseen, unseen_labels) -> dict[str, float]:
    """The columns of one checkpoint."""
    result = linear_probe(seen, seen_labels, unseen, unseen_labels, protocol="lbfgs")
    order = np.random.default_rng(0).permutation(len(unseen))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    few = np.random.default_rng(1).permutation(len(seen))[: len(halves[0])]
    swapped = [
        (unseen[i], unseen_labels[i], unseen[j], unseen_labels[j])
        for i, j in (halves, halves[::-1])
    ]
    equal = np.random.default_rng(2).permutation(len(seen))[: len(unseen)]
    both, member = np.concatenate([seen[equal], unseen]), np.repeat([1, 0], len(unseen))
    return {
        "test": result.accuracy,
        "strong L2": classifier(1 / (0.1 * len(seen)))
        .fit(seen, seen_labels)
        .score(unseen, unseen_labels),
        "seen": result.validation_accuracy,
        "unseen": float(np.mean([across(*half) for half in swapped])),
        "same number seen": float(
            np.mean([across(seen[few], seen_labels[few], half[2], half[3]) for half in swapped])
        ),
        "kNN": knn_accuracy(seen, seen_labels, unseen, unseen_labels),
        "member?": cross_val_score(classifier(0.1), both, member, cv=5).mean(),
        "RankMe seen": rankme(seen[equal]),
        "RankMe unseen": rankme(unseen),
    }


def main(argv: list[str]) -> None:
    """Train where needed, then print a row per checkpoint."""
    command = [
        sys.executable,
        "train.py",
        "--config=configs/digits/diet.py",
        f"--run={RUN.value}",
        *LONG,
        *argv[1:],
    ]
    subprocess.run(command, check=True)
    logging.set_verbosity(logging.ERROR)
    folder = Path(RUN.value)
    config = read_config(folder)
    mesh = parallel.start()
    train, _, test = sources.load(config.data)
    method = load_method(config, len(train.images))
    size = method.views.crops[0].size
    params, extra = method.init(jax.random.key(0), (1, size, size, train.images.shape[-1]))
    like = parallel.replicated_like(model_of(params, extra), mesh)
    with jax.set_mesh(mesh):
        checkpoints, extractor = Checkpoints(folder / "checkpoints"), Extractor(method, mesh, 512)
        for step in checkpoints.steps():
            model = checkpoints.restore_model(step, like)
            seen, unseen = (
                np.asarray(extractor.plain(model, split.images).representation)
                for split in (train, test)
            )
            columns = look(seen, train.labels, unseen, test.labels)
            print(
                f"step {step:5}  "
                + "  ".join(f"{name} {value:.3f}" for name, value in columns.items()),
                flush=True,
            )


if __name__ == "__main__":
    app.run(main, flags_parser=lambda argv: flags.FLAGS(argv, known_only=True))
