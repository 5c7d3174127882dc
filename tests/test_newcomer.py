"""The README's example of a new method, written to a user's folder, trained and evaluated."""

import re
from pathlib import Path

from tests.commands import LIGHT, SHORT, run

BLOCK = re.compile(r"^`(mine/\w+\.py)`:?\n+```python\n(.*?)```", re.MULTILINE | re.DOTALL)


def test_the_readmes_new_method_trains_and_is_evaluated(tmp_path, monkeypatch):
    files = dict(BLOCK.findall(Path("README.md").read_text()))
    assert set(files) == {"mine/align_uniform.py", "mine/recipe.py"}
    lines = [
        line
        for line in files["mine/align_uniform.py"].splitlines()
        if line and " import " not in line
    ]
    assert len(lines) <= 20
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    folder = f"--run={tmp_path}/run"
    output = run(
        tmp_path, "train.py", f"--config={tmp_path}/mine/recipe.py", folder, *SHORT, *LIGHT
    )
    assert "done: 20 steps" in output
    assert "embedding's" in output
    assert "uniformity" in (tmp_path / "run" / "metrics.jsonl").read_text()
    output = run(
        tmp_path, "eval.py", folder, "--checkpoint=last", "--metrics=rankme", "--probe=knn"
    )
    assert "RankMe" in output
