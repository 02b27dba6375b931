"""A published file onto this disk: whole and checked, or not there at all.

    NAME.part        what has come so far; a later call goes on from there
    NAME.part.json   of which version on the server that is (ETag or Last-Modified), its length, its sha256
    NAME             appears in one step, once length, sha256 and form are right

A connection that breaks is opened again where it stopped. The server must confirm that the file is still the same
version (`If-Range`, RFC 9110 section 13.1.5); else the file is begun anew. Redirects go to https only. Nothing that
comes is executed.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import httpx
from filelock import BaseFileLock, FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from benchmark.files import replacing, sha256_of, write_atomically
from benchmark.progress import Progress
from benchmark.weights.catalogue import PublishedWeights, WeightsFile, digest, find
from benchmark.weights.sound import flaw
from tasks.errors import BadInput

MIB = 1 << 20
REDIRECTS = 5
CONNECT_S = 10.0
WORTH_ANOTHER_TRY = {408, 425, 429, 500, 502, 503, 504}
HEADERS = {"Accept-Encoding": "identity", "User-Agent": "seizure-bench"}


@dataclass(frozen=True)
class Limits:
    """How long a server is waited for (seconds), how often in a row it may fail, and how much it may send."""

    timeout_s: float = 30.0
    tries: int = 4
    pause_s: float = 1.0  # before the second try; doubled each time
    largest_bytes: int = 8 << 30  # where neither the server nor the catalogue states a length


class _Version(BaseModel):
    """What the server says of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    address: str
    validator: str
    length: int | None
    sha256: str | None


class _Broken(Exception):
    """The line broke or the server is unwell: worth another try."""


@dataclass(frozen=True)
class _Job:
    file: WeightsFile
    target: Path
    limits: Limits
    progress: Progress

    @property
    def part(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part")

    @property
    def note(self) -> Path:
        return self.target.with_name(f"{self.target.name}.part.json")

    def have(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def begun(self) -> _Version | None:
        """The version whose first bytes are in the .part, if that is known for sure."""
        try:
            version = _Version.model_validate_json(self.note.read_bytes())
        except (OSError, ValidationError):
            return None
        return version if version.address == self.file.address and self.have() else None

    def discard(self) -> None:
        """Begin anew."""
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def refused(self, why: str) -> BadInput:
        """The error for a server that does not offer the published file."""
        return BadInput(
            f"{self.file.address}: {why}; try again later, or get the published file by other means and put it at "
            f"{self.target}"
        )


def fetch(weights: PublishedWeights, folder: Path, progress: Progress, limits: Limits | None = None) -> list[Path]:
    """The files of a checkpoint, fetched into `folder` unless they are whole on this machine already.

    Raises:
        BadInput: no connection, no such file there, or not the published bytes. Nothing is then at its final name.
    """
    found = find(weights, folder)
    if found:
        try:
            digest(weights, folder)
        except BadInput as damaged:
            progress.say(str(damaged))
        else:
            return list(found)
    return [_fetch(_Job(file, folder / file.path, limits or Limits(), progress)) for file in weights.files]


def _fetch(job: _Job) -> Path:
    job.target.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(job.target.with_name(f".{job.target.name}.lock"))
    with _held(lock, job):
        if not job.target.is_file() or _flaw(job, job.target):
            timeout = httpx.Timeout(job.limits.timeout_s, connect=min(job.limits.timeout_s, CONNECT_S))
            with httpx.Client(timeout=timeout, headers=HEADERS) as client:
                version = _download(client, job)
            wrong = _flaw(job, job.part, version.sha256)
            if wrong:
                job.discard()
                raise job.refused(f"what came was removed again, {wrong}")
            with replacing(job.target) as temporary:
                os.replace(job.part, temporary)
        job.discard()
        Path(lock.lock_file).unlink(missing_ok=True)  # who waits for it will find the file in place
    return job.target


@contextmanager
def _held(lock: BaseFileLock, job: _Job) -> Iterator[None]:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        job.progress.say(f"{job.target}: another process is fetching it; waiting for that one")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _flaw(job: _Job, path: Path, stated_sha256: str | None = None) -> str | None:
    """What is wrong with a whole file, by the catalogue and by what the server said of it."""
    sha256 = sha256_of(path)
    if stated_sha256 not in (None, sha256):
        return f"its sha256 begins with {sha256[:16]}, the server says {str(stated_sha256)[:16]}"
    return flaw(path, job.target.suffix, sha256, job.file.sha256, job.file.size_bytes)


def _download(client: httpx.Client, job: _Job) -> _Version:
    """Bring the .part to its full length, over as many connections as that takes."""
    furthest, failures = job.have(), 0
    while True:
        try:
            return _go_on(client, job)
        except _Broken as broken:
            failures = 1 if job.have() >= furthest + MIB else failures + 1
            furthest = max(furthest, job.have())
            if failures >= job.limits.tries:
                kept = f"; {job.have()} bytes are kept for the next try" if job.begun() else ""
                raise job.refused(f"{broken} ({failures} times in a row{kept})") from broken
            pause_s = job.limits.pause_s * 2 ** (failures - 1)
            job.progress.say(f"{job.target.name}: {broken}; again in {pause_s:g} s")
            time.sleep(pause_s)


def _go_on(client: httpx.Client, job: _Job) -> _Version:
    """One connection: the rest of the file, or all of it."""
    begun = job.begun()
    have = job.have() if begun else 0
    if begun and begun.length == have:
        return begun
    headers = {"Range": f"bytes={have}-", "If-Range": begun.validator} if begun else {}
    try:
        with _answer(client, job, headers) as (response, linked):
            if begun and _continues(response, linked, begun, have):
                _receive(job, response, begun, have)
                return begun
            if response.status_code != httpx.codes.OK:
                job.discard()
                raise _Broken("the file has changed there and is begun anew")
            version = _Version(
                address=job.file.address,
                validator=_validator(response.headers),
                length=_number(response.headers.get("Content-Length")) or linked.length,
                sha256=linked.sha256,
            )
            _refuse_unfit(job, response, version, linked)
            job.discard()
            if version.validator:
                write_atomically(job.note, version.model_dump_json())
            _receive(job, response, version, 0)
            return version
    except httpx.TransportError as error:
        raise _Broken(_in_words(error)) from error


@dataclass(frozen=True)
class _Linked:
    """What the Hugging Face hub says of a large file when it redirects to where the bytes are."""

    sha256: str | None
    length: int | None


@contextmanager
def _answer(client: httpx.Client, job: _Job, headers: dict[str, str]) -> Iterator[tuple[httpx.Response, _Linked]]:
    """The answer behind the redirects: 200, or, where a range was asked for, also 206 and 416."""
    url, linked = httpx.URL(job.file.address), _Linked(None, None)
    for _ in range(REDIRECTS + 1):
        response = _sent(client, job, url, headers)
        try:
            linked = _Linked(
                linked.sha256 or _sha256_in(response.headers.get("X-Linked-ETag")),
                linked.length or _number(response.headers.get("X-Linked-Size")),
            )
            if not response.has_redirect_location:
                _refuse_status(job, response, ranged=bool(headers))
                yield response, linked
                return
            url = _redirected(job, url, response.headers["Location"])
        finally:
            response.close()
    raise job.refused(f"it redirects more than {REDIRECTS} times")


def _sent(client: httpx.Client, job: _Job, url: httpx.URL, headers: dict[str, str]) -> httpx.Response:
    try:
        return client.send(client.build_request("GET", url, headers=headers), stream=True)
    except httpx.InvalidURL as error:  # httpx works out where a redirect leads even if it is not to follow
        raise job.refused("it redirects to something that is no address") from error


def _redirected(job: _Job, url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = url.join(location)
    except httpx.InvalidURL as error:
        raise job.refused("it redirects to something that is no address") from error
    if target.scheme != "https" and (url.scheme, target.scheme) != ("http", "http"):
        raise job.refused(f"it redirects from {url.scheme} to {target.scheme}, which is not followed")
    return target


def _refuse_status(job: _Job, response: httpx.Response, ranged: bool) -> None:
    status = response.status_code
    if status in WORTH_ANOTHER_TRY:
        raise _Broken(f"the server answers {status} {response.reason_phrase}")
    if status == httpx.codes.OK or (ranged and status in (206, 416)):
        return
    raise job.refused(f"the server answers {status} {response.reason_phrase}")


def _refuse_unfit(job: _Job, response: httpx.Response, version: _Version, linked: _Linked) -> None:
    """Before the first byte: is this answer the whole of the published file, and is there room for it?"""
    if response.headers.get("Content-Type", "").lower().startswith("text/html"):
        raise job.refused("an HTML page comes instead of the file")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise job.refused("the server sends it compressed although asked not to")
    for expected, who in ((job.file.size_bytes, "the published file"), (linked.length, "by the hub the file")):
        if version.length is not None and expected not in (None, version.length):
            raise job.refused(f"the server offers {version.length} bytes, {who} has {expected}")
    checks = (version.length, version.sha256, job.file.size_bytes, job.file.sha256)
    if not any(checks) and "Transfer-Encoding" not in response.headers:
        raise job.refused("the server does not state its length, so a cut would not be noticed")
    length = version.length or job.file.size_bytes or 0
    if length > job.limits.largest_bytes:
        raise job.refused(f"the server offers {length} bytes, more than any published weights have")
    free = shutil.disk_usage(job.target.parent).free
    if length > free:
        raise BadInput(
            f"{job.target}: needs {length / MIB:.0f} MiB and {free / MIB:.0f} MiB are free; make room there, or name "
            "another folder by --weights"
        )


def _continues(response: httpx.Response, linked: _Linked, begun: _Version, have: int) -> bool:
    """Whether an answer goes on with the version that was begun, where it stopped."""
    matched = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if response.status_code != httpx.codes.PARTIAL_CONTENT or not matched or int(matched[1]) != have:
        return False
    return (
        _validator(response.headers) in ("", begun.validator)
        and (begun.length is None or matched[2] in ("*", str(begun.length)))
        and (begun.sha256 is None or linked.sha256 in (None, begun.sha256))
    )


def _receive(job: _Job, response: httpx.Response, version: _Version, have: int) -> None:
    """Append the body to the .part, never more than was promised."""
    promised = version.length or job.file.size_bytes
    most, begun_at = promised or job.limits.largest_bytes, have
    what, to_come = f"{job.target.name} (MiB)", -(-((promised or 0) - begun_at) // MIB)
    with job.part.open("ab") as out, job.progress.track(what, max(to_come, 0)) as advance:
        for chunk in response.iter_raw():
            have += len(chunk)
            if have > most:
                break
            _write(job, out, chunk)
            advance((have - begun_at) // MIB)
        os.fsync(out.fileno())
        if promised and have == promised:
            advance(to_come)
    if have > most:
        job.discard()
        raise job.refused(f"the server sends more than {'the promised ' if promised else ''}{most} bytes")
    if promised and have < promised:
        raise _Broken(f"the connection ended after {have} of {promised} bytes")


def _write(job: _Job, out: BinaryIO, chunk: bytes) -> None:
    """At once to the system, so that a killed process loses nothing."""
    try:
        out.write(chunk)
        out.flush()
    except OSError as error:
        raise BadInput(f"{job.part}: cannot be written ({error.strerror}); make room there") from error


def _validator(headers: httpx.Headers) -> str:
    """What `If-Range` takes: a strong ETag, else the date of the last change."""
    etag = str(headers.get("ETag", ""))
    return etag if etag.startswith('"') else str(headers.get("Last-Modified", ""))


def _sha256_in(etag: str | None) -> str | None:
    digits = (etag or "").strip('"').lower()
    return digits if re.fullmatch("[0-9a-f]{64}", digits) else None


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,18}", text) else None


def _in_words(error: httpx.TransportError) -> str:
    if isinstance(error, httpx.ConnectError):
        return f"no connection ({error})"
    if isinstance(error, httpx.TimeoutException):
        return "the server does not answer in time"
    return f"the connection broke ({error})"
