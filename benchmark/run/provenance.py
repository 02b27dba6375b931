"""Whatever can change a number, as one dictionary that goes into every record."""

from __future__ import annotations

import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmark.data.decode import DECODER

NETWORK_LIBRARIES = ("torchvision", "pytorchvideo", "mmaction2", "mmcv-lite", "mmengine")
PACKAGES = (
    "seizure-bench",
    "torch",
    "transformers",
    "accelerate",
    "numpy",
    "scikit-learn",
    "scipy",
    "pandas",
    "av",
    *NETWORK_LIBRARIES,
)
ROOT = Path(__file__).resolve().parents[2]


def provenance(device: str, threads: int, seed: int) -> dict[str, Any]:
    """Commit, versions, device, threads, seed and decoder of this process."""
    return {
        **_commit(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "versions": {name: library_version(name) for name in PACKAGES},
        "device": device,
        "device_name": _device_name(device),
        "threads": threads,
        "seed": seed,
        "decoder": DECODER,
    }


@cache
def _commit() -> dict[str, Any]:
    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            return None
        return done.stdout.strip()

    if git("rev-parse", "--show-toplevel") != str(ROOT):
        return {"commit": "unknown", "dirty": None}
    return {"commit": git("rev-parse", "HEAD") or "unknown", "dirty": bool(git("status", "--porcelain"))}


def library_version(name: str) -> str:
    """Of an installed package; `absent` where it is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _device_name(device: str) -> str:
    torch = sys.modules.get("torch")
    if device.startswith("cuda") and torch is not None:
        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()
