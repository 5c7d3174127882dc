"""Eight virtual CPU devices for every test, and compiled programs shared among the tests."""

import os
import tempfile

# Threads of BLAS spin against each other where several workers share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax  # noqa: E402
import pytest  # noqa: E402

from tests.commands import train  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
if "SSLX_TEST_CACHE" not in os.environ:  # pytest's workers inherit the folder of their parent
    _compiled = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ["SSLX_TEST_CACHE"] = _compiled.name
jax.config.update("jax_compilation_cache_dir", os.environ["SSLX_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

# With `--dist loadfile` a file's tests share a worker, its fixtures and what it has compiled. (Not
# `loadgroup`: since pytest 9.2 pytest-xdist 3.8 does not see the groups any more.) The files that
# take longest come first, so that no worker is left alone with one at the end.
LONGEST = ("test_harness.py", "test_commands.py", "test_devices.py", "test_reproduce.py")


def pytest_collection_modifyitems(items):
    """Put the longest files first."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="module")
def quick_compilation():
    """Spare LLVM's optimisations, which take most of these tests' time and are not looked at."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """A folder for data and compiled programs of commands."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def finished(cache, tmp_path_factory):
    """A finished run's folder, and what its command printed."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return folder, train(cache, folder, "--config.log.every=5 steps", fresh=True)
