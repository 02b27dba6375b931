"""The probes: what they leave of a clip, what that can and cannot teach, and that nothing is lost by standing in front.

Two sets of real small videos: one whose seizures are lit more brightly, one whose seizures are a square's way to the
right. The first any still picture tells; the second only a method that sees frames in their order.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from baselines.probes import READERS, Background, FirstFrame, ShuffledTime, background, first_frame, shuffled_time
from benchmark.baseline import Costed, Described, Embeds, Loads, Pretrains, Scale
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, prepare
from benchmark.run.plan import Method, Wanted, plan_methods, plan_units
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.errors import BadInput
from tasks.spec import load_task
from tests.benchmark.run.test_plan import CARD, EPISODE
from tests.conftest import FPS, SIDE, make_data_set

QUIET = Progress(quiet=True)
PROBES = {"probe_first_frame": FirstFrame, "probe_shuffled_time": ShuffledTime, "probe_background": Background}
TINY = Scale("tiny", "random", 3.0)
SHOTS = 4
every_probe = pytest.mark.parametrize("probe", PROBES)
every_reader = pytest.mark.parametrize("reader", READERS)


def clip(views: int = 1, frames: int = 6, side: int = 64, grey: int = 40) -> np.ndarray:
    return np.full((views, frames, side, side, 3), grey, dtype=np.uint8)


def test_first_frame_is_the_first_views_first_everywhere():
    frames = np.arange(2 * 3 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 3, 2, 2, 3)
    assert (first_frame(frames) == np.arange(12, dtype=np.uint8).reshape(2, 2, 3)).all()
    assert first_frame(frames).shape == frames.shape


@given(st.binary(min_size=12, max_size=12), st.integers(1, 3))
def test_shuffling_keeps_every_picture_and_is_the_same_each_time(shades, views):
    frames = np.repeat(np.frombuffer(shades, dtype=np.uint8), 12).reshape(views, 12 // views, 2, 2, 3)
    shuffled = shuffled_time(frames)
    assert shuffled.shape == frames.shape
    assert sorted(shuffled[:, :, 0, 0, 0].ravel()) == sorted(shades)
    np.testing.assert_array_equal(shuffled_time(frames.copy()), shuffled)


def test_the_order_is_drawn_anew_for_each_clip_and_over_all_views():
    one, other = clip(2, 16), clip(2, 16)
    one[..., :] = np.arange(32, dtype=np.uint8).reshape(2, 16, 1, 1, 1)
    other[..., :] = np.arange(100, 132, dtype=np.uint8).reshape(2, 16, 1, 1, 1)
    order, another = shuffled_time(one)[..., 0, 0, 0], shuffled_time(other)[..., 0, 0, 0] - 100
    assert order.ravel().tolist() != list(range(32))
    assert order.ravel().tolist() != another.ravel().tolist()
    assert set(order[0]) != set(range(16))


def test_what_moves_leaves_no_trace_on_an_even_ground():
    frames = clip()
    for t in range(6):
        frames[0, t, 20:30, 10 + 5 * t : 20 + 5 * t] = 220
    np.testing.assert_array_equal(background(frames), clip())


def test_a_background_of_two_halves_stays_and_is_blurred_where_they_meet():
    frames = clip()
    frames[..., 32:, :] = 200
    frames[0, 1, :8, :8] = 120  # moves: in frame 1 alone
    seen = background(frames)
    assert (seen == seen[:, :1]).all()
    # A Gaussian of 4 pixels is cut at 16: further from the border than that, nothing of the other half is left.
    assert (seen[0, 0, 30:, :16] == 40).all()
    assert (seen[0, 0, 30:, 48:] == 200).all()
    # Left and right of the border, colours lie evenly about the middle, 120.
    left, right = seen[0, 0, 40, 31, 0], seen[0, 0, 40, 32, 0]
    assert left < 120 < right
    assert abs(int(left) + int(right) - 240) <= 1


@pytest.mark.parametrize(("change", "still"), [(24, True), (25, False)])
def test_a_pixel_has_moved_if_its_values_lie_more_than_24_apart(change, still):
    frames = clip()
    frames[0, ::2, 20:44, 20:44, 1] += np.uint8(change)
    assert (background(frames)[0, 0, 32, 32, 1] > 45) == still
    assert (background(frames)[..., 0] == 40).all()


@pytest.mark.parametrize(("distance", "masked"), [(4, True), (5, False)])
def test_the_mask_reaches_a_sixteenth_of_the_side_beyond_what_moved(distance, masked):
    frames = clip()
    frames[0, 0, 20:30, 20:30] = 200
    frames[:, :, 29 + distance, 16:34] = 255
    assert (background(frames) == 40).all() == masked


def test_where_nothing_is_still_the_picture_is_grey():
    frames = clip()
    frames[0, ::2] = 200
    assert (background(frames) == 128).all()


def test_the_order_of_frames_is_nothing_to_the_background():
    rng = np.random.default_rng(0)
    frames = (clip(2) + rng.integers(0, 30, (2, 6, 1, 64, 1), dtype=np.uint8)).astype(np.uint8)
    np.testing.assert_array_equal(background(frames[::-1, ::-1]), background(frames))


def lit_room(name: str, seconds: float, seizure: tuple[float, float] | None) -> Iterator[np.ndarray]:
    """A dark square that drifts in a room of its own shade, which is lit up in a seizure."""
    own = zlib.crc32(name.encode())
    for number in range(round(seconds * FPS)):
        t = number / FPS
        lit = 50 if seizure and seizure[0] <= t < seizure[1] else 0
        left = int(14 + 10 * np.sin(t + own / 1e8))
        image = np.full((SIDE, SIDE, 3), 80 + own % 20 + lit, dtype=np.uint8)
        image[16:28, left : left + 12] = 30
        yield image


def drifting_square(name: str, seconds: float, seizure: tuple[float, float] | None) -> Iterator[np.ndarray]:
    """A bright square that goes left, and right in a seizure; each second from anywhere, round and round.

    So it is equally often at each place in both, and only the order of frames tells which way it goes.
    """
    starts = np.random.default_rng(zlib.crc32(name.encode())).random(100)
    for number in range(round(seconds * FPS)):
        t = number / FPS
        second, share = divmod(t, 1)
        way = share if seizure and seizure[0] <= t < seizure[1] else -share
        left = int(SIDE * ((starts[int(second)] + way) % 1))
        image = np.full((SIDE, SIDE, 3), 40, dtype=np.uint8)
        image[16:32, np.arange(left, left + 16) % SIDE] = 220
        yield image


@pytest.fixture(scope="module")
def data_of(tmp_path_factory, cache):
    """The clips of a scene: inside and outside of seizures."""
    made = {}

    def get(scene):
        if scene not in made:
            folder = tmp_path_factory.mktemp("probes")
            fields = {**load_task("detect_ictal").model_dump(), "name": "scene", "window_s": 3.0, "min_gap_s": 4.0}
            (folder / "scene.yaml").write_text(yaml.safe_dump({**fields, "postictal_s": 3.0}))
            manifest = read_manifest(make_data_set(folder / "data", patients=8, rats=0, scene=scene))
            task, protocol = load_task(str(folder / "scene.yaml")), load_protocol("paper", episodes=3)
            made[scene] = TaskData(manifest, task, protocol, 0, open_stores(cache), cache)
        return made[scene]

    return get


def method(name: str, **changes: object) -> Method:
    """A method at the tiny size, by the harness's own planning."""
    asked = [f"{key}={value}" for key, value in changes.items()]
    (planned,) = plan_methods([name], asked, Wanted("tiny", None, 3.0, __file__))  # type: ignore[arg-type]
    return planned


def roc_auc(planned: Method, data: TaskData, cache, episodes: int = 3) -> float:
    """Mean over episodes of 4 clips a class."""
    baseline = prepare(planned, data, Machine("cpu", 1, cache), QUIET, Outcome()).baseline
    found = []
    for episode in draw_episodes(data.pool, data.protocol, SHOTS, 0)[:episodes]:
        baseline.fit(data.support(episode, baseline.input.sampling))
        query = data.query(episode, baseline.input.sampling)
        found.append(roc_auc_score([data.label_of[clip] for clip in query.ids], baseline.predict(query)))
    return float(np.mean(found))


@every_probe
def test_light_that_goes_with_the_label_is_found(probe, data_of, cache):
    assert roc_auc(method(probe), data_of(lit_room), cache) >= 0.95


def test_a_method_that_sees_time_finds_what_only_the_order_of_frames_tells(data_of, cache):
    assert roc_auc(method("x3d", flip="false"), data_of(drifting_square), cache, episodes=1) >= 0.9


@every_probe
def test_behind_a_probe_the_same_method_does_not(probe, data_of, cache):
    behind = method(probe, of="x3d", flip="false")
    assert 0.2 <= roc_auc(behind, data_of(drifting_square), cache, episodes=1) <= 0.75


@every_probe
def test_what_only_the_order_of_frames_tells_is_nothing_to_a_probe_as_it_is(probe, data_of, cache):
    assert 0.25 <= roc_auc(method(probe), data_of(drifting_square), cache) <= 0.75


class Recorder:
    """Keeps what it is shown."""

    def fit(self, support):
        self.learnt_from = support

    def predict(self, query):
        self.asked_about = query
        return np.full(len(query), 0.5)


@every_probe
def test_support_and_query_are_both_altered_and_keep_all_the_rest(probe, data_of):
    data = data_of(drifting_square)
    episode = draw_episodes(data.pool, data.protocol, SHOTS, 0)[0]
    baseline = method(probe).make()
    baseline.inner, sampling = Recorder(), baseline.input.sampling
    support, query = data.support(episode, sampling), data.query(episode, sampling)
    baseline.fit(support)
    baseline.predict(query)
    seen = baseline.inner.learnt_from, baseline.inner.asked_about
    assert [clips.alterations for clips in seen] == [(PROBES[probe].alteration,)] * 2
    assert [clips.ids for clips in seen] == [support.ids, query.ids]
    assert (seen[0].labels.tolist(), seen[0].seed) == (support.labels.tolist(), support.seed)


@every_probe
def test_features_of_altered_clips_and_of_the_clips_themselves_never_mix(probe, data_of, cache, tmp_path):
    data = data_of(drifting_square)
    episode = draw_episodes(data.pool, data.protocol, SHOTS, 0)[0]

    def answer(name, where):
        stores = type(data.stores)(data.stores.frames, open_stores(where).features)
        here = type(data)(**{**vars_of(data), "stores": stores})
        baseline = prepare(method(name), here, Machine("cpu", 1, cache), QUIET, Outcome()).baseline
        baseline.fit(here.support(episode, baseline.input.sampling))
        return baseline.predict(here.query(episode, baseline.input.sampling))

    alone = answer("linear_probe", tmp_path / "a"), answer(probe, tmp_path / "b")
    together = answer("linear_probe", tmp_path / "c"), answer(probe, tmp_path / "c")
    np.testing.assert_array_equal(together, alone)
    assert not np.array_equal(*together)


def vars_of(data: TaskData) -> dict[str, object]:
    return {name: getattr(data, name) for name in TaskData.__dataclass_fields__}


@every_probe
@every_reader
def test_a_probe_can_what_its_reader_can_but_keeps_no_features(probe, reader):
    inner = READERS[reader]
    planned = method(probe, of=reader)
    assert planned.adapter.inits == inner.inits
    assert issubclass(planned.adapter.Settings, inner.Settings)
    one, other = planned.make(), inner(inner.Settings(), TINY)
    for capability in (Loads, Pretrains, Costed):
        assert isinstance(one, capability) == isinstance(other, capability)
    assert isinstance(one, Described)
    assert not isinstance(one, Embeds)
    assert one.input == other.input
    if isinstance(other, Costed):
        assert one.episode_flop(4, 20) == other.episode_flop(4, 20)
        assert one.setup_flop(10) == other.setup_flop(10)
    if isinstance(other, Pretrains):
        assert (one.mix, one.stage1_settings, one.stage1_key) == (other.mix, other.stage1_settings, other.stage1_key)


@every_reader
def test_a_probe_starts_from_the_weights_that_its_reader_starts_from(reader):
    inner = READERS[reader]
    for init in inner.inits:
        base = Scale("base", init, 5.0)
        adapter = Background.chosen({"of": reader})
        assert adapter(adapter.Settings(of=reader), base).published == inner(inner.Settings(), base).published


def test_a_row_says_who_reads_and_with_which_settings():
    (planned,) = plan_methods(["probe_background"], ["of=x3d", "variant=s"], Wanted("tiny", None, 3.0, __file__))  # type: ignore[arg-type]
    unit = plan_units([planned], [EPISODE], CARD)[0][1]
    assert unit.method == "probe_background(of=x3d, variant=s)"
    assert (unit.size, unit.init) == ("tiny", "random")
    bare = plan_units([method("probe_background", of="motion_features")], [EPISODE], CARD)[0][1]
    assert (bare.method, bare.size, bare.init) == ("probe_background(of=motion_features)", "-", "-")
    default = plan_units([method("probe_background")], [EPISODE], CARD)[0][1]
    assert default.method == "probe_background"


def test_of_can_be_said_to_one_probe_alone_and_the_last_word_counts():
    names = ["probe_first_frame", "probe_background", "x3d"]
    asked = ["of=csn", "of=x3d", "probe_background.of=motion_features"]
    methods = plan_methods(names, asked, Wanted("tiny", None, 3.0, __file__))  # type: ignore[arg-type]
    assert [planned.settings.model_dump().get("of") for planned in methods] == ["x3d", "motion_features", None]


@pytest.mark.parametrize("asked", ["of=chance", "of=probe_background", "of=3"])
def test_what_cannot_read_is_refused_with_the_names_of_those_that_can(asked):
    with pytest.raises(BadInput, match=r"--set for probe_first_frame: .*of.*linear_probe.*cnn_lstm"):
        plan_methods(["probe_first_frame"], [asked], Wanted("tiny", None, 3.0, __file__))  # type: ignore[arg-type]


def test_stage_1_is_the_readers_own_trained_on_clips_that_nobody_altered(data_set, short_task, tmp_path):
    protocol = load_protocol("patient_disjoint", episodes=1)
    data = TaskData(read_manifest(data_set), load_task(short_task), protocol, 0, open_stores(tmp_path), tmp_path)

    def checkpoints(planned):
        prepare(planned, data, Machine("cpu", 1, tmp_path), QUIET, Outcome())
        return {path: path.stat().st_mtime_ns for path in (tmp_path / "stage1").glob("*/model.safetensors")}

    trained = checkpoints(method("zero_shot", stage1_epochs=1))
    assert len(trained) == 1
    assert checkpoints(method("probe_background", of="zero_shot", stage1_epochs=1)) == trained
