"""Both stages on the small data set: they learn, they repeat, and what they write can be loaded by anyone."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import VideoMAEForPreTraining

from baselines.common.finetune import FineTuner, FinetuneSettings
from baselines.videomae import pretrain as stage1
from baselines.videomae.encoder import ClipClassifier, initial_encoder, videomae_input
from benchmark.baseline import Context, Scale
from benchmark.data.dataset import TaskData, open_stores
from benchmark.data.manifest import read_manifest
from benchmark.progress import Progress
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


@pytest.fixture
def context(data, tmp_path):
    return Context(
        seed=0,
        device="cpu",
        threads=1,
        cache=tmp_path,
        weights=None,
        pretraining=lambda sampling: data.pretraining(sampling, 1, QUIET)[0],
        progress=QUIET,
    )


def trained(context, **changes):
    settings = stage1.Stage1Settings(**{"stage1_epochs": 3, "stage1_lr": 1e-3, **changes})
    return stage1.pretrained(settings, TINY, context)


def test_stage_1_learns_and_its_checkpoint_loads_in_plain_transformers(context):
    checkpoint = trained(context, stage1_epochs=8)
    losses = json.loads((checkpoint.folder / "stage1.json").read_text())["losses"]
    assert losses[-1] < losses[0]
    network = VideoMAEForPreTraining.from_pretrained(checkpoint.folder)
    assert network.config.hidden_size == 192


def test_stage_1_uses_the_set_aside_recordings_alone(context):
    card = json.loads((trained(context).folder / "stage1.json").read_text())
    assert card["subjects"] == ["m0", "m1"]
    assert all(clip.startswith("m") for clip in card["clips"])


def test_stage_1_repeats_bit_for_bit_and_follows_its_seed(context, tmp_path):
    first = trained(context)
    again = trained(replace(context, cache=tmp_path / "again"))
    other = trained(replace(context, cache=tmp_path / "other", seed=1))
    assert first.weights == again.weights != other.weights


def test_stage_1_is_found_again_and_other_settings_are_another_checkpoint(context):
    first = trained(context)
    stamp = (first.folder / "model.safetensors").stat().st_mtime_ns
    assert trained(context) == first
    assert (first.folder / "model.safetensors").stat().st_mtime_ns == stamp
    assert trained(context, mask_ratio=0.75).folder != first.folder
    assert trained(context, pool="first") == first  # pooling is no part of stage 1


def test_loss_is_the_squared_error_on_masked_patches_alone(context, data):
    """Recomputed by hand from the network's own reconstruction, without patch normalisation."""
    network = stage1.pretraining_network(TINY, None, 0)
    network.config.norm_pix_loss = False
    frames = context.pretraining(stage1.stage1_input(TINY).sampling).frames()[0][0]
    batch = stage1.batches.to_batch([frames], stage1.stage1_input(TINY), "cpu")
    mask = stage1.masking.tube_mask(0.3, 8, 16, 0, 0, 0)
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
