"""Whether a file of weights is the published one, as far as that can be told without reading its tensors."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

HTML = (b"<!doctype html", b"<html")
LONGEST_HEADER = 100 << 20  # bytes; the safetensors format sets this limit


def flaw(path: Path, suffix: str, sha256: str, published_sha256: str | None, published_bytes: int | None) -> str | None:
    """What is wrong with a file, or None.

    Args:
        path: the file.
        suffix: of its published name, such as `.safetensors`: which form it must have.
        sha256: of the file as it is, hex.
        published_sha256: all digits or the first ones; None where the publisher states none.
        published_bytes: None where the publisher states none.
    """
    size = path.stat().st_size
    if size == 0:
        return "the file is empty"
    if _is_html(path):
        return "it is an HTML page, not a file of weights"
    if published_bytes is not None and size != published_bytes:
        return f"it has {size} bytes, the published one has {published_bytes}"
    if published_sha256 is not None and not sha256.startswith(published_sha256):
        digits = min(len(published_sha256), 16)
        return f"its sha256 begins with {sha256[:digits]}, the published one's with {published_sha256[:digits]}"
    return _cut(path, suffix, size)


def _is_html(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(1024).lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(HTML)


def _cut(path: Path, suffix: str, size: int) -> str | None:
    """Publishers without a hash: at least the form must be whole."""
    if suffix == ".safetensors":
        return None if _is_whole_safetensors(path, size) else "it is cut off, or no safetensors file"
    if suffix == ".json":
        return None if _is_json(path) else "it is cut off, or no JSON"
    with path.open("rb") as file:
        head = file.read(4)
    if head != b"PK\x03\x04":  # torch's format; the end of an older one only its reader knows
        return None
    if not zipfile.is_zipfile(path):
        return "it is cut off"  # the table of contents stands at the end
    with zipfile.ZipFile(path) as whole:
        damaged = whole.testzip()
    return f"it is damaged (in {damaged})" if damaged else None


def _is_whole_safetensors(path: Path, size: int) -> bool:
    """Eight bytes of length, a JSON header, and as many bytes of tensors as the header says."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            return False
        try:
            header = json.loads(file.read(length))
            ends = [int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"]
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return False
    return size == 8 + length + max(ends, default=0)


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False
    return True
