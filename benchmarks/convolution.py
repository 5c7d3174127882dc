"""What the sliced weight gradient of `sslx.models.layers` gains over XLA's own, in a step on CPU.

    python -m benchmarks.convolution --variant=resnet18 --width=64 --batch=128 --rounds=6
    python -m benchmarks.convolution --variant=resnet_tiny

A step is forward, backward and an SGD update of an encoder with the small-image stem; the loss is a
fixed random projection of its features. Four programs are timed: plain and sliced, on one device
and on a mesh of two. Each round runs them in a new random order, each after one untimed step of its
own, so that caches and neighbours favour none. Printed: seconds to lower and to compile, the median
step, and the median of the per-round ratios to plain on the same number of devices and to plain on
one.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import numpy as np

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 2)

from sslx.models import build, layers  # noqa: E402
from sslx.models.network import Network  # noqa: E402

P = jax.sharding.PartitionSpec


def prepare(
    network: Network, batch: int, size: int, devices: int, sliced: bool
) -> tuple[Callable[[], None], str]:
    """Compile one step on a mesh; return a function that runs it, and how long that took."""
    axis = (jax.sharding.AxisType.Auto,)
    mesh = jax.make_mesh((devices,), ("data",), axis_types=axis, devices=jax.devices()[:devices])
    params, stats = network.init(jax.random.key(0), (1, size, size, 3))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, size, size, 3), np.float32)
    target = rng.standard_normal(network.width, np.float32)

    def step(params: Any, stats: Any, x: jax.Array) -> tuple[Any, Any]:
        def loss(params: Any) -> tuple[jax.Array, Any]:
            features, new = network.apply(params, stats, x, train=True)
            return (features @ target).mean(), new

        gradient, new = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - 1e-6 * g, params, gradient), new

    plain = mock.patch.object(layers, "_sliced_weight_gradient", layers._weight_gradient)
    with jax.set_mesh(mesh), mock.MagicMock() if sliced else plain:
        jax.clear_caches()  # a cached trace would carry one program's convolution into the other
        state = jax.device_put((params, stats), jax.NamedSharding(mesh, P()))
        x = jax.device_put(x, jax.NamedSharding(mesh, P("data")))
        start = time.perf_counter()
        lowered = jax.jit(step).lower(*state, x)
        middle = time.perf_counter()
        compiled = lowered.compile()
        seconds = f"lower {middle - start:.2f} s, compile {time.perf_counter() - middle:.1f} s"

    def run() -> None:
        nonlocal state
        state = jax.block_until_ready(compiled(*state, x))

    return run, seconds


def median_ratio(times: list[float], base: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(times, base, strict=True))


def main() -> None:
    """Time the four programs and print the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variant", default="resnet_tiny")
    parser.add_argument("--width", type=int, help="base width; the variant's own if not given")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--size", type=int, default=32, help="height and width of the images")
    parser.add_argument("--rounds", type=int, default=8)
    args = parser.parse_args()

    network = build("resnet", variant=args.variant, stem="small", width=args.width)
    names = {
        "plain, 1": (1, False),
        "sliced, 1": (1, True),
        "plain, 2": (2, False),
        "sliced, 2": (2, True),
    }
    runs: dict[str, Callable[[], None]] = {}
    starts: dict[str, str] = {}
    times: dict[str, list[float]] = {name: [] for name in names}
    for name, (devices, sliced) in names.items():
        runs[name], starts[name] = prepare(network, args.batch, args.size, devices, sliced)
    for _ in range(args.rounds):
        for name in random.sample(list(runs), len(runs)):
            runs[name]()
            start = time.perf_counter()
            runs[name]()
            times[name].append(time.perf_counter() - start)

    print(
        f"{args.variant}, width {network.width} out, batch {args.batch}, {args.size} px, "
        f"{args.rounds} rounds"
    )
    for name, (devices, _) in names.items():
        median = statistics.median(times[name])
        same = median_ratio(times[name], times[f"plain, {devices}"])
        one = median_ratio(times[name], times["plain, 1"])
        print(
            f"{name} device(s): {median:.3f} s, to plain {same:.2f}, to plain on one {one:.2f}; "
            f"{starts[name]}"
        )


if __name__ == "__main__":
    main()
