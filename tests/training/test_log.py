import json

import jax.numpy as jnp
import pytest

from sslx.training.log import Log, Meter, clock, progress_line


def test_a_resumed_record_holds_each_step_once(tmp_path):
    log = Log(tmp_path, step=0, tensorboard=False)
    for step in (10, 20, 30):
        log.write(step, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 40, "lo')  # a kill in the middle of a line
    log = Log(tmp_path, step=20, tensorboard=False)
    log.write(30, {"loss": 3.5, "lost": float("nan")})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30]
    assert lines[-1] == {"step": 30, "loss": 3.5, "lost": None}


def test_tensorboard_events_are_written_on_request(tmp_path):
    log = Log(tmp_path, step=0, tensorboard=True)
    log.write(1, {"loss": 2.0})
    log.close()
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert b"loss" in events.read_bytes()


def test_the_first_step_that_is_not_finite_is_named():
    meter = Meter(100)
    for loss in (1.0, 2.0, float("inf"), float("nan")):
        meter.add({"loss": jnp.float32(loss)}, 0.0)
    with pytest.raises(FloatingPointError, match="loss became non-finite in step 103"):
        meter.flush()


def test_averages_cover_the_steps_since_the_last_ones():
    meter = Meter(0)
    for loss in range(40):  # more than Meter.LIMIT: some are fetched on the way
        meter.add({"loss": jnp.float32(loss)}, 0.0)
    assert meter.averages(8)["loss"] == pytest.approx(19.5)
    meter.add({"loss": jnp.float32(7)}, 0.0)
    values = meter.averages(8)
    assert values["loss"] == 7
    assert values["images_per_second"] > 0
    assert 0 <= values["input_wait"] <= 1


def test_the_console_line():
    values = {"loss": 7.5, "nats_above_floor": 0.25, "images_per_second": 64.0, "input_wait": 0.031}
    line = progress_line(5, 100, values, batch_size=128)
    assert line == (
        "step   5/100  loss 7.5000 (0.250 nats above floor)  64 images/s  eta 3:10  input wait 3%"
    )
    assert clock(3661) == "1:01:01"
