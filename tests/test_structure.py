"""The house: imports point one way, files stay short, and nothing forbidden comes in."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

# From the top down; a room may import the rooms below it, except those it must not know.
ROOMS = [
    "commands",
    "studies",
    "configs",
    "methods",
    "evaluation",
    "training",
    "data",
    "models",
    "metrics",
]
MUST_NOT_KNOW = {
    "configs": {"methods", "evaluation", "training", "data", "models", "metrics"},
    "methods": {"evaluation"},
    "training": {"metrics"},
    "data": {"models", "metrics"},
    "models": {"metrics"},
}
SOURCES = [
    path
    for folder in ("sslx", "metrics", "configs", "theory")
    for path in Path(folder).rglob("*.py")
]
SOURCES += [Path("train.py"), Path("eval.py"), Path("reproduce.py")]
EVERYTHING = [*SOURCES, *Path("tests").rglob("*.py"), *Path("benchmarks").rglob("*.py")]


def room(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] == "sslx":
        return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "commands"
    return (
        parts[0]
        if parts[0] in ROOMS
        else "commands"
        if parts[0] in ("train", "eval", "reproduce", "theory")
        else None
    )


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_downwards(path):
    own = room(".".join(path.with_suffix("").parts))
    for module in imported(path):
        other = room(module)
        if other and other != own:
            assert ROOMS.index(other) > ROOMS.index(own), (
                f"{path} ({own}) imports {module} ({other})"
            )
            assert other not in MUST_NOT_KNOW.get(own, ()), f"{path}: {own} must not know {other}"


@pytest.mark.parametrize("path", sorted(Path("sslx/methods").glob("*.py")), ids=str)
def test_methods_do_not_know_each_other(path):
    assert not [name for name in imported(path) if name.startswith("sslx.methods")]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_flax_stays_in_its_room_and_forbidden_modules_stay_out(path):
    for module in imported(path):
        top = module.split(".")[0]
        assert top not in ("pickle", "cloudpickle", "tensorflow", "torch"), (
            f"{path} imports {module}"
        )
        if top == "flax":
            assert path.parts[:2] == ("sslx", "models"), f"{path} imports {module}"


@pytest.mark.parametrize("path", EVERYTHING, ids=str)
def test_files_stay_short_and_no_room_is_called_utils(path):
    assert len(path.read_text().splitlines()) <= 300
    assert "util" not in path.stem
    assert "allow_pickle=" + "True" not in path.read_text()


@pytest.mark.parametrize("name", ["train.py", "eval.py", "reproduce.py"])
def test_a_command_is_one_page_and_names_no_method(name):
    text = Path(name).read_text()
    assert len(text.splitlines()) <= 150
    code = ast.unparse(ast.Module(ast.parse(text).body[1:], []))  # without the docstring's examples
    for method in Path("sslx/methods").glob("*.py"):
        assert f"sslx.methods.{method.stem}" not in code


def test_training_needs_neither_tensorflow_nor_scikit_learn():
    slow = {"tensorflow", "sklearn", "matplotlib", "tensorflow_datasets"}
    program = f"import train, sys; assert not {slow} & set(sys.modules), {slow} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
