"""Keyed hashes: what stands for the id of a clip or a patient outside the house.

    token = first 16 hex of HMAC-SHA256(key, "clip\\0ID" or "patient\\0ID")

Open data: the key follows from the manifest's sha256, so whoever has the data can check (`ids: manifest`). Else the key
is a site's secret of 32 random bytes, made at its first use (`ids: site`). Without the key ids cannot be guessed from
tokens; with the key lost, predictions can no longer be matched to clips.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import platformdirs
from filelock import FileLock

from benchmark.files import replacing
from tasks.errors import BadInput

KEY_BYTES = 32
TOKEN_DIGITS = 16
Kind = Literal["clip", "patient"]


def token(key: bytes, kind: Kind, id: str) -> str:
    """16 hex digits that stand for the id of a clip or a patient."""
    return hmac.new(key, f"{kind}\0{id}".encode(), hashlib.sha256).hexdigest()[:TOKEN_DIGITS]


def tokens_of(key: bytes, kind: Kind, ids: Iterable[str]) -> dict[str, str]:
    """Token by id."""
    return {id: token(key, kind, id) for id in ids}


def tokens_query(tokens: Iterable[str]) -> str:
    """Hex sha256 of a query's clip tokens, in whatever order: the column `query` of episodes.csv."""
    return hashlib.sha256("\n".join(sorted(tokens)).encode()).hexdigest()


def open_key(manifest_sha256: str) -> bytes:
    """The key of open data: 32 bytes that everybody can derive."""
    return hashlib.sha256(f"seizure-bench open ids\0{manifest_sha256}".encode()).digest()


def default_site_key() -> Path:
    """Where a site's key lies unless `--key` names another file."""
    return Path(platformdirs.user_config_dir("seizure-bench")) / "site.key"


def site_key(path: Path) -> bytes:
    """The secret in a file, made now if the file is not there: 32 random bytes that its owner alone can read.

    Raises:
        BadInput: as `read_site_key`.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            if not path.exists():
                with replacing(path) as temporary:
                    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with os.fdopen(handle, "wb") as file:
                        file.write(secrets.token_bytes(KEY_BYTES))
    return read_site_key(path)


def read_site_key(path: Path) -> bytes:
    """The secret in a file that must be there.

    Raises:
        BadInput: it is not there, is no key, or others than its owner can read it.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(KEY_BYTES + 1) if stat.S_ISREG(mode) else b""
    except OSError as error:
        raise BadInput(
            f"{path}: the site's key cannot be read ({error.strerror}); name with --key the file that `submit` made"
        ) from error
    if len(key) != KEY_BYTES:
        raise BadInput(
            f"{path}: is no key of a site, which has {KEY_BYTES} bytes; name with --key the file that `submit` made"
        )
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BadInput(f"{path}: others than its owner can use the site's key; run `chmod 600 {path}`")
    return key
