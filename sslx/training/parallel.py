"""Where arrays live: a mesh of one axis over all devices, the batch split over it.

Everything else is replicated. One program over the global batch under `jax.jit`; the compiler adds
the collectives. So negatives, batch statistics and gradients are those of the whole batch on any
number of devices.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sslx.data.stream import CORES

AXIS = "data"
# With fewer, a CPU device's share of the batch is too small to be worth the collectives.
CPU_IMAGES_PER_DEVICE = 16


def start(devices: int = 0, batch_size: int | None = None) -> Mesh:
    """Make the mesh of this process's run; must be the first use of JAX's devices.

    `devices` 0 takes all accelerators, or on CPU one device per core as far as a given batch
    divides. Raises ValueError when the batch cannot be split, or when a GPU is there that JAX does
    not see.
    """
    if devices < 0:
        raise ValueError(f"config.devices is {devices}. Use 0 for all devices, or their number.")
    cpu_devices = devices or _cpu_devices(batch_size)
    if not jax.distributed.is_initialized() and jax.config.values["jax_num_cpu_devices"] <= 1:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    available = jax.devices()
    _expect_gpu()
    if devices > len(available):
        raise ValueError(
            f"config.devices is {devices}, but JAX has {len(available)}: "
            f"{available[0].device_kind}. Use 0 for all."
        )
    alone_on_cpu = available[0].platform == "cpu" and jax.process_count() == 1
    count = devices or (cpu_devices if alone_on_cpu else len(available))
    if batch_size and batch_size % count:
        lower = max(batch_size // count, 1) * count
        raise ValueError(
            f"batch_size {batch_size} cannot be split evenly over {count} devices. "
            f"Use --config.batch_size={lower} or {lower + count}, or another --config.devices."
        )
    return Mesh(np.asarray(available[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def _cpu_devices(batch_size: int | None) -> int:
    if not batch_size:
        return CORES
    enough = max(batch_size // CPU_IMAGES_PER_DEVICE, 1)
    return max(count for count in range(1, min(CORES, enough) + 1) if batch_size % count == 0)


def _expect_gpu() -> None:
    there = any(Path(path).exists() for path in ("/dev/nvidia0", "/proc/driver/nvidia/version"))
    if there and jax.default_backend() == "cpu" and not _cpu_is_wanted():
        raise ValueError(
            "This machine has an NVIDIA GPU, but the installed JAX runs on the CPU only. Install "
            'the GPU build: pip install "jax[cuda13]" (or cuda12). To stay on the CPU: '
            "JAX_PLATFORMS=cpu"
        )


def _cpu_is_wanted() -> bool:
    return "cpu" in (jax.config.values["jax_platforms"] or "")


def replicate(tree: Any, mesh: Mesh) -> Any:
    """Copy every leaf of the pytree to all devices."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def place(state: Any, mesh: Mesh) -> Any:
    """Put a fresh state on the mesh: what its method has split stays so, the rest is replicated."""

    def put(leaf: Any) -> jax.Array:
        sharding = getattr(leaf, "sharding", None)  # a network's fresh parameters are NumPy's
        is_split = isinstance(sharding, NamedSharding) and AXIS in sharding.spec
        return leaf if is_split else replicate(leaf, mesh)

    return jax.tree.map(put, state)


def gathered(x: jax.Array) -> jax.Array:
    """Return the array whole on every device of the mesh that is set, if one is."""
    return _constrained(x, PartitionSpec())


def split(x: jax.Array) -> jax.Array:
    """Return the array split along its first axis over the mesh that is set, if one is."""
    return _constrained(x, PartitionSpec(AXIS))


def _constrained(x: jax.Array, spec: PartitionSpec) -> jax.Array:
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, spec)


def replicated_like(tree: Any, mesh: Mesh) -> Any:
    """Return shapes and dtypes of the pytree on all devices, to restore a checkpoint onto."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def split_batch(
    shape: tuple[int, ...], rows: Callable[[slice], np.ndarray], mesh: Mesh
) -> jax.Array:
    """Make a global array of `shape`, split along its first axis; each process makes its `rows`."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_callback(
        shape, sharding, lambda index: rows(index[0] if index else slice(None))
    )


def own_rows(batch_size: int, mesh: Mesh) -> slice:
    """Return which rows of a batch that is split over the mesh belong to this process."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    indices = sharding.addressable_devices_indices_map((batch_size,)).values()
    parts = [index[0] for index in indices if index]
    # A part of a single device has no bounds: it is everything.
    first = min(part.start or 0 for part in parts)
    return slice(first, max(part.stop or batch_size for part in parts))
