"""What the commands share: flags with readable errors, and one line instead of a traceback for a user's mistake."""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

DEBUG = flags.DEFINE_bool("debug", False, "Show the whole traceback of an error.")


def run(main: Callable[[], int | None]) -> None:
    """Parse the flags, run `main`, and exit: 0 done, 2 a mistake that the message explains, 130 interrupted."""
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def read_config(flag: Any, example: str) -> tuple[ConfigDict, Path]:
    """The value of a config flag and the recipe's path; raises ValueError when the flag is missing."""
    if flag.value is None:
        raise ValueError(f"--config is missing: say which recipe to run, for example --config={example}")
    return flag.value, Path(config_flags.get_config_filename(flags.FLAGS[flag.name]))


def cache_compilations() -> None:
    """Keep compiled programs in a folder of the user's, so that the next start is quick; off with SSLX_CACHE=off."""
    folder = os.environ.get("SSLX_CACHE") or "~/.cache/sslx/compiled"
    if folder != "off":
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _guarded(main: Callable[[], int | None]) -> None:
    logging.set_verbosity(logging.ERROR)  # Orbax reports every file it writes
    try:
        sys.exit(main() or 0)
    except KeyboardInterrupt:
        sys.exit("interrupted; run the same command again to go on from the last checkpoint")
    except (ValueError, OSError) as error:
        _fail(error)


def _parse(argv: list[str]) -> list[str]:
    try:
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _fail(error)
    if len(rest) > 1:
        _fail(ValueError(f"{rest[1]!r} is not understood: every option starts with --, see --help."))
    return rest


def _fail(error: Exception) -> NoReturn:
    if DEBUG.present and DEBUG.value or "--debug" in sys.argv:
        traceback.print_exception(error)
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
