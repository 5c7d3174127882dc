"""A study's folder in `results/`: tables, figures, records, and what made them; no weights."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sslx.evaluation.tables import markdown, write_tables
from sslx.studies.choice_tables import regrets
from sslx.studies.contents import make_tables
from sslx.studies.evidence import Evidence, write_evidence
from sslx.studies.plan import Plan

LAYERS = ("representation", "embedding")
SHOWN = [f"{name}/{layer}" for layer in LAYERS for name in ("lidar", "debiased_lidar", "rankme")]
OVER_TRAINING = ("lidar/representation", "rankme/representation")


def write_results(plan: Plan, evidence: Evidence, folder: Path, note: str = "") -> list[Path]:
    """Write tables, figures and records, and a README.md with all of them and the note; return the
    paths.
    """
    tables = make_tables(plan.study, evidence)
    paths = write_tables(tables, folder)
    pictures = []
    if any(evidence.records.values()):
        from sslx.studies.figures import save  # matplotlib is slow to import

        for name, figure in draw(plan, evidence):
            pictures += save(figure, folder, name)
    write_evidence(evidence, folder)
    text = "\n".join(
        [
            _heading(plan, evidence),
            *[f"{note}\n"] * bool(note),
            *map(markdown, tables),
            *_images(pictures),
        ]
    )
    (folder / "README.md").write_text(text)
    return [*paths, *pictures, folder / "records.jsonl", folder / "runs.json", folder / "README.md"]


def draw(plan: Plan, evidence: Evidence) -> Iterator[tuple[str, Any]]:
    """The figures that the study names, from the verdicts of its first judgement."""
    from sslx.studies import figures

    study, records = plan.study, evidence.records[plan.study.judgements[0].name]
    shown = [name for name in SHOWN if any(name in record.values for record in records)]
    for name in study.figures:
        if name == "regret":
            yield name, figures.regret(regrets(study, evidence))
        elif name == "spectra":
            yield name, figures.spectra(records, study.target)
        elif name == "accuracy_over_epochs":
            yield name, figures.accuracy_over_epochs(records, study.target, _epochs(evidence))
        elif name == "over_training":
            yield name, figures.over_training(records, OVER_TRAINING, study.target)
        else:
            yield name, figures.metric_against_probe(records, shown, study.target)


def _epochs(evidence: Evidence) -> Any:
    """Epochs that a record's run has trained for."""

    def epochs(record: Any) -> float:
        return record.step / (evidence.facts[record.run].images // record.config["batch_size"])

    return epochs


def _heading(plan: Plan, evidence: Evidence) -> str:
    path, _, scale = plan.given.partition(":")
    states = [facts.status for facts in evidence.facts.values()]
    counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    machines = sorted({facts.environment for facts in evidence.facts.values() if facts.environment})
    seconds = sum(sum(facts.seconds.values()) for facts in evidence.facts.values())
    return "\n".join(
        [
            f"# {plan.name}",
            "",
            f"`python reproduce.py --study={path}{':' + scale if scale else ''}`: {len(states)} "
            f"runs, {counts}. "
            f"{seconds / 3600:.1f} hours of single runs, judging included. Machine: "
            f"{'; '.join(machines) or 'none'}.",
            "",
        ]
    )


def _images(paths: list[Path]) -> list[str]:
    return [
        f"![{path.stem.replace('_', ' ')}]({path.name})\n"
        for path in paths
        if path.suffix == ".png"
    ]
