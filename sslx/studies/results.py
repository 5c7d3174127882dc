"""A study's folder in `results/`: tables, figures, records, and what made them; no weights."""

import importlib.util
from pathlib import Path

from sslx.evaluation.tables import Table, markdown
from sslx.files import write_atomically
from sslx.studies.evidence import Evidence, write_evidence
from sslx.studies.study import Plan
from sslx.studies.table_files import write_tables
from sslx.studies.tables import make_tables

# Functions of figures.py, which is imported only where a figure is drawn.
FIGURES = ("metric_against_probe", "over_training", "spectra", "regret", "accuracy_over_epochs")


def write_results(plan: Plan, evidence: Evidence, folder: Path, note: str = "") -> list[Path]:
    """Write tables, figures, records and a README.md with all of them; return the paths."""
    tables = make_tables(plan.study, evidence)
    paths = write_tables(tables, folder)
    notes = [note] if note else []
    if importlib.util.find_spec("matplotlib") is None:
        notes.append("Figures are left out: they need matplotlib (pip install matplotlib).")
    elif evidence.records:
        from sslx.studies import figures  # matplotlib is optional, and slow to import

        for name in plan.study.figures:
            figure = getattr(figures, name)(plan.study, evidence)
            paths += figures.save(figure, folder, name)
    write_evidence(evidence, folder)
    pictures = [path for path in paths if path.suffix == ".png"]
    write_atomically(folder / "README.md", readme(plan, evidence, tables, notes, pictures))
    return [*paths, folder / "records.jsonl", folder / "runs.json", folder / "README.md"]


def readme(
    plan: Plan, evidence: Evidence, tables: list[Table], notes: list[str], pictures: list[Path]
) -> str:
    """Return the text of README.md: the command, its cost and machine, notes, tables, pictures."""
    scale = "" if plan.scale == "desk" else f":{plan.scale}"
    facts = evidence.facts.values()
    states = [fact.status for fact in facts]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    hours = sum(sum(fact.seconds.values()) for fact in facts) / 3600
    machines = "; ".join(sorted({fact.environment for fact in facts if fact.environment}))
    command = f"`python reproduce.py --study={plan.path}{scale}`"
    parts = [
        f"# {plan.name}\n",
        f"{command}: {len(states)} runs, {counts}. {hours:.1f} hours of single runs, "
        f"evaluation included. Machine: {machines or 'none'}.\n",
        *(f"{note}\n" for note in notes),
        *map(markdown, tables),
        *(f"![{path.stem.replace('_', ' ')}]({path.name})\n" for path in pictures),
    ]
    return "\n".join(parts)
