"""Speed, accuracy and memory of `metrics/` against the definitions and public implementations.

    python -m benchmarks.metrics lidar --sizes 1000,50,512 1000,50,2048 5000,10,2048
    python -m benchmarks.metrics lidar --sizes 1000,10,8192 --rounds=1
    python -m benchmarks.metrics rankme --size=25600,2048
    python -m benchmarks.metrics products
    python -m benchmarks.metrics streaming --size=10000,10,8192
    python -m benchmarks.metrics picture --write=docs/noise.png

Each round runs all programs on the same float32 array in a new random order. Printed: the median
seconds, the median of the per-round ratios to ours (above 1: ours is faster), and the relative
error against float64 by the definition. stable-pretraining's callback, reptrix and PyTorch's
singular values take part where they are installed.
"""

import argparse
import random
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import blas

from metrics import LidarState, lidar, rankme
from metrics.lda import lda_spectrum

jax.config.update("jax_platforms", "cpu")
warnings.filterwarnings("ignore", message="lidar:")

Program = Callable[[], float]


def seconds(program: Program) -> tuple[float, float]:
    """How long the program takes, and its value."""
    time.sleep(0.5)  # the threads of the program before may still spin
    start = time.perf_counter()
    value = float(program())
    return time.perf_counter() - start, value


def compare(title: str, programs: dict[str, Program], rounds: int, reference: str) -> None:
    """Time the programs side by side; the first is ours, `reference` gives the exact value."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    values: dict[str, float] = {}
    for _ in range(rounds):
        for name in random.sample(list(programs), len(programs)):
            taken, values[name] = seconds(programs[name])
            times[name].append(taken)
    ours, exact = next(iter(times.values())), values[reference]
    print(f"\n{title}\n{'':42}{'seconds':>9}{'/ ours':>8}{'value':>14}{'rel. error':>12}")
    for name, taken in times.items():
        ratio = statistics.median(a / b for a, b in zip(taken, ours, strict=True))
        error = abs(values[name] / exact - 1)
        print(
            f"{name:42}{statistics.median(taken):9.2f}{ratio:8.2f}{values[name]:14.6f}{error:12.1e}",
            flush=True,
        )


def views(n: int, q: int, d: int) -> np.ndarray:
    """Anisotropic signal and noise [n, q, d] in float32."""
    rng, k = np.random.default_rng(0), np.arange(1, d + 1, dtype=np.float32)
    signal = rng.standard_normal((n, 1, d), np.float32) * k**-0.5
    noise = rng.standard_normal((n, q, d), np.float32)
    noise *= 0.5 * k**-0.25
    noise += signal
    return noise


def scatters(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S_b and S_w with its ridge, word by word, in the array's precision."""
    n, q, d = array.shape
    means = array.mean(axis=1)
    residuals = (array - means[:, None]).reshape(-1, d)
    centred = means - means.mean(axis=0)
    ridge = 1e-4 * np.eye(d, dtype=array.dtype)
    return centred.T @ centred / (n - 1), residuals.T @ residuals / (n * (q - 1)) + ridge


def two_eigh(between: np.ndarray, within: np.ndarray) -> float:
    """The definition: an inverse matrix square root, then all eigenvalues."""
    values, vectors = np.linalg.eigh(within)
    root = vectors * values**-0.5 @ vectors.T
    eigenvalues = np.linalg.eigvalsh(root @ between @ root).clip(0)
    p = eigenvalues / eigenvalues.sum() + 1e-7
    return float(np.exp(-p @ np.log(p)))


def stable_pretraining(array: np.ndarray) -> Program | None:
    """Its LiDAR callback's computation on grouped rows, without the queue, in their precision."""
    try:
        import torch
        from stable_pretraining.callbacks.lidar import LiDAR
    except ImportError:
        return None
    n, q, d = array.shape
    callback = LiDAR.__new__(LiDAR)
    callback.name, callback.n_classes, callback.samples_per_class = "lidar", n, q
    callback.delta, callback.epsilon = 1e-4, 1e-8
    rows = torch.from_numpy(array.reshape(-1, d))
    return lambda: callback._compute_lidar(rows)["lidar"]


def reptrix(array: np.ndarray) -> Program | None:
    """Its function, which forms an [n, d, d] array, so for small d only."""
    try:
        import torch
        from reptrix.lidar import get_lidar
    except ImportError:
        return None
    n, q, d = array.shape
    tensor = torch.from_numpy(array)
    return (lambda: get_lidar(tensor, n, q)) if d <= 512 else None


def compare_lidar(n: int, q: int, d: int, rounds: int) -> None:
    """Whole calls, then the eigenproblem alone on the same scatter matrices."""
    array = views(n, q, d)
    programs: dict[str, Program] = {
        "ours": lambda: lidar(array),
        "two eigh, NumPy, float64": lambda: two_eigh(*scatters(array.astype(np.float64))),
        "two eigh, NumPy, float32": lambda: two_eigh(*scatters(array)),
    }
    callback = stable_pretraining(array)
    if callback:
        programs["stable-pretraining callback, float32"] = callback
    if other := reptrix(array):
        programs["reptrix, float32"] = other
    exact = "two eigh, NumPy, float64"
    compare(f"LiDAR at n={n}, q={q}, d={d}", programs, rounds, exact)
    if callback and (in_float64 := stable_pretraining(array.astype(np.float64))):
        # Its formula differs (eps 1e-8, renormalised): its own float64 value shows its rounding.
        error = abs(callback() / in_float64() - 1)
        print(f"the callback's float32 against its own float64: {error:.1e}")

    state = LidarState()
    state.add(array)
    between, within = scatters(array.astype(np.float64))
    ridge = n * (q - 1) * 1e-4

    def ours() -> float:
        values = lda_spectrum(state.between, state.within, ridge=ridge).eigenvalues.clip(0)
        p = np.append(values, np.zeros(d - len(values))) / values.sum() + 1e-7
        return float(np.exp(-p @ np.log(p)))

    programs = {"ours": ours, exact: lambda: two_eigh(between, within)}
    compare("its eigenproblem alone", programs, rounds, exact)


def compare_rankme(n: int, d: int, rounds: int) -> None:
    """RankMe of geometrically decaying spectra against full decompositions."""

    def entropy_rank(values: np.ndarray) -> float:
        p = values / values.sum() + 1e-7
        return float(np.exp(-p @ np.log(p)))

    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.standard_normal((n, d)))[0]
    right = np.linalg.qr(rng.standard_normal((d, d)))[0]
    exact = "svdvals, NumPy, float64"
    for condition in (1e3, 1e6, 1e8):
        array = (left * condition ** (-np.arange(d) / (d - 1))) @ right.T
        programs: dict[str, Program] = {
            "ours": lambda array=array: rankme(array),
            "ours, rtol=1e-7": lambda array=array: rankme(array, rtol=1e-7),
            exact: lambda array=array: entropy_rank(np.linalg.svd(array, compute_uv=False)),
            "Gram + eigvalsh, NumPy, float32": lambda array=array: _gram32(
                array.astype(np.float32), entropy_rank
            ),
        }
        try:
            import torch

            rows = torch.from_numpy(array)
            programs["svdvals, PyTorch, float64"] = lambda rows=rows: entropy_rank(
                torch.linalg.svdvals(rows).numpy()
            )
        except ImportError:
            pass
        compare(f"RankMe at {n} x {d}, condition {condition:.0e}", programs, rounds, exact)


def _gram32(array: np.ndarray, rank: Callable[[np.ndarray], float]) -> float:
    return rank(np.sqrt(np.linalg.eigvalsh(array.T @ array).clip(0).astype(np.float64)))


def compare_products(n: int, d: int, rounds: int) -> None:
    """Where the time of a scatter matrix goes: ways to multiply float32 rows [n, d]."""
    array = np.random.default_rng(0).standard_normal((n, d), np.float32)
    wide = array.astype(np.float64)
    with jax.enable_x64(True):
        on_device, product = jnp.asarray(wide), jax.jit(lambda x: x.T @ x)
        product(on_device[:8])

        def xla() -> float:
            with jax.enable_x64(True):
                return float(jnp.trace(product(on_device)))

        def blocks32() -> float:
            total = np.zeros((d, d))
            for start in range(0, n, 512):
                block = array[start : start + 512]
                total += block.T @ block
            return float(np.trace(total))

        ours = "BLAS dsyrk, float64 (ours)"
        programs: dict[str, Program] = {
            ours: lambda: np.trace(blas.dsyrk(1.0, wide.T, lower=1)),
            "XLA dot, float64": xla,
            "BLAS dgemm, float64": lambda: np.trace(blas.dgemm(1.0, wide.T, wide.T, trans_b=1)),
            "float32 products of 512 rows, summed in 64": blocks32,
            "BLAS ssyrk, float32": lambda: np.trace(
                blas.ssyrk(1.0, array.T, lower=1), dtype=np.float64
            ),
        }
        compare(f"rows^T rows of {n} x {d} (value: the trace)", programs, rounds, ours)


def stream(n: int, q: int, d: int, batch: int) -> None:
    """Peak memory of a streamed LiDAR, in d x d float64 matrices beyond what was held before."""
    rng = np.random.default_rng(0)
    warm = LidarState()  # loads the libraries and their threads' buffers
    noise = rng.standard_normal((600, 4, 64), np.float32)
    warm.add(noise + rng.standard_normal((600, 1, 64), np.float32))
    lidar(warm)
    array = np.ones((batch, q, d), np.float32)
    before = peak_memory()
    start = time.perf_counter()
    state = LidarState()
    for _ in range(0, n, batch):
        rng.standard_normal(dtype=np.float32, out=array)
        array += 2 * array[:, :1]
        state.add(array)
    added = time.perf_counter() - start
    value = lidar(state)
    solved = time.perf_counter() - start - added
    matrix = 8 * d * d
    peak = peak_memory() - before
    print(
        f"streamed LiDAR at n={n}, q={q}, d={d}: {value:.2f}; "
        f"{added:.0f} s to add, {solved:.0f} s to solve"
    )
    print(f"peak: {peak / matrix:.2f} d x d float64 matrices ({peak / 2**30:.2f} GiB)")
    print(f"a batch of {batch} images: {array.nbytes / matrix:.2f} such matrices")
    print(f"all rows in float32: {4 * n * q * d / 2**30:.1f} GiB")


def peak_memory() -> int:
    """Bytes: the most that this process has had resident until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def draw(path: Path) -> None:
    """Draw what noise dimensions do to RankMe and LiDAR (Proposition 1 of the LiDAR paper)."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    added = (0, 8, 16, 32, 64, 128, 256, 512)
    lines: dict[str, list[float]] = {
        "RankMe": [],
        "LiDAR, q = 2": [],
        "LiDAR, q = 10": [],
        "debiased LiDAR, q = 10": [],
    }
    for extra in added:
        rng = np.random.default_rng(0)
        signal = rng.standard_normal((1000, 1, 16))
        views_of_signal = signal + 0.1 * rng.standard_normal((1000, 10, 16))
        noise = rng.standard_normal((1000, 10, extra))
        array = np.concatenate([views_of_signal, noise], axis=2)
        lines["RankMe"].append(rankme(array[:, 0]))
        lines["LiDAR, q = 2"].append(lidar(array[:, :2]))
        lines["LiDAR, q = 10"].append(lidar(array))
        lines["debiased LiDAR, q = 10"].append(lidar(array, debias=True, delta=0, eps=0))
    figure, axes = plt.subplots(figsize=(6.4, 4), layout="constrained")
    for (name, values), style in zip(lines.items(), ("C3o-", "C9s--", "C0s-", "C2^-"), strict=True):
        axes.plot(np.maximum(added, 4), values, style, label=name)
        print(f"{name:24}", *(f"{value:8.2f}" for value in values))
    axes.axhline(16, color="0.5", linestyle=":", label="16 signal dimensions")
    axes.set(xscale="log", xlabel="noise dimensions beside the signal")
    axes.set(yscale="log", ylabel="effective rank")
    axes.set_xticks([max(extra, 4) for extra in added], [str(extra) for extra in added])
    axes.set_yticks([10, 20, 50, 100, 200, 500], ["10", "20", "50", "100", "200", "500"])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"written: {path}")


def main() -> None:
    """Run one comparison."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("lidar", "rankme", "products", "streaming", "picture"))
    sizes = ["1000,50,512", "1000,50,2048", "5000,10,2048"]
    parser.add_argument("--sizes", nargs="+", default=sizes, help="n,q,d of lidar")
    parser.add_argument("--size", help="n,d of rankme and products, n,q,d of streaming")
    parser.add_argument("--batch", type=int, default=100, help="images in a batch of streaming")
    parser.add_argument("--rounds", type=int, default=3)
    picture = Path("docs/noise.png")
    parser.add_argument("--write", type=Path, default=picture, help="where the picture goes")
    args = parser.parse_args()
    size = tuple(int(number) for number in args.size.split(",")) if args.size else None
    if args.what == "lidar":
        for text in args.sizes:
            compare_lidar(*(int(number) for number in text.split(",")), args.rounds)
    elif args.what == "rankme":
        compare_rankme(*(size or (25600, 2048)), args.rounds)
    elif args.what == "products":
        compare_products(*(size or (50000, 2048)), args.rounds)
    elif args.what == "streaming":
        stream(*(size or (10000, 10, 8192)), args.batch)
    else:
        draw(args.write)


if __name__ == "__main__":
    main()
