"""The wheel, in an environment of its own, from another folder."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import sslx

USE = """
import sys
import sslx, metrics
import sslx.studies.plan, sslx.datasets.official
from pathlib import Path
from sslx.evaluation.run import open_run
from sslx.evaluation.settings import Settings
from sslx.training import parallel

assert Path(sslx.__file__).is_relative_to(sys.prefix), sslx.__file__
assert Path(metrics.__file__).is_relative_to(sys.prefix), metrics.__file__
mesh = parallel.start(1)
run = open_run(Path(sys.argv[1]), Settings(), mesh)
model = run.checkpoints.restore_model(20, run.model_like)
features = run.extractor.plain(model, run.data.train.images[:5])
print(sslx.__version__, features.representation.shape)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of an environment in which the wheel is installed, beside what it needs.

    What it needs is that of this environment: installing it anew would only test the network.
    """
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    for name in ("sslx", "metrics", "pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, source / name)
    venv.create(folder / "venv", with_pip=True)
    interpreter = folder / "venv/bin/python"
    pip = [interpreter, "-m", "pip", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, str(source)], check=True, timeout=300)
    packages = next((folder / "venv/lib").glob("python*/site-packages"))
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (packages / "needed.pth").write_text(f"{here}\n")
    return interpreter


def test_the_installed_package_measures_and_opens_a_run(python, finished, cache, tmp_path):
    environment = {**os.environ, "TFDS_DATA_DIR": f"{cache}/data", "PYTHONPATH": ""}
    np.save(tmp_path / "embeddings.npy", np.random.default_rng(0).normal(size=(50, 8)))

    def call(*words: object) -> str:
        answer = subprocess.run(
            [python, *map(str, words)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert answer.returncode == 0, answer.stderr
        return answer.stdout

    assert "rankme" in call("-m", "metrics", "embeddings.npy")
    assert call("-c", USE, finished[0]).split() == [sslx.__version__, "(5,", "16)"]
    assert "cifar10" in call("-m", "sslx.datasets", "--list")
