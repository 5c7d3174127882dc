"""Where arrays live: a one-dimensional mesh over all devices, the batch split over it, everything
else replicated.

One program over the global batch under `jax.jit`; the compiler adds the collectives. So negatives,
batch statistics and gradients are those of the whole batch on any number of devices."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

AXIS = "data"
CPU_IMAGES_PER_DEVICE = (
    16  # below it a CPU device's share of the batch is too small to be worth the collectives
)


def start(devices: int = 0, batch_size: int | None = None) -> Mesh:
    """The mesh of this process's run; must be the first use of JAX's devices.

    `devices` 0 takes all accelerators, or on CPU one device per core as far as a given batch
    divides. Raises ValueError when the batch cannot be split, or when a GPU is there that JAX does
    not see."""
    if devices < 0:
        raise ValueError(f"config.devices is {devices}. Use 0 for all devices, or their number.")
    cpu_devices = devices or _cpu_devices(batch_size)
    if not jax.distributed.is_initialized() and jax.config.values["jax_num_cpu_devices"] <= 1:
        jax.config.update("jax_num_cpu_devices", cpu_devices)
    found = jax.devices()
    _expect_gpu()
    if devices > len(found):
        raise ValueError(
            f"config.devices is {devices}, but JAX has {len(found)}: {found[0].device_kind}. Use 0 "
            "for all."
        )
    count = devices or (
        cpu_devices if found[0].platform == "cpu" and jax.process_count() == 1 else len(found)
    )
    if batch_size and batch_size % count:
        lower = max(batch_size // count, 1) * count
        raise ValueError(
            f"batch_size {batch_size} cannot be split evenly over {count} devices. "
            f"Use --config.batch_size={lower} or {lower + count}, or another --config.devices."
        )
    return Mesh(np.asarray(found[:count]), (AXIS,), axis_types=(AxisType.Auto,))


def _cpu_devices(batch_size: int | None) -> int:
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if not batch_size:
        return cores
    enough = max(batch_size // CPU_IMAGES_PER_DEVICE, 1)
    return max(count for count in range(1, min(cores, enough) + 1) if batch_size % count == 0)


def _expect_gpu() -> None:
    there = any(Path(path).exists() for path in ("/dev/nvidia0", "/proc/driver/nvidia/version"))
    if there and jax.default_backend() == "cpu" and not _cpu_is_wanted():
        raise ValueError(
            "This machine has an NVIDIA GPU, but the installed JAX runs on the CPU only. "
            'Install the GPU build: pip install "jax[cuda13]" (or cuda12). To stay on the CPU: '
            "JAX_PLATFORMS=cpu"
        )


def _cpu_is_wanted() -> bool:
    return "cpu" in (jax.config.values["jax_platforms"] or "")


def replicate(tree: Any, mesh: Mesh) -> Any:
    """The pytree with every leaf copied to all devices."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def place(state: Any, mesh: Mesh) -> Any:
    """A fresh state on the mesh: what its method has split over the devices stays so, all else is
    replicated.
    """

    def put(leaf: Any) -> jax.Array:
        sharding = getattr(leaf, "sharding", None)  # a network's fresh parameters are NumPy's
        split = isinstance(sharding, NamedSharding) and AXIS in sharding.spec
        return leaf if split else replicate(leaf, mesh)

    return jax.tree.map(put, state)


def gathered(x: jax.Array) -> jax.Array:
    """The array whole on every device of the mesh that is set, if one is."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec())


def split(x: jax.Array) -> jax.Array:
    """The array split over the devices of the mesh that is set, if one is, along its first axis."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec(AXIS))


def replicated_like(tree: Any, mesh: Mesh) -> Any:
    """Shapes and dtypes of the pytree, placed on all devices: what a checkpoint is restored onto."""
    sharding = NamedSharding(mesh, PartitionSpec())
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def split_batch(
    shape: tuple[int, ...], rows: Callable[[slice], np.ndarray], mesh: Mesh
) -> jax.Array:
    """A global array of `shape` split over the mesh along its first axis; each process makes only
    its own `rows`.
    """
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    return jax.make_array_from_callback(
        shape, sharding, lambda index: rows(index[0] if index else slice(None))
    )


def own_rows(batch_size: int, mesh: Mesh) -> slice:
    """Which rows of a batch that is split over the mesh belong to this process's devices."""
    sharding = NamedSharding(mesh, PartitionSpec(AXIS))
    parts = [
        index[0]
        for index in sharding.addressable_devices_indices_map((batch_size,)).values()
        if index
    ]
    # A part of a single device has no bounds: it is everything.
    return slice(
        min(part.start or 0 for part in parts), max(part.stop or batch_size for part in parts)
    )
