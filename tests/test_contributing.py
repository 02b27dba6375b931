"""The example in CONTRIBUTING.md is code that runs."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from baselines.common.finetune import FineTuned, FinetuneSettings, batch_shape
from benchmark.baseline import Scale

ROOT = Path(__file__).resolve().parents[1]


def test_the_example_network_gives_one_logit_a_clip_and_tells_its_cost() -> None:
    code = re.search(r"```python\n(.*?)```", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert code
    names: dict[str, object] = {}
    exec(code[1], names)
    kind = names["Tiny3d"]
    assert isinstance(kind, type)
    assert issubclass(kind, FineTuned)
    made = kind(FinetuneSettings(), Scale("tiny", "random", 5.0))
    batch = torch.rand(3, *batch_shape(made.input)[1:])
    assert made.build(None, 0)(batch).shape == (3,)
    assert made.episode_flop(4, 10) > 0
