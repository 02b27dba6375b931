"""Real processes and Ray nodes, really killed: the same bytes as in one process, and nothing left behind.

One run in this process is what all others are held against. Two Ray nodes on this machine stand for two machines: each
has a cache of its own and is given what it lacks.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.baseline import BaselineSettings, Input, Scale
from benchmark.data.frames import Sampling
from benchmark.progress import Progress
from benchmark.run.execute import Machine
from benchmark.run.plan import Method, plan_units
from benchmark.run.records import RunFolder
from benchmark.run.session import Crew, Request, crew_doubts, machine_of, open_session, run_session
from tests.benchmark.conftest import assert_one_sentence, assert_says, run_cli

MODELS = ("chance", "motion_features", "zero_shot", "xspecies_videomae")
CHANGES = ("epochs=1", "stage1_epochs=1")
EPISODES = 3
PLANNED = 2 * EPISODES * len(MODELS)
ROOT = Path(__file__).parents[3]
QUIET = Progress(quiet=True)
WITHIN_S = 120.0


def session_in(out: Path, cache: Path, data_set: Path, task: str, models=MODELS):
    changes = CHANGES if models == MODELS else ()
    request = Request(models, (1, 2), task, "patient_disjoint", data_set, out, episodes=EPISODES, changes=changes)
    return open_session(request, cache, QUIET)


@pytest.fixture(scope="module")
def alone(data_set, short_task, tmp_path_factory):
    """The run of one process."""
    folder = tmp_path_factory.mktemp("alone")
    session = session_in(folder / "run", folder / "cache", data_set, short_task)
    assert not run_session(session, Machine("cpu", 1, folder / "cache"), "only-missing", QUIET).failed
    return folder / "run"


def start(
    data_set: Path, task: str, out: Path, cache: Path, *more: str, models=MODELS, cwd: Path = ROOT
) -> subprocess.Popen[str]:
    settings = [word for change in CHANGES for word in ("--set", change)] if models == MODELS else []
    command = [sys.executable, "-m", "benchmark.cli", "run", "--model", ",".join(models), "--shots", "1,2"]
    where = ["--episodes", str(EPISODES), "--task", task, "--data", str(data_set), "--out", str(out), "--threads", "1"]
    return subprocess.Popen(
        [*command, *where, *settings, "--workers", "2", *more],
        env={**os.environ, "SEIZURE_BENCH_CACHE": str(cache)},
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=WITHIN_S)
    return process.returncode, out, err


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Until it holds; a process that ends before is a failure."""
    moment, end = threading.Event(), time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        assert process is None or process.poll() is None, process.communicate()[1]
        moment.wait(0.02)


def units(out: Path) -> dict[Path, tuple[int, int]]:
    """Finished units: inode and time of change tell whether one was ever written again."""
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (out / "units").glob("[!.]*.json")}


@dataclass(frozen=True)
class Running:
    """A process of this machine."""

    pid: int
    parent: int
    name: str


def descendants(pid: int) -> list[Running]:
    """All processes that a process started, and those started, as far as they still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = dict(
                line.split(":\t", 1) for line in (folder / "status").read_text().splitlines() if ":\t" in line
            )
            name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, ValueError):
            continue
        if not status["State"].startswith("Z"):
            found.append(Running(int(folder.name), int(status["PPid"]), name))
    known = {pid}
    for _ in range(6):  # generations
        known |= {one.pid for one in found if one.parent in known}
    return [one for one in found if one.pid in known - {pid}]


def still_there(gone: list[Running]) -> list[Running]:
    return [one for one in gone if Path(f"/proc/{one.pid}/cmdline").exists() and _cmdline(one.pid) == one.name]


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def workers_of(process: subprocess.Popen[str]) -> list[Running]:
    return [one for one in descendants(process.pid) if one.name.startswith("ray::Worker")]


def same_bytes(out: Path, alone: Path) -> None:
    for name in ("predictions.csv", "episodes.json", "clips.csv", "run.json"):
        assert (out / name).read_bytes() == (alone / name).read_bytes(), name


def test_two_workers_one_of_them_killed_give_the_bytes_of_one_process(alone, data_set, short_task, tmp_path):
    process = start(data_set, short_task, tmp_path / "run", tmp_path / "cache", "--json")
    wait_for(lambda: len(units(tmp_path / "run")) >= 12, process)
    before, everybody = units(tmp_path / "run"), descendants(process.pid)
    os.kill(workers_of(process)[0].pid, signal.SIGKILL)
    code, out, err = finish(process)
    assert code == 0, err
    assert json.loads(out)["done"] == PLANNED  # stdout holds the summary and nothing else
    assert "is lost; what it had not finished is done again" in err
    same_bytes(tmp_path / "run", alone)
    now = units(tmp_path / "run")
    assert all(now[path] == stamp for path, stamp in before.items())
    wait_for(lambda: not still_there(everybody))
    for record in RunFolder(tmp_path / "run").records():
        assert (record.provenance["threads"], record.provenance["device"]) == (1, "cpu")
    assert len(list((tmp_path / "cache" / "stage1").glob("*/stage1.json"))) == 1


def test_ctrl_c_keeps_finished_units_leaves_no_process_and_one_process_goes_on(alone, data_set, short_task, tmp_path):
    process = start(data_set, short_task, tmp_path / "run", tmp_path / "cache")
    wait_for(lambda: len(units(tmp_path / "run")) >= 9, process)
    everybody = descendants(process.pid)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, "")
    assert "what is finished is kept" in err
    assert "Traceback" not in err
    assert any("raylet" in one.name for one in everybody)
    wait_for(lambda: not still_there(everybody))
    kept = units(tmp_path / "run")
    assert 9 <= len(kept) < PLANNED
    session = session_in(tmp_path / "run", tmp_path / "cache", data_set, short_task)
    outcome = run_session(session, Machine("cpu", 1, tmp_path / "cache"), "only-missing", QUIET)
    assert (outcome.skipped, outcome.failed) == (len(kept), {})
    assert all(units(tmp_path / "run")[path] == stamp for path, stamp in kept.items())
    same_bytes(tmp_path / "run", alone)


def test_sigterm_while_ray_starts_leaves_no_process(data_set, short_task, tmp_path):
    process = start(data_set, short_task, tmp_path / "run", tmp_path / "cache", models=("chance",))
    wait_for(lambda: any("raylet" in one.name for one in descendants(process.pid)), process)
    everybody = descendants(process.pid)
    process.terminate()
    code, out, err = finish(process)
    assert code != 0
    assert out == ""
    assert "Traceback" not in err
    wait_for(lambda: not still_there(everybody))


class Nodes:
    """A Ray cluster of nodes on this machine, whose caches lie below `folder`."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        Path("/tmp/ray").mkdir(exist_ok=True)  # where Cluster notes its address
        self.folder, self.cluster = folder, Cluster()

    def add(self, cache: str, cores: int = 1, **environment: str):
        return self.cluster.add_node(
            num_cpus=cores,
            num_gpus=0,
            node_ip_address="127.0.0.1",
            include_dashboard=False,
            object_store_memory=100 * 2**20,
            env_vars={"SEIZURE_BENCH_CACHE": str(self.folder / cache), **environment},
        )


@pytest.fixture(scope="module")
def nodes(tmp_path_factory) -> Iterator[Nodes]:
    environment = {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # the loopback alone, as in benchmark.run.raystart
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
    }
    os.environ.update(environment)
    cluster = Nodes(tmp_path_factory.mktemp("nodes"))
    cluster.add("first", PYTHONPATH=str(ROOT))  # where adapters of this file are found
    yield cluster
    cluster.cluster.shutdown()
    for name in environment:
        del os.environ[name]


def test_two_nodes_with_caches_of_their_own_give_the_bytes_of_one_process_though_one_is_killed(
    nodes, alone, data_set, short_task, tmp_path
):
    """The second node looks at no video: it has the frames, the checkpoint and the facts from the driver."""
    lost, second = nodes.add("second"), nodes.folder / "second"
    where = ("--ray-address", nodes.cluster.address, "--json")
    process = start(data_set, short_task, tmp_path / "run", tmp_path / "cache", *where)
    wait_for(lambda: len(units(tmp_path / "run")) >= 9 and (second / "frames").is_dir(), process)
    os.kill(lost.all_processes["raylet"][0].process.pid, signal.SIGKILL)
    code, out, err = finish(process)
    assert code == 0, err
    assert json.loads(out)["done"] == PLANNED
    same_bytes(tmp_path / "run", alone)
    assert not (second / "sha256.json").exists()
    assert nodes.cluster.head_node.any_processes_alive()  # what we did not start goes on


def test_packages_of_the_current_folder_do_not_hide_the_suites_own(alone, data_set, short_task, tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "__init__.py").write_text("raise ImportError('not this one')\n")
    code = (
        "import sys; sys.path = [p for p in sys.path if p]; from benchmark.cli import main; "
        f"sys.argv = ['seizure-bench', *sys.argv[1:]]; sys.path.insert(0, {str(ROOT)!r}); main()"
    )
    words = f"run --model chance --shots 1,2 --episodes {EPISODES} --task {short_task} --data {data_set} --threads 1"
    ended = subprocess.run(
        [sys.executable, "-P", "-c", code, *words.split(), "--workers", "2", "--out", str(tmp_path / "run")],
        cwd=tmp_path,
        env={**os.environ, "SEIZURE_BENCH_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
    )
    assert ended.returncode == 0, ended.stderr


def test_a_node_with_other_code_of_the_suite_is_refused(nodes, data_set, short_task, tmp_path):
    """It alone has room for a worker of two threads."""
    for package in ("tasks", "protocols", "benchmark", "baselines"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package)
    with (tmp_path / "other" / "tasks" / "errors.py").open("a") as file:
        file.write("# changed\n")
    third = nodes.add("third", cores=2, PYTHONPATH=str(tmp_path / "other"))
    run = tmp_path / "run"
    where = ("--ray-address", nodes.cluster.address, "--workers", "1", "--threads", "2", "--quiet")
    process = start(data_set, short_task, run, tmp_path / "cache", *where, models=("chance",), cwd=tmp_path)
    try:
        code, out, err = finish(process)
    finally:
        nodes.cluster.remove_node(third)
    assert_one_sentence(code, out, err)
    assert_says(err, f"runs other code of the suite ({tmp_path / 'other'}) … {ROOT} … install the same version")
    assert not run.exists()


class Deadly(BaselineSettings):
    """Support clips at which the process is killed."""

    support: tuple[str, ...] = ()


class EndsItself:
    """Killed in one episode, each time that it is tried."""

    Settings, inits, input = Deadly, (), None

    def __init__(self, settings, scale):
        self.settings = settings

    def setup(self, context):
        pass

    def fit(self, support):
        if support.ids == self.settings.support:
            os.kill(os.getpid(), signal.SIGKILL)

    def predict(self, query):
        return np.full(len(query), 0.5)


def run_deadly(folder: Path, data_set: Path, task: str) -> None:
    """In a process of its own: Ray reads its environment once a process."""
    session = session_in(folder / "run", folder / "cache", data_set, task, ("chance",))
    settings = Deadly(support=session.episodes[1].support)
    deadly = Method("deadly", EndsItself, settings, Scale("tiny", "random", 3.0))
    pairs = plan_units([deadly, *session.methods], session.episodes, session.card)
    outcome = run_session(
        replace(session, pairs=pairs), Machine("cpu", 1, folder / "cache", workers=2), "only-missing", QUIET
    )
    print(json.dumps([outcome.done, outcome.failed]))


class Meeting(BaselineSettings):
    """Where processes meet, and how many."""

    folder: str = ""
    wanted: int = 1


class TellsGpu:
    """Waits until so many processes work at once, and says which GPU Ray has given to its own."""

    Settings, inits, input = Meeting, (), None

    def __init__(self, settings, scale):
        self.meeting = Path(settings.folder)
        self.wanted = settings.wanted

    def setup(self, context):
        pass

    def fit(self, support):
        (self.meeting / str(os.getpid())).touch()
        wait_for(lambda: len(list(self.meeting.iterdir())) == self.wanted)

    def predict(self, query):
        return np.full(len(query), 0.5)

    def card(self):
        return {"gpu": os.environ["CUDA_VISIBLE_DEVICES"], "process": str(os.getpid())}


def run_on_shared_gpus(folder: Path, data_set: Path, task: str) -> None:
    """Ray is told of 2 GPUs; who has no network looks for none."""
    session = session_in(folder / "run", folder / "cache", data_set, task, ("chance",))
    (folder / "meeting").mkdir()
    method = Method(
        "tells_gpu", TellsGpu, Meeting(folder=str(folder / "meeting"), wanted=4), Scale("tiny", "random", 3.0)
    )
    session = replace(session, pairs=plan_units([method], session.episodes, session.card))
    machine = Machine(None, 1, folder / "cache", workers=4, gpus=2)
    assert not run_session(session, machine, "only-missing", QUIET).failed
    print(json.dumps([record.card for record in session.folder.records()]))


class EncodesAloud:
    """Leaves a file in a folder for each clip that it encodes."""

    Settings, inits, embedding_key = Meeting, (), "aloud"
    input = Input(Sampling(frames=4, spacing_s=0.1, place="last", size=32))

    def __init__(self, settings, scale):
        self.folder = Path(settings.folder)

    def setup(self, context):
        pass

    def embed(self, frames):
        for clip in frames:
            (self.folder / f"{hashlib.sha256(clip.tobytes()).hexdigest()}-{secrets.token_hex(8)}").touch()
        return np.array([[clip.mean()] for clip in frames], dtype=np.float32)

    def fit(self, support):
        support.embeddings(self)

    def predict(self, query):
        return query.embeddings(self)[:, 0] / 255


def run_aloud(folder: Path, data_set: Path, task: str, address: str) -> None:
    """By two workers on two nodes; prints how often which clip was encoded, and how many processes worked."""
    session = session_in(folder / "run", folder / "cache", data_set, task, ("chance",))
    (folder / "encoded").mkdir()
    method = Method(
        "aloud", EncodesAloud, Meeting(folder=str(folder / "encoded")), Scale("tiny", "random", 3.0), published="-"
    )
    session = replace(session, pairs=plan_units([method], session.episodes, session.card))
    machine = Machine("cpu", 1, folder / "cache", workers=2, ray_address=address)
    outcome = run_session(session, machine, "only-missing", QUIET)
    assert not outcome.failed, outcome.failed
    clips = {clip for episode in session.episodes for clip in (*episode.support, *episode.query)}
    times = Counter(path.name.partition("-")[0] for path in (folder / "encoded").iterdir())
    print(json.dumps([len(clips), sum(times.values()), max(times.values())]))


def in_own_process(function: Callable[..., None], *words: object):
    """What the function prints, as JSON."""
    name = function.__name__
    code = (
        f"import sys; from pathlib import Path; from tests.benchmark.run.test_cluster import {name}; "
        f"{name}(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=WITHIN_S
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_workers_that_share_a_gpu_each_see_one_alone(data_set, short_task, tmp_path):
    cards = in_own_process(run_on_shared_gpus, tmp_path, data_set, short_task)
    seen_by = {card["process"]: card["gpu"] for card in cards}
    assert all(card["gpu"] == seen_by[card["process"]] for card in cards)
    assert sorted(seen_by.values()) == ["0", "0", "1", "1"]


def test_what_one_node_has_encoded_no_other_encodes_again(nodes, data_set, short_task, tmp_path):
    """Each node has a cache of its own, and room for one worker."""
    nodes.add("fourth", PYTHONPATH=str(ROOT))
    clips, encoded, most = in_own_process(run_aloud, tmp_path, data_set, short_task, nodes.cluster.address)
    assert (encoded, most) == (clips, 1)


def test_a_unit_that_kills_its_worker_is_tried_three_times_and_costs_no_other(data_set, short_task, tmp_path):
    done, failed = in_own_process(run_deadly, tmp_path, data_set, short_task)
    assert done == 4 * EPISODES - 1
    assert [key.partition("-e")[2][:3] for key in failed] == ["001"]
    assert all("lost 3 times with it in hand" in error for error in failed.values())


def test_flags_that_contradict_each_other_are_refused(capsys, data_set, short_task, tmp_path):
    base = f"run --model chance --shots 1 --quiet --data {data_set} --task {short_task} --out {tmp_path / 'run'} "
    for flags, said in (
        ("--workers 0", "--workers 0: … leave it out"),
        ("--workers 1000000", "--workers 1000000 … cores have no use … ask for fewer"),
        ("--gpus 0", "--gpus 0: … leave it out"),
        ("--workers 3 --gpus 2", "--workers 3 --gpus 2 … evenly; use --workers 4"),
        ("--gpus 1 --device cpu", "--device cpu --gpus 1 … leave --device out"),
        ("--workers 2 --device cuda", "--device cuda … --gpus N gives"),
        ("--ray-address auto", "--ray-address auto … --workers N"),
        ("--ray-address nonsense --workers 1", "--ray-address nonsense … HOST:PORT"),
        ("--ray-address ray://host:1 --workers 1", "ray://host:1 … HOST:PORT"),
        ("--ray-address 127.0.0.1:9 --workers 1", "127.0.0.1:9 … nobody answers … ray start"),
        ("--ray-address localhost:99999 --workers 1", "99999 is no port"),
        ("--gpus 5 --model cnn_lstm", "--gpus 5 … usable GPUs … ask for fewer"),
    ):
        code = run_cli(base + flags)
        out, err = capsys.readouterr()
        assert_one_sentence(code, out, err)
        assert_says(err, said)
        assert not (tmp_path / "run").exists(), flags


def test_a_run_that_goes_on_by_other_workers_keeps_its_threads(alone, data_set, short_task, tmp_path):
    shutil.copytree(alone, tmp_path / "run")
    session = session_in(tmp_path / "run", tmp_path / "cache", data_set, short_task)
    for crew in (Crew(), Crew(workers=2)):
        machine = machine_of(session, tmp_path / "cache", "cpu" if crew.size == 1 else None, None, crew)
        assert machine.threads == 1  # as in `alone`
        assert crew_doubts(session, replace(machine, threads=3, workers=1, ray_address="auto")) == [
            "Units of this folder were computed with 1 threads each, new ones with 3: digits differ"
        ]


def test_threads_of_a_work_unit_never_exceed_those_of_one_worker_and_share_the_cores(ask_machine):
    one = ask_machine(Crew()).threads
    assert ask_machine(Crew(workers=2)).threads == max(1, min(one, len(os.sched_getaffinity(0)) // 2))
    assert ask_machine(Crew(workers=4 * len(os.sched_getaffinity(0)))).threads == 1
    assert ask_machine(Crew(workers=3, ray_address="auto")).threads == one


@pytest.fixture
def ask_machine(data_set, short_task, cache, tmp_path):
    session = session_in(tmp_path / "run", cache, data_set, short_task, ("chance",))
    return lambda crew: machine_of(session, cache, None, None, crew)


def test_help_and_list_import_no_ray():
    for words in ("run --help", "list"):
        code = (
            "import sys; from benchmark.cli import app; app(sys.argv[1:], standalone_mode=False); "
            "assert 'ray' not in sys.modules"
        )
        done = subprocess.run([sys.executable, "-c", code, *words.split()], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
