"""The layout: imports point one way, files stay short, and what can be left out can be left out."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# What each room may import. A room is a folder or a file of sslx, or a package beside it.
SHARED = {"files", "hints"}
CORE = {
    "metrics": set(),
    "files": set(),
    "hints": set(),
    "models": SHARED,
    "views": SHARED,
    "data": SHARED,
    "method": {"views"},
    "training": {"method", "views", "data"} | SHARED,
    "methods": {"models", "views", "method", "training", "data"} | SHARED,
    "experiment": {"methods", "models", "views", "method", "training", "data"} | SHARED,
    "evaluation": {"experiment", "models", "views", "method", "training", "data", "metrics"}
    | SHARED,
}
ANNEXES = {
    "datasets": {"data"} | SHARED,
    "studies": {"evaluation", "experiment", "training", "data", "datasets", "metrics"} | SHARED,
}
EVERYTHING = set(CORE) | set(ANNEXES)
ROOMS = {
    **CORE,
    **ANNEXES,
    "command": {"training"} | SHARED,
    "configs": {"experiment", "models", "views", "method", "training", "studies", "evaluation"}
    | SHARED,
    "theory": {"command", "methods"},
    "commands": EVERYTHING | {"command"},
}
PACKAGES = ("sslx", "metrics", "configs", "theory")
SOURCES = [path for package in PACKAGES for path in Path(package).rglob("*.py")]
SOURCES += [Path("train.py"), Path("eval.py"), Path("reproduce.py")]
ALL_FILES = [*SOURCES, *Path("tests").rglob("*.py"), *Path("benchmarks").rglob("*.py")]


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in SOURCES}


def room(module: str) -> str:
    parts = module.split(".")
    if parts[0] == "sslx":
        return parts[1] if len(parts) > 1 else ""
    return parts[0] if parts[0] in ROOMS else "commands"


def imported(path: Path) -> set[str]:
    """Names that a file imports, wherever the import stands."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{name.name}" for name in node.names}
    return names


def own_modules(path: Path) -> set[str]:
    """Modules of this project that a file imports."""
    modules = set()
    for name in imported(path):
        modules.add(name if name in MODULES else name.rpartition(".")[0])
    return (modules & MODULES.keys()) - {module_of(path), "sslx"}


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_imports_point_downwards(path):
    own = room(module_of(path))
    for module in own_modules(path):
        other = room(module)
        if other != own:
            assert other in ROOMS[own], f"{path} ({own}) imports {module} ({other})"


def test_no_imports_run_in_a_circle():
    graph = {module: own_modules(path) for module, path in MODULES.items()}
    left = dict(graph)
    while free := [module for module, others in left.items() if not others & left.keys()]:
        for module in free:
            del left[module]
    assert not left, f"in circles or above one: {sorted(left)}"


def test_rooms_form_no_circle_either():
    left = dict(ROOMS)
    while free := [name for name, others in left.items() if not others & left.keys()]:
        for name in free:
            del left[name]
    assert not left


def test_studies_and_datasets_can_be_deleted(tmp_path):
    leave_out = shutil.ignore_patterns("studies", "datasets", "__pycache__")
    for package in ("sslx", "metrics"):
        shutil.copytree(package, tmp_path / package, ignore=leave_out)
    modules = [name for name in MODULES if room(name) in CORE]
    program = "import importlib, sys\n" + f"[importlib.import_module(m) for m in {modules}]\n"
    program += f"assert sys.modules['sslx'].__file__.startswith({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120, cwd=tmp_path)


@pytest.mark.parametrize("path", sorted(Path("sslx/methods").glob("*.py")), ids=str)
def test_methods_do_not_know_each_other(path):
    others = {name for name in imported(path) if name.startswith("sslx.methods.")}
    assert not [name for name in others if not name.startswith("sslx.methods.instance_head.")]


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_flax_stays_in_models_and_forbidden_modules_stay_out(path):
    for module in imported(path):
        top = module.split(".")[0]
        assert top not in ("pickle", "cloudpickle", "tensorflow", "torch"), f"{path}: {module}"
        if top == "flax":
            assert path.parts[:2] == ("sslx", "models"), f"{path} imports {module}"


@pytest.mark.parametrize("path", ALL_FILES, ids=str)
def test_files_stay_short_and_none_is_called_utils(path):
    assert len(path.read_text().splitlines()) <= 400
    assert "util" not in path.stem
    assert "allow_pickle=" + "True" not in path.read_text()


@pytest.mark.parametrize("name", ["train.py", "eval.py", "reproduce.py"])
def test_a_command_is_short_and_names_no_method(name):
    text = Path(name).read_text()
    assert len(text.splitlines()) <= 160
    code = ast.unparse(ast.Module(ast.parse(text).body[1:], []))  # without the docstring's examples
    for method in Path("sslx/methods").glob("*.py"):
        assert f"sslx.methods.{method.stem}" not in code


def test_training_imports_nothing_that_it_does_not_need():
    slow = {"tensorflow", "torch", "sklearn", "matplotlib", "tensorflow_datasets", "tensorboardX"}
    program = f"import train, sys; assert not {slow} & set(sys.modules), {slow} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


METHOD = re.compile(r"^`mine/align_uniform\.py`:?\n+```python\n(.*?)```", re.MULTILINE | re.DOTALL)
RECIPE = """

def align_uniform() -> ConfigDict:
    config = _shared(base.method("align_uniform"))
    return config
"""


def test_a_new_method_is_one_file_and_one_recipe(tmp_path):
    """The README's method, put among the others, goes through the whole harness."""
    source = METHOD.search(Path("README.md").read_text())[1]
    for name in ("sslx", "metrics", "configs", "tests", "pyproject.toml", "train.py"):
        copy = shutil.copytree if Path(name).is_dir() else shutil.copy
        copy(name, tmp_path / name)
    (tmp_path / "sslx/methods/align_uniform.py").write_text(source)
    with (tmp_path / "configs/digits.py").open("a") as page:
        page.write(RECIPE)
    words = [
        "tests/methods/test_harness.py",
        "tests/methods/test_devices.py",
        "-k",
        "align_uniform",
        "-p",
        "no:cacheprovider",
    ]
    answer = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert answer.returncode == 0, answer.stdout
    assert int(re.search(r"(\d+) passed", answer.stdout)[1]) >= 4
