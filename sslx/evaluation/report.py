"""Verdicts as a table for the console and a Markdown file, and what they say about choosing a
checkpoint.
"""

import warnings

from sslx.evaluation.evaluate import Verdict

NAMES = {
    "lidar": "LiDAR",
    "debiased_lidar": "debiased LiDAR",
    "rankme": "RankMe",
    "augmented_rankme": "aug. RankMe",
    "alpha_req": "alpha-ReQ",
    "feature_std": "std",
    "idest": "IdEst",
    "clid": "CLID",
    "knn": "kNN %",
    "linear": "linear %",
}
# Of order 1, so a third digit is shown.
UNITS = (
    "feature_std",
    "mean_cosine",
    "self_clustering",
    "uniformity",
    "alignment",
    "alpha_req",
    "clid",
)
RANKS = ("lidar", "rankme", "augmented_rankme")  # of these the highest value picks the checkpoint


def table(verdicts: list[Verdict], pixels: dict[str, float]) -> str:
    """A Markdown table with a row per checkpoint, and one for raw pixels; step 0 is the untrained
    network.
    """
    columns = list(verdicts[0].values)
    rows = [["step", *map(heading, columns)]]
    if pixels:
        rows.append(["raw pixels", *(_cell(column, pixels.get(column)) for column in columns)])
    for verdict in verdicts:
        label = "0 (untrained)" if verdict.step == 0 else str(verdict.step)
        rows.append([label, *(_cell(column, verdict.values[column]) for column in columns)])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    ]
    return "\n".join(
        [lines[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *lines[1:]]
    )


def selection(verdicts: list[Verdict]) -> list[str]:
    """For each label-free metric: the checkpoint it picks, and its rank correlation with the probe
    over the run.
    """
    target = next((name for name in ("linear", "knn") if name in verdicts[0].values), None)
    trained = [verdict for verdict in verdicts if verdict.step > 0]
    if target is None or len(trained) < 3:
        return []
    best = max(trained, key=lambda verdict: verdict.values[target])
    lines = [f"Best {heading(target)}: step {best.step} with {_cell(target, best.values[target])}."]
    for name in verdicts[0].values:
        if name.partition("/")[0] in RANKS:
            pick = max(trained, key=lambda verdict: verdict.values[name])
            rho, tau = _correlation(
                [v.values[name] for v in trained], [v.values[target] for v in trained]
            )
            lines.append(
                f"Highest {heading(name)}: step {pick.step} with "
                f"{_cell(target, pick.values[target])}; over "
                f"{len(trained)} checkpoints Spearman {rho:+.2f}, Kendall tau-b {tau:+.2f}."
            )
    return lines


def _correlation(a: list[float], b: list[float]) -> tuple[float, float]:
    from scipy import stats  # slow to import, and needed here only

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a constant column has no correlation: nan is the answer
        return float(stats.spearmanr(a, b).statistic), float(stats.kendalltau(a, b).statistic)


def heading(column: str) -> str:
    """A column's name for people: lidar/representation is LiDAR representation."""
    name, *rest = column.split("/")
    return " ".join([NAMES.get(name, name.replace("_", " ")), *rest])


def _cell(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column in ("knn", "linear"):
        return f"{100 * value:.1f}"
    return f"{value:.3f}" if column.partition("/")[0] in UNITS else f"{value:.2f}"
