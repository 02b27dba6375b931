"""Draw N-shot episodes: which clips a method may learn from (support) and which it is asked about (query).

    clips -> thin_negatives -> draw_episodes -> [Episode, ...]
                                             -> permuted -> a control: nothing to learn

Everything is drawn from names and a seed: no order of rows, no number of workers and no method changes an
episode. Over the episodes of a shot every patient donates support, and so is left out of the query, as evenly
as the counts allow.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import pandas as pd

from protocols.spec import ProtocolSpec
from tasks.errors import BadInput

CLASSES = (1.0, 0.0)
CLASS_NAMES = {1.0: "positive", 0.0: "negative"}


@dataclass(frozen=True)
class Episode:
    """Support and query clip ids, both in alphabetical order.

    `dealt_positives`: None in a result, where labels are the clips' own; in a control, the clips that are called
    positive here (see `permuted`).
    """

    protocol: str
    shots: int
    index: int
    support: tuple[str, ...]
    query: tuple[str, ...]
    dealt_positives: tuple[str, ...] | None = None

    @cached_property
    def digest(self) -> str:
        """Hex sha256 of the whole content; an episode of a result has the digest that it had before controls were."""
        content = {key: value for key, value in asdict(self).items() if value is not None}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def thin_negatives(clips: pd.DataFrame, spec: ProtocolSpec, seed: int) -> pd.DataFrame:
    """Keep `negatives_per_positive` negatives a positive: first each patient's own share, then in turn from all.

    Without it a night of inter-ictal video outweighs two seizures a thousand to one, and a negative from a
    patient without seizures tells patients apart instead of states. The choice depends on names and seed alone.
    """
    clips = clips.sort_values("clip_id", ignore_index=True)
    if spec.negatives_per_positive is None:
        return clips
    positives = clips[clips["label"] == 1]
    share = positives.groupby("subject_id").size() * spec.negatives_per_positive
    negatives = clips[clips["label"] == 0]
    drawn = negatives.assign(draw=[_draw(seed, "negative", clip) for clip in negatives["clip_id"]]).sort_values("draw")
    turn = drawn.groupby("subject_id").cumcount()
    beyond_share = turn >= drawn["subject_id"].map(share).fillna(0)
    chosen = drawn.assign(turn=turn, beyond_share=beyond_share).sort_values(["beyond_share", "turn", "draw"])
    wanted = round(len(positives) * spec.negatives_per_positive)
    keep = (clips["label"] == 1) | clips["clip_id"].isin(chosen["clip_id"].head(wanted))
    return clips[keep].reset_index(drop=True)


def draw_episodes(clips: pd.DataFrame, spec: ProtocolSpec, shots: int, seed: int) -> list[Episode]:
    """Draw `spec.episodes` episodes of `shots` clips a class.

    Args:
        clips: labelled clips (clip_id, subject_id, label), already thinned.
        spec: the protocol.
        shots: N, clips a class in the support.
        seed: the run's seed.

    Raises:
        BadInput: the clips cannot serve this many shots; the sentence tells what is missing.
    """
    if shots < 1:
        raise BadInput(f"--shots {shots}: a shot is at least 1 clip a class")
    pool = {
        (str(subject), float(str(label))): sorted(group["clip_id"])
        for (subject, label), group in clips.groupby(["subject_id", "label"])
    }
    supports = _patient_supports if spec.disjoint == "patient" else _clip_supports
    subject_of = dict(zip(clips["clip_id"], clips["subject_id"], strict=True))
    label_of = dict(zip(clips["clip_id"], clips["label"], strict=True))
    episodes = []
    for index, support in enumerate(supports(pool, spec, shots, seed)):
        barred = set(support)
        if spec.disjoint == "patient":
            donors = {subject_of[clip] for clip in support}
            barred = {clip for clip, subject in subject_of.items() if subject in donors}
        query = tuple(sorted(set(subject_of) - barred))
        if {label_of[clip] for clip in query} != set(CLASSES):
            raise BadInput(
                f"--shots {shots}: protocol {spec.name} leaves {_counts(query, label_of)} for the query; both classes "
                "need at least 1: ask for fewer shots or add recordings"
            )
        episodes.append(Episode(spec.name, shots, index, tuple(sorted(support)), query))
    return episodes


def permuted(episode: Episode, clips: pd.DataFrame, seed: int) -> Episode:
    """The same episode as a control: each patient's labels dealt anew among that patient's clips.

    Within patients, because clips of one patient are alike whatever their label: same room, same camera, same body. A
    permutation over all clips would cut that bond too, and would ask whether labels and clips are related at all. This
    one keeps all that goes with the patient, shares of each class included, and cuts the bond between a label and
    the moment of its clip alone: what a forecaster must live on (exchangeability blocks: Winkler et al., NeuroImage
    2015). Every episode is dealt for itself, so that episodes are independent draws: one permutation for all would be
    a single draw, and methods that look at the same pixels would all be lucky or unlucky with it.

    Support and query keep their shape: a clip's place goes to the clip that was dealt its label.

    Args:
        episode: drawn from `clips`.
        clips: clip_id, subject_id, label of the pool; the order of rows plays no part.
        seed: of the run.

    Raises:
        BadInput: no patient has clips of both classes, so that there is nothing to permute.
    """
    still = set(one_class(clips))
    if not set(clips["subject_id"]) - still:
        raise BadInput(
            f"--permute-labels: none of the {clips['subject_id'].nunique()} patients has clips of both classes, and "
            "labels are only permuted within a patient; leave it out, or take a task or data in which some have both"
        )
    goes_to = {clip: clip for clip in clips["clip_id"]}
    for subject, own in clips.groupby("subject_id"):
        if subject not in still:
            names = sorted(own["clip_id"])
            dealt = sorted(names, key=lambda clip: _draw(seed, "permuted label", episode.shots, episode.index, clip))
            goes_to |= dict(zip(names, dealt, strict=True))
    return Episode(
        episode.protocol,
        episode.shots,
        episode.index,
        support=tuple(sorted(goes_to[clip] for clip in episode.support)),
        query=tuple(sorted(goes_to[clip] for clip in episode.query)),
        dealt_positives=tuple(sorted(goes_to[clip] for clip in clips.loc[clips["label"] == 1, "clip_id"])),
    )


def one_class(clips: pd.DataFrame) -> tuple[str, ...]:
    """Patients whose clips are all of one class: a permutation within patients leaves them as they are."""
    classes = clips.groupby("subject_id")["label"].nunique()
    return tuple(sorted(classes.index[classes < 2]))


def assert_disjoint(episode: Episode, subject_of: dict[str, str], spec: ProtocolSpec) -> dict[str, int]:
    """Check at run time what the drawing promised; the counts go into the record.

    Raises:
        AssertionError: a clip, or under patient disjointness a patient, is on both sides.
    """
    shared_clips = set(episode.support) & set(episode.query)
    shared_patients = {subject_of[c] for c in episode.support} & {subject_of[c] for c in episode.query}
    if shared_clips or (spec.disjoint == "patient" and shared_patients):
        raise AssertionError(f"support and query share {sorted(shared_clips or shared_patients)}")
    return {"shared_clips": len(shared_clips), "shared_patients": len(shared_patients)}


def _patient_supports(
    pool: dict[tuple[str, float], list[str]], spec: ProtocolSpec, shots: int, seed: int
) -> list[list[str]]:
    """Supports from few donors, both classes from each; whoever has donated least is drawn first."""
    donors = min(spec.donors or 1, shots)
    shares = [shots // donors + (place < shots % donors) for place in range(donors)]
    subjects = sorted({subject for subject, _ in pool})
    spare = {s: min(len(pool.get((s, label), [])) for label in CLASSES) for s in subjects}
    _refuse_too_few_donors(spare, shares, spec, shots)
    donated = dict.fromkeys(subjects, 0)
    supports = []
    for index in range(spec.episodes):
        chosen: list[str] = []
        for share in shares:
            fit = [s for s in subjects if spare[s] >= share and s not in chosen]
            chosen.append(min(fit, key=lambda s: (donated[s], _draw(seed, shots, index, "donor", s))))
        support = []
        for subject, share in zip(chosen, shares, strict=True):
            donated[subject] += 1
            for label in CLASSES:
                support += _pick(pool[(subject, label)], share, seed, shots, index)
        supports.append(support)
    return supports


def _refuse_too_few_donors(spare: dict[str, int], shares: list[int], spec: ProtocolSpec, shots: int) -> None:
    for place, share in enumerate(shares):
        able = sum(count >= share for count in spare.values())
        if able < place + 1:
            raise BadInput(
                f"--shots {shots}: protocol {spec.name} needs {place + 1} patients with at least {share} clips of each "
                f"class to donate the support, the data have {able} (patients with at least 1 of each: "
                f"{sum(count > 0 for count in spare.values())}); ask for fewer shots or add recordings"
            )


def _clip_supports(
    pool: dict[tuple[str, float], list[str]], spec: ProtocolSpec, shots: int, seed: int
) -> list[list[str]]:
    """Supports from all clips, whoever they show."""
    by_class = {label: sorted(c for (_, of), ids in pool.items() if of == label for c in ids) for label in CLASSES}
    for label, ids in by_class.items():
        if len(ids) < shots + 1:
            raise BadInput(
                f"--shots {shots}: protocol {spec.name} needs at least {shots + 1} {CLASS_NAMES[label]} clips ({shots} "
                f"for the support, 1 for the query), the data have {len(ids)}; ask for fewer shots or add recordings"
            )
    return [
        [clip for label in CLASSES for clip in _pick(by_class[label], shots, seed, shots, index)]
        for index in range(spec.episodes)
    ]


def _pick(ids: list[str], count: int, *key: object) -> list[str]:
    """`count` of `ids`, drawn without replacement by hashes of their names."""
    return sorted(ids, key=lambda clip: _draw(*key, clip))[:count]


def _draw(*key: object) -> bytes:
    return hashlib.sha256(json.dumps(key).encode()).digest()


def _counts(query: Sequence[str], label_of: dict[str, float]) -> str:
    positive = sum(label_of[clip] == 1 for clip in query)
    return f"{positive} positive and {len(query) - positive} negative clips"
