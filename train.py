"""Pretrain an image encoder without labels.

  python train.py --config=configs/digits/diet.py
  python train.py --config=configs/mnist5k/simclr.py --run=runs/cold --config.method.temperature=0.1
  python train.py --config=configs/mnist5k/diet.py --config.data.name=folder:PATH

Run the same command again to go on where a run stopped; Ctrl-C saves first.
Every field that --config.FIELD=VALUE can change stands in configs/common.py and in the recipe.
Then judge the run: python eval.py --run=runs/NAME
"""

import time
from pathlib import Path

import jax
from absl import flags
from ml_collections import ConfigDict, config_flags

from sslx import command
from sslx.data import sources
from sslx.data.order import steps_per_epoch
from sslx.evaluation.features import Extractor
from sslx.evaluation.monitor import Monitor, collapse_warning, monitor_line
from sslx.training import parallel
from sslx.training.checkpoint import Checkpoints
from sslx.training.input import Input
from sslx.training.interrupt import Interrupt
from sslx.training.log import Log, Meter, progress_line
from sslx.training.method import load_method
from sslx.training.optimizer import describe_decay, make_optimizer
from sslx.training.run_folder import open_run
from sslx.training.schedule import Durations, learning_rate
from sslx.training.state import State, init_state, make_step

CONFIG = config_flags.DEFINE_config_file("config", None, "The recipe, a file such as configs/digits/diet.py.")
RUN = flags.DEFINE_string("run", None, "The run's folder; without it runs/DATASET-METHOD, after the recipe.")


def main() -> int:
    """Train until the duration is over, or until asked to stop."""
    config, recipe = command.read_config(CONFIG, "configs/digits/diet.py")
    folder = Path(RUN.value or f"runs/{recipe.parent.name}-{recipe.stem}")
    command.cache_compilations()
    mesh = parallel.start(config.devices, config.batch_size)
    print(f"devices: {mesh.size} x {mesh.devices.flat[0].device_kind} ({jax.default_backend()})")
    train, test = sources.load(config.data)
    epoch = steps_per_epoch(len(train.images), config.batch_size)
    durations = Durations(config.duration, epoch, config.batch_size)
    rate = learning_rate(config.optimizer, durations, config.batch_size)
    method = load_method(config, len(train.images))
    optimizer = make_optimizer(config.optimizer, rate)
    open_run(folder, config, {"train": train.facts, "test": test.facts if test else None})
    print(
        f"data: {train.facts['name']}, {len(train.images)} images of {train.facts['shape']}, hash {train.facts['hash']}"
    )
    print(
        f"run: {folder}, {durations.total} steps of {config.batch_size} images, {epoch} an epoch, the rest of it dropped"
    )
    size = method.views.crops[0].size
    with jax.set_mesh(mesh):
        state = init_state(method, optimizer, jax.random.key(config.seed), (1, size, size, train.images.shape[-1]))
        state = parallel.replicate(state, mesh)
        print("\n".join(describe_decay(state.params, config.optimizer)))
        checkpoints = Checkpoints(folder / "checkpoints", keep=config.checkpoint.keep, best=config.checkpoint.best)
        state = checkpoints.restore_latest(state) or state
        batches = Input(
            train.images,
            seed=config.seed,
            batch_size=config.batch_size,
            mesh=mesh,
            resident_bytes=config.data.resident_gib * 2**30,
        )
        step = make_step(method, optimizer, rate, config.seed, resident=batches.resident)
        monitor = Monitor(
            config.monitor, Extractor(method, mesh, config.evaluation.batch_size), train, test, config.seed
        )
        record = Log(folder, step=int(state.step), tensorboard=config.log.tensorboard)
        try:
            return loop(config, durations, state, step, batches, monitor, checkpoints, record, folder)
        finally:
            batches.close()
            record.close()
            checkpoints.close()


def loop(
    config: ConfigDict, durations: Durations, state: State, step, batches: Input, monitor: Monitor,
    checkpoints: Checkpoints, record: Log, folder: Path,
) -> int:  # fmt: skip
    """The steps from the state's own to the last; logs, monitors and saves on the way. 130 after an interrupt."""
    start, total = int(state.step), durations.total
    if start == total:
        print(f"{folder} is complete. Judge it: python eval.py --run={folder}")
        return 0
    if start:
        print(f"going on from step {start}")
    log_every, monitor_every, save_every = (
        config.log.every,
        durations.steps(config.monitor.every),
        durations.steps(config.checkpoint.every),
    )

    def look(done: int) -> dict[str, float]:
        """Monitor step `done` where that is due."""
        if not is_due(done, monitor_every, total):
            return {}
        values = monitor({"params": state.params, "extra": state.extra})
        print(f"  at step {done}: {monitor_line(values)}", flush=True)
        record.write(done, values)
        if done and (warning := collapse_warning(values)):
            print(warning, flush=True)
        return values

    if not start:
        checkpoints.save(0, state, look(0))
    meter = Meter(start)
    with Interrupt() as interrupt:
        for done in range(start + 1, total + 1):
            images, index, waited = batches.batch(done - 1)
            state, logs = step(state, images, index)
            try:
                meter.add(logs, waited)
                if is_due(done, log_every, total):
                    values = meter.averages(config.batch_size)
                    print(progress_line(done, total, values, config.batch_size), flush=True)
                    record.write(done, values)
                pause = interrupt.asked or is_due(done, save_every, total) or is_due(done, monitor_every, total)
                if pause:
                    meter.flush()
            except FloatingPointError as error:
                saved = checkpoints.steps()
                raise ValueError(
                    f"{error}. The last good checkpoint is step {saved[-1]}. Lower --config.optimizer.learning_rate, lengthen the "
                    "warm-up or set --config.optimizer.clip_norm, in a new run: --run=runs/NAME"
                ) from error
            if pause:
                values = look(done)
                if interrupt.asked or is_due(done, save_every, total):
                    checkpoints.save(done, state, values)
                meter.restart()
            if interrupt.asked and done < total:
                checkpoints.wait()
                print(f"saved at step {done} of {total}. The same command goes on from there.")
                return 130
    checkpoints.wait()
    print(f"done: {total} steps. Judge the checkpoints: python eval.py --run={folder}")
    return 0


def is_due(done: int, every: int, total: int) -> bool:
    """Whether something happens after step `done`: every so many steps and at the end; never when `every` is 0."""
    return bool(every) and (done % every == 0 or done == total)


if __name__ == "__main__":
    command.run(main)
