"""What the commands share: flags with readable errors, and one line instead of a traceback for a
user's mistake.
"""

import difflib
import gc
import os
import re
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import jax
from absl import app, flags, logging
from ml_collections import ConfigDict, config_flags

from sslx.training.interrupt import DIVERGED, INTERRUPTED

flags.DEFINE_bool("debug", False, "Show the whole traceback of an error.")


def run(main: Callable[[], int | None]) -> None:
    """Parse the flags, run `main`, and exit: 0 done, 2 a mistake that is explained, 3 diverged, 130
    interrupted.
    """
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def read_config(flag: Any, example: str) -> tuple[ConfigDict, Path]:
    """The value of a config flag and the recipe's path; raises ValueError when the flag is missing."""
    if flag.value is None:
        raise ValueError(
            f"--config is missing: say which recipe to run, for example --config={example}"
        )
    return flag.value, Path(config_flags.get_config_filename(flags.FLAGS[flag.name]))


def cache_compilations() -> None:
    """Keep compiled programs in a folder of the user's, so that the next start is quick; off with
    SSLX_CACHE=off.
    """
    folder = os.environ.get("SSLX_CACHE") or "~/.cache/sslx/compiled"
    if folder != "off":
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _guarded(main: Callable[[], int | None]) -> None:
    if parent := os.environ.get("SSLX_PARENT"):
        threading.Thread(target=_follow, args=(int(parent),), daemon=True).start()
    gc.set_threshold(
        50_000
    )  # tracing a step makes a million small objects, and nearly all of them stay
    if "--debug" not in sys.argv:
        # Orbax logs every file, and a failed save at length, in its own threads; `Checkpoints` says
        # it in one line.
        logging.set_verbosity(logging.FATAL)
        threading.excepthook = lambda _: None
        sys.unraisablehook = lambda _: None
        warnings.showwarning = lambda message, *_: print(f"warning: {message}", flush=True)
    try:
        sys.exit(main() or 0)
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except FloatingPointError as error:
        _fail(error, DIVERGED)
    except (ValueError, OSError) as error:
        _fail(error)


def _follow(parent: int) -> None:
    """End with the process that started this one, however that ends: a run must never have two
    writers.
    """
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(INTERRUPTED)


def _parse(argv: list[str]) -> list[str]:
    try:
        _expect_recipe(argv)
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _fail(error)
    if len(rest) > 1:
        _fail(
            ValueError(f"{rest[1]!r} is not understood: every option starts with --, see --help.")
        )
    return rest


def _expect_recipe(argv: list[str]) -> None:
    """Raise ValueError when the file of --config does not exist, naming the recipes that do."""
    given = next((word.split("=", 1)[1] for word in argv if word.startswith("--config=")), None)
    if given and not Path(given.split(":")[0]).is_file():
        known = sorted(
            str(path) for path in Path("configs").glob("*/*.py") if path.parent.name != "studies"
        )
        close = difflib.get_close_matches(given, known, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise ValueError(f"There is no recipe {given}.{hint} Recipes: {', '.join(known)}")


def _fail(error: Exception, code: int = 2) -> NoReturn:
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    print(f"error: {_message(error)}", file=sys.stderr)
    sys.exit(code)


def _message(error: Exception) -> str:
    """One line.

    What ml_collections says of a field is put into words for somebody who has not read its code.
    """
    head, _, trace = str(error).partition("Traceback (most recent call last):")
    text = " ".join(
        (head + trace.strip().split("\n")[-1]).split()
    )  # a recipe that fails brings its own traceback
    if isinstance(error, KeyError | AttributeError) and (field := re.search(r"\w+", text)):
        nearest = re.search(r'Did you mean "(\w+)"', text)
        return f"The config has no field {field[0]!r}." + (
            f" Did you mean {nearest[1]!r}?" if nearest else ""
        )
    if number := re.match(
        r"flag --(\S+?)=(.*): (?:invalid literal for int|could not convert string to float)", text
    ):
        return f"--{number[1]} takes a number, not {number[2]!r}."
    return text or type(error).__name__
