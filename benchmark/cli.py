"""`seizure-bench`: its commands put together, and how it ends.

The commands are in `benchmark/commands/`; they parse, call and print, and import nothing heavy before it is needed.
Exit codes: 0 done, 1 some units failed or something was found, 2 bad input.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import typer

from benchmark.commands import data, results, submissions, weights, work, workshop
from tasks.errors import BadInput, one_line

app = typer.Typer(
    help="Can a camera alone see a seizure coming? A benchmark of video seizure forecasting.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(data.app, name="data")
app.add_typer(weights.app, name="weights")
COMMANDS: list[Callable[..., None]] = [
    *(work.run, work.pretrain, work.ablate, work.consistency),
    *(results.score, results.compare, results.audit),
    *(submissions.submit, submissions.verify),
    results.leaderboard,
    workshop.doctor,
]
for command in COMMANDS:
    app.command()(command)
app.command("list")(workshop.list_)
app.command("new-baseline")(workshop.new_baseline)

INTERRUPTED = 130  # what typer makes of Ctrl-C


def main() -> None:
    """Entry point: a user's mistake is one sentence and exit code 2, never a traceback."""
    try:
        code = app(sys.argv[1:] or ["--help"], prog_name="seizure-bench", standalone_mode=False) or 0
        sys.stdout.flush()
    except BadInput as error:
        _refuse(str(error))
    except typer.TyperException as error:
        command = getattr(getattr(error, "ctx", None), "command_path", "seizure-bench")
        message = error.format_message().replace("Value error, ", "").rstrip(".")
        _refuse(f"{message}; `{command} --help` shows what it takes")
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter complains when it flushes at its end
        sys.exit(1)
    except OSError as error:
        if error.strerror is None:
            raise
        _refuse(f"{error.filename or 'a file'}: {error.strerror}; make room there, or name a place that can be used")
    if code == INTERRUPTED:
        print("interrupted; what is finished is kept, the same command goes on from there", file=sys.stderr)
    sys.exit(code)


def _refuse(sentence: str) -> NoReturn:
    print(f"error: {one_line(sentence)}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
