"""From what a user asked for to the list of work units, before anything is computed.

names and --set   -> methods (adapter, settings, scale, published weights)
shots             -> episodes
methods x training seeds x shots x episodes -> WorkUnits; a policy picks those to run
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from benchmark import registry
from benchmark.baseline import Baseline, Chooses, Costed, Init, Loads, Pretrains, Scale, Size
from benchmark.data.mixes import draw, load_mix
from benchmark.run.code import code_digest
from benchmark.run.stage1 import Given, adopt
from benchmark.run.units import RunCard, WorkUnit
from benchmark.weights.catalogue import digest, locate
from protocols.episodes import Episode
from tasks.errors import BadInput
from tasks.spec import first_complaint, parse_yaml

Policy = Literal["only-missing", "always", "never"]
SHARE_OF_MATMUL = 1 / 4
UNCOSTED_EPISODE_S = 0.1


@dataclass(frozen=True)
class Method:
    """One row of the table to come.

    `published` is the name of the weights it starts from, `weights` their file here, `weights_digest` its sha256.
    `stage1` is the checkpoint that the user named for a method that has a first stage.
    """

    name: str
    adapter: type[Baseline]
    settings: Any
    scale: Scale
    weights: Path | None = None
    weights_digest: str = "-"
    published: str = "-"
    stage1: Given | None = None

    def make(self) -> Baseline:
        """A fresh adapter."""
        return self.adapter(self.settings, self.scale)

    def with_settings(self, **changes: Any) -> Method:
        """The same, with settings that are no user's to choose."""
        return replace(self, settings=self.settings.model_copy(update=changes))


@dataclass(frozen=True)
class Wanted:
    """At which size, from which weights and on which windows (seconds) the networks are to run."""

    size: Size
    init: Init | None
    window_s: float
    weights_folder: Path
    stage1: Given | None = None


def plan_methods(names: Sequence[str], changes: Sequence[str], wanted: Wanted) -> list[Method]:
    """Look the methods up and apply `--set key=value` (or `method.key=value`) to those that know the key.

    Raises:
        BadInput: an unknown method, a key that no chosen method has, a value out of range, initial weights that a
            method does not know, published weights that are missing or not the published ones, or a checkpoint of
            stage 1 that contradicts what was asked.
    """
    adapters = {name: adapter_of(name, changes) for name in dict.fromkeys(names)}
    given: dict[str, dict[str, Any]] = {name: {} for name in adapters}
    for change in changes:
        key, equals, text = change.partition("=")
        if not equals or not key:
            raise BadInput(f"--set {change}: write it as key=value")
        target, dot, short = key.partition(".")
        if dot and target not in adapters:
            raise BadInput(f"--set {change}: {target!r} is not in --model; name one of {', '.join(adapters)}")
        chosen, field = ([target], short) if dot else (list(adapters), key)
        takers = [name for name in chosen if field in adapters[name].Settings.model_fields]
        if not takers:
            known = sorted({f for name in adapters for f in adapters[name].Settings.model_fields})
            near = difflib.get_close_matches(field, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known) or 'none'}"
            raise BadInput(f"--set {change}: none of {', '.join(adapters)} has a setting {key!r}; {hint}")
        for name in takers:
            given[name][field] = _value(text)
    methods = [_method(name, adapter, given[name], wanted) for name, adapter in adapters.items()]
    if wanted.stage1 and not any(method.stage1 for method in methods):
        raise BadInput(
            f"--stage1 {wanted.stage1.folder}: none of {', '.join(adapters)} has a first stage; leave it out"
        )
    return methods


def adapter_of(name: str, changes: Sequence[str]) -> type[Baseline]:
    """The class that runs under a name; one that `Chooses` is asked with what `--set` gives it.

    Raises:
        BadInput: no such method, or its module cannot be imported.
    """
    adapter = registry.load(name)
    if not isinstance(adapter, Chooses):
        return adapter
    pairs = [change.partition("=") for change in changes]
    return adapter.chosen({key.removeprefix(f"{name}."): _value(text) for key, _, text in pairs})


def initial_weights(name: str, adapter: type[Baseline], size: Size, asked: Init | None) -> Init:
    """What a method starts from: what was asked for, else its own default; the tiny size is always random.

    Raises:
        BadInput: it has no such weights.
    """
    if size == "tiny":
        if asked not in (None, "random"):
            raise BadInput(f"--init {asked}: there are no published weights of the tiny size; use --size base")
        return "random"
    if asked is None:
        return adapter.inits[0] if adapter.inits else "random"
    if adapter.inits and asked != "random" and asked not in adapter.inits:
        known = ", ".join([*adapter.inits, *(() if "random" in adapter.inits else ("random",))])
        raise BadInput(f"--init {asked}: {name} has no such initial weights; it knows {known}")
    return asked


def plan_units(
    methods: Sequence[Method], episodes: Sequence[Episode], card: RunCard, train_seeds: int = 1
) -> list[tuple[Method, WorkUnit]]:
    """The product, grouped by method so that each is set up once; every episode is trained on `train_seeds` times."""
    return [
        (method, _unit(method, episode, card.digest, train_seed))
        for method in methods
        for train_seed in range(train_seeds)
        for episode in episodes
    ]


def select(
    units: Sequence[tuple[Method, WorkUnit]], is_done: Callable[[WorkUnit], bool], policy: Policy
) -> list[tuple[Method, WorkUnit]]:
    """Those that the policy wants computed now."""
    if policy == "never":
        return []
    return [pair for pair in units if policy == "always" or not is_done(pair[1])]


def estimate_seconds(
    methods: Sequence[Method], todo: Sequence[tuple[Method, Episode]], stage1_windows: Sequence[dict[Any, Any]]
) -> dict[str, float]:
    """Seconds on this machine's CPU by method: FLOP over the measured rate of a matrix product.

    A network's layers reach about a quarter of a matrix product's rate; a method that states no cost counts a
    tenth of a second an episode. An order of magnitude, to tell minutes from days.
    """
    second = 1 / matmul_seconds(1.0)
    total = {}
    for method in methods:
        baseline, episodes = method.make(), [episode for m, episode in todo if m is method]
        if not episodes:
            total[method.name] = 0.0
        elif isinstance(baseline, Costed):
            flop = sum(baseline.episode_flop(len(e.support), len(e.query)) for e in episodes)
            total[method.name] = (flop + baseline.setup_flop(_stage1_clips(method, baseline, stage1_windows))) / second
        else:
            total[method.name] = UNCOSTED_EPISODE_S * len(episodes)
    return total


def _stage1_clips(method: Method, baseline: Baseline, windows: Sequence[dict[Any, Any]]) -> int:
    """How many clips the method's stage 1 would train on, were it not in the cache."""
    if method.stage1 or not isinstance(baseline, Pretrains):
        return 0
    return len(draw(load_mix(baseline.mix), windows, 0).windows)


def matmul_seconds(flop: float) -> float:
    """How long a network's layers take for so many FLOP on this machine's CPU; an order of magnitude."""
    return flop / (_matmul_rate() * SHARE_OF_MATMUL)


def _matmul_rate() -> float:
    """FLOP/s of a float32 matrix product on this machine, all cores; the best of five, lest other work count."""
    side = 1024
    a = np.ones((side, side), dtype=np.float32)
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - begun)
    return 2 * side**3 / min(times)


def _unit(method: Method, episode: Episode, run: str, train_seed: int) -> WorkUnit:
    settings = method.settings.model_dump(mode="json")
    defaults = method.adapter.Settings().model_dump(mode="json")
    network = bool(method.adapter.inits)
    return WorkUnit(
        baseline=method.name,
        changed={key: value for key, value in settings.items() if value != defaults[key]},
        settings=settings,
        code=code_digest(method.adapter),
        size=method.scale.size if network else "-",
        init=method.scale.init if network else "-",
        weights=method.weights_digest,
        stage1=method.stage1.card.weights if method.stage1 else "-",
        run=run,
        shots=episode.shots,
        episode=episode.index,
        episode_digest=episode.digest,
        train_seed=train_seed,
    )


def _method(name: str, adapter: type[Baseline], given: dict[str, Any], wanted: Wanted) -> Method:
    settings = _settings(name, adapter, given)
    unloaded = adapter(settings, Scale(wanted.size, "random", wanted.window_s))
    if wanted.stage1 and isinstance(unloaded, Pretrains):
        return _on_given_stage1(name, adapter, adopt(unloaded, given, wanted.stage1), wanted.stage1, wanted)
    scale = Scale(wanted.size, initial_weights(name, adapter, wanted.size, wanted.init), wanted.window_s)
    baseline = adapter(settings, scale)
    published = baseline.published if isinstance(baseline, Loads) else None
    if published is None:
        return Method(name, adapter, settings, scale)
    folder = wanted.weights_folder
    file, sha256 = locate(published, folder), digest(published, folder)
    return Method(name, adapter, settings, scale, file, sha256, f"{published.name} ({published.files[0].path})")


def _on_given_stage1(name: str, adapter: type[Baseline], settings: Any, given: Given, wanted: Wanted) -> Method:
    """The checkpoint decides on size and initial weights; no published file is needed any more."""
    card = given.card
    for flag, asked, made in (("--size", wanted.size, card.size), ("--init", wanted.init, card.init)):
        if asked not in (None, made):
            raise BadInput(f"{flag} {asked}: the checkpoint {given.folder} is {made}; leave one of them out")
    return Method(name, adapter, settings, Scale(card.size, card.init, wanted.window_s), stage1=given)


def _settings(name: str, adapter: type[Baseline], given: dict[str, Any]) -> Any:
    try:
        return adapter.Settings(**given)
    except ValidationError as error:
        complaint = first_complaint(error, list(adapter.Settings.model_fields))
        raise BadInput(f"--set for {name}: {complaint}") from error


def _value(text: str) -> Any:
    """A setting's value as YAML reads it: numbers, true/false, or text."""
    try:
        value = parse_yaml(text)
    except ValueError:
        return text
    return value if isinstance(value, (bool, int, float, str)) else text
