"""Which images make up a batch: functions of seed and step, so a run resumes from a step alone."""

import functools

import numpy as np


def order(seed: int, step: int, *, num_images: int, batch_size: int) -> np.ndarray:
    """Return indices [batch_size] of the images in training step `step`, counted from 0.

    Every epoch is a fresh permutation cut into whole batches: no image occurs twice in a batch, and
    the `num_images % batch_size` images left over are other ones in every epoch. Raises ValueError
    when the batch is larger than the data.
    """
    epoch, position = divmod(step, steps_per_epoch(num_images, batch_size))
    begin = position * batch_size
    return _permutation(seed, epoch, num_images)[begin : begin + batch_size]


def others(seed: int, step: int, batch: np.ndarray, *, num_images: int, count: int) -> np.ndarray:
    """Return indices [count] of distinct images outside the batch of a step, uniformly drawn.

    Raises ValueError when there are not so many.
    """
    most = num_images - len(batch)
    if not 0 <= count <= most:
        raise ValueError(
            f"{count} images beside a batch of {len(batch)} are requested, but the training split "
            f"has {num_images}: use 0 to {most}."
        )
    generator = np.random.Generator(np.random.Philox(key=[seed, step], counter=1 << 64))
    drawn = generator.choice(num_images, min(count + len(batch), num_images), replace=False)
    drawn = drawn.astype(np.int32)
    return drawn[~np.isin(drawn, batch)][:count]


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Return the number of whole batches in one pass over the data."""
    if not 0 < batch_size <= num_images:
        raise ValueError(
            f"batch_size is {batch_size}, but the training split has {num_images} images. "
            f"Choose a batch between 1 and {num_images}, for example "
            f"--config.batch_size={min(num_images, 64)}."
        )
    return num_images // batch_size


@functools.lru_cache(maxsize=2)
def _permutation(seed: int, epoch: int, num_images: int) -> np.ndarray:
    # Philox is counter-based: an epoch's order needs no other epoch's.
    generator = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    permutation = generator.permutation(num_images).astype(np.int32)
    permutation.setflags(write=False)
    return permutation
