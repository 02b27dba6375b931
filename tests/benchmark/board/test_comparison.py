"""`compare`: real run folders in, the right pairs and words out; what is not paired is refused by name."""

from __future__ import annotations

import json
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from benchmark.board.comparison import compare
from benchmark.board.comparison_plot import draw, lay_out
from benchmark.board.comparison_text import as_json, as_text, check_outputs, conclusions, picture_of, save
from benchmark.board.entrants import read_meeting
from benchmark.data.dataset import pool_digest
from benchmark.run.records import RunFolder
from benchmark.run.units import DataCard, Predictions, Record, RunCard, WorkUnit
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task

STRENGTHS = {"good": 1.0, "fair": -0.4, "poor": -0.6}


def write_run(path, methods=STRENGTHS, *, patients=12, shots=(2, 3), seed=0, replicates=1, lost=(), **changes):
    """A run folder: each clip's score is sigmoid(strength * (label - 1/2) + noise), which methods share in part.

    `lost`: (method, shots, episode) without a record. `changes`: fields of the card, and of its data with `data_`.
    """
    clips = pd.DataFrame(
        [(f"p{p:02d}-{c}", f"p{p:02d}", c % 2) for p in range(patients) for c in range(4)],
        columns=["clip_id", "subject_id", "label"],
    )
    data = {
        "name": "clinic",
        "rendered": False,
        "manifest": "m",
        "pool": pool_digest(clips),
        "patients": patients,
        "positives": 24,
    }
    data |= {key[5:]: changes.pop(key) for key in list(changes) if key.startswith("data_")}
    card = RunCard(
        task=load_task("forecast_5s"),
        protocol=load_protocol("patient_disjoint", episodes=4),
        seed=seed,
        data=DataCard(**data, negatives=24, left_out={}),
        **changes,
    )
    folder = RunFolder(path)
    path.mkdir(parents=True)
    folder.claim(card, clips)
    episodes = [episode for n in shots for episode in draw_episodes(clips, card.protocol, n, seed)]
    folder.save_episodes(episodes)
    label = dict(zip(clips["clip_id"], clips["label"], strict=True))
    for name, strength in methods.items():
        noise = [np.random.default_rng(of).normal(size=len(label)) for of in (0, ord(name[0]))]
        own = dict(zip(label, 0.9 * noise[0] + 0.45 * noise[1], strict=True))
        for episode in episodes:
            if (name, episode.shots, episode.index) in lost:
                continue
            random = np.random.default_rng([episode.index, episode.shots, ord(name[0])])
            raw = [strength * (label[clip] - 0.5) + own[clip] for clip in episode.query]
            noisy = np.array(raw) + 0.3 * random.normal(size=(replicates, len(raw)))
            scores = tuple(map(tuple, (1 / (1 + np.exp(-noisy))).tolist()))
            unit = WorkUnit(
                baseline=name,
                changed={},
                settings={},
                code="c",
                size="-",
                init="-",
                run=card.digest,
                shots=episode.shots,
                episode=episode.index,
                episode_digest=episode.digest,
            )
            made = Predictions(clip_ids=episode.query, scores=scores)
            rest = {"checks": {}, "card": {}, "seconds": {}, "provenance": {"commit": "abc"}}
            folder.write(Record(unit=unit, status="done", predictions=made, **rest))
    return path


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run")


@pytest.fixture
def report(run):
    return compare(read_meeting([run]), "roc_auc")


def refused(paths, *parts):
    with pytest.raises(BadInput) as error:
        read_meeting(paths)
    sentence = str(error.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence


def test_every_pair_is_tested_the_better_first(report):
    assert [method.name for method in report.methods] == ["good", "fair", "poor"]
    assert [(pair.first, pair.second) for pair in report.pairs] == [
        ("good", "fair"),
        ("good", "poor"),
        ("fair", "poor"),
    ]
    values = {method.name: method.value for method in report.methods}
    for pair in report.pairs:
        assert pair.test.difference == pytest.approx(values[pair.first] - values[pair.second], abs=1e-12)
        assert pair.holm >= pair.test.p
    assert (report.patients, report.positives, report.negatives) == (12, 24, 24)


def test_figures_are_those_of_the_clips_averaged_over_episodes_then_over_shots(run, report):
    labels = RunFolder(run).clips().set_index("clip_id")["label"]
    scores = {}
    for record in RunFolder(run).records():
        if record.unit.baseline == "fair":
            for clip, score in zip(record.predictions.clip_ids, record.predictions.scores[0], strict=True):
                scores.setdefault(record.unit.shots, {}).setdefault(clip, []).append(score)
    aucs = [roc_auc_score(labels[list(of)], [np.mean(seen) for seen in of.values()]) for of in scores.values()]
    assert report.methods[1].value == pytest.approx(np.mean(aucs), abs=1e-12)


def test_a_clear_difference_is_told_apart_and_letters_say_so(report):
    told = {(pair.first, pair.second): pair.told_apart for pair in report.pairs}
    assert told == {("good", "fair"): True, ("good", "poor"): True, ("fair", "poor"): False}
    assert report.groups == (("good",), ("fair", "poor"))
    assert [method.letters for method in report.methods] == ["a", "b", "b"]
    words = "\n".join(conclusions(report))
    assert "good has a higher ROC-AUC than fair (p 0.0005, Holm 0.0015)" in words
    assert "fair has" not in words
    assert "no evidence of being alike" in words
    assert "here are 12" in words


def test_against_one_method_the_family_is_smaller_and_there_are_no_letters(run, report):
    against = compare(read_meeting([run]), "roc_auc", against="good")
    assert [(pair.first, pair.second) for pair in against.pairs] == [("fair", "good"), ("poor", "good")]
    of_all = {frozenset((pair.first, pair.second)): pair for pair in report.pairs}
    for pair in against.pairs:
        other = of_all[frozenset((pair.first, pair.second))]
        assert (pair.test.p, pair.test.difference) == (other.test.p, pytest.approx(-other.test.difference))
    assert against.pairs[0].outlook.family.alpha == 0.025
    assert against.groups is None
    assert "good has a higher ROC-AUC than fair" in "\n".join(conclusions(against))
    with pytest.raises(BadInput, match="--against best: names 0 of the methods; name one of: good; fair; poor"):
        compare(read_meeting([run]), "roc_auc", against="best")


def test_a_lower_brier_score_is_better(run):
    brier = compare(read_meeting([run]), "brier")
    values = {method.name: method.value for method in brier.methods}
    assert list(values.values()) == sorted(values.values())
    assert brier.methods[0].name == "good"
    first = brier.pairs[0]
    assert first.test.difference == pytest.approx(values[first.second] - values[first.first], abs=1e-12)
    assert first.test.difference > 0
    assert first.episodes_mean > 0


def test_pr_auc_is_not_tested(run):
    with pytest.raises(BadInput, match="--metric pr_auc: it is scored, not tested"):
        compare(read_meeting([run]), "pr_auc")


def test_methods_of_two_runs_meet_as_if_they_were_one(tmp_path, report):
    one = write_run(tmp_path / "one", {"good": STRENGTHS["good"]})
    two = write_run(tmp_path / "two", {name: STRENGTHS[name] for name in ("fair", "poor")}, data_name="another-folder")
    assert compare(read_meeting([one, two]), "roc_auc").pairs == report.pairs
    assert compare(read_meeting([two, one]), "roc_auc").pairs == report.pairs


def test_a_method_in_two_runs_is_named_with_its_run(tmp_path, run):
    again = write_run(tmp_path / "again", {"good": 1.0})
    names = {entrant.name for entrant in read_meeting([run, again]).entrants}
    assert names == {"good (run run)", "good (run again)", "fair", "poor"}
    deeper = write_run(tmp_path / "deeper" / "run", {"good": 1.0})
    names = {entrant.name for entrant in read_meeting([run, deeper]).entrants}
    assert f"good (run {deeper.resolve()})" in names


def test_only_the_shots_that_all_methods_have_are_compared(tmp_path, run):
    more = write_run(tmp_path / "more", {"x": 1.0}, shots=(3, 4))
    found = compare(read_meeting([run, more]), "roc_auc")
    assert (found.shots, found.shots_left_out) == ((3,), (2, 4))
    assert "2, 4 shots only some methods have: left out" in as_text(found)
    other = write_run(tmp_path / "other", {"x": 1.0}, shots=(4,))
    refused([run, other], "no number of shots in common")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seed": 1}, "its seed is 1, this one's 0"),
        ({"data_manifest": "q"}, "its data.manifest is q, this one's m"),
        ({"split": "develop"}, "its split is develop, this one's evaluate"),
    ],
)
def test_runs_on_other_data_seeds_or_labels_are_refused(tmp_path, run, changes, said):
    other = write_run(tmp_path / "other", {"x": 1.0}, **changes)
    refused([run, other], f"{run}: cannot be compared with {other}", said)


def test_other_labels_other_episodes_and_missing_predictions_are_refused(tmp_path, run):
    labels = write_run(tmp_path / "labels", {"x": 1.0})
    table = (labels / "clips.csv").read_text().replace("p03-1,p03,1", "p03-1,p03,0")
    (labels / "clips.csv").write_text(table)
    refused([run, labels], "clips.csv", "patients or labels are not those of run.json")

    drawn = write_run(tmp_path / "drawn", {"x": 1.0})
    for file in [drawn / "episodes.json", *(drawn / "units").glob("*.json")]:
        digests = {episode["digest"] for episode in json.loads((run / "episodes.json").read_text())}
        text = file.read_text()
        for digest in digests:
            text = text.replace(digest, digest[::-1])
        file.write_text(text)
    for file in (drawn / "units").glob("*.json"):
        record = Record.model_validate_json(file.read_bytes())
        file.unlink()
        RunFolder(drawn).write(record)
    refused([run, drawn], f"{drawn}: episode 0 of 2 shots has another support or query than in {run}")

    lost = write_run(tmp_path / "lost", {"x": 1.0}, lost=[("x", 3, 2)])
    refused([run, lost], f"{lost}: x lacks", "predictions at 3 shots; finish that run", f"--out {lost}")


def test_one_method_and_a_run_named_twice_are_refused(tmp_path, run):
    alone = write_run(tmp_path / "alone", {"x": 1.0})
    refused([alone], f"{alone}: x is its only method")
    refused([run, run], "named twice")
    refused([tmp_path / "nowhere", run], "not a run folder")


def test_five_patients_cannot_show_anything_and_it_says_so(tmp_path):
    # Of one method the scores are right, of the other wrong, for every patient: as large a difference as can be.
    run = write_run(tmp_path / "run", {"good": 60.0, "bad": -60.0}, patients=5, shots=(2,))
    found = compare(read_meeting([run]), "roc_auc")
    assert found.pairs[0].test.difference == pytest.approx(1.0)
    assert conclusions(found)[:2] == [
        "With 5 patients the smallest p an exact paired test can reach is 0.0625: no difference can be significant "
        "here, however large.",
        "No pair is told apart at 5% (Holm over 1).",
    ]
    assert found.groups == (("good", "bad"),)


def test_eight_patients_and_many_methods_cannot_either(tmp_path):
    run = write_run(tmp_path / "run", dict.fromkeys("abcde", 1.0), patients=8, shots=(2,))
    first = conclusions(compare(read_meeting([run]), "roc_auc"))[0]
    assert first.startswith(
        "With 8 patients the smallest p an exact paired test can reach is 0.00781, 0.078 after Holm"
    )
    assert "no difference can be significant here" in first
    assert not conclusions(compare(read_meeting([run]), "roc_auc", against="a"))[0].startswith("With")


def test_seeds_are_scored_apart_and_their_spread_is_told_apart_from_episodes(tmp_path):
    run = write_run(tmp_path / "run", {"good": 1.0, "fair": 0.5}, replicates=3)
    meeting = read_meeting([run])
    found = compare(meeting, "roc_auc")
    seeds = {entrant.name: entrant.per_seed("roc_auc", meeting.labels) for entrant in meeting.entrants}
    method, pair = found.methods[0], found.pairs[0]
    assert method.seeds == 3
    assert method.seeds_sd == pytest.approx(np.std(seeds[method.name], ddof=1))
    assert pair.seeds_sd == pytest.approx(np.std(seeds[pair.first] - seeds[pair.second], ddof=1))
    assert pair.test.difference == pytest.approx(seeds[pair.first].mean() - seeds[pair.second].mean(), abs=1e-12)
    text = as_text(found)
    assert "over seeds: SD" in text
    assert f"{pair.episodes_mean:+.3f} ± {pair.episodes_sd:.3f}" in text


def test_the_spread_over_episodes_is_that_of_the_paired_differences(run, report):
    queries = RunFolder(run).records()
    labels = RunFolder(run).clips().set_index("clip_id")["label"]
    auc = {
        (r.unit.baseline, r.unit.shots, r.unit.episode): roc_auc_score(
            labels[list(r.predictions.clip_ids)], r.predictions.scores[0]
        )
        for r in queries
    }
    gains = [[auc["good", shots, e] - auc["fair", shots, e] for e in range(4)] for shots in (2, 3)]
    assert report.pairs[0].episodes_mean == pytest.approx(np.mean(gains), abs=1e-12)
    assert report.pairs[0].episodes_sd == pytest.approx(np.mean(np.std(gains, axis=1, ddof=1)), abs=1e-12)


def test_text_json_and_files(tmp_path, run, report):
    text = as_text(report)
    assert "Unit: the patient. 12 patients, 48 clips (24 positive, 24 negative)" in text
    assert "Family: all 3 pairs, Holm." in text
    pair = report.pairs[0]
    assert f"| {pair.test.difference:+.3f} [{pair.test.low:.3f}, {pair.test.high:.3f}] |" in re.sub(" +", " ", text)
    content = json.loads(as_json(report))
    assert content["conclusions"] == conclusions(report)
    assert content["pairs"][0]["test"]["p"] == pair.test.p
    save(report, tmp_path / "out.json", tmp_path / "plot.svg")
    save(report, tmp_path / "out.md", None)
    assert (tmp_path / "out.json").read_text() == as_json(report)
    assert (tmp_path / "out.md").read_text() == text
    assert (tmp_path / "plot.svg").read_bytes() == draw(picture_of(report), "svg")


def test_outputs_of_no_known_kind_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"--out .*: name a file that ends in .json or .md"):
        check_outputs(tmp_path / "out.txt", None)
    with pytest.raises(BadInput, match=r"--plot .*: name a file that ends in .png or .svg"):
        check_outputs(None, tmp_path / "plot.pdf")


def test_a_control_is_not_compared(tmp_path):
    refused([write_run(tmp_path / "run", permuted_labels=True)], "a control with permuted labels, which has no result")


def test_what_keeps_it_from_being_a_result_is_said_in_text_and_picture(tmp_path):
    run = write_run(tmp_path / "run", data_rendered=True)
    found = compare(read_meeting([run]), "roc_auc")
    assert "Rendered demo data" in as_text(found)
    figure = Figure(layout="constrained")
    lay_out(figure, picture_of(found))
    assert figure.axes[0].get_title(loc="right") == "RENDERED data: no result"


def test_the_picture_places_methods_by_figure_and_joins_those_not_told_apart(report):
    picture = picture_of(report)
    figure = Figure(layout="constrained")
    lay_out(figure, picture)
    axes, bars = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["good", "fair", "poor"]
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    assert [line.get_xdata()[0] for line in dots] == [method.value for method in report.methods]
    assert [list(line.get_ydata()) for line in bars.get_lines()] == [[0], [-1, -2]]
    assert [text.get_text() for text in bars.texts] == ["a", "b"]
    assert "12 patients" in picture.note
    assert "Holm over 3" in picture.note
    assert picture.doubts == ()


def test_against_one_method_the_picture_fills_those_told_apart(run):
    picture = picture_of(compare(read_meeting([run]), "roc_auc", against="poor"))
    assert {dot.name: dot.told_apart for dot in picture.dots} == {"good": True, "fair": False, "poor": None}
    assert picture.groups == ()


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_the_same_comparison_gives_the_same_bytes(report, suffix):
    assert draw(picture_of(report), suffix) == draw(picture_of(report), suffix)


def test_what_simulations_do_not_bear_out_is_marked(run, tmp_path, report):
    assert all(pair.validated for pair in report.pairs)
    assert "≈" not in as_text(report)
    accuracy = compare(read_meeting([run]), "balanced_accuracy")
    assert not any(pair.validated for pair in accuracy.pairs)
    assert as_text(accuracy).count("≈") == len(accuracy.pairs) + 1
    few = write_run(tmp_path / "few", patients=7)
    assert not any(pair.validated for pair in compare(read_meeting([few]), "roc_auc").pairs)
    clear = write_run(tmp_path / "clear", STRENGTHS | {"good": 60.0})
    marked = {(p.first, p.second): p.validated for p in compare(read_meeting([clear]), "roc_auc").pairs}
    assert marked == {("good", "fair"): False, ("good", "poor"): False, ("fair", "poor"): True}


def test_names_of_strangers_stay_inert(report):
    methods = (report.methods[0].model_copy(update={"name": "<b>|x"}), *report.methods[1:])
    pairs = tuple(pair.model_copy(update={"first": "<b>|x"}) for pair in report.pairs[:2])
    text = as_text(report.model_copy(update={"methods": methods, "pairs": pairs}))
    assert "<b>" not in text
    assert r"&lt;b&gt;\|x" in text
