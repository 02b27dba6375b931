"""Training of stage 1: what a step sees, and that neither processes, parts, workers nor kills change the outcome."""

from __future__ import annotations

import csv
import multiprocessing
import pickle
import random
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import VideoMAEForPreTraining

from baselines.videomae.agenda import Agenda, ClipSource, Share, Steps, split_held_out
from baselines.videomae.encoder import pretraining_network, videomae_input
from baselines.videomae.pretrain import Stage1Settings, train
from benchmark.baseline import Context, Scale, Site
from benchmark.data.clips import open_stores
from benchmark.data.manifest import read_manifest
from benchmark.data.mixes import load_mix
from benchmark.data.stage1 import pretrain_clips
from benchmark.files import sha256_of
from benchmark.progress import Progress
from tasks.errors import BadInput

TINY = Scale("tiny", "random", 3.0)
WANTED = videomae_input(TINY, "several")
QUIET = Progress(quiet=True)
KILLS = 10


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def clips(data_set, cache):
    """Four windows of two rats."""
    mix = load_mix("+R(Y/N)")
    return pretrain_clips(read_manifest(data_set), mix, 0, WANTED.sampling, open_stores(cache), cache, 1, QUIET)[0]


class Terminated(Exception):
    """What SIGTERM does in a test."""


def trained(clips, folder, site=None, progress=QUIET, **changes):
    """Two clips a step, two steps an epoch; facts for the card."""
    torch.set_num_threads(1)
    settings = Stage1Settings(**{"stage1_epochs": 3, "stage1_batch_size": 2, "stage1_lr": 1e-3, **changes})
    folder.mkdir(parents=True, exist_ok=True)
    context = Context(0, "cpu", 1, folder, None, unasked, unasked, progress)
    return train(pretraining_network(TINY, None, 0), clips, settings, WANTED, context, site or Site(folder))


def unasked(*_):
    raise AssertionError("training asks for nothing more")


def curve(folder):
    with (folder / "losses.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file) if row["loss"]]


def column(folder, name):
    with (folder / "losses.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


counts = st.integers(1, 40)


@given(clips=counts, batch_size=counts, epochs=st.integers(1, 3), seed=st.integers(0, 9))
def test_an_epoch_trains_on_each_clip_once(clips, batch_size, epochs, seed):
    agenda = Agenda(tuple(range(100, 100 + clips)), epochs, batch_size, seed)
    seen = [agenda.at(step) for step in range(agenda.steps)]
    for epoch in range(epochs):
        samples = np.concatenate([samples for of, samples in seen if of == epoch])
        assert sorted(samples) == list(range(100, 100 + clips))
    assert all(len(samples) <= batch_size for _, samples in seen)
    before = np.cumsum([0, *(len(samples) for _, samples in seen)])
    assert [agenda.clips_before(step) for step in range(agenda.steps + 1)] == before.tolist()


def test_epochs_and_seeds_have_orders_of_their_own():
    orders = [tuple(Agenda(tuple(range(50)), 2, 50, seed).at(epoch)[1].tolist()) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4


@given(clips=counts, processes=st.integers(1, 5), parts=st.integers(1, 3), fixed=st.booleans())
def test_all_shares_together_are_the_mean_over_the_step(clips, processes, parts, fixed):
    """Whatever the number of clips: each counts 1 / clips in all, fillers nothing, and no part is empty."""
    size = -(-clips // (processes * parts)) if fixed else None
    weight_of = dict.fromkeys(range(clips), 0.0)
    for process in range(processes):
        mine = Share(process, processes, parts, size).of(np.arange(clips))
        assert len(mine) == parts
        for samples, weights in mine:
            assert len(samples) == len(weights) >= 1
            assert size is None or len(samples) == size
            for sample, weight in zip(samples.tolist(), weights.tolist(), strict=True):
                weight_of[sample] += weight
    np.testing.assert_allclose(list(weight_of.values()), 1 / clips, rtol=1e-6)


@given(count=st.integers(1, 60), share=st.floats(0, 0.9), seed=st.integers(0, 9))
def test_held_out_clips_are_never_trained_on(count, share, seed):
    training, watched = split_held_out(count, share, seed)
    assert sorted([*training, *watched]) == list(range(count))
    assert len(watched) == round(share * count)


def test_masks_and_views_follow_from_seed_epoch_and_clip_alone(clips):
    """Two processes see together exactly what one sees, in the same order."""
    source = ClipSource(clips, 0.3, 8, 16, 5)
    agenda = Agenda((0, 1, 2, 3), 2, 4, 5)
    for step in range(agenda.steps):
        ((frames, masked, _),) = Steps(source, agenda, Share(0, 1, 1, None))[step]
        halves = [Steps(source, agenda, Share(process, 2, 1, None))[step][0] for process in (0, 1)]
        assert torch.equal(masked, torch.cat([half[1] for half in halves]))
        assert torch.equal(frames, torch.cat([half[0] for half in halves]))
        assert (masked.sum(dim=1) == 8 * int(0.3 * 16)).all()
    first, second = (Steps(source, agenda, Share(0, 1, 1, None))[step][0] for step in (0, 1))
    assert not torch.equal(first[1], second[1])
    held_out = [source.held_out(0)[1].tobytes() for _ in range(2)]
    assert held_out[0] == held_out[1] != source.training(0, 0)[1].tobytes()


def test_accumulation_changes_the_curve_by_rounding_alone(clips, tmp_path):
    trained(clips, tmp_path / "whole", stage1_batch_size=4)
    trained(clips, tmp_path / "parts", stage1_batch_size=4, stage1_accumulation=3)  # parts of 2, 1 and 1 clips
    np.testing.assert_allclose(curve(tmp_path / "parts"), curve(tmp_path / "whole"), atol=1e-5)


def test_reading_ahead_changes_no_bit(clips, tmp_path):
    for workers in (0, 2):
        trained(clips, tmp_path / str(workers), Site(tmp_path / str(workers), workers=workers))
    assert sha256_of(tmp_path / "0" / "model.safetensors") == sha256_of(tmp_path / "2" / "model.safetensors")


def test_checkpointing_changes_no_bit(clips, tmp_path):
    for again in (False, True):
        trained(clips, tmp_path / str(again), stage1_checkpointing=again)
    assert curve(tmp_path / "False") == curve(tmp_path / "True")


def test_rate_climbs_and_falls_as_asked_and_is_the_papers_by_default(clips, tmp_path):
    trained(clips, tmp_path / "plain", stage1_lr=1e-4)
    assert column(tmp_path / "plain", "lr") == [1e-4] * 6
    trained(clips, tmp_path / "cosine", stage1_lr=1e-4, stage1_warmup=0.5, stage1_schedule="cosine")
    third = 1 / 3
    expected = [0.01, third, 2 * third, 1, (1 + np.cos(np.pi / 3)) / 2, (1 + np.cos(2 * np.pi / 3)) / 2]
    np.testing.assert_allclose(column(tmp_path / "cosine", "lr"), 1e-4 * np.array(expected), rtol=1e-9)


def test_bfloat16_trains_on_a_cpu_and_is_not_float32(clips, tmp_path):
    facts = trained(clips, tmp_path / "bf16", stage1_precision="bf16")
    trained(clips, tmp_path / "fp32")
    assert facts["precision"] == "bf16"
    short, full = curve(tmp_path / "bf16"), curve(tmp_path / "fp32")
    assert short != full
    np.testing.assert_allclose(short, full, rtol=0.02)


def test_held_out_loss_is_watched_before_and_after_every_epoch_and_falls(clips, tmp_path):
    facts = trained(clips, tmp_path, stage1_held_out=0.25, stage1_epochs=8)
    assert [step for step, _ in facts["held_out"]] == list(range(0, 17, 2))
    assert facts["held_out"][-1][1] < facts["held_out"][0][1]
    assert len(facts["held_out_clips"]) == 1


def test_periodic_checkpoints_load_in_plain_transformers_and_all_but_the_kept_go(clips, tmp_path):
    trained(clips, tmp_path, Site(tmp_path, save_every_s=0, keep=2))
    kept = sorted((tmp_path / "checkpoints").iterdir())
    assert [path.name for path in kept] == ["step-00000004", "step-00000005"]
    networks = [VideoMAEForPreTraining.from_pretrained(path) for path in (*kept, tmp_path)]
    weights = [network.state_dict()["decoder.head.weight"] for network in networks]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_beside_the_result_the_newest_checkpoint_stays_until_the_harness_has_its_card(clips, tmp_path):
    trained(clips, tmp_path, Site(tmp_path, save_every_s=0))
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000005"]
    assert {path.name for path in tmp_path.iterdir()} == {
        *("checkpoints", "config.json", "model.safetensors", "losses.csv", "losses.png"),
    }


def test_only_clips_that_may_be_shown_are_in_the_picture(clips, tmp_path):
    trained(clips, tmp_path / "one", Site(tmp_path / "one", shown=(2,)), stage1_epochs=1)
    trained(clips, tmp_path / "three", Site(tmp_path / "three", shown=(0, 1, 2)), stage1_epochs=1)
    one, three = ((tmp_path / name / "reconstruction.png").read_bytes() for name in ("one", "three"))
    height = [int.from_bytes(png[20:24], "big") for png in (one, three)]
    assert height[1] == 3 * height[0]


def test_tensorboard_gets_each_loss(clips, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(clips, tmp_path, Site(tmp_path, tracker="tensorboard"))
    events = EventAccumulator(str(next(tmp_path.rglob("events.out.*")).parent)).Reload()
    np.testing.assert_allclose([event.value for event in events.Scalars("loss")], curve(tmp_path), rtol=1e-6)


def test_a_tracker_that_is_not_installed_is_named(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("baselines.videomae.pretrain.find_spec", lambda name: None)
    with pytest.raises(BadInput, match="--track wandb: it is not installed here; `pip install wandb`"):
        trained(clips, tmp_path, Site(tmp_path, tracker="wandb"))


def test_a_loss_that_is_no_number_ends_in_a_sentence(clips, tmp_path):
    network = pretraining_network(TINY, None, 0)
    with torch.no_grad():
        network.mask_token.fill_(torch.inf)
    context = Context(0, "cpu", 1, tmp_path, None, unasked, unasked, QUIET)
    with pytest.raises(BadInput, match=r"the loss of step 0 is nan; lower stage1_lr"):
        train(network, clips, Stage1Settings(stage1_epochs=1), WANTED, context, Site(tmp_path))


def test_nothing_left_to_train_on_is_refused(clips, tmp_path):
    with pytest.raises(BadInput, match="leaves no clip to train on"):
        trained(clips, tmp_path, stage1_held_out=0.99)


def checkpoints(folder):
    return sorted((folder / "checkpoints").glob("step-*"))


def test_killed_at_10_random_steps_ends_with_the_same_weights_bit_for_bit(clips, tmp_path):
    epochs = 30
    trained(clips, tmp_path / "undisturbed", stage1_epochs=epochs)
    moments = sorted(random.Random(3).sample(range(1, 55), KILLS))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.baselines.videomae.test_pretrain", "accelerate", "matplotlib.figure"])
    folder, kills = tmp_path / "killed", 0
    for moment in moments:
        site = Site(folder, save_every_s=0)
        process = context.Process(target=trained, args=(clips, folder, site), kwargs={"stage1_epochs": epochs})
        process.start()
        while process.is_alive() and not (checkpoints(folder) and int(checkpoints(folder)[-1].name[5:]) >= moment):
            time.sleep(0.001)
        process.kill()
        process.join()
        kills += process.exitcode == -9
        assert not (folder / "model.safetensors").exists()
    assert kills == KILLS
    trained(clips, folder, Site(folder, save_every_s=0), stage1_epochs=epochs)
    assert curve(folder) == curve(tmp_path / "undisturbed")
    assert sha256_of(folder / "model.safetensors") == sha256_of(tmp_path / "undisturbed" / "model.safetensors")


class Stopping(Progress):
    """Sends this process a signal when 6 clips are done."""

    def __init__(self, number):
        super().__init__(quiet=True)
        self.number = number

    @contextmanager
    def track(self, what, total):
        yield lambda done: signal.raise_signal(self.number) if done == 6 else None


@pytest.mark.parametrize(("number", "end"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_a_signal_waits_for_the_end_of_a_step_saves_it_and_nothing_is_lost(clips, tmp_path, number, end):
    """Clip 6 ends step 3; the next step is finished, then it is saved, long before a checkpoint is due."""

    def terminate(*_):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(end):
            trained(clips, tmp_path / "stopped", Site(tmp_path / "stopped", save_every_s=3600), Stopping(number))
    finally:
        assert signal.signal(signal.SIGTERM, before) is terminate
    assert [path.name for path in checkpoints(tmp_path / "stopped")] == ["step-00000004"]
    assert not (tmp_path / "stopped" / "model.safetensors").exists()
    for name in ("stopped", "undisturbed"):
        trained(clips, tmp_path / name)
    assert curve(tmp_path / "stopped") == curve(tmp_path / "undisturbed")
    first, second = (sha256_of(tmp_path / name / "model.safetensors") for name in ("stopped", "undisturbed"))
    assert first == second


def interrupted(clips, folder):
    """A folder that holds the checkpoints of a training whose end is missing."""
    trained(clips, folder, Site(folder, save_every_s=0, keep=1))
    (folder / "model.safetensors").unlink()
    return checkpoints(folder)[-1]


def test_a_damaged_state_is_refused_by_name_and_nothing_in_it_is_run(clips, tmp_path):
    saved = interrupted(clips, tmp_path / "cut")
    (saved / "training.pt").write_bytes((saved / "training.pt").read_bytes()[:1000])
    with pytest.raises(BadInput, match=r"training\.pt: cannot be gone on from"):
        trained(clips, tmp_path / "cut")

    saved, marker = interrupted(clips, tmp_path / "bomb"), tmp_path / "executed"

    class Bomb:
        def __reduce__(self):
            return Path.touch, (marker,)

    (saved / "training.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
    with pytest.raises(BadInput, match=r"training\.pt: cannot be gone on from"):
        trained(clips, tmp_path / "bomb")
    assert not marker.exists()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_trains_on_the_same_masks(clips, tmp_path, precision):
    settings = Stage1Settings(stage1_epochs=3, stage1_batch_size=2, stage1_lr=1e-3, stage1_precision=precision)
    context = Context(0, "cuda", 1, tmp_path, None, unasked, unasked, QUIET)
    train(pretraining_network(TINY, None, 0), clips, settings, WANTED, context, Site(tmp_path))
    trained(clips, tmp_path / "cpu")
    np.testing.assert_allclose(curve(tmp_path), curve(tmp_path / "cpu"), rtol=2e-2)
