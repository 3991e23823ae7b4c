"""How sure a score or a gain is: bootstrap over scenes, paired t-test over runs.

Micrographs of one scene show overlapping fields, so their errors go together
and an interval that draws single micrographs comes out too narrow. Whole
scenes are drawn. Of n scenes with counts x, a draw takes each w times, w
multinomial with n trials, and has the scores of Σwx (percentile bootstrap:
Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np

from tem_data.core.errors import TemDataError
from tem_data.scoring.scores import F1, Counts, f1_scores

PARTS = ("confusion", "truths", "predictions")
GAIN = 0.05  # of a score, that a study should be able to show
# each with its field of `F1`
SCORES = {"f1_hm": "hm", "f1_detect": "detect", "f1_class": "class_"}


class Interval(NamedTuple):
    low: float
    high: float


class PairedRuns(NamedTuple):
    """The paired runs of one split: run i of both arms differs in the training data alone.

    A run is the counts of each test micrograph, by name; `scene` holds the
    scene of each of them (and may hold others).
    """

    scene: Mapping[str, str]
    baseline: Sequence[Mapping[str, Counts]]
    arm: Sequence[Mapping[str, Counts]]


class PairedT(NamedTuple):
    """Of n paired differences: mean, standard deviation (n − 1), t and two-sided p; None where undefined."""

    n: int
    mean: float | None
    sd: float | None
    t: float | None
    p: float | None


def score_intervals(
    counts: Mapping[str, Counts],
    scene: Mapping[str, str],
    classes: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[str, Interval]:
    """The percentile bootstrap intervals over scenes of the scores of one run.

    `counts` and `scene` are by micrograph. Keys are `f1_hm`, `f1_detect`,
    `f1_class`, `precision`, `recall`, and `f1_by_class.NAME` of each class that
    occurs (over the draws in which it does). The detector is held fixed: that
    another training would score otherwise is not in it. Empty where there are
    fewer than two scenes. Raises TemDataError for a micrograph without a scene.
    """
    scenes = _scenes([counts], scene)
    if len(scenes) < 2:
        return {}
    draws = bootstrap_draws(len(scenes), np.random.default_rng(seed), resamples)
    f1 = _drawn_scores(counts, scene, scenes, draws)
    scores = {name: getattr(f1, field) for name, field in SCORES.items()}
    scores |= {"precision": f1.precision, "recall": f1.recall}
    scores |= {f"f1_by_class.{name}": values for name, values in zip(classes, f1.by_class.T, strict=True)}
    return {name: _interval(values, level) for name, values in scores.items() if not np.isnan(values).all()}


def paired_bootstrap(
    groups: Sequence[PairedRuns], seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> dict[str, Interval]:
    """The bootstrap intervals over scenes of the mean gain, arm − baseline, over all paired runs.

    Keys are `SCORES`. Each group is a split with its own test micrographs. The
    scenes of all are drawn together, the same ones for both arms, all runs and
    all splits in which they are test, so what these have in common cancels. It
    holds the runs fixed: how much trainings differ is what `paired_t` asks.
    Empty where there is no group or one has fewer than two scenes. Raises TemDataError for
    arms of different numbers of runs, runs of different micrographs, and a
    micrograph without a scene.
    """
    for group in groups:
        _check_pairs(group)
    held = [_scenes([*group.baseline, *group.arm], group.scene) for group in groups]
    if not groups or min(map(len, held)) < 2:
        return {}
    scenes = sorted(set().union(*held))
    draws = bootstrap_draws(len(scenes), np.random.default_rng(seed), resamples)
    gains = []
    for group, own in zip(groups, held, strict=True):
        drawn = draws[:, [scenes.index(name) for name in own]]
        for baseline, arm in zip(group.baseline, group.arm, strict=True):
            ours, theirs = (_drawn_scores(run, group.scene, own, drawn) for run in (arm, baseline))
            gains.append([getattr(ours, field) - getattr(theirs, field) for field in SCORES.values()])
    return (
        {name: _interval(values, level) for name, values in zip(SCORES, np.mean(gains, 0), strict=True)}
        if gains
        else {}
    )


def paired_t(baseline: Sequence[float], arm: Sequence[float]) -> PairedT:
    """The paired t-test of arm − baseline (Student 1908), as in the 2026 paper.

    It takes pairs for independent; runs of one split share its micrographs, so
    it speaks of new trainings on these splits, not of new micrographs. With
    fewer than two pairs `sd`, `t` and `p` are None; where all differences are
    equal to rounding, `sd` is 0 and `t` and `p`, undefined or infinite, None.
    Raises TemDataError for different numbers of scores.
    """
    from scipy.stats import ttest_rel  # takes a quarter of a second to import

    if len(baseline) != len(arm):
        raise TemDataError(f"{len(baseline)} scores of the baseline and {len(arm)} of the arm; expected pairs")
    n, gains = len(arm), np.subtract(arm, baseline)
    if n < 2:
        return PairedT(n, _mean(gains), None, None, None)
    if np.ptp(gains) <= 1e-12 * max(np.abs(baseline).max(), np.abs(arm).max()):
        return PairedT(n, _mean(gains), 0.0, None, None)
    test = ttest_rel(arm, baseline)
    return PairedT(n, _mean(gains), _sd(gains), float(test.statistic), float(test.pvalue))


def possible_share(gain: float, baseline: float) -> float | None:
    """gain/(1 − baseline): how much of what was still to be gained; None where the baseline is 1 already."""
    return gain / (1 - baseline) if baseline < 1 else None


def gain_row(
    baseline: str,
    arm: str,
    size: int | str,
    groups: Sequence[PairedRuns],
    score: str = "f1_hm",
    seed: int = 0,
    resamples: int = 2000,
    level: float = 0.95,
) -> dict[str, str | int | float | None]:
    """One row of the table of gains: an arm against its baseline at a training size, in one of `SCORES`.

    | column | what |
    |---|---|
    | size, baseline, arm, score, pairs | which comparison, over how many paired runs |
    | baseline_mean, baseline_sd, arm_mean, arm_sd | over runs |
    | gain_mean, gain_sd, t, p | of the paired differences: `paired_t` |
    | gain_low, gain_high | `paired_bootstrap` |
    | possible_share | of the mean gain: `possible_share` |
    | runs_needed | `runs_needed` for a gain of `GAIN` at the measured spread |

    What is not defined is None, never nan. Raises TemDataError as
    `paired_bootstrap` does.
    """
    if score not in SCORES:
        raise TemDataError(f"score: expected one of {list(SCORES)}, found {score!r}")
    intervals = paired_bootstrap(groups, seed, resamples, level)
    baselines = [_run_score(run, score) for group in groups for run in group.baseline]
    arms = [_run_score(run, score) for group in groups for run in group.arm]
    test = paired_t(baselines, arms)
    low, high = intervals.get(score, (None, None))
    return {
        "size": size,
        "baseline": baseline,
        "arm": arm,
        "score": score,
        "pairs": test.n,
        "baseline_mean": _mean(baselines),
        "baseline_sd": _sd(baselines),
        "arm_mean": _mean(arms),
        "arm_sd": _sd(arms),
        "gain_mean": test.mean,
        "gain_sd": test.sd,
        "t": test.t,
        "p": test.p,
        "gain_low": low,
        "gain_high": high,
        "possible_share": possible_share(cast(float, test.mean), cast(float, _mean(baselines))) if test.n else None,
        "runs_needed": None if test.sd is None else runs_needed(GAIN, test.sd),
    }


def runs_needed(gain: float, sd: float, power: float = 0.8, level: float = 0.05) -> int | None:
    """How many paired runs show a gain with probability `power`, by a two-sided t-test at `level`; None: over 1,000.

    `sd` is the standard deviation of the paired differences. Power by the noncentral t distribution (Cohen,
    Statistical Power Analysis for the Behavioral Sciences, 1988, chapter 2).
    """
    from scipy.stats import nct, t

    for runs in range(2, 1001):
        least, shift = t.ppf(1 - level / 2, runs - 1), gain / sd * np.sqrt(runs) if sd else np.inf
        if not np.isfinite(shift) or nct.sf(least, runs - 1, shift) >= power:
            return runs
    return None


def _check_pairs(group: PairedRuns) -> None:
    if len(group.baseline) != len(group.arm):
        raise TemDataError(
            f"{len(group.baseline)} runs of the baseline and {len(group.arm)} of the arm; expected pairs"
        )
    runs = [set(run) for run in (*group.baseline, *group.arm)]
    for run in runs:
        if run != runs[0] or not run:
            raise TemDataError(
                f"paired runs are of different test micrographs ({len(runs[0])} and {len(run)}); score both arms on "
                "the same ones"
            )


def _scenes(runs: Iterable[Mapping[str, Counts]], scene: Mapping[str, str]) -> list[str]:
    """The scenes of all micrographs of the runs, by name: the order in which runs list them never matters."""
    micrographs = {name for run in runs for name in run}
    without = sorted(name for name in micrographs if not scene.get(name))
    if without:
        raise TemDataError(f"{len(without)} micrographs have no scene, as {without[0]!r}; import them again")
    return sorted({scene[name] for name in micrographs})


def bootstrap_draws(units: int, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """How often each unit is in each draw with replacement, (resamples, units) int."""
    return rng.multinomial(units, np.full(units, 1 / units), resamples)


def _drawn_scores(counts: Mapping[str, Counts], scene: Mapping[str, str], scenes: list[str], draws: np.ndarray) -> F1:
    """The scores of each draw, arrays over (resamples,)."""
    of_scene: dict[str, list[Counts]] = {name: [] for name in scenes}
    for micrograph, of_micrograph in counts.items():
        of_scene[scene[micrograph]].append(of_micrograph)
    sums = (np.array([sum(getattr(c, part) for c in of_scene[name]) for name in scenes]) for part in PARTS)
    return f1_scores(*(np.tensordot(draws, part, 1) for part in sums))


def _run_score(run: Mapping[str, Counts], score: str) -> float:
    f1 = f1_scores(*(sum(getattr(counts, part) for counts in run.values()) for part in PARTS))
    return float(getattr(f1, SCORES[score]))


def _interval(values: np.ndarray, level: float) -> Interval:
    low, high = np.nanquantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high))


def _mean(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _sd(values: Sequence[float] | np.ndarray) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None
