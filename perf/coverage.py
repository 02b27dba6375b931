"""How often the 95% intervals of `benchmark.score.uncertainty` hold the truth: simulated cohorts, where it is known.

    python -m perf.coverage [--cohorts 2000] [--workers 2]        prints the table of docs/statistics.md

A cohort: P patients with C clips each, half of them positive (an odd clip goes to either class in turn). A clip's score
is Phi(z), z = label * d - d / 2 + sqrt(r) * u + sqrt(1 - r) * e with u one normal draw a patient and e one a clip: the
correlation of two clips of a patient and class is r, and d = sqrt(2) * Phi^-1(AUC) makes AUC the chance that a positive
clip of one patient scores above a negative one of another. The other truths follow by integration.

Two kinds of patients: `offset`, u is the same for both classes (a patient whose scores all lie high), and `effect`,
each class has its own u (the method works on some patients and fails on others).

The cohorts go through `patient_intervals` as if each were a number of shots of one run: the product's own code.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Literal, get_args

import numpy as np
from scipy import integrate, stats
from tabulate import tabulate

from benchmark.score.metrics import METRICS, FloatArray, Metric
from benchmark.score.uncertainty import RESAMPLES, patient_intervals

Kind = Literal["offset", "effect"]

PATIENTS, CLIPS, CORRELATIONS, AUCS = (8, 12, 20), (2, 3, 4, 5), (0.0, 0.3, 0.6), (0.5, 0.7, 0.9)
FLOOR = 0.93
AT_ONCE = 100


@dataclass(frozen=True)
class Cell:
    """One kind of cohort."""

    kind: Kind
    patients: int
    clips: int
    correlation: float
    auc: float

    @property
    def distance(self) -> float:
        """Between the classes' means, in SDs."""
        return float(np.sqrt(2) * stats.norm.ppf(self.auc))

    @property
    def labels(self) -> FloatArray:
        """(P * C,)."""
        half, odd = divmod(self.clips, 2)
        positives = [half + odd * (patient % 2) for patient in range(self.patients)]
        return np.concatenate([np.repeat([1.0, 0.0], [count, self.clips - count]) for count in positives])

    @property
    def owners(self) -> np.ndarray:
        """Patient of each clip, (P * C,)."""
        return np.repeat(np.arange(self.patients), self.clips)


@dataclass(frozen=True)
class Coverage:
    """Share of cohorts whose interval held the truth, mean width, and what the tool says of such intervals."""

    share: float
    width: float
    validated: bool


def cohorts(cell: Cell, count: int, seed: int) -> FloatArray:
    """Scores of `count` cohorts, (count, P * C), in [0, 1]."""
    random = np.random.default_rng([seed, *np.frombuffer(repr(cell).encode(), dtype=np.uint8)])
    labels, owners = cell.labels, cell.owners
    of_class = labels.astype(int) if cell.kind == "effect" else np.zeros(len(labels), dtype=int)
    patient = random.standard_normal((count, cell.patients, 2))[:, owners, of_class]
    clip = random.standard_normal((count, len(labels)))
    z = cell.distance * (labels - 0.5) + np.sqrt(cell.correlation) * patient + np.sqrt(1 - cell.correlation) * clip
    return np.asarray(stats.norm.cdf(z))


def truths(auc: float) -> dict[Metric, float]:
    """What each metric tends to with ever more patients."""
    half = float(np.sqrt(2) * stats.norm.ppf(auc)) / 2
    above, below = stats.norm(half), stats.norm(-half)

    def precision(z: float) -> float:
        return float(above.sf(z) / (above.sf(z) + below.sf(z)))

    ends = (-half - 9, half + 9)
    return {
        "roc_auc": auc,
        "balanced_accuracy": float(stats.norm.cdf(half)),
        "pr_auc": integrate.quad(lambda z: precision(z) * above.pdf(z), *ends)[0],
        "brier": integrate.quad(lambda z: stats.norm.sf(z) ** 2 * above.pdf(z), *ends)[0],
    }


def coverage(cell: Cell, count: int, seed: int = 0, resamples: int = RESAMPLES) -> dict[Metric, Coverage]:
    """Put `count` cohorts of a cell to the test."""
    patients = [f"p{owner:02d}" for owner in cell.owners]
    truth, scores = truths(cell.auc), cohorts(cell, count, seed)
    held: dict[Metric, list[tuple[bool, float, bool]]] = {metric: [] for metric in METRICS}
    for first in range(0, count, AT_ONCE):
        part = scores[first : first + AT_ONCE, None]
        found = patient_intervals(part, cell.labels, patients, resamples=resamples, seed=seed)
        for metric in METRICS:
            for interval in found[metric].per_shot:
                assert interval is not None
                inside = interval.low <= truth[metric] <= interval.high
                held[metric].append((inside, interval.high - interval.low, interval.validated))
    return {
        metric: Coverage(
            share=float(np.mean([inside for inside, _, _ in rows])),
            width=float(np.mean([width for _, width, _ in rows])),
            validated=all(validated for _, _, validated in rows),
        )
        for metric, rows in held.items()
    }


def table(results: dict[Cell, dict[Metric, Coverage]], kind: Kind) -> str:
    """A row for patients, clips and correlation; for each metric three shares in percent, at the three AUCs."""

    def entry(cell: Cell, metric: Metric) -> str:
        found = results[cell][metric]
        return f"{100 * found.share:.1f}{'' if found.validated else '~'}"

    body = [
        [n, c, r, *(" / ".join(entry(Cell(kind, n, c, r, auc), metric) for auc in AUCS) for metric in METRICS)]
        for n, c, r in product(PATIENTS, CLIPS, CORRELATIONS)
    ]
    return tabulate(body, headers=["patients", "clips each", "correlation", *METRICS], tablefmt="pipe", floatfmt="g")


def too_low(results: dict[Cell, dict[Metric, Coverage]]) -> list[str]:
    """Cells that are claimed and fall short."""
    return [
        f"{metric} in {cell}: {100 * found.share:.1f}%"
        for cell, by_metric in results.items()
        for metric, found in by_metric.items()
        if found.validated and found.share < FLOOR
    ]


def _one(task: tuple[Cell, int]) -> dict[Metric, Coverage]:
    return coverage(*task)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables, and whether every claimed cell reaches 93%."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    cells = [Cell(*values) for values in product(get_args(Kind), PATIENTS, CLIPS, CORRELATIONS, AUCS)]
    begun = time.monotonic()
    with ProcessPoolExecutor(given.workers) as pool:
        results = dict(zip(cells, pool.map(_one, [(cell, given.cohorts) for cell in cells]), strict=True))
    for kind in get_args(Kind):
        print(f"\n{kind}: share (%) of {given.cohorts} cohorts at a ROC-AUC of {' / '.join(map(str, AUCS))}\n")
        print(table(results, kind))
    short = too_low(results)
    claimed = sum(found.validated for by_metric in results.values() for found in by_metric.values())
    lowest = min(found.share for by_metric in results.values() for found in by_metric.values() if found.validated)
    print(f"\n{claimed} of {len(results) * len(METRICS)} cells claimed, the lowest at {100 * lowest:.1f}%; below 93%:")
    print("\n".join(short or ["none"]))
    print(f"{time.monotonic() - begun:.0f} s")
    return int(bool(short))


if __name__ == "__main__":
    raise SystemExit(main())
