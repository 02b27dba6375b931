"""Ray, started for one run on this machine, or joined where it runs: `with ray_for(machine):`.

On one machine it listens to the loopback alone and asks for a password drawn for this process; nothing is written
outside a folder of its own, which goes when the run ends. If this process is killed, Linux ends Ray's with it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from typing import Any

from benchmark.run.execute import Machine
from benchmark.run.provenance import ROOT
from tasks.errors import BadInput

ANSWER_WITHIN_S = 20.0
STORE_BYTES = 256 * 2**20
LONGEST_TEMP = 30  # characters: Ray's sockets lie up to 76 below it, and a socket's path has at most 107
REMEDY = "start it (`ray start --head`, and on this machine `ray start --address HOST:PORT`), or correct the address"
ASK = """
import json, sys, ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print("\\nNODES", json.dumps([node["Resources"] for node in ray.nodes() if node["Alive"]]), flush=True)
"""


@contextmanager
def ray_for(machine: Machine) -> Iterator[None]:
    """Ray for a run; Ctrl-C and SIGTERM end it as KeyboardInterrupt.

    Raises:
        BadInput: the cluster does not answer, or has no room for so many workers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if machine.ray_address:
        refuse_room(machine, rooms_at(machine.ray_address))
    else:
        _keep_to_this_machine()
    import ray
    import ray._private.worker as driver

    driver.print_to_stdstream = _unsaid  # pages on each lost worker, on stdout, where --json goes
    temporary = None if machine.ray_address else tempfile.mkdtemp(prefix="sb-", dir=_short_temporary_folder())
    common: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": "ERROR",
        "runtime_env": {"env_vars": limits(machine.threads)},
    }
    with _interruptible():
        try:
            # Ray puts the folder that we stand in first on its workers' path, before the suite's own packages.
            if machine.ray_address:
                with tempfile.TemporaryDirectory(prefix="sb-") as nowhere, chdir(nowhere):
                    ray.init(address=machine.ray_address, **common)
            else:
                common["runtime_env"]["env_vars"]["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, sys.path))
                with chdir(ROOT):
                    ray.init(
                        address="local",
                        num_cpus=machine.workers * machine.threads,
                        num_gpus=machine.gpus,
                        include_dashboard=False,
                        object_store_memory=STORE_BYTES,
                        _node_ip_address="127.0.0.1",
                        _temp_dir=temporary,
                        _system_config={"prestart_worker_first_driver": False},  # they would lack `limits`
                        **common,
                    )
            _interrupt_on_sigterm()  # Ray has put its own handler there
            yield
        finally:
            _ignore_signals()
            ray.shutdown()
            if temporary:
                shutil.rmtree(temporary, ignore_errors=True)


def _unsaid(*_: Any, **__: Any) -> None:
    """What Ray prints by itself."""


def limits(threads: int) -> dict[str, str]:
    """Environment of a worker: what numpy's and torch's libraries read when they are loaded."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    return {name: str(threads) for name in names}


def rooms_at(address: str) -> list[dict[str, float]]:
    """Resources of each node of a cluster. Another process asks: connecting cannot be given a time limit.

    Raises:
        BadInput: no Ray answers there in time, or this machine is no node of it.
    """
    if not re.fullmatch(r"auto|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}", address):
        raise BadInput(f"--ray-address {address}: write it as HOST:PORT, or auto for the cluster of this machine")
    _refuse_silence(address)
    try:
        asked = subprocess.run(
            [sys.executable, "-c", ASK, address], capture_output=True, text=True, timeout=ANSWER_WITHIN_S
        )
    except subprocess.TimeoutExpired as error:
        raise BadInput(
            f"--ray-address {address}: no Ray cluster lets this process in within {ANSWER_WITHIN_S:g} s; {REMEDY}; a "
            "cluster that was started with a token wants the same RAY_AUTH_MODE and RAY_AUTH_TOKEN here"
        ) from error
    if asked.returncode:
        said = [line for line in asked.stderr.splitlines() if line.strip()] or ["no reason given"]
        raise BadInput(f"--ray-address {address}: cannot be joined ({said[-1].strip()[:200]}); {REMEDY}")
    # Ray's own threads may log to stdout at any moment.
    (answer,) = (line for line in asked.stdout.splitlines() if line.startswith("NODES "))
    nodes: list[dict[str, float]] = json.loads(answer.removeprefix("NODES "))
    return nodes


def _refuse_silence(address: str) -> None:
    """Raise BadInput at once where nobody listens: Ray would go on trying."""
    host, _, port = address.rpartition(":")
    if not host:
        return
    if not 0 < int(port) < 65536:
        raise BadInput(f"--ray-address {address}: {port} is no port; Ray's usual one is 6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise BadInput(f"--ray-address {address}: nobody answers there ({error}); {REMEDY}") from error


def refuse_room(machine: Machine, nodes: list[dict[str, float]]) -> None:
    """Raise BadInput where the nodes cannot hold all workers at once."""
    per_cpu = [int(node.get("CPU", 0) // machine.threads) for node in nodes]
    per_gpu = [int(node.get("GPU", 0)) * machine.to_a_gpu for node in nodes]
    room = sum(map(min, per_cpu, per_gpu)) if machine.gpus else sum(per_cpu)
    if machine.gpus and not any(per_gpu):
        raise BadInput(f"--gpus {machine.gpus}: no node of the cluster has a GPU; use --workers N")
    if room < machine.workers:
        flags = f"--gpus {machine.gpus}" if machine.to_a_gpu == 1 else f"--workers {machine.workers}"
        gpu = {0: "", 1: "a GPU and "}.get(machine.to_a_gpu, f"1/{machine.to_a_gpu} of a GPU and ")
        raise BadInput(
            f"{flags}: the cluster's {len(nodes)} nodes have room for {room} workers, each with {gpu}"
            f"{machine.threads} CPUs; ask for fewer, or for fewer --threads"
        )


def _keep_to_this_machine() -> None:
    """Read by Ray when it is imported: services on the loopback, and a password instead of a file in the user's home.

    The first variable is named after the systems where that is Ray's default.
    """
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _short_temporary_folder() -> str | None:
    usual = tempfile.gettempdir()
    return "/tmp" if len(usual) > LONGEST_TEMP and os.access("/tmp", os.W_OK) else usual


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM is a KeyboardInterrupt while this holds; afterwards both signals are as they were."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _interrupt_on_sigterm()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt_on_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _ignore_signals() -> None:
    """A second Ctrl-C must not leave half of Ray behind: what follows takes seconds."""
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
