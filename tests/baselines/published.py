"""Published checkpoints without the network: each library's own network, random numbers in it, its own file format.

randomise          weights and batch-norm statistics, so that no layer is the identity by chance
save_as            a state in the form in which a model zoo publishes it
same_bits          our features and upstream's logits are upstream's own
textured_video     a video whose pixels tell one way of scaling from another
our_pixels         its frames as our networks see them; `furthest` holds them against upstream's
refuses_…          each harm to the tensors of a file, or to a file, is answered by a sentence that names it
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from baselines.common.batches import to_batch
from benchmark.baseline import Input, Scale
from benchmark.data.decode import read_frames
from tasks.errors import BadInput

State = dict[str, torch.Tensor]
Form = Literal["pytorchvideo", "mmaction2", "torchvision"]
BASE, TINY = Scale("base", "k400", 5.0), Scale("tiny", "random", 5.0)
FRAME_SIZES = {"landscape": (641, 361), "portrait": (363, 645), "square": (300, 300), "small": (151, 203)}
VIDEO_TIMES_S = (0.0, 0.1, 0.3)
REAL_VIDEO = Path(__file__).parents[3] / "shared/real_videos/human_1080p.mp4"


def randomise(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all weights and all batch-norm statistics; scaled so that 150 layers neither fade nor burst."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _BatchNorm):
                module.weight.uniform_(0.3, 0.7, generator=draw)
                module.bias.normal_(0, 0.2, generator=draw)
                module.running_mean.normal_(0, 0.1, generator=draw)
                module.running_var.uniform_(0.5, 2.0, generator=draw)
                module.num_batches_tracked.fill_(1234)
            elif isinstance(module, (nn.Conv2d, nn.Conv3d, nn.Linear)):
                module.weight.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=draw)
                if module.bias is not None:
                    module.bias.normal_(0, 0.1, generator=draw)
    return network.eval()


def save_as(form: Form, state: State, path: Path) -> Path:
    """As `publish_model.py` of mmaction2 leaves a checkpoint, as PySlowFast writes one, or a bare state dict."""
    content: Any = state
    if form == "pytorchvideo":
        moments = {"state": {0: {"momentum_buffer": torch.ones(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        content = {"epoch": 299, "model_state": state, "optimizer_state": moments, "cfg": "TRAIN:\n  ENABLE: true\n"}
    if form == "mmaction2":
        meta = {"epoch": 58, "iter": 116000, "seed": 0, "time": "20210617", "hook_msgs": {}, "experiment_name": None}
        content = {"meta": {**meta, "cfg": "model = dict(...)", "dataset_meta": {"CLASSES": None}}, "state_dict": state}
    torch.save(content, path)
    return path


@torch.inference_mode()
def same_bits(upstream: nn.Module, projection: nn.Module, theirs: Any, network: Any, ours: torch.Tensor) -> None:
    """Our features are what upstream's last layer is given, and its logits follow from them, bit by bit.

    Args:
        upstream: the whole network, with its own classifier.
        projection: the last layer of it.
        theirs: what upstream takes.
        network: ours, with the published weights in it.
        ours: the same clip as we take it.
    """
    torch.set_num_threads(1)
    seen: list[torch.Tensor] = []
    hook = projection.register_forward_hook(lambda _, given, made: seen.extend((given[0], made)))
    upstream(theirs)
    hook.remove()
    given, logits = (tensor.flatten(1) for tensor in seen)
    features = network.features(ours)
    assert not any(isinstance(module, nn.Dropout) and module.p for module in network.modules())
    assert features.isfinite().all()
    assert features.std() > 1e-3
    assert torch.equal(features, given)
    assert torch.equal(projection(features), logits)


def clip(*shape: int) -> torch.Tensor:
    """A normalised clip of noise."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))


def our_pixels(path: Path, wanted: Input) -> torch.Tensor:
    """Frames of a video as the adapter's network sees them, with the batch dimension."""
    return to_batch([read_frames(path, VIDEO_TIMES_S, wanted.sampling.picture)], wanted, "cpu")


def with_rule(wanted: Input, rule: Any) -> Input:
    """The same input scaled by another library's rule."""
    return replace(wanted, sampling=replace(wanted.sampling, rule=rule))


def whole_frames(path: Path) -> np.ndarray:
    """The same frames as they were filmed, (T, H, W, 3) uint8."""
    return read_frames(path, VIDEO_TIMES_S, None)


def furthest(ours: torch.Tensor, theirs: torch.Tensor, wanted: Input) -> float:
    """The largest difference of two normalised batches, in grey levels of 255."""
    colour = wanted.layout.index("C") + 1
    std = torch.tensor(wanted.std).view([3 if axis == colour else 1 for axis in range(5)])
    return float(((ours - theirs).abs() * std).max() * 255)


def by_pytorchvideo(frames: np.ndarray, wanted: Input) -> torch.Tensor:
    """The steps and statistics of pytorchvideo's inference tutorial: to 0-1, normalise, short side, centre."""
    from torchvision.transforms import CenterCrop

    batch = (torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 255 - 0.45) / 0.225
    scaled = _pytorchvideo_functional().short_side_scale(batch, wanted.sampling.short_side)
    return CenterCrop(wanted.sampling.size)(scaled)[None]


def _pytorchvideo_functional() -> Any:
    """By its path: the package it lies in does not import beside today's torchvision."""
    import pytorchvideo

    path = Path(pytorchvideo.__file__).parent / "transforms" / "functional.py"
    spec = importlib.util.spec_from_file_location("pytorchvideo_functional", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def gradients(network: nn.Module, batch: torch.Tensor) -> State:
    """Of all parameters, in evaluation mode (as batch norms are in training)."""
    torch.set_num_threads(1)
    network.zero_grad()
    network(batch).square().sum().backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters()}


def asleep(network: nn.Module, batch: torch.Tensor) -> list[str]:
    """The weights that the first training step would leave as they are."""
    return [name for name, gradient in gradients(network, batch).items() if not gradient.any()]


def checkpointing_changes_nothing(network: Any, batch: torch.Tensor) -> None:
    """The same logits and gradients, bit by bit, and every block was run twice."""
    plain = gradients(randomise(network), batch)
    network.use_checkpointing()
    runs = []
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.register_forward_hook(lambda *_: runs.append(1))
    again = gradients(network, batch)
    norms = sum(isinstance(module, _BatchNorm) for module in network.modules())
    assert len(runs) > 1.5 * norms
    assert plain.keys() == again.keys()
    assert all(torch.equal(plain[name], again[name]) for name in plain)


def textured_video(path: Path, width: int, height: int) -> Path:
    """10 frames in a second: noise, a grid and a gradient. yuv444p, as only that allows odd sides."""
    rng = np.random.default_rng(width * height)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "10", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p"
        for number in range(10):
            image = rng.integers(0, 90, (height, width, 3), dtype=np.uint8)
            image += np.linspace(0, 80, width, dtype=np.uint8)[None, :, None]
            image[(np.arange(height) + number) % 7 == 0] += 80
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


def a_weight(state: State) -> str:
    return [name for name in sorted(state) if name.endswith(".weight")][1]


def missing(state: State) -> str:
    name = a_weight(state)
    del state[name]
    return name


def left_over(state: State) -> str:
    state["extra.weight"] = torch.zeros(3)
    return "extra.weight"


def renamed(state: State) -> str:
    name = a_weight(state)
    state[f"{name}_old"] = state.pop(name)
    return name


def reshaped(state: State) -> str:
    name = next(name for name in sorted(state) if state[name].ndim >= 4)
    state[name] = state[name][:-1].clone()
    return name


def not_finite(state: State) -> str:
    name = next(name for name in sorted(state) if name.endswith("running_var"))
    state[name] = state[name].clone()
    state[name][0] = torch.nan
    return name


HARMS: dict[str, Callable[[State], str]] = {
    harm.__name__: harm for harm in (missing, left_over, renamed, reshaped, not_finite)
}


class Bomb:
    """Unpickled with trust, makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self.marker), "w")


def web_page(path: Path, sound: Path) -> str:
    path.write_text("<!DOCTYPE html>\n<html><body>404 Not Found</body></html>")
    return "HTML page"


def cut_short(path: Path, sound: Path) -> str:
    data = sound.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    return "cannot be read"


def empty(path: Path, sound: Path) -> str:
    path.write_bytes(b"")
    return "cannot be read"


def bomb(path: Path, sound: Path) -> str:
    torch.save({"model_state": Bomb(path.with_name("marker")), "state_dict": Bomb(path.with_name("marker"))}, path)
    return "nothing in it was run"


WRECKS: dict[str, Callable[[Path, Path], str]] = {w.__name__: w for w in (web_page, cut_short, empty, bomb)}


def refuses_harmed_tensors(build: Callable[[Path, int], Any], form: Form, state: State, folder: Path) -> None:
    """A sound file is taken; each harm is refused by a sentence with the file's and the tensor's name."""
    build(save_as(form, dict(state), folder / "sound.pth"), 0)
    for name, harm in HARMS.items():
        harmed = dict(state)
        named = harm(harmed)
        path = save_as(form, harmed, folder / f"{name}.pth")
        with pytest.raises(BadInput) as refusal:
            build(path, 0)
        sentence = str(refusal.value)
        assert named in sentence, name
        assert str(path) in sentence, name


def refuses_wrecked_files(build: Callable[[Path, int], Any], form: Form, state: State, folder: Path) -> None:
    """What is no checkpoint is refused, and nothing in it is run."""
    sound = save_as(form, state, folder / "sound.pth")
    for name, wreck in WRECKS.items():
        path = folder / f"{name}.pth"
        said = wreck(path, sound)
        with pytest.raises(BadInput, match=said) as refusal:
            build(path, 0)
        assert str(path) in str(refusal.value), name
    assert not (folder / "marker").exists()
    torch.load(folder / "bomb.pth", weights_only=False)
    assert (folder / "marker").exists(), "the bomb was a dud, so its refusal shows nothing"
