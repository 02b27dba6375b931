"""Labels by keyed hashes: written, read again without trust, and made of a run."""

from __future__ import annotations

import gzip

import pandas as pd
import pytest

from benchmark.run.records import RunFolder
from benchmark.submission.facts import track_of
from benchmark.submission.ids import open_key, token, tokens_query
from benchmark.submission.reference import (
    CLIPS,
    EPISODES,
    QUERIES,
    TRACK,
    read_reference,
    reference_of,
    reference_of_run,
    write_reference,
)
from tasks.errors import BadInput
from tests.benchmark.conftest import content_of
from tests.benchmark.submission.house import house_clips, write_house_run

KEY = open_key("ab" * 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_house_run(tmp_path_factory.mktemp("house") / "run", ("good",), shots=(2, 3), rendered=True)


@pytest.fixture
def written(run, tmp_path):
    write_reference(reference_of_run(run, KEY), tmp_path / "reference")
    return tmp_path / "reference"


def test_a_reference_holds_a_runs_labels_and_queries_by_hashes(run):
    reference = reference_of_run(run, KEY)
    clips = house_clips(8, 8)
    expected = {
        (token(KEY, "clip", clip), token(KEY, "patient", subject), label)
        for clip, subject, label in clips.itertuples(index=False)
    }
    assert set(reference.clips.itertuples(index=False, name=None)) == expected
    assert reference.label_of == {clip: label for clip, _, label in expected}
    episodes = RunFolder(run).saved_episodes()
    assert len(reference.episodes) == len(episodes) == 8
    for episode, row in zip(episodes, reference.episodes.itertuples(index=False), strict=True):
        tokens = [token(KEY, "clip", clip) for clip in episode.query]
        assert tuple(row) == (episode.shots, episode.index, episode.digest, len(tokens), tokens_query(tokens))
        asked = reference.queries.query(f"shots == {episode.shots} and episode == {episode.index}")
        assert sorted(asked["clip"]) == sorted(tokens)


def test_what_is_written_is_read_again(run, written):
    there, here = read_reference(written), reference_of_run(run, KEY)
    assert there.track == here.track
    for name in ("clips", "episodes", "queries"):
        pd.testing.assert_frame_equal(getattr(there, name), getattr(here, name), check_dtype=False)
    assert there.digest == here.digest


def test_the_digest_follows_labels_episodes_and_key_but_not_the_name_of_the_data(run, tmp_path):
    here = reference_of_run(run, KEY)
    assert reference_of_run(run, bytes(32)).digest != here.digest
    fewer = write_house_run(tmp_path / "fewer", ("good",), shots=(2,), rendered=True)
    assert reference_of_run(fewer, KEY).digest != here.digest
    folder = RunFolder(run)
    renamed = reference_of(track_of(folder.card(), "another name"), folder.clips(), folder.saved_episodes(), KEY)
    assert renamed.digest == here.digest
    other = write_house_run(tmp_path / "other", ("good",), with_positives=7, shots=(2, 3), rendered=True)
    assert reference_of_run(other, KEY).digest != here.digest


def test_written_again_it_stays_and_another_is_refused(run, written, tmp_path):
    before = content_of(written)
    write_reference(reference_of_run(run, KEY), written)
    with pytest.raises(BadInput, match="is there with other content"):
        write_reference(reference_of_run(run, bytes(32)), written)
    assert content_of(written) == before


def edit(path, change):
    packed = path.suffix == ".gz"
    text = (gzip.decompress(path.read_bytes()) if packed else path.read_bytes()).decode()
    lines = change(text.splitlines(keepends=True))
    data = "".join(lines).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if packed else data)


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        (CLIPS, lambda lines: [*lines, lines[-1]], "stands there twice"),
        (CLIPS, lambda lines: lines[:-1], "is none of clips.csv"),
        (CLIPS, lambda lines: [*lines[:-1], lines[-1][:-2] + "2\n"], "clips.csv: line 33"),
        (QUERIES, lambda lines: lines[:-1], "its episodes are not those of queries.csv.gz"),
        (QUERIES, lambda lines: [*lines, lines[-1]], "its episodes are not those of queries.csv.gz"),
        (EPISODES, lambda lines: lines[:-1], "its episodes are not those of queries.csv.gz"),
        (EPISODES, lambda lines: [*lines, lines[-1]], "its episodes are not those of queries.csv.gz"),
        (TRACK, lambda lines: [line.replace('"seed": 0', '"seed": -1') for line in lines], "reference.json: seed"),
    ],
)
def test_what_does_not_hang_together_is_refused(written, name, change, part):
    edit(written / name, change)
    with pytest.raises(BadInput) as error:
        read_reference(written)
    assert part in str(error.value)


def test_other_files_and_links_are_refused(written, tmp_path):
    (written / "notes.txt").write_text("x")
    with pytest.raises(BadInput, match=r"notes\.txt: is none of"):
        read_reference(written)
    (written / "notes.txt").unlink()
    (tmp_path / "link").symlink_to(written)
    with pytest.raises(BadInput, match="is a link"):
        read_reference(tmp_path / "link")


def test_episodes_whose_count_of_clips_is_wrong_are_refused(written):
    edit(written / EPISODES, lambda lines: [lines[0], lines[1].replace(",24,", ",25,"), *lines[2:]])
    with pytest.raises(BadInput, match="its episodes are not those of"):
        read_reference(written)
