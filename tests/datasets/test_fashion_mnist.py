"""The 70,000 real images of Fashion-MNIST, through the command and both kinds of input."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import base
from sslx.data.load import load
from sslx.datasets.official import DATA_SETS
from sslx.training import parallel
from sslx.training.input import Input

PACKAGE = "dataset-fashion-mnist"


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Where the package puts the four files: as installed, or unpacked after a download."""
    installed = Path(DATA_SETS["fashion_mnist"].archives[0].installed)
    if installed.exists():
        return installed
    folder = tmp_path_factory.mktemp("debian")
    for command in (f"apt-get download {PACKAGE}", f"dpkg-deb -x $(ls {PACKAGE}_*.deb) ."):
        try:
            done = subprocess.run(
                command, shell=True, cwd=folder, capture_output=True, text=True, timeout=120
            )
            reason = done.stderr.strip().split("\n")[-1]
        except subprocess.TimeoutExpired as error:
            reason = str(error)
        else:
            if not done.returncode:
                continue
        pytest.skip(f"{PACKAGE} is not installed, and could not be fetched: {reason}")
    return folder / str(installed).lstrip("/")


@pytest.mark.slow
def test_the_real_images_are_prepared_and_every_input_gives_the_same_batches(archives, tmp_path):
    words = ("fashion_mnist", f"--manual_dir={archives}", f"--data_dir={tmp_path}")
    for expected in ("train: 60,000 images, 6,000 in each of 10 classes", "is prepared in"):
        command = [sys.executable, "-m", "sslx.datasets", *words]
        assert (
            expected
            in subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=300
            ).stdout
        )
    config = base.get_config().data
    config.update(name="fashion_mnist", dir=str(tmp_path))
    kept = load(config)
    config.decoded_gib = 0.0
    streamed = load(config)
    assert kept.facts() == streamed.facts()
    assert kept.train.facts["hash"] == "1fc8802f422a8de6"
    assert kept.test.facts["hash"] == "1c706ad5aa51c27f"
    mesh = parallel.start(1)
    inputs = [
        Input(source.train.images, 0, 256, mesh, resident_bytes=limit)
        for source, limit in ((kept, 2**30), (kept, 0), (streamed, 2**30))
    ]
    assert [batches.resident for batches in inputs] == [True, False, False]
    for step in (*range(3), *range(233, 237)):  # an epoch has 234 steps
        (images, index, _), mapped, decoded = (batches.batch(step) for batches in inputs)
        for others, same, _ in (mapped, decoded):
            np.testing.assert_array_equal(same, index)
            np.testing.assert_array_equal(others, np.asarray(images)[np.asarray(index)])
    for batches in inputs:
        batches.close()
