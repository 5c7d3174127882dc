"""Pretrain an image encoder without labels.

  python train.py --config=configs/digits.py:diet
  python train.py --config=configs/mnist5k.py:simclr --run=runs/mine --config.data.name=folder:PATH

Run the same command again to go on where a run stopped; Ctrl-C saves first. Then evaluate it with
eval.py. --config=configs/digits.py alone lists the recipes of that file; configs/base.py has the
fields that --config.FIELD=VALUE can change.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
from absl import flags
from jax.sharding import Mesh
from ml_collections import ConfigDict, config_flags

from sslx import command, datasets
from sslx.data.load import load
from sslx.evaluation.features import Extractor
from sslx.evaluation.monitor import Monitor
from sslx.experiment import make_experiment, make_training
from sslx.method import open_store
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.input import Input
from sslx.training.interrupt import INTERRUPTED, Interrupt
from sslx.training.log import Log, Meter, progress_line
from sslx.training.optim import describe_decay
from sslx.training.run_folder import open_run
from sslx.training.schedules import Durations
from sslx.training.state import State, model_of

CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The recipe, such as configs/digits.py:diet; the file alone lists its recipes."
)
RUN = flags.DEFINE_string("run", None, "The run's folder. [default: runs/FILE-RECIPE]")


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
    config, name = command.read_config(CONFIG, "configs/digits.py:diet")
    command.cache_compilations()
    mesh = parallel.start(config.devices, config.batch_size)
    print(f"devices: {mesh.size} x {mesh.devices.flat[0].device_kind} ({jax.default_backend()})")
    with jax.set_mesh(mesh):
        run, state = prepare(config, Path(RUN.value or f"runs/{name}"), mesh)
        try:
            return train(run, state)
        except FloatingPointError as error:
            last = run.checkpoints.steps()[-1]
            raise FloatingPointError(
                f"{error}. The last good checkpoint is step {last}. Lower --config.optimizer"
                ".learning_rate, lengthen .warmup or set .clip_norm, in a new run: --run=runs/NAME"
            ) from error
        finally:
            run.batches.close()
            run.log.close()
            run.checkpoints.close()


def prepare(config: ConfigDict, folder: Path, mesh: Mesh) -> tuple[Run, State]:
    """Open data, method, optimizer, and the newest checkpoint, if there is one."""
    datasets.prepare_small(config.data)
    splits = load(config.data)
    images, facts = splits.train.images, splits.train.facts
    experiment = make_experiment(config, len(images), images.shape[-1])
    durations, seed = experiment.durations, config.seed
    resident, workers = config.data.resident_gib * 2**30, config.data.workers
    batches = Input(images, seed, config.batch_size, mesh, resident_bytes=resident, workers=workers)
    training = make_training(experiment, resident=batches.resident)
    open_run(folder, config, splits.facts())
    print(f"data: {facts['name']}, {len(images)} images of {facts['shape']}, hash {facts['hash']}")
    print(
        f"run: {folder}, {durations.total} steps of {config.batch_size} images; "
        f"{durations.steps_per_epoch} an epoch, the incomplete batch dropped"
    )
    store = open_store(experiment.method, folder, seed, config.batch_size, mesh)
    keep, best = config.checkpoint.keep, config.checkpoint.best
    checkpoints = Checkpoints(folder / "checkpoints", keep=keep, best=best, store=store)
    state = checkpoints.resume(lambda: parallel.place(training.init(), mesh))
    print("\n".join(describe_decay(state.params, config.optimizer)))
    step = store.around(training.step) if store else training.step
    extractor = Extractor(experiment.method, mesh, config.evaluation.batch_size)
    monitor = Monitor(config.monitor, extractor, splits, seed)
    log = Log(folder, step=int(state.step), tensorboard=config.log.tensorboard)
    return Run(config, folder, durations, batches, step, monitor, checkpoints, log), state


def train(run: Run, state: State) -> int:
    """Take the steps that are left, with logs, monitors and checkpoints on the way.

    Returns 130 after an interrupt.
    """
    start, total, batch_size = int(state.step), run.durations.total, run.config.batch_size
    every = {
        name: run.durations.steps(run.config[name].every)
        for name in ("log", "monitor", "checkpoint")
    }
    if start == total:
        print(f"{run.folder} is complete. Evaluate it: python eval.py --run={run.folder}")
        return 0
    if start:
        print(f"going on from step {start}")
    else:
        print("training from scratch")
        run.checkpoints.save(0, state, {})
    meter = Meter(start)
    with Interrupt() as interrupt:
        for done in range(start + 1, total + 1):
            images, index, waited = run.batches.batch(done - 1)
            state, logs = run.step(state, images, index)
            meter.add(logs, waited)
            ends = done == total
            due = {name: n and (done % n == 0 or ends) for name, n in every.items()}
            if due["log"]:
                values = meter.averages(batch_size)
                print(progress_line(done, total, values, batch_size), flush=True)
                run.log.write(done, values)
            if done == 1 and every["monitor"]:  # now, so that the first step did not wait for it
                fresh = run.checkpoints.restore_model(0, model_of(state.params, state.extra))
                meter.exclude(run.monitor.look(0, fresh, run.log)["monitor_seconds"])
            if due["monitor"] or due["checkpoint"] or interrupt.asked:
                meter.flush()  # a state that is not finite is never saved
                monitored = {}
                if due["monitor"]:
                    model = model_of(state.params, state.extra)
                    monitored = run.monitor.look(done, model, run.log)
                if due["checkpoint"] or interrupt.asked:
                    run.checkpoints.save(done, state, monitored)
                meter.restart()
            if interrupt.asked and done < total:
                run.checkpoints.wait()
                print(f"saved at step {done} of {total}. The same command goes on from there.")
                return INTERRUPTED
    run.checkpoints.wait()
    print(f"done: {total} steps. Evaluate the checkpoints: python eval.py --run={run.folder}")
    return 0


if __name__ == "__main__":
    command.run(main)
