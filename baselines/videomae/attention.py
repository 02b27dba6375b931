"""Attention as the machine computes it fastest: torch's fused kernel, and written out by head in bfloat16 on a CPU.

torch's fused kernel for CPUs cuts the weights into blocks, at which oneDNN's bfloat16 products reach a quarter of their
speed; the weights of one whole head (2 MB at 1104 tokens) still lie in the processor's cache. Both compute the weights
again in the backward pass and keep none. Here scores are rounded to bfloat16, as in any written-out attention.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k' / sqrt(D)) v by head; (N, Q, H, D), (N, K, H, D), (N, K, H, D) to (N, Q, H, D)."""
    if query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return attention_by_head(query * query.shape[-1] ** -0.5, key, value)
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    return scaled_dot_product_attention(query, key, value).transpose(1, 2)


@torch.library.custom_op("seizure_bench::attention_by_head", mutates_args=())
def attention_by_head(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k') v, one head at a time; shapes as in `attend`."""
    out = torch.empty_like(query)
    weights = query.new_empty(query.shape[1], key.shape[1])
    for clip in range(len(query)):
        for head in range(query.shape[2]):
            at = (clip, slice(None), head)
            torch.softmax(query[at] @ key[at].t(), -1, out=weights)
            out[at] = weights @ value[at]
    return out


@torch.library.custom_op("seizure_bench::attention_by_head_backward", mutates_args=())
def _attention_backward(grad: Tensor, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    to_query, to_key, to_value = (torch.empty_like(part) for part in (query, key, value))
    weights = query.new_empty(query.shape[1], key.shape[1])
    for clip in range(len(query)):
        for head in range(query.shape[2]):
            at = (clip, slice(None), head)
            torch.softmax(query[at] @ key[at].t(), -1, out=weights)
            to_value[at] = weights.t() @ grad[at]
            to_scores = torch._softmax_backward_data(grad[at] @ value[at].t(), weights, -1, weights.dtype)
            to_query[at] = to_scores @ key[at]
            to_key[at] = to_scores.t() @ query[at]
    return to_query, to_key, to_value


attention_by_head.register_fake(lambda query, key, value: torch.empty_like(query))
_attention_backward.register_fake(lambda grad, *parts: tuple(torch.empty_like(part) for part in parts))
attention_by_head.register_autograd(
    lambda ctx, grad: _attention_backward(grad, *ctx.saved_tensors),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
)
