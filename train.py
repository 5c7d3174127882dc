"""Pretrain an image encoder without labels.

  python train.py --config=configs/digits/diet.py
  python train.py --config=configs/mnist5k/simclr.py --run=runs/mine --config.data.name=folder:PATH

Run the same command again to go on where a run stopped; Ctrl-C saves first. Then judge it with
eval.py. Every field that --config.FIELD=VALUE can change stands in configs/base.py and in the
recipe."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import flags
from jax.sharding import Mesh
from ml_collections import ConfigDict, config_flags

from sslx import command
from sslx.data import sources
from sslx.data.order import steps_per_epoch
from sslx.evaluation.features import Extractor
from sslx.evaluation.monitor import Monitor
from sslx.experiment import load_method
from sslx.method import open_store
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.input import Input
from sslx.training.interrupt import INTERRUPTED, Interrupt
from sslx.training.log import Log, Meter, progress_line
from sslx.training.optim import describe_decay, make_optimizer
from sslx.training.run_folder import open_run
from sslx.training.schedules import Durations, learning_rate
from sslx.training.state import State, init_state, make_step, model_of

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The recipe, a file such as configs/digits/diet.py."
)
RUN = flags.DEFINE_string(
    "run", None, "The run's folder; without it runs/DATASET-METHOD, after the recipe."
)


class Run(NamedTuple):
    """What a run works with; what it has reached is in `State`."""

    config: ConfigDict
    folder: Path
    durations: Durations
    batches: Input
    step: Callable[..., Any]
    monitor: Monitor
    checkpoints: Checkpoints
    log: Log


def main() -> int:
    """Train until the duration is over, or until asked to stop."""
    config, recipe = command.read_config(CONFIG, "configs/digits/diet.py")
    command.cache_compilations()
    mesh = parallel.start(config.devices, config.batch_size)
    print(f"devices: {mesh.size} x {mesh.devices.flat[0].device_kind} ({jax.default_backend()})")
    with jax.set_mesh(mesh):
        run, state = prepare(
            config, Path(RUN.value or f"runs/{recipe.parent.name}-{recipe.stem}"), mesh
        )
        try:
            return train(run, state)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"{error}. The last good checkpoint is step {run.checkpoints.steps()[-1]}. Lower "
                "--config.optimizer"
                ".learning_rate, lengthen .warmup or set .clip_norm, in a new run: --run=runs/NAME"
            ) from error
        finally:
            run.batches.close()
            run.log.close()
            run.checkpoints.close()


def prepare(config: ConfigDict, folder: Path, mesh: Mesh) -> tuple[Run, State]:
    """Data, method, optimizer and the newest checkpoint, if there is one."""
    data, probe, test = splits = sources.load(config.data)
    count, batch_size = len(data.images), config.batch_size
    epoch = steps_per_epoch(count, batch_size)
    durations = Durations(config.duration, epoch, batch_size)
    rate = learning_rate(config.optimizer, durations)
    method = load_method(config, count)
    optimizer = make_optimizer(config.optimizer, durations)
    open_run(folder, config, splits.facts())
    print(
        f"data: {data.facts['name']}, {count} images of {data.facts['shape']}, hash "
        f"{data.facts['hash']}"
    )
    print(
        f"run: {folder}, {durations.total} steps of {batch_size} images; {epoch} an epoch, the "
        "incomplete batch dropped"
    )

    size = method.views.crops[0].size
    shape = (1, size, size, data.images.shape[-1])
    store = open_store(
        method, folder, config.seed, batch_size, mesh
    )  # of rows that are not on the device
    kept = {"keep": config.checkpoint.keep, "best": config.checkpoint.best}
    checkpoints = Checkpoints(folder / "checkpoints", **kept, store=store)
    state = checkpoints.resume(
        lambda: parallel.place(
            init_state(method, optimizer, jax.random.key(config.seed), shape), mesh
        )
    )
    print("\n".join(describe_decay(state.params, config.optimizer)))
    resident = config.data.resident_gib * 2**30
    batches = Input(
        data.images,
        config.seed,
        batch_size,
        mesh,
        resident_bytes=resident,
        workers=config.data.workers,
    )
    step = make_step(method, optimizer, rate, config.seed, resident=batches.resident)
    step = store.around(step) if store else step
    monitor = Monitor(
        config.monitor, Extractor(method, mesh, config.evaluation.batch_size), splits, config.seed
    )
    log = Log(folder, step=int(state.step), tensorboard=config.log.tensorboard)
    return Run(config, folder, durations, batches, step, monitor, checkpoints, log), state


def train(run: Run, state: State) -> int:
    """The steps that are left; logs, monitors and checkpoints on the way.

    Returns 130 after an interrupt.
    """
    start, total = int(state.step), run.durations.total
    every = {
        name: run.durations.steps(run.config[name].every)
        for name in ("log", "monitor", "checkpoint")
    }
    if start == total:
        print(f"{run.folder} is complete. Judge it: python eval.py --run={run.folder}")
        return 0
    print(f"going on from step {start}" if start else "training from scratch")
    if not start:
        run.checkpoints.save(0, state, {})
    meter = Meter(start)
    with Interrupt() as interrupt:
        for done in range(start + 1, total + 1):
            images, index, waited = run.batches.batch(done - 1)
            state, logs = run.step(state, images, index)
            meter.add(logs, waited)
            due = {
                name: every[name] and (done % every[name] == 0 or done == total) for name in every
            }
            if due["log"]:
                values = meter.averages(run.config.batch_size)
                print(progress_line(done, total, values, run.config.batch_size), flush=True)
                run.log.write(done, values)
            if (
                done == 1 and every["monitor"]
            ):  # only now, so that the first step does not wait for it
                fresh = run.checkpoints.restore_model(0, model_of(state.params, state.extra))
                meter.exclude(run.monitor.look(0, fresh, run.log)["monitor_seconds"])
            if due["monitor"] or due["checkpoint"] or interrupt.asked:
                meter.flush()  # a state that is not finite is never saved
                monitored = (
                    run.monitor.look(done, model_of(state.params, state.extra), run.log)
                    if due["monitor"]
                    else {}
                )
                if due["checkpoint"] or interrupt.asked:
                    run.checkpoints.save(done, state, monitored)
                meter.restart()
            if interrupt.asked and done < total:
                run.checkpoints.wait()
                print(f"saved at step {done} of {total}. The same command goes on from there.")
                return INTERRUPTED
    run.checkpoints.wait()
    print(f"done: {total} steps. Judge the checkpoints: python eval.py --run={run.folder}")
    return 0


if __name__ == "__main__":
    command.run(main)
