"""Published weights into a network: every tensor in its place, or a sentence that names the one that is not.

read_state     a file -> its tensors. Nothing in it is executed: safetensors, or `torch.load(weights_only=True)`
load_strictly  tensors -> a network; only the keys of the old head may be left over
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tasks.errors import BadInput

State = Mapping[str, torch.Tensor]
FETCH_AGAIN = "remove it and fetch the published file (`seizure-bench weights fetch`)"
_CUT_OR_OTHER = (OSError, RuntimeError, ValueError, EOFError, KeyError, zipfile.BadZipFile)
_UNREADABLE = (*_CUT_OR_OTHER, UnpicklingError, SafetensorError)


def read_state(path: Path, under: str | None = None, remedy: str = FETCH_AGAIN) -> State:
    """The state dict of a `.safetensors`, `.pth` or `.pyth` file, or the one that lies in it under a key.

    Raises:
        BadInput: the file is cut, is something else (an HTML page, say), asks for code to be run, or lacks the key.
    """
    try:
        safe = path.suffix == ".safetensors"
        content: Any = load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise BadInput(
            f"{path}: cannot be read as a file of weights, and nothing in it was run ({_what(path, error)}); {remedy}"
        ) from error
    state = content.get(under) if under and isinstance(content, dict) else content
    if not isinstance(state, dict) or not state or not all(isinstance(t, torch.Tensor) for t in state.values()):
        where = f" under {under!r}" if under else ""
        raise BadInput(f"{path}: holds no tensors by name{where}; {remedy}")
    return {str(name): tensor for name, tensor in state.items()}


def load_strictly(
    network: nn.Module, state: State, path: Path, dropped: Collection[str] = (), remedy: str = FETCH_AGAIN
) -> None:
    """Put every tensor into its place.

    Args:
        network: without the published head.
        state: all tensors of the file.
        path: for the sentence.
        dropped: the names of the published head's tensors. They must be there as well: else it is another file.
        remedy: the end of the sentence.

    Raises:
        BadInput: a tensor is missing, left over, or of another shape; the sentence names the first.
    """
    wanted = dict(network.state_dict())
    missing = sorted([*(wanted.keys() - state.keys()), *(set(dropped) - state.keys())])
    left_over = sorted(state.keys() - wanted.keys() - set(dropped))
    shapes = {name: (tuple(state[name].shape), tuple(wanted[name].shape)) for name in wanted.keys() & state.keys()}
    reshaped = sorted(name for name, (found, expected) in shapes.items() if found != expected)
    for what, names in (("missing", missing), ("left over", left_over), ("of another shape", reshaped)):
        if names:
            sizes = " ({} instead of {})".format(*shapes[names[0]]) if what == "of another shape" else ""
            raise BadInput(f"{path}: {len(names)} tensors are {what} (first: {names[0]}{sizes}); {remedy}")
    inexact = sorted(name for name in wanted if state[name].is_floating_point() and not _is_finite(state[name]))
    if inexact:
        raise BadInput(f"{path}: {inexact[0]} holds numbers that are not finite; {remedy}")
    network.load_state_dict({name: state[name] for name in wanted}, strict=True)


def digest_of_state(state: State) -> str:
    """Hex sha256 of a state dict: names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _is_finite(tensor: torch.Tensor) -> bool:
    """By its extremes, which are NaN where one number is: 30 times as fast as to ask each number."""
    return bool(torch.stack(tensor.aminmax()).isfinite().all())


def _what(path: Path, error: Exception) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(256).lstrip().lower()
    except OSError as unreadable:
        return str(unreadable.strerror)
    if head.startswith((b"<!doctype", b"<html")):
        return "it is an HTML page"
    words = " ".join(str(error).split())
    if "weights_only" in words:  # torch goes on to advise how the code could be run
        return "it is no plain file of tensors, or asks for code to be run"
    return words[:160]
