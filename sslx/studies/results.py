"""A study's folder in `results/`: tables, figures, records, and what made them; no weights."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sslx.evaluation.results import Record
from sslx.evaluation.selection import candidates, choices_by_seed, swept
from sslx.evaluation.tables import Table, markdown
from sslx.files import write_atomically
from sslx.studies.evidence import Evidence, write_evidence
from sslx.studies.study import Plan, Study
from sslx.studies.table_files import write_tables
from sslx.studies.tables import make_tables

SHOWN = tuple(
    f"{metric}/{layer}"
    for layer in ("representation", "embedding")
    for metric in ("lidar", "debiased_lidar", "rankme")
)
OVER_TRAINING = ("lidar/representation", "rankme/representation")
# In the figure of regrets, which has room for no more.
REGRETS = ("lidar", "debiased_lidar", "rankme", "alpha_req")


def write_results(plan: Plan, evidence: Evidence, folder: Path, note: str = "") -> list[Path]:
    """Write tables, figures, records and a README.md with all of them; return the paths."""
    tables = make_tables(plan.study, evidence)
    paths = write_tables(tables, folder)
    notes = [note] if note else []
    if importlib.util.find_spec("matplotlib") is None:
        notes.append("Figures are left out: they need matplotlib (pip install matplotlib).")
    elif any(evidence.records.values()):
        paths += draw(plan.study, evidence, folder)
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


def draw(study: Study, evidence: Evidence, folder: Path) -> list[Path]:
    """Draw the figures that the study names, of its first evaluation, and return their paths."""
    from sslx.studies import figures  # matplotlib is optional, and slow to import

    paths = []
    for name in study.figures:
        paths += figures.save(FIGURES[name](figures, study, evidence), folder, name)
    return paths


def regrets(study: Study, evidence: Evidence) -> dict[str, dict[str, list[float]]]:
    """Return the regrets in % of the first method, by metric and swept field: one a seed."""
    final = evidence.final(study.evaluations[0])
    first = [record for record in final if record.row == final[0].row]
    axes = swept(first)
    return {
        column: {
            axis: [100 * choice.regret for choice in choices_by_seed(part, column, study.target)]
            for axis, part in axes.items()
        }
        for column in candidates(first)
        if column.partition("/")[0] in REGRETS
    }


def _metric_against_probe(figures: Any, study: Study, evidence: Evidence) -> Any:
    records = _main(study, evidence)
    shown = [column for column in SHOWN if any(column in record.values for record in records)]
    return figures.metric_against_probe(records, shown, study.target)


def _over_training(figures: Any, study: Study, evidence: Evidence) -> Any:
    return figures.over_training(_main(study, evidence), OVER_TRAINING, study.target)


def _spectra(figures: Any, study: Study, evidence: Evidence) -> Any:
    return figures.spectra(_main(study, evidence), study.target)


def _regret(figures: Any, study: Study, evidence: Evidence) -> Any:
    return figures.regret(regrets(study, evidence))


def _accuracy_over_epochs(figures: Any, study: Study, evidence: Evidence) -> Any:
    def epochs(record: Record) -> float:
        return record.step / (evidence.facts[record.run].images // record.config["batch_size"])

    return figures.accuracy_over_epochs(_main(study, evidence), study.target, epochs)


def _main(study: Study, evidence: Evidence) -> list[Record]:
    return evidence.records[study.evaluations[0].name]


# Each takes the module figures.py, which only `draw` imports.
FIGURES: dict[str, Callable[[Any, Study, Evidence], Any]] = {
    "metric_against_probe": _metric_against_probe,
    "over_training": _over_training,
    "spectra": _spectra,
    "regret": _regret,
    "accuracy_over_epochs": _accuracy_over_epochs,
}
