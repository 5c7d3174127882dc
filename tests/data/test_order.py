import numpy as np
import pytest

from sslx.data.order import order, steps_per_epoch


def test_every_epoch_visits_each_image_at_most_once_and_drops_the_rest():
    epoch = np.concatenate([order(0, step, num_images=103, batch_size=10) for step in range(10)])
    assert len(np.unique(epoch)) == 100
    following = np.concatenate(
        [order(0, step, num_images=103, batch_size=10) for step in range(10, 20)]
    )
    assert len(np.unique(following)) == 100
    assert not np.array_equal(epoch, following)
    assert set(range(103)) - set(epoch) != set(range(103)) - set(following)


def test_a_step_is_the_same_whatever_was_asked_before():
    late = order(3, 777, num_images=50, batch_size=7)
    for step in range(20):
        order(3, step, num_images=50, batch_size=7)
    np.testing.assert_array_equal(late, order(3, 777, num_images=50, batch_size=7))
    assert not np.array_equal(late, order(4, 777, num_images=50, batch_size=7))


def test_the_images_are_drawn_evenly():
    counts = np.zeros(13)
    for step in range(2000):
        counts[order(1, step, num_images=13, batch_size=5)] += 1
    assert counts.sum() == 10_000
    # 1000 epochs that each leave out 3 of 13: standard deviation about 13 around 769.
    assert abs(counts - 10_000 / 13).max() < 60


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(
        ValueError, match=r"batch_size is 64, but the training split has 50 images.*batch_size=50"
    ):
        steps_per_epoch(50, 64)
    assert steps_per_epoch(64, 64) == 1
