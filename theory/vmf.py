"""A world of known latents: von Mises-Fisher clusters on a sphere, seen through a network.

A class c is a unit vector v_c, instance i belongs to class C(i) = i mod |C|, and a view of instance
i is x = g(z) with

    z ~ vMF(v_C(i), kappa),     p(z) ~ exp(kappa <v_C(i), z>)

What varies within a class is what augmentation varies. The simulation of Reizinger et al., arXiv
2410.21869, as their code klindtlab/csi has it.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from ml_collections import ConfigDict

Array = jax.Array


class World(NamedTuple):
    """What generates the data."""

    classes: Array  # vectors [C, d] of length 1
    layers: Array  # of the generator [4, d, d]


def unit_rows(rows: Array) -> Array:
    """Scale rows [n, d] to length 1."""
    return rows / jnp.linalg.norm(rows, axis=1, keepdims=True)


def sample_vmf(key: Array, directions: Array, kappa: float) -> Array:
    """Draw exactly from vMF(v, kappa), once for each unit row v of directions [n, d] (Wood 1994).

    Wood proposes the cosine with v by a fractional-linear map of a Beta variable, and joins it to a
    uniform tangent. Together these two are one map of a uniform u on the sphere: the Moebius map
    that moves it towards v.
    """
    m = directions.shape[1] - 1
    b = m / (2 * kappa + math.sqrt(4 * kappa**2 + m**2))  # his b, written without cancellation
    pole = (1 - b) / (1 + b)

    def propose(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        key, latents, missing = carry
        key, point_key, accept_key = random.split(key, 3)
        u = unit_rows(random.normal(point_key, directions.shape))
        cosine = jnp.sum(u * directions, axis=1, keepdims=True)
        stretch = 1 + pole * cosine
        moved_cosine = (cosine + pole) / stretch
        tangent = u - cosine * directions
        moved = moved_cosine * directions + math.sqrt(1 - pole**2) / stretch * tangent
        log_ratio = kappa * (moved_cosine - pole) - m * jnp.log(stretch)
        accepted = jnp.log(random.uniform(accept_key, cosine.shape)) <= log_ratio
        return key, jnp.where(missing & accepted, moved, latents), missing & ~accepted

    everyone = jnp.ones((len(directions), 1), bool)
    return jax.lax.while_loop(lambda carry: carry[2].any(), propose, (key, directions, everyone))[1]


def draw(key: Array, config: ConfigDict, world: World, count: int) -> tuple[Array, Array]:
    """Draw uniform instances [count], and a latent of each [count, d]."""
    index_key, latent_key = random.split(key)
    index = random.randint(index_key, (count,), 0, config.instances)
    directions = world.classes[index % config.classes]
    if config.conditional == "vmf":
        return index, sample_vmf(latent_key, directions, config.kappa)
    noise = {"laplace": random.laplace, "normal": random.normal}[config.conditional]
    return index, unit_rows(directions + config.kappa / 10 * noise(latent_key, directions.shape))


def make_world(config: ConfigDict) -> World:
    """Draw classes uniform on the sphere, and a generator whose layers are nearly orthogonal.

    Layers have unit columns, uniform before, and are drawn until the condition number is at most
    the smallest of 25,000 other draws.
    """
    rng = np.random.default_rng(config.seed)

    def candidates() -> tuple[np.ndarray, np.ndarray]:
        matrices = rng.uniform(-1, 1, (25_000, config.dim, config.dim))
        matrices /= np.linalg.norm(matrices, axis=1, keepdims=True)
        return matrices, np.linalg.cond(matrices)

    threshold = candidates()[1].min()
    layers: list[np.ndarray] = []
    while len(layers) < 4:
        matrices, conditions = candidates()
        layers.extend(matrices[conditions <= threshold])
    classes = unit_rows(jnp.asarray(rng.standard_normal((config.classes, config.dim)), jnp.float32))
    return World(classes, jnp.asarray(np.stack(layers[:4]), jnp.float32))


def generate(layers: Array, latents: Array) -> Array:
    """Return images g(z) [n, d] of latents [n, d]: leaky ReLU between the layers [4, d, d]."""
    for layer in layers[:-1]:
        latents = jax.nn.leaky_relu(latents @ layer.T, 0.2)
    return latents @ layers[-1].T
