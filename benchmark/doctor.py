"""What works on this machine and what does not, and for each fault what to do (`seizure-bench doctor`).

    libraries   versions, against what the package asks for
    methods     each adapter is imported and its network built at --size tiny, apart from all others
    weights     each published checkpoint: there, whole, and loaded strictly by the first method that starts from it
    devices     CPU and GPUs, and the precision that fine-tuning takes there
    decoder     a clip whose frames carry their numbers is encoded, decoded and compared
    cache       can be written, and has room

`missing` is information (weights not fetched, another version of a library, little room); only `broken` makes the
command fail.
"""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, requires, version
from io import StringIO
from pathlib import Path
from typing import Any, Literal

from benchmark import registry
from benchmark.files import cache_folder, write_atomically
from benchmark.progress import Progress
from benchmark.weights.catalogue import PublishedWeights, catalogue, weights_folder
from benchmark.weights.overview import holding
from tasks.errors import BadInput

WINDOW_S = 5.0
ROOM_GIB = 2.0
FPS, FRAMES = Fraction(25), 120  # more than two key frames apart
BLOCK, ROWS, COLUMNS = 16, 2, 4  # a number is eight blocks, black or white
SET_UP = "run `make setup`, which installs what requirements.lock names"


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `remedy` says what to do unless it is ok."""

    what: str
    state: Literal["ok", "missing", "broken"]
    detail: str
    remedy: str = ""


def examine(weights: Path | None, progress: Progress) -> list[Finding]:
    """Look at everything; a check that fails stops no other.

    Raises:
        BadInput: `weights` names no folder.
    """
    if weights is not None:
        weights_folder(weights, weights)
    names: list[str] = []
    with suppress(BadInput):  # which the check of the listing reports
        names = list(registry.entries())
    checks: list[tuple[str, Callable[[], Finding]]] = [
        ("python", lambda: Finding("python", "ok", f"{platform.python_version()}, {platform.platform()}")),
        ("libraries", _libraries),
        ("cache", _cache),
        ("decoder", _decoder),
        ("methods", _listing),
        *(check for name in names for check in _method_checks(name)),
        *((f"weights {name}", _weights_check(entry, weights)) for name, entry in catalogue().items()),
        *((f"device {device}", _device_check(device, names)) for device in _devices()),
    ]
    findings = []
    with progress.track("checks", len(checks)) as advance:
        for done, (what, check) in enumerate(checks, start=1):
            findings.append(_guarded(what, check))
            advance(done)
    return findings


def as_text(findings: Sequence[Finding]) -> str:
    """A line for each; below a fault, what to do."""
    width = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.state:<8} {finding.what:<{width}}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<{width}}  -> {finding.remedy}")
    counts = {state: sum(finding.state == state for finding in findings) for state in ("ok", "missing", "broken")}
    return "\n".join([*lines, ", ".join(f"{count} {state}" for state, count in counts.items())])


def as_json(findings: Sequence[Finding]) -> list[dict[str, str]]:
    """The fields of each."""
    return [asdict(finding) for finding in findings]


def write_numbered(path: Path, numbers: Sequence[int]) -> None:
    """A clip at FPS whose frames show `numbers` (0 to 255) as black and white blocks."""
    import numpy as np

    from benchmark.data.encode import write_video

    def pictures() -> Iterator[Any]:
        for number in numbers:
            bits = np.array([number >> bit & 1 for bit in range(ROWS * COLUMNS)], dtype=np.uint8).reshape(ROWS, COLUMNS)
            yield np.repeat(np.kron(bits * 215 + 20, np.ones((BLOCK, BLOCK), np.uint8))[..., None], 3, axis=2)

    write_video(path, pictures(), FPS)


def misread(path: Path, numbers: Sequence[int]) -> list[int]:
    """Which frames of a clip do not show their number: all in one go, and each third alone, from the last to the first.

    Raises:
        BadInput: the clip is shorter, or cannot be decoded.
    """
    import numpy as np

    from benchmark.data.decode import read_frames

    def shown(frames: Any) -> list[int]:
        bits = frames[:, BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].mean(axis=-1) > 127
        return [int(n) for n in bits.reshape(len(frames), -1) @ (1 << np.arange(ROWS * COLUMNS))]

    times_s = [(index + 0.5) / float(FPS) for index in range(len(numbers))]
    wrong = {i for i, number in enumerate(shown(read_frames(path, times_s))) if number != numbers[i]}
    alone = range(len(numbers) - 1, -1, -3)
    return sorted(wrong | {i for i in alone if shown(read_frames(path, [times_s[i]])) != [numbers[i]]})


def _guarded(what: str, check: Callable[[], Finding]) -> Finding:
    """Whatever a library does at its import, only this check fails."""
    try:
        with _quiet():
            return check()
    except BadInput as refused:
        problem, _, remedy = str(refused).rpartition("; ")
        return Finding(what, "broken", problem or remedy, remedy)
    except (Exception, SystemExit) as error:
        first_line = (str(error).splitlines() or [""])[0]
        return Finding(what, "broken", f"{type(error).__name__}: {first_line}", SET_UP)


@contextmanager
def _quiet() -> Iterator[None]:
    """Libraries greet on stdout, which belongs to the answer."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        yield


def _libraries() -> Finding:
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(line) for line in requires("seizure-bench") or []]
    except PackageNotFoundError:
        return Finding("libraries", "missing", "seizure-bench itself is not installed", SET_UP)
    found, faults = [], []
    for library in wanted:
        if library.marker is not None and not library.marker.evaluate():
            continue
        try:
            installed = version(library.name)
        except PackageNotFoundError:
            faults.append(f"{library.name} is absent")
            continue
        found.append(f"{library.name} {installed}")
        if not library.specifier.contains(installed, prereleases=True):
            faults.append(f"{library.name} is {installed}, {library.specifier} is asked for")
    if faults:
        return Finding("libraries", "missing", "; ".join(faults), SET_UP)
    return Finding("libraries", "ok", ", ".join(sorted(found, key=str.lower)))


def _cache() -> Finding:
    folder = cache_folder()
    probe = folder / f".doctor-{os.getpid()}"
    try:
        write_atomically(probe, b"")
        probe.unlink()
    except OSError as error:
        return Finding("cache", "broken", f"{folder}: cannot be written ({error.strerror})", "set SEIZURE_BENCH_CACHE")
    free_gib = shutil.disk_usage(folder).free / 2**30
    detail = f"{folder}, {free_gib:.1f} GiB free"
    if free_gib < ROOM_GIB:
        return Finding("cache", "missing", detail, "make room, or set SEIZURE_BENCH_CACHE to a larger disk")
    return Finding("cache", "ok", detail)


def _decoder() -> Finding:
    from benchmark.data.decode import DECODER

    numbers = [(7 * index + 3) % 256 for index in range(FRAMES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "numbered.mp4"
        write_numbered(path, numbers)
        wrong = misread(path, numbers)
    if wrong:
        return Finding(
            "decoder", "broken", f"{len(wrong)} of {FRAMES} frames are not the ones asked for ({DECODER})", SET_UP
        )
    return Finding("decoder", "ok", f"{FRAMES} of {FRAMES} frames are the ones asked for ({DECODER})")


def _listing() -> Finding:
    return Finding("methods", "ok", f"{len(registry.entries())} registered")


def _method_checks(name: str) -> list[tuple[str, Callable[[], Finding]]]:
    """One for each of its networks: those that the catalogue's settings ask for, else the default one."""
    asked = [entry.settings for entry in catalogue().values() if name in entry.methods and entry.settings]
    return [(_titled(name, settings), _method_check(name, settings)) for settings in asked or [{}]]


def _method_check(name: str, settings: dict[str, Any]) -> Callable[[], Finding]:
    """Import the adapter and build its network at --size tiny from random weights."""

    def check() -> Finding:
        from benchmark.baseline import Loads, Scale

        adapter = registry.load(name)
        baseline = adapter(adapter.Settings(**settings), Scale("tiny", "random", WINDOW_S))
        if not isinstance(baseline, Loads):
            return Finding(_titled(name, settings), "ok", "can be imported")
        baseline.build(None, 0)
        return Finding(_titled(name, settings), "ok", "its network can be built")

    return check


def _titled(name: str, settings: dict[str, Any]) -> str:
    return " ".join(["method", name, *(f"{key}={value}" for key, value in settings.items())])


def _weights_check(entry: PublishedWeights, asked: Path | None) -> Callable[[], Finding]:
    """Look for a checkpoint, hash it, and load it strictly."""

    def check() -> Finding:
        from benchmark.baseline import Scale

        what = f"weights {entry.name}"
        folder = weights_folder(asked, cache_folder())
        held = holding(entry, folder)
        if held.path is None:
            fetch = f"`seizure-bench weights fetch {entry.name} --weights {folder}`"
            return Finding(
                what, "missing", f"not here; needed by {', '.join(entry.methods)} --init {entry.init}", fetch
            )
        if held.state == "damaged":
            raise BadInput(held.fault)
        hashed = (
            "hash intact"
            if all(file.sha256 for file in entry.files)
            else "whole, as far as can be told without a published hash"
        )
        method = next((name for name in entry.methods if name in registry.entries()), None)
        if method is None:
            return Finding(what, "ok", f"{held.path}: {hashed}; no method here starts from it")
        adapter = registry.load(method)
        init: Any = entry.init
        baseline: Any = adapter(adapter.Settings(**entry.settings), Scale("base", init, WINDOW_S))
        baseline.build(held.path, 0)
        return Finding(what, "ok", f"{held.path}: {hashed}; {method} loads every tensor")

    return check


def _devices() -> list[str]:
    """`cpu`, and each GPU that torch can use."""
    try:
        with _quiet():
            import torch

            return ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    except Exception:  # the check of the CPU meets it again, and reports it
        return ["cpu"]


def _device_check(device: str, names: Sequence[str]) -> Callable[[], Finding]:
    """Compute on a device, and ask the first fine-tuned method that can be imported for its precision there."""

    def check() -> Finding:
        import torch

        ones = torch.ones(64, 64, device=device)
        if float((ones @ ones).sum()) != 64**3:
            return Finding(f"device {device}", "broken", "a product of matrices is wrong", "use another device")
        if device == "cpu":
            what = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads by default"
        else:
            facts = torch.cuda.get_device_properties(device)
            what = f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB"
        precision = _precision(device, names)
        return Finding(f"device {device}", "ok", f"{what}; {precision}")

    return check


def _precision(device: str, names: Sequence[str]) -> str:
    """What the first fine-tuned method that works says of it after a set-up, from random weights, on the device.

    Raises:
        Exception: there are such methods, and none can be set up there.
    """
    failure: Exception | SystemExit | None = None
    for name in names:
        try:
            precision = _precision_of(registry.load(name), device)
        except (Exception, SystemExit) as error:  # perhaps the method's own, which its own check reports
            failure = error
            continue
        if precision:
            return f"fine-tuning in {precision}"
    if failure:
        raise failure
    return "no method is fine-tuned"


def _precision_of(adapter: Any, device: str) -> Any:
    from benchmark.baseline import Context, Described, Pretrains, Scale

    def no_first_stage(*asked: Any) -> Any:
        raise NotImplementedError

    baseline = adapter(adapter.Settings(), Scale("tiny", "random", WINDOW_S))
    is_tuned = "precision" in getattr(adapter.Settings, "model_fields", {})
    says_it = isinstance(baseline, Described) and not isinstance(baseline, Pretrains)
    if not is_tuned or not says_it:
        return None
    with tempfile.TemporaryDirectory() as cache:
        context = Context(0, device, 1, Path(cache), None, no_first_stage, no_first_stage, Progress(quiet=True))
        baseline.setup(context)
    return baseline.card()["precision"]
