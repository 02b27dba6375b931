"""Pictures of scored runs: what is drawn is what was scored, names stay harmless, bytes stay the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from PIL import Image

from benchmark.board.figures import (
    Scored,
    _pictures,
    draw_patients,
    draw_plots,
    draw_reliability,
    read_scored,
    write_plots,
)
from benchmark.board.rows import score_folder
from benchmark.board.style import STYLE
from benchmark.score.calibration import calibration, reliability_bins
from benchmark.score.metrics import clip_metrics
from benchmark.score.patients import per_patient
from tasks.errors import BadInput

CLIPS, PATIENTS = 4, 9
OWNERS = tuple(f"p{i // CLIPS}" for i in range(CLIPS * PATIENTS))
LABELS = np.arange(CLIPS * PATIENTS) % 2 * 1.0


def scored(method="x3d", shots=(2, 3), seeds=1, **changes):
    random = np.random.default_rng(4)
    noise = random.normal(0, 0.15, (len(shots), seeds, len(LABELS)))
    fields = {
        "run": "run",
        "method": method,
        "data": "clinic",
        "task": "forecast_5s",
        "protocol": "patient_disjoint, 2 episodes a shot, seed 0",
        "doubts": (),
        "shots": shots,
        "scores": np.clip(0.4 + 0.2 * LABELS + noise, 0, 1),
        "labels": LABELS,
        "patients": OWNERS,
    }
    return Scored(**{**fields, **changes})


def drawn(draw, of):
    import matplotlib

    with matplotlib.rc_context(STYLE):
        figure = Figure(layout="constrained")
        draw(figure, of)
        figure.draw_without_rendering()
    return figure


def words(figure):
    texts = [*figure.texts, figure._suptitle, *(t for axes in figure.axes for t in axes.get_xticklabels())]
    return "\n".join([t.get_text() for t in texts] + [axes.get_title(loc="left") for axes in figure.axes])


def test_a_panel_a_number_of_shots_shows_the_bins_and_every_clip():
    of = scored()
    panels = drawn(draw_reliability, of).axes
    assert [panel.get_title(loc="left").split(",")[0] for panel in panels] == ["2 shots", "3 shots"]
    for panel, scores in zip(panels, of.scores, strict=True):
        bins = reliability_bins(scores[0], LABELS)
        assert len(bins) == 4
        lines = panel.get_lines()
        points = [(*line.get_xdata(), *line.get_ydata()) for line in lines if line.get_marker() == "o"]
        assert points == [(b.score, b.share) for b in bins]
        bars = [list(line.get_ydata()) for line in lines if line.get_marker() == "None"][1:]
        assert bars == [[b.low, b.high] for b in bins]
        ticks = {line.get_ydata()[0]: sorted(line.get_xdata()) for line in lines if line.get_marker() == "|"}
        assert ticks == {1.05: sorted(scores[0][LABELS == 1]), -0.05: sorted(scores[0][LABELS == 0])}


def test_slope_and_intercept_stand_over_their_panel_with_what_they_mean():
    of = scored(scores=np.stack([[np.clip(0.5 + 20 * (s - 0.5), 0.001, 0.999)] for s in scored().scores[:, 0]]))
    found = calibration(of.scores[0], LABELS, OWNERS)
    title = " ".join(drawn(draw_reliability, of).axes[0].get_title(loc="left").split())
    slope = found.slope
    assert slope.high < 1
    assert f"slope {slope.value:.2f} [{slope.low:.2f}, {slope.high:.2f}]: scores too extreme" in title
    assert "]: 0 is possible" in title
    assert f"{len(LABELS)} clips of {PATIENTS} patients" in title


def test_what_cannot_be_said_is_told_in_the_picture():
    constant = scored(shots=(2,), scores=np.full((1, 1, len(LABELS)), 0.3))
    title = " ".join(words(drawn(draw_reliability, constant)).split())
    assert "slope: all clips have the same score" in title
    few = [owner < "p3" for owner in OWNERS]
    small = scored(scores=scored().scores[:, :, few], labels=LABELS[few], patients=OWNERS[: sum(few)])
    assert "no interval: it needs 8 patients, there are 3" in " ".join(words(drawn(draw_reliability, small)).split())


def test_of_several_seeds_the_first_is_drawn_and_the_picture_says_so():
    assert "the first of 3 seeds" in " ".join(drawn(draw_reliability, scored(seeds=3))._supxlabel.get_text().split())
    assert "seeds" not in drawn(draw_reliability, scored())._supxlabel.get_text()


def test_every_patient_is_a_circle_at_its_own_figure_and_the_lowest_is_ringed():
    methods = [scored("x3d"), scored("csn", scores=1 - scored().scores)]
    figure = drawn(draw_patients, methods)
    (axes,) = figure.axes
    clouds = [c for c in axes.collections if isinstance(c, PathCollection)]
    rings = [line for line in axes.get_lines() if line.get_markerfacecolor() == "none"]
    for column, of in enumerate(methods):
        figures = [r.roc_auc for r in per_patient(of.scores, of.labels, of.patients)]
        x, y = np.asarray(clouds[column].get_offsets()).T
        assert list(y) == figures
        assert np.all(np.abs(x - column) < 0.5)
        assert list(np.diff(x) > 0) == [True] * (PATIENTS - 1)
        assert rings[column].get_ydata()[0] == min(figures)
    assert "mean of 2, 3 shots" in words(figure)
    assert words(figure).count("lowest: p") == 2


def test_patients_of_one_class_are_counted_as_such():
    labels = np.where(np.array(OWNERS) == "p0", 1.0, LABELS)
    assert "(8 of 9 patients)" in words(drawn(draw_patients, [scored(labels=labels)]))
    nobody = scored(labels=np.ones(len(LABELS)))
    assert "(0 of 9 patients with such a figure)" in words(drawn(draw_patients, [nobody]))


@pytest.mark.parametrize("draw", [draw_reliability, lambda figure, of: draw_patients(figure, [of])])
def test_what_keeps_a_picture_from_being_a_result_stands_in_it(draw):
    figure = drawn(draw, scored(shots=(2, 3, 4), doubts=("rendered data", "random-init", "pre-trained on 3 patients")))
    assert "rendered data, random-init, pre-trained on 3 patients no result" in " ".join(words(figure).split())
    (box,) = [text for text in figure.texts if "no result" in text.get_text()]
    assert box.get_window_extent().y0 > max(axes.get_tightbbox().y1 for axes in figure.axes)
    assert "no result" not in words(drawn(draw, scored()))


@pytest.mark.parametrize("draw", [draw_reliability, lambda figure, of: draw_patients(figure, [of])])
def test_names_from_strangers_are_plain_text_inside_the_page(draw):
    name = "$\\frac{1}{0}$ <b>&\n" + "long " * 30 + "\u4e2d"
    figure = drawn(draw, scored(name, data="$x", patients=tuple(f"${o}_" for o in OWNERS)))
    assert "$" in words(figure)
    assert "\\u4e2d" in "".join(words(figure).split())
    width, height = figure.canvas.get_width_height()
    box = figure._suptitle.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    assert not any(text.get_parse_math() for text in figure.texts)


def test_file_names_are_harmless_and_never_the_same():
    def nothing(figure):
        figure.text(0, 0, "x")

    taken = {}
    for name in ("../../etc/x", "a/b", "a b", "A:B", "", "..."):
        taken |= _pictures(f"reliability-{name}", taken, nothing)
    names = [Path(file) for file in taken]
    assert all(path.name == str(path) and not str(path).startswith(".") for path in names)
    assert len({str(path).lower() for path in names}) == 12
    assert [str(path) for path in names[:4:2]] == ["reliability-..-..-etc-x.png", "reliability-a-b.png"]


def test_a_run_folder_becomes_whole_pictures_with_the_same_bytes_each_time(finished_run, tmp_path):
    first, second = (write_plots([finished_run], tmp_path / name) for name in ("a", "b"))
    assert [path.name.split("-")[0] for path in first] == ["reliability"] * 2 + ["patients"] * 2
    assert [path.suffix for path in first] == [".png", ".svg"] * 2
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes()
    with Image.open(first[0]) as picture:
        assert min(picture.size) > 900
        assert len(set(picture.convert("L").resize((200, 150)).tobytes())) > 5
    assert b"<dc:date>" not in first[1].read_bytes()
    assert sorted((tmp_path / "a").iterdir()) == sorted(first)


def test_runs_are_read_as_they_are_scored(finished_run):
    (of,) = read_scored(finished_run)
    assert of.method == "chance"
    assert of.shots == (1,)
    assert of.scores.shape == (1, 20, len(of.labels))
    table = score_folder(finished_run)[0].methods[0].averaged.metrics["roc_auc"].per_clip.value
    assert np.mean([clip_metrics(of.labels, seed)["roc_auc"] for seed in of.scores[0]]) == pytest.approx(table)


def test_two_runs_have_their_names_on_their_files(finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "other")
    made = write_plots([finished_run, tmp_path / "other"], tmp_path / "out")
    assert [path.name for path in made if "reliability" in path.name] == [
        f"reliability-{run}-chance.{suffix}" for run in ("run", "other") for suffix in ("png", "svg")
    ]
    assert len([path for path in made if "patients" in path.name]) == 2


@pytest.mark.parametrize("other", [{"data": "elsewhere"}, {"task": "detect"}, {"protocol": "any"}, {"shots": (4, 5)}])
def test_only_methods_on_the_same_clips_are_drawn_side_by_side(other):
    def files(methods):
        return [name for name in draw_plots(methods) if name.startswith("patients") and name.endswith("png")]

    assert len(files([scored(), scored("csn", run="second")])) == 1
    assert len(files([scored(), scored("csn", run="second", **other)])) == 2


def test_a_folder_that_cannot_be_written_is_one_sentence(finished_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match=r"^--plots .*file: cannot be written \(.+\); choose another folder$"):
        write_plots([finished_run], tmp_path / "file")


def test_a_folder_that_is_no_run_is_refused_and_nothing_written(tmp_path):
    with pytest.raises(BadInput):
        write_plots([tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
