"""What the commands share: flags with readable errors, one line for a user's mistake."""

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

from sslx import __version__
from sslx.hints import did_you_mean
from sslx.training.interrupt import DIVERGED, INTERRUPTED

flags.DEFINE_bool("debug", False, "Show the whole traceback of an error.")
flags.DEFINE_bool("version", False, "Print the version and exit.")


def run(main: Callable[[], int | None]) -> None:
    """Parse the flags, run `main`, and exit.

    The exit code is 0 when done, 2 for a mistake that is explained, 3 for a run that diverged, 130
    for an interrupt.
    """
    app.run(lambda _: _guarded(main), flags_parser=_parse)


def read_config(flag: Any, example: str) -> tuple[ConfigDict, str]:
    """Return a config flag's value, and a name for a run with it, such as digits-diet.

    Raises ValueError when the flag is missing.
    """
    if flag.value is None:
        raise ValueError(f"--config is missing: say which recipe, for example --config={example}")
    given = config_flags.get_config_filename(flags.FLAGS[flag.name])
    path, _, recipe = given.partition(":")
    words = re.sub(r"[^\w.=+-]+", "-", recipe).strip("-")
    return flag.value, "-".join(filter(None, [Path(path).stem, words]))


def cache_compilations() -> None:
    """Keep compiled programs for the next start, in SSLX_CACHE or ~/.cache/sslx; SSLX_CACHE=off."""
    folder = os.environ.get("SSLX_CACHE") or "~/.cache/sslx/compiled"
    if folder != "off":
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser()))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _guarded(main: Callable[[], int | None]) -> None:
    if parent := os.environ.get("SSLX_PARENT"):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    gc.set_threshold(50_000)  # tracing a step makes a million small objects, and nearly all stay
    if "--debug" not in sys.argv:
        # Orbax logs every file, and a failed save at length, in its own threads; `Checkpoints`
        # reports it in one line.
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


def _end_with(parent: int) -> None:
    """End with the process that started this one: a run must never have two writers."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(INTERRUPTED)


def _parse(argv: list[str]) -> list[str]:
    if "--version" in argv:
        print(f"sslx {__version__}")
        sys.exit(0)
    try:
        _check_recipe(argv)
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _fail(error)
    if len(rest) > 1:
        _fail(
            ValueError(f"{rest[1]!r} is not understood: every option starts with --, see --help.")
        )
    return rest


def _check_recipe(argv: list[str]) -> None:
    """Raise ValueError when the file of --config does not exist, naming those that do."""
    recipes = [word.split("=", 1)[1] for word in argv if word.startswith("--config=")]
    for path in [recipe.split(":")[0] for recipe in recipes]:
        if not Path(path).is_file():
            texts = {file: file.read_text() for file in sorted(Path("configs").glob("*.py"))}
            known = [str(file) for file, text in texts.items() if "def get_config(recipe" in text]
            raise ValueError(
                f"There is no file {path}.{did_you_mean(path, known)} "
                f"Recipes are in: {', '.join(known)}; write a file's name to see what it has."
            )


def _fail(error: Exception, code: int = 2) -> NoReturn:
    if "--debug" in sys.argv:
        traceback.print_exception(error)
    print(f"error: {_message(error)}", file=sys.stderr)
    sys.exit(code)


def _message(error: Exception) -> str:
    """Return one line, in which what ml_collections says of a field is put into plain words."""
    # A recipe that fails brings its own traceback, whose last line is the error.
    head, _, trace = str(error).partition("Traceback (most recent call last):")
    text = " ".join((head + trace.strip().split("\n")[-1]).split())
    text = re.sub(r".*Error whilst parsing config file: (\w+: )?", "", text)
    if isinstance(error, KeyError | AttributeError) and (field := re.search(r"\w+", text)):
        nearest = re.search(r'Did you mean "(\w+)"', text)
        hint = f" Did you mean {nearest[1]!r}?" if nearest else ""
        return f"The config has no field {field[0]!r}.{hint}"
    no_number = r"flag --(\S+?)=(.*): (?:invalid literal for int|could not convert string to float)"
    if number := re.match(no_number, text):
        return f"--{number[1]} takes a number, not {number[2]!r}."
    return text or type(error).__name__
