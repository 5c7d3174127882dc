"""Time of a vision transformer on a quarter of an image's patches, as a share of that on all.

    python -m benchmarks.vit
    python -m benchmarks.vit --variant=vit_base --batch=8

Both go through the same jitted `apply`, forward alone, then with the gradient of the parameters.
The two take turns within every round; the ratio is the median over rounds, so that a busy machine
slows both sides alike. Attention is quadratic in the patches, so less than 0.25 is possible; what
does not shrink is the overhead per call.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sslx.models import vit

SIZE = 224


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variant", default="vit_small")
    parser.add_argument("--patch", type=int, default=16)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    network = vit.network(
        args.variant, patch=args.patch, pool="mean", class_token=False, positions="sincos"
    )
    params, _ = network.init(jax.random.key(0), (1, SIZE, SIZE, 3))
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.standard_normal((args.batch, SIZE, SIZE, 3), np.float32))
    patches = (SIZE // args.patch) ** 2
    order = np.stack([rng.permutation(patches) for _ in range(args.batch)]).astype(np.int32)
    quarter = jnp.asarray(np.sort(order[:, : patches // 4]))

    def forward(params: Any, images: jax.Array, keep: jax.Array | None) -> jax.Array:
        return network.apply(params, {}, images, train=False, keep=keep)[0]

    def gradient(params: Any, images: jax.Array, keep: jax.Array | None) -> Any:
        return jax.grad(lambda params: jnp.sum(forward(params, images, keep) ** 2))(params)

    print(
        f"{jax.devices()[0].device_kind}, {args.variant}/{args.patch}, "
        f"{args.batch} images of {SIZE} pixels, {patches} patches"
    )
    for name, function in {"forward": forward, "with gradient": gradient}.items():
        jitted = jax.jit(function)
        calls = [partial(jitted, params, images, keep) for keep in (quarter, None)]
        for call in calls:
            call()
        rounds = [[seconds(call) for call in calls] for _ in range(args.rounds)]
        ratio = statistics.median(few / full for few, full in rounds)
        few, full = (statistics.median(times) for times in zip(*rounds, strict=True))
        print(f"{name:14} {few:6.3f} s of {full:6.3f} s   ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
