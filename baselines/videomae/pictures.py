"""What a stage 1 leaves for the eye: its loss curve, and clips as they were, as the network saw them, as it drew them.

Frames identify patients: the harness says which clips may be shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from transformers import VideoMAEForPreTraining

from baselines.common.batches import to_batch
from benchmark.baseline import Input
from benchmark.files import replacing

GREY = 0.5  # of a patch that the network did not see


def loss_curve(
    path: Path, losses: Sequence[float], held_out: Sequence[tuple[int, float]], steps_per_epoch: int
) -> None:
    """Loss by epoch: of each step, its mean over each epoch, and of the held-out clips where there are any."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    at = (np.arange(len(losses)) + 0.5) / steps_per_epoch
    axes.plot(at, losses, color="0.75", linewidth=0.8, label="each step")
    means = [np.mean(losses[first : first + steps_per_epoch]) for first in range(0, len(losses), steps_per_epoch)]
    axes.plot(np.arange(len(means)) + 0.5, means, color="#0072b2", marker="o", markersize=3, label="mean of an epoch")
    if held_out:
        steps, values = zip(*held_out, strict=True)
        axes.plot(
            np.array(steps) / steps_per_epoch, values, color="#d55e00", marker="s", markersize=3, label="held out"
        )
    axes.set(xlabel="epoch", ylabel="mean squared error on masked patches")
    axes.legend(frameon=False)
    _save(figure, path)


def reconstructions(
    path: Path,
    network: VideoMAEForPreTraining,
    views: Sequence[NDArray[np.uint8]],
    masks: Sequence[NDArray[np.bool_]],
    names: Sequence[str],
    wanted: Input,
) -> None:
    """A row a clip, its middle frame: original, masked, rebuilt."""
    figure = Figure(figsize=(9, 3.2 * len(views)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(views), 3, squeeze=False)
    for row, view, mask, name in zip(axes, views, masks, names, strict=True):
        pictures = {f"original: {name}": view / 255.0, **rebuilt(network, view, mask, wanted)}
        for place, (what, frames) in zip(row, pictures.items(), strict=True):
            place.imshow(frames[len(frames) // 2], interpolation="nearest")
            place.set(xticks=[], yticks=[])
            place.set_title(what, loc="left", fontsize=8)
    _save(figure, path)


@torch.no_grad()
def rebuilt(
    network: VideoMAEForPreTraining, view: NDArray[np.uint8], mask: NDArray[np.bool_], wanted: Input
) -> dict[str, NDArray[np.float64]]:
    """`masked` and `rebuilt` frames (T, S, S, 3) in 0-1; visible patches are the original's in both.

    With `norm_pix_loss` the network predicts a patch's pattern alone. Its brightness and contrast, by colour, are taken
    from the original, as VideoMAE's authors do for their pictures: they are no work of the network.
    """
    config = network.config
    training, device = network.training, str(next(network.parameters()).device)
    masked = torch.from_numpy(mask)[None]
    prediction = network.eval()(to_batch([view], wanted, device), masked.to(device)).logits[0]
    network.train(training)
    tokens = _patches(view / 255.0, config.tubelet_size, config.patch_size)  # (tokens, pixels, 3)
    drawn = prediction.float().cpu().numpy().astype(np.float64).reshape(int(mask.sum()), -1, 3)
    if config.norm_pix_loss:
        original = tokens[mask]
        drawn = drawn * (original.std(axis=1, ddof=1, keepdims=True) + 1e-6) + original.mean(axis=1, keepdims=True)
    hidden, complete = tokens.copy(), tokens.copy()
    hidden[mask], complete[mask] = GREY, drawn.clip(0, 1)
    whole = [_frames(part, view.shape, config.tubelet_size, config.patch_size) for part in (hidden, complete)]
    return {"masked": whole[0], "rebuilt": whole[1]}


def _patches(frames: NDArray[np.float64], tubelet: int, patch: int) -> NDArray[np.float64]:
    """(T, S, S, 3) to (tokens, tubelet * patch * patch, 3), in VideoMAE's order of tokens."""
    slots, side = len(frames) // tubelet, frames.shape[1] // patch
    cut = frames.reshape(slots, tubelet, side, patch, side, patch, 3).transpose(0, 2, 4, 1, 3, 5, 6)
    return cut.reshape(slots * side * side, -1, 3)


def _frames(tokens: NDArray[np.float64], shape: tuple[int, ...], tubelet: int, patch: int) -> NDArray[np.float64]:
    """The inverse of `_patches`."""
    slots, side = shape[0] // tubelet, shape[1] // patch
    cut = tokens.reshape(slots, side, side, tubelet, patch, patch, 3).transpose(0, 3, 1, 4, 2, 5, 6)
    return cut.reshape(shape)


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary, temporary.open("wb") as file:
        figure.savefig(file, format="png", dpi=100, metadata={"Software": None})
