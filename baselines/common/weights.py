"""Published weights: where they come from, where we look for them, and a sentence when they are not there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from tasks.errors import BadInput

VIDEOMAE = {
    "k400-ssl": "MCG-NJU/videomae-base",
    "k400": "MCG-NJU/videomae-base-finetuned-kinetics",
}


def videomae_folder(weights: Path | None, init: str) -> Path:
    """The local folder of a published VideoMAE checkpoint (config.json and model.safetensors or pytorch_model.bin).

    Raises:
        BadInput: it is not there; the sentence tells its address on the hub and the expected place.
    """
    hub_id = VIDEOMAE[init]
    if weights is None:
        raise BadInput(
            f"--size base needs the weights of {hub_id} (Hugging Face hub, CC-BY-NC 4.0): download that repository and "
            f"give its parent folder by --weights DIR or SEIZURE_BENCH_WEIGHTS, or ask for --init random"
        )
    folder = weights / hub_id.split("/")[1]
    if not (folder / "config.json").is_file():
        raise BadInput(
            f"--weights {weights}: {folder}/config.json is missing; download {hub_id} from the Hugging Face hub there, "
            "or ask for --init random"
        )
    return folder


def digest_of_state(state: dict[str, torch.Tensor]) -> str:
    """Hex sha256 of a state dict: names, types, shapes and bytes."""
    total = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        total.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        total.update(tensor.view(torch.uint8).numpy().tobytes() if tensor.ndim else bytes(tensor.numpy().tobytes()))
    return total.hexdigest()
