"""Fine-tuning really learns: a bright square that sweeps to the right in a seizure and to the left otherwise.

Real videos, the harness's own episodes of 4 clips a class, every trained adapter as it is at --size tiny, but for the
mirroring: in a mirror, right is left.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import yaml
from sklearn.metrics import balanced_accuracy_score

from baselines.common.finetune import FineTuned
from benchmark import registry
from benchmark.baseline import Scale
from benchmark.data.dataset import Support, TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, prepare
from benchmark.run.plan import Method
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.spec import load_task
from tests.conftest import make_data_set, sweeping_square

TRAINED = [name for name in registry.entries() if issubclass(registry.load(name), FineTuned)]
QUIET = Progress(quiet=True)
SHOTS, EPISODES = 4, 3


@pytest.fixture(scope="module")
def data(tmp_path_factory, cache):
    folder = tmp_path_factory.mktemp("squares")
    fields = {**load_task("detect_ictal").model_dump(), "name": "squares", "window_s": 3.0, "min_gap_s": 4.0}
    (folder / "squares.yaml").write_text(yaml.safe_dump({**fields, "postictal_s": 3.0}))
    manifest = read_manifest(make_data_set(folder / "data", patients=8, scene=sweeping_square))
    task, protocol = load_task(str(folder / "squares.yaml")), load_protocol("paper", episodes=EPISODES)
    return TaskData(manifest, task, protocol, 0, open_stores(cache), cache)


@pytest.fixture(scope="module", params=TRAINED)
def adapter(request, data, cache):
    """An adapter that is set up, with all its defaults."""
    kind = registry.load(request.param)
    short = {"stage1_epochs": 1} if "stage1_epochs" in kind.Settings.model_fields else {}
    method = Method(request.param, kind, kind.Settings(flip=False, **short), Scale("tiny", "random", 3.0))
    return prepare(method, data, Machine("cpu", 1, cache), QUIET, Outcome()).baseline


def half_swapped(support: Support) -> Support:
    """Labels that say nothing: of the clips of each class, half are called by the other's name."""
    labels = support.labels.copy()
    for label in (0, 1):
        labels[np.flatnonzero(support.labels == label)[: SHOTS // 2]] = 1 - label
    return replace(support, labels=labels)


def accuracies(adapter, data, change=lambda support: support):
    """Balanced accuracy at 0.5 in each episode."""
    found = []
    for episode in draw_episodes(data.pool, data.protocol, SHOTS, 0):
        adapter.fit(change(data.support(episode, adapter.input.sampling)))
        query = data.query(episode, adapter.input.sampling)
        found.append(balanced_accuracy_score([data.label_of[clip] for clip in query.ids], adapter.predict(query) > 0.5))
    return found


def test_an_obvious_cue_is_learnt_from_four_clips_a_class(adapter, data):
    assert np.mean(accuracies(adapter, data)) >= 0.9


def test_labels_that_say_nothing_teach_nothing(adapter, data):
    assert 0.3 <= np.mean(accuracies(adapter, data, half_swapped)) <= 0.7
