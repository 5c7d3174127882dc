"""Eight virtual CPU devices for every test, set before JAX starts, and compiled programs shared
among the tests.
"""

import os
import tempfile

import jax
import pytest

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
if (
    "SSLX_TEST_CACHE" not in os.environ
):  # pytest's workers inherit the folder of the process that starts them
    _compiled = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ["SSLX_TEST_CACHE"] = _compiled.name
jax.config.update("jax_compilation_cache_dir", os.environ["SSLX_TEST_CACHE"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def pytest_collection_modifyitems(items):
    """A file's tests share a worker, and so do the harness's of one method: they share what they
    have compiled.
    """
    for item in items:
        group = item.path.name
        if group == "test_harness.py" and "[" in item.name:
            group = item.name.partition("[")[2]
        item.add_marker(pytest.mark.xdist_group(group))
    items.sort(key=lambda item: item.path.name != "test_commands.py")  # the longest file first


@pytest.fixture(scope="module")
def quick_compilation():
    """Spares LLVM's optimisations, which take most of these tests' time and do not change what they
    look at.
    """
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
