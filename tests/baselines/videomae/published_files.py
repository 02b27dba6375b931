"""VideoMAE checkpoints laid out as on the hub, with random numbers in every tensor.

The names are those that the conversion of 2022 wrote (transformers, `convert_videomae_to_pytorch.py`): the biases of
query and value stand beside the projections as `q_bias` and `v_bias`, where transformers 5 has `query.bias`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from transformers import VideoMAEConfig, VideoMAEForPreTraining, VideoMAEForVideoClassification

CONFIG = {
    "attention_probs_dropout_prob": 0.0,
    "decoder_hidden_size": 384,
    "decoder_intermediate_size": 1536,
    "decoder_num_attention_heads": 6,
    "decoder_num_hidden_layers": 4,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.0,
    "hidden_size": 768,
    "image_size": 224,
    "initializer_range": 0.02,
    "intermediate_size": 3072,
    "layer_norm_eps": 1e-12,
    "model_type": "videomae",
    "norm_pix_loss": True,
    "num_attention_heads": 12,
    "num_channels": 3,
    "num_frames": 16,
    "num_hidden_layers": 12,
    "patch_size": 16,
    "qkv_bias": True,
    "torch_dtype": "float32",
    "transformers_version": "4.22.0.dev0",
    "tubelet_size": 2,
}
PREPROCESSOR = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "VideoMAEFeatureExtractor",
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 224},
}
ACTIONS = {str(number): f"action {number}" for number in range(400)}


def config_of(fine_tuned: bool, **shape: Any) -> dict[str, Any]:
    """The content of `config.json`."""
    own = {"architectures": ["VideoMAEForPreTraining"], "use_mean_pooling": False}
    if fine_tuned:
        own = {"architectures": ["VideoMAEForVideoClassification"], "use_mean_pooling": True, "id2label": ACTIONS}
        own["label2id"] = {action: int(number) for number, action in ACTIONS.items()}
    return {**CONFIG, **own, **shape}


def names_of(fine_tuned: bool, layers: int, decoder_layers: int) -> set[str]:
    """The names of all tensors, one by one."""
    affine = ["attention.output.dense", "intermediate.dense", "output.dense", "layernorm_before", "layernorm_after"]
    layer = [f"attention.attention.{part}" for part in ("query.weight", "key.weight", "value.weight")]
    layer += ["attention.attention.q_bias", "attention.attention.v_bias"]
    layer += [f"{part}.{what}" for part in affine for what in ("weight", "bias")]
    stacks = [("videomae.encoder.layer", layers)]
    single = ["videomae.embeddings.patch_embeddings.projection"]
    if fine_tuned:
        single += ["fc_norm", "classifier"]
        alone = []
    else:
        stacks += [("decoder.decoder_layers", decoder_layers)]
        single += ["videomae.layernorm", "decoder.norm", "decoder.head"]
        alone = ["encoder_to_decoder.weight", "mask_token"]
    return {
        *(f"{stack}.{number}.{name}" for stack, count in stacks for number in range(count) for name in layer),
        *(f"{part}.{what}" for part in single for what in ("weight", "bias")),
        *alone,
    }


def random_network(fine_tuned: bool, **shape: Any) -> VideoMAEForPreTraining | VideoMAEForVideoClassification:
    """Upstream's network, no bias zero and no layer norm trivial; ViT-B unless `shape` says otherwise."""
    torch.manual_seed(7)
    kind = VideoMAEForVideoClassification if fine_tuned else VideoMAEForPreTraining
    labels = {"num_labels": 400} if fine_tuned else {}
    network = kind(VideoMAEConfig(use_mean_pooling=fine_tuned, attn_implementation="sdpa", **labels, **shape))
    with torch.no_grad():
        for tensor in network.parameters():
            if tensor.ndim == 1 or tensor.shape[:2] == (1, 1):
                tensor.add_(torch.randn_like(tensor), alpha=0.1)
    return network.eval()


def write_published(folder: Path, network: torch.nn.Module, **shape: Any) -> Path:
    """A network of `random_network` and the same shape as a published checkpoint; the path of its tensors."""
    folder.mkdir(parents=True)
    fine_tuned = isinstance(network, VideoMAEForVideoClassification)
    state = network.state_dict()
    state = {n.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): tensor for n, tensor in state.items()}
    config = config_of(fine_tuned, **shape)
    assert set(state) == names_of(fine_tuned, config["num_hidden_layers"], config["decoder_num_hidden_layers"])
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPROCESSOR, indent=2))
    return folder / "model.safetensors"
