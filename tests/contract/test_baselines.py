"""What every registered method must do, ours and everybody else's. Run for one: pytest tests/contract -k NAME."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import registry
from benchmark.baseline import BaselineSettings, Costed, Embeds, Scale
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, prepare
from benchmark.run.plan import Method
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.spec import load_task

QUICK = {"epochs": 2, "stage1_epochs": 1, "lr": 1e-3}
SCALE = Scale(size="tiny", init="random", window_s=3.0)

every_method = pytest.mark.parametrize("name", sorted(registry.entries()))


@pytest.fixture(scope="module")
def data(data_set, short_task, cache):
    spec = load_protocol("patient_disjoint", episodes=3)
    return TaskData(read_manifest(data_set), load_task(short_task), spec, 0, open_stores(cache), cache)


@pytest.fixture(scope="module")
def episodes(data):
    return draw_episodes(data.pool, data.protocol, 2, 0)


@pytest.fixture(scope="module")
def ready(data, cache):
    """Adapters by name, each set up once with quick settings."""
    made = {}

    def get(name):
        if name not in made:
            adapter = registry.load(name)
            quick = {key: value for key, value in QUICK.items() if key in adapter.Settings.model_fields}
            method = Method(name, adapter, adapter.Settings(**quick), SCALE)
            made[name] = set_up(method, data, cache)
        return made[name]

    return get


def set_up(method, data, cache):
    return prepare(method, data, Machine("cpu", 1, cache), Progress(quiet=True), Outcome()).baseline


def sampling_of(baseline):
    return baseline.input.sampling if baseline.input else None


def answer(baseline, data, episode):
    baseline.fit(data.support(episode, sampling_of(baseline)))
    return np.atleast_2d(baseline.predict(data.query(episode, sampling_of(baseline))))


@every_method
def test_scores_are_one_finite_number_in_0_1_for_each_clip(name, ready, data, episodes):
    scores = answer(ready(name), data, episodes[0])
    assert scores.shape[1] == len(episodes[0].query)
    assert np.isfinite(scores).all()
    assert 0 <= scores.min() <= scores.max() <= 1


@every_method
def test_same_episode_gives_the_same_bits_whatever_was_fitted_before(name, ready, data, episodes):
    baseline = ready(name)
    first = answer(baseline, data, episodes[0])
    answer(baseline, data, episodes[1])
    answer(baseline, data, episodes[2])
    np.testing.assert_array_equal(answer(baseline, data, episodes[0]), first)


@every_method
def test_a_fresh_adapter_gives_the_same_bits(name, ready, data, episodes, cache):
    baseline = ready(name)
    again = set_up(Method(name, type(baseline), baseline_settings(baseline), SCALE), data, cache)
    np.testing.assert_array_equal(answer(again, data, episodes[1]), answer(baseline, data, episodes[1]))


def baseline_settings(baseline):
    quick = {key: value for key, value in QUICK.items() if key in baseline.Settings.model_fields}
    return baseline.Settings(**quick)


@every_method
def test_each_clip_is_scored_apart_from_the_rest_of_the_query(name, ready, data, episodes):
    """A method that normalises by the query, or ranks it, learns from what it is asked about."""
    baseline, episode = ready(name), episodes[0]
    whole = answer(baseline, data, episode)
    part = data.query(type(episode)(episode.protocol, 2, 0, episode.support, episode.query[3:5]), sampling_of(baseline))
    np.testing.assert_allclose(np.atleast_2d(baseline.predict(part)), whole[:, 3:5], atol=1e-5)


@every_method
def test_query_shows_no_label_and_no_patient(name, ready, data, episodes):
    query = data.query(episodes[0], sampling_of(ready(name)))
    assert not {"labels", "label", "subject_id", "subjects"} & set(dir(query))
    assert not {"label", "subject_id", "gap_to_next_onset_s", "rule_id"} & set(query.facts)


@every_method
def test_settings_are_frozen_typed_and_refuse_unknown_keys(name):
    adapter = registry.load(name)
    assert issubclass(adapter.Settings, BaselineSettings)
    with pytest.raises(ValueError, match="no_such_key"):
        adapter.Settings(no_such_key=1)


@every_method
def test_a_method_that_tells_its_cost_can_tell_it_before_setup(name):
    adapter = registry.load(name)
    baseline = adapter(adapter.Settings(), SCALE)
    if isinstance(baseline, Costed):
        assert baseline.episode_flop(4, 10) > 0
        assert baseline.setup_flop(10) >= 0


@every_method
def test_summary_is_one_sentence(name):
    assert 10 <= len(registry.entries()[name].summary) <= 120


@every_method
def test_features_do_not_depend_on_the_batch(name, ready, data, episodes):
    baseline = ready(name)
    if not isinstance(baseline, Embeds):
        assert not hasattr(baseline, "embed"), "embed needs its embedding_key, or the harness cannot keep features"
        return
    frames = data.query(episodes[0], sampling_of(baseline)).frames()[:3]
    together = baseline.embed(frames)
    apart = np.concatenate([baseline.embed([clip]) for clip in frames])
    np.testing.assert_allclose(together, apart, atol=1e-4)
    assert together.dtype == np.float32
