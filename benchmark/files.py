"""Files that are whole or absent: written under a temporary name, synced, then renamed into place."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from tasks.errors import BadInput


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it (a file or a folder) becomes `path`, else it is removed.

    A folder that is already at `path` stays: whoever renamed first wins, and both hold the same content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    try:
        yield temporary
        for file in sorted(temporary.rglob("*")) if temporary.is_dir() else [temporary]:
            if file.is_file():
                _sync(file)
        if temporary.is_dir() and path.exists():
            return
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes | str) -> None:
    """Write text (UTF-8) or bytes to `path` in one step."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path:
    """Where decoded frames, features and checkpoints live: $SEIZURE_BENCH_CACHE, or the system's place for caches.

    Readable by its owner alone, since decoded frames identify patients.

    Raises:
        BadInput: it cannot be made or written.
    """
    folder = Path(os.environ.get("SEIZURE_BENCH_CACHE") or platformdirs.user_cache_dir("seizure-bench"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.chmod(folder, 0o700)
    except OSError as error:
        raise BadInput(f"{folder}: the cache cannot be used ({error.strerror}); set SEIZURE_BENCH_CACHE") from error
    return folder.resolve()


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
