"""Run `seizure-bench verify PATH` for each path, each in a process of its own: code, time, memory, words.

    python -m tests.benchmark.submission.measured PATH...  ->  one JSON object a path

The libraries are loaded once and the processes forked from there, so a case costs its own work; its peak memory counts
the libraries too.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from typing import TextIO


def main(paths: list[str]) -> None:
    """Measure them one after the other."""
    from benchmark import cli
    from benchmark.submission import inspection, reference, reproduce, schema  # noqa: F401

    for path in paths:
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            tempfile.TemporaryFile("w+") as heavy,
        ):
            begun = time.monotonic()
            child = os.fork()
            if not child:
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.argv = ["seizure-bench", "verify", path, "--quiet"]
                os._exit(_verify(cli.main, heavy))
            _, status, usage = os.wait4(child, 0)
            seconds = time.monotonic() - begun
            for file in (out, err, heavy):
                file.seek(0)
            found = {
                "path": path,
                "code": os.waitstatus_to_exitcode(status),
                "seconds": seconds,
                "mib": usage.ru_maxrss / 1024,
                "out": out.read(),
                "err": err.read(),
                "libraries": heavy.read().split(),
            }
        print(json.dumps(found), flush=True)


def _verify(command: Callable[[], object], heavy: TextIO) -> int:
    """Exit code of the command; writes which libraries it loaded that reading a submission does not need."""
    code = 99
    try:
        command()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    heavy.write(" ".join(name for name in ("torch", "av", "transformers") if name in sys.modules))
    for stream in (sys.stdout, sys.stderr, heavy):
        stream.flush()
    return code


if __name__ == "__main__":
    main(sys.argv[1:])
