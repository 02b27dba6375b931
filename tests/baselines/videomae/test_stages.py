"""Both stages on the small data set: they learn, they repeat, and what they write can be loaded by anyone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import VideoMAEForPreTraining

from baselines.common.batches import to_batch
from baselines.common.finetune import FineTuner, FinetuneSettings
from baselines.common.weights import digest_of_state
from baselines.videomae.encoder import ClipClassifier, initial_encoder, pretraining_network, videomae_input
from baselines.videomae.masking import tube_mask
from baselines.videomae.xspecies import CrossSpeciesVideoMAE
from benchmark.baseline import Scale
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
from benchmark.run.execute import Machine, Outcome, prepare
from benchmark.run.plan import Method
from benchmark.run.stage1 import read_card
from protocols.episodes import draw_episodes
from protocols.spec import load_protocol
from tasks.spec import load_task

TINY = Scale("tiny", "random", 3.0)
QUIET = Progress(quiet=True)
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(autouse=True)
def _one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data(data_set, short_task, cache):
    spec = load_protocol("patient_disjoint", episodes=2)
    return TaskData(read_manifest(data_set), load_task(short_task), spec, 0, open_stores(cache), cache)


def trained(data, cache, seed=0, **changes):
    """The checkpoint that a run of the paper's method leaves in its cache."""
    settings = CrossSpeciesVideoMAE.Settings(**{"stage1_epochs": 3, "stage1_lr": 1e-3, **changes})
    method = Method("xspecies_videomae", CrossSpeciesVideoMAE, settings, TINY)
    before = set(cache.glob("stage1/*/stage1.json"))
    prepare(method, replace(data, seed=seed), Machine("cpu", 1, cache), QUIET, Outcome())
    (card,) = set(cache.glob("stage1/*/stage1.json")) - before or before
    return card.parent


def weights_of(folder):
    return (folder / "model.safetensors").read_bytes()


def test_stage_1_learns_and_its_checkpoint_loads_in_plain_transformers(data, tmp_path):
    folder = trained(data, tmp_path, stage1_epochs=8)
    training = read_card(folder).training
    assert training["loss_last_epoch"] < training["loss_first_epoch"]
    network = VideoMAEForPreTraining.from_pretrained(folder)
    assert network.config.hidden_size == 192


def test_stage_1_uses_the_set_aside_recordings_alone(data, tmp_path):
    card = read_card(trained(data, tmp_path))
    assert {subject for _, _, subject in card.declaration.subjects} == {"m0", "m1"}
    assert all(clip.startswith("m") for clip in card.clips)


def test_stage_1_repeats_bit_for_bit_and_follows_its_seed(data, tmp_path):
    first, again, other = (trained(data, tmp_path / str(n), seed) for n, seed in enumerate((0, 0, 1)))
    assert weights_of(first) == weights_of(again) != weights_of(other)


def test_stage_1_is_found_again_and_other_settings_are_another_checkpoint(data, tmp_path):
    first = trained(data, tmp_path)
    stamp = (first / "model.safetensors").stat().st_mtime_ns
    assert trained(data, tmp_path) == first
    assert trained(data, tmp_path, pool="first") == first  # pooling is no part of stage 1
    assert (first / "model.safetensors").stat().st_mtime_ns == stamp
    assert trained(data, tmp_path, mask_ratio=0.75) != first


def test_the_base_mix_trains_nothing_and_is_the_network_as_it_was(data, tmp_path):
    settings = CrossSpeciesVideoMAE.Settings(mix="base")
    method = Method("xspecies_videomae", CrossSpeciesVideoMAE, settings, TINY)
    ready = prepare(method, data, Machine("cpu", 1, tmp_path), QUIET, Outcome())
    assert not list(tmp_path.glob("stage1/*"))
    assert ready.baseline.start == digest_of_state(initial_encoder(TINY, None, 0, "mean").state_dict())
    assert ready.checks == {}


def test_loss_is_the_squared_error_on_masked_patches_alone(data):
    """Recomputed by hand from the network's own reconstruction, without patch normalisation."""
    network = pretraining_network(TINY, None, 0)
    network.config.norm_pix_loss = False
    wanted = videomae_input(TINY, "several")
    frames = data.pretraining(wanted.sampling, "+R(Y/N)", 1, QUIET)[0].frames()[0][0]
    batch = to_batch([frames], wanted, "cpu")
    mask = tube_mask(0.3, 8, 16, 0, 0, 0)
    with torch.inference_mode():
        out = network(batch, torch.from_numpy(mask)[None])
    pixels = frames.astype(np.float32) / 255
    patches = pixels.reshape(8, 2, 4, 16, 4, 16, 3).transpose(0, 2, 4, 1, 3, 5, 6).reshape(128, 2 * 16 * 16 * 3)
    error = (out.logits[0].numpy() - patches[mask]) ** 2
    assert out.loss.item() == pytest.approx(error.mean(), rel=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_fine_tuning_fits_its_support_and_starts_afresh_each_time(data, device):
    wanted = videomae_input(TINY, "last")
    data.decode_pool(wanted.sampling, 1, QUIET)
    settings = FinetuneSettings(epochs=40, lr=1e-3, smallest_crop=1, flip=False)
    tuner = FineTuner(ClipClassifier(initial_encoder(TINY, None, 0, "mean")), wanted, settings, TINY, device)
    before = {name: value.clone() for name, value in tuner.start.items()}
    for episode in draw_episodes(data.pool, data.protocol, 2, 0):
        support = data.support(episode, wanted.sampling)
        tuner.fit(support)
        scores = tuner.predict(support)
        assert scores[support.labels == 1].min() > scores[support.labels == 0].max()
    assert all(torch.equal(tuner.start[name].cpu(), before[name].cpu()) for name in before)
    trained_weights = tuner.network.state_dict()
    assert all(not torch.equal(trained_weights[n], before[n]) for n in before if n.endswith("dense.weight"))


def test_evaluation_batch_size_changes_scores_by_less_than_1e_5(data):
    wanted = videomae_input(TINY, "several")
    data.decode_pool(wanted.sampling, 1, QUIET)
    network = ClipClassifier(initial_encoder(TINY, None, 0, "mean"))
    query = data.query(draw_episodes(data.pool, data.protocol, 2, 0)[0], wanted.sampling)
    by_size = [
        FineTuner(network, wanted, FinetuneSettings(epochs=0), TINY, "cpu", n).predict(query) for n in (1, 5, 64)
    ]
    assert by_size[0].shape == (len(query),)
    np.testing.assert_allclose(by_size[0], by_size[1], atol=1e-5)
    np.testing.assert_allclose(by_size[0], by_size[2], atol=1e-5)


@pytest.mark.gpu
def test_gpu_scores_agree_with_the_cpu_within_the_stated_tolerance(data):
    wanted = videomae_input(TINY, "last")
    data.decode_pool(wanted.sampling, 1, QUIET)
    network = ClipClassifier(initial_encoder(TINY, None, 0, "mean"))
    query = data.query(draw_episodes(data.pool, data.protocol, 2, 0)[0], wanted.sampling)
    on_cpu, on_gpu = (FineTuner(network, wanted, FinetuneSettings(), TINY, d).predict(query) for d in ("cpu", "cuda"))
    np.testing.assert_allclose(on_cpu, on_gpu, atol=2e-2)  # bfloat16 keeps 8 bits
