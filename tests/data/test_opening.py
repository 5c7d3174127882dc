"""Records that several threads ask for first, as when a run decodes its images as it uses them."""

import subprocess
import sys

from configs import base
from sslx.data.load import load
from sslx.datasets import prepare_small

PROGRAM = """
import sys
from concurrent.futures import ThreadPoolExecutor
from configs import base
from sslx.data.load import load

config = base.get_config().data
config.decoded_gib = 0.0
images = load(config).train.images
assert "tensorflow_datasets" not in sys.modules
with ThreadPoolExecutor(8) as pool:
    sums = list(pool.map(lambda i: images[[i, i + 1]].sum(), range(0, 64, 2)))
print(len(sums))
"""


def test_threads_that_ask_first_do_not_wait_for_each_other(tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = base.get_config().data
    config.decoded_gib = 0.0
    prepare_small(config)
    load(config)  # checks the images, and keeps what TFDS knows of them
    for _ in range(3):
        words = [sys.executable, "-c", PROGRAM]
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60)
        assert answer.stdout.strip() == "32", answer.stderr
