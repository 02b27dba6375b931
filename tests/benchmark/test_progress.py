"""Progress: plain lines where nobody watches, bars that nest in a terminal, silence when asked for."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from benchmark import progress
from benchmark.progress import Progress


def test_lines_come_now_and_then_with_the_time_left_and_end_with_the_time_taken(capsys, monkeypatch):
    clock = iter([0.0, 4.0, 11.0, 12.0, 40.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress().track("clips", 40) as advance:
        for done in (4, 10, 11, 40):
            advance(done)
    assert capsys.readouterr().err == "clips: 10/40, about 35 s left\nclips: 40/40, 40.0 s\n"


def test_a_long_set_up_before_the_first_is_not_taken_for_the_pace(capsys, monkeypatch):
    clock = iter([0.0, 45.0, 57.0, 70.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress().track("units", 60) as advance:
        for done in (1, 7, 60):
            advance(done)
    assert capsys.readouterr().err == "units: 1/60\nunits: 7/60, about 106 s left\nunits: 60/60, 70.0 s\n"


def test_what_is_done_at_once_says_nothing(capsys):
    with Progress().track("clips", 3) as advance:
        advance(3)
    assert capsys.readouterr().err == ""


def test_quiet_says_nothing_at_all(capsys):
    quiet = Progress(quiet=True)
    quiet.say("hello")
    with quiet.track("clips", 3) as advance:
        advance(1)
    assert capsys.readouterr() == ("", "")


def test_bars_nest_in_a_real_terminal():
    program = (
        "from benchmark.progress import Progress\n"
        "p = Progress()\n"
        "with p.track('outer', 2) as outer:\n"
        "    with p.track('inner', 5) as inner:\n"
        "        inner(5)\n"
        "    outer(2)\n"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", program], stderr=theirs, check=False)
    os.close(theirs)
    text = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0
    assert "outer" in text
    assert "2/2" in text
