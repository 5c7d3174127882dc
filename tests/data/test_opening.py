"""Records that several threads ask for first, as when a run decodes its images as it uses them."""

import time
from concurrent.futures import ThreadPoolExecutor

import tensorflow_datasets as tfds

from sslx.data import records


class Builder:
    """A data set whose opening and first read take a while, and count who is in them."""

    def __init__(self):
        self.inside = self.most = self.reads = 0

    def as_data_source(self, split, decoders):
        self._visit()
        return self

    def __getitems__(self, numbers):
        self.reads += 1
        self._visit()
        return [{} for _ in numbers]

    def _visit(self):
        self.inside += 1
        self.most = max(self.most, self.inside)
        time.sleep(0.02)
        self.inside -= 1


def test_threads_open_the_records_one_after_the_other(monkeypatch):
    """TFDS imports its parts lazily: in two threads at once it can wait for itself for ever."""
    builder = Builder()
    monkeypatch.setattr(tfds, "builder_from_directory", lambda folder: builder)
    facts = {"folder": "folder", "images": ["image"]}
    with ThreadPoolExecutor(8) as pool:
        sources = list(pool.map(lambda _: records._open(facts, "train"), range(8)))
    assert sources == [builder] * 8
    assert builder.reads == 8  # the first read is a part of it
    assert builder.most == 1
