"""How often the paired test errs, how often it finds what is there, and how well `compare` predicts that.

    python -m perf.paired_test                      the tables of docs/statistics.md: 2,000 cohorts a cell
    python -m perf.paired_test --cohorts 100        a quick look

Simulated cohorts: patients with 1 to 5 clips (classes by coin, so that some patients have one class only) or with 2 of
each class; a score is signal * label + the patient's offset + noise. Methods share a part of offsets and noise, and
each is put on a scale of its own (as it is, exp, arctan, rounded to one decimal: ties). Seeded: the same tables again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm
from tabulate import tabulate

from benchmark.score.comparison import ALPHA, Contributions, contributions, paired_test
from benchmark.score.metrics import Metric, quick_metrics
from benchmark.score.multiple import holm
from benchmark.score.power import power, spread_of

PATIENTS = (8, 12, 20)
METHODS = 4
FAMILY = ALPHA / 6
SCALES = (lambda s: s, np.exp, lambda s: 100 * np.arctan(s), lambda s: np.round(s, 1))
PROBABILITIES = (lambda s: norm.cdf(s - 0.6), lambda s: norm.cdf(s / 1.5 - 0.4)) * 2

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """Where cohorts come from. `signals`: one a method; `offsets`: SD of its patients' offsets."""

    name: str
    signals: tuple[float, ...]
    offsets: tuple[float, ...]
    shared: float = 0.5  # of the variance of offsets and of noise, between methods
    slopes: float = 0.3  # SD of a patient's own addition to the signal, once shared and once of the method
    clips: tuple[int, int] | None = (1, 5)  # at least, at most; None: 2 of each class
    metric: Metric = "roc_auc"


@dataclass(frozen=True)
class Cohort:
    """Scores (methods, N), labels (N,), patients (N,)."""

    scores: Floats
    labels: Floats
    patients: list[str]
    metric: Metric

    def parts(self, a: int, b: int) -> Contributions:
        """Of two of the methods."""
        first, second = (self.scores[method][None, None] for method in (a, b))
        return contributions(self.metric, first, second, self.labels, self.patients)

    def figure(self, method: int) -> float:
        """Of one method."""
        return quick_metrics(self.labels, self.scores[method])[self.metric] or 0.0


def null(name: str, signal: float, offset: float, methods: int = METHODS, **settings: object) -> Population:
    """All methods alike."""
    return Population(name, (signal,) * methods, (offset,) * methods, **settings)  # type: ignore[arg-type]


def cohort(population: Population, patients: int, random: np.random.Generator) -> Cohort:
    """Draw patients with clips of both classes."""
    labels, of = _clips(population, patients, random)
    offset, noise = random.standard_normal(patients), random.standard_normal(len(labels))
    slope, own = random.standard_normal(patients) * population.slopes, np.sqrt(1 - population.shared)
    scores = []
    for method, (signal, spread) in enumerate(zip(population.signals, population.offsets, strict=True)):
        offsets = np.sqrt(population.shared) * offset + own * random.standard_normal(patients)
        noises = np.sqrt(population.shared) * noise + own * random.standard_normal(len(labels))
        slopes = signal + slope + random.standard_normal(patients) * population.slopes
        scale = (SCALES if population.metric == "roc_auc" else PROBABILITIES)[method]
        scores.append(scale(slopes[of] * labels + spread * offsets[of] + noises))
    return Cohort(np.array(scores), labels, [f"p{number:04d}" for number in of], population.metric)


def _clips(population: Population, patients: int, random: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    if population.clips is None:
        return np.tile([0.0, 1.0], 2 * patients), np.repeat(np.arange(patients), 4)
    while True:
        each = random.integers(population.clips[0], population.clips[1] + 1, patients)
        labels = (random.random(each.sum()) < 0.5).astype(float)
        if 0 < labels.sum() < len(labels):
            return labels, np.repeat(np.arange(patients), each)


def rejections(population: Population, patients: int, cohorts: int) -> tuple[float, float]:
    """Share of all single tests at 5%, and of cohorts with any rejection after Holm."""
    random, single, anything = np.random.default_rng([patients, cohorts]), [], []
    pairs = list(combinations(range(len(population.signals)), 2))
    for seed in range(cohorts):
        drawn = cohort(population, patients, random)
        ps = [paired_test(drawn.parts(a, b), seed=seed).p for a, b in pairs]
        single.append(np.mean([p <= ALPHA for p in ps]))
        anything.append(any(p is not None and p <= ALPHA for p in holm(ps)))
    return float(np.mean(single)), float(np.mean(anything))


def level_table(cohorts: int) -> str:
    """True null: exchangeable methods."""
    settings = [
        null("1 to 5 clips, no signal", 0.0, 0.5),
        null("1 to 5 clips, signal", 1.2, 0.5),
        null("large offsets, alike methods", 1.2, 1.5, shared=0.8),
        null("independent methods", 0.0, 1.0, shared=0.0),
        null("1 clip a patient", 0.0, 0.5, clips=(1, 1)),
        null("5 clips a patient", 1.2, 1.0, clips=(5, 5)),
        null("2 + 2 clips, signal", 1.2, 0.7, clips=None),
    ]
    return _rejection_table(settings, cohorts, equal=False)


def harder_null_table(cohorts: int) -> str:
    """The same true ROC-AUC from other patients' offsets: not exchangeable."""
    settings = [
        Population("no signal, offsets 0 and 2", (0.0,) * 4, (0.0, 2.0) * 2, shared=0.0),
        Population("no signal, offsets 0 and 4", (0.0,) * 4, (0.0, 4.0) * 2, shared=0.0),
        Population("signal, offsets 0 and 1", (1.2, 1.7) * 2, (0.0, 1.0) * 2, shared=0.0, clips=None),
        Population("signal, offsets 0 and 2", (1.2, 2.7) * 2, (0.0, 2.0) * 2, shared=0.0, clips=None),
    ]
    return _rejection_table(settings, cohorts, equal=True)


def _rejection_table(settings: Sequence[Population], cohorts: int, equal: bool) -> str:
    body = []
    for population in settings:
        line: list[object] = [population.name]
        for patients in PATIENTS:
            single, anything = rejections(_equalled(population, patients) if equal else population, patients, cohorts)
            line += [f"{single:.1%}", f"{anything:.1%}"]
        body.append(line)
    columns = [f"{n} patients: {what}" for n in PATIENTS for what in ("single", "any of 6")]
    return tabulate(body, ["population", *columns], tablefmt="pipe")


def _equalled(population: Population, patients: int) -> Population:
    """With the signal of methods 1 and 3 such that the mean ROC-AUC of so many patients is that of methods 0 and 2."""
    if not any(population.signals):
        return population

    def excess(signal: float) -> float:
        changed = replace(population, signals=(population.signals[0], signal) * 2)
        random = np.random.default_rng(7)
        drawn = [cohort(changed, patients, random) for _ in range(1500)]
        return float(np.mean([one.figure(1) + one.figure(3) - one.figure(0) - one.figure(2) for one in drawn]))

    found = brentq(excess, 0.5 * population.signals[1], 1.5 * population.signals[1], xtol=1e-3)
    return replace(population, signals=(population.signals[0], found) * 2)


def power_table(cohorts: int) -> str:
    """Planted differences: how often found, and how often `compare` said they would be.

    "predicted" is from the mean variance of other cohorts of as many patients; "by one cohort" is the mean of what
    each of these says on its own, and 5% to 95% of them: an sd from so few patients is itself uncertain.
    """
    settings = [
        Population("2 + 2 clips", (1.3, 0.5), (0.7, 0.7), clips=None),
        Population("2 + 2 clips, large", (1.8, 0.5), (0.7, 0.7), clips=None),
        Population("2 + 2 clips, independent", (1.8, 0.5), (0.7, 0.7), shared=0.0, clips=None),
        Population("3 to 5 clips", (1.8, 0.5), (0.5, 0.5), clips=(3, 5)),
        Population("1 to 5 clips", (1.8, 0.8), (0.5, 0.5)),
        Population("1 to 5 clips, near the bound", (3.0, 1.2), (0.5, 0.5)),
        Population("1 clip a patient", (1.3, 0.5), (0.5, 0.5), clips=(1, 1)),
        Population("Brier, 2 + 2 clips", (1.8, 0.5), (0.7, 0.7), clips=None, metric="brier"),
        Population("Brier, 1 to 5 clips", (1.8, 0.8), (0.5, 0.5), metric="brier"),
        Population("balanced accuracy, 2 + 2 clips", (1.8, 0.5), (0.7, 0.7), clips=None, metric="balanced_accuracy"),
        Population("balanced accuracy, 3 to 5 clips", (1.8, 0.5), (0.5, 0.5), clips=(3, 5), metric="balanced_accuracy"),
    ]
    body = [_power_line(population, patients, cohorts) for population in settings for patients in PATIENTS]
    headers = ["population", "patients", "figures", "difference", "95% interval covers"]
    headers += [f"at {level}: {what}" for level in ("5%", "0.83%") for what in ("found", "predicted", "by one cohort")]
    return tabulate(body, headers, tablefmt="pipe")


def _power_line(population: Population, patients: int, cohorts: int) -> list[object]:
    random = np.random.default_rng([patients, 1])
    drawn = [cohort(population, patients, random) for _ in range(cohorts)]
    tests = [paired_test(one.parts(0, 1), seed=seed) for seed, one in enumerate(drawn)]
    true = float(np.mean([test.difference for test in tests]))
    ends = [(test.low, test.high) for test in tests if test.low is not None and test.high is not None]
    pilots = [spread_of(cohort(population, patients, random).parts(0, 1)) for _ in range(cohorts)]
    pilots = [spread for spread in pilots if spread > 0]
    sd = float(np.sqrt(np.mean(np.square(pilots))))  # a cohort's variance is unbiased, its sd and power are not
    figures = " and ".join(f"{np.mean([one.figure(method) for one in drawn]):.2f}" for method in (0, 1))
    covered = np.mean([low - 1e-9 <= true <= high + 1e-9 for low, high in ends])
    line: list[object] = [population.name, patients, figures, f"{true:.3f}", f"{covered:.1%}"]
    for alpha in (ALPHA, FAMILY):
        found = np.mean([test.p <= alpha for test in tests])
        single = np.array([power(true / spread, patients, alpha) for spread in pilots])
        low, high = np.quantile(single, (0.05, 0.95))
        line += [
            f"{found:.1%}",
            f"{power(true / sd, patients, alpha):.1%}",
            f"{single.mean():.0%} ({low:.0%} to {high:.0%})",
        ]
    return line


def main(cohorts: Annotated[int, typer.Option(min=20, help="Simulated cohorts a cell.")] = 2000) -> None:
    """Print the tables as Markdown."""
    for title, table in (
        ("True null: share of rejections", level_table),
        ("Same ROC-AUC, not exchangeable: share of rejections", harder_null_table),
        ("Planted difference: found and predicted", power_table),
    ):
        print(f"### {title}, {cohorts} cohorts a cell\n\n{table(cohorts)}\n", flush=True)


if __name__ == "__main__":
    typer.run(main)
