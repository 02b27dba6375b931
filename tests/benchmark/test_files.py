"""Files are whole or absent."""

import pytest

from benchmark.files import cache_folder, replacing, sha256_of, write_atomically
from tasks.errors import BadInput


def test_a_file_is_replaced_in_one_step_and_leaves_nothing_beside_it(tmp_path):
    write_atomically(tmp_path / "a", "one")
    write_atomically(tmp_path / "a", b"two")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"two")]


def test_an_error_while_writing_keeps_the_old_file_and_removes_the_new_one(tmp_path):
    write_atomically(tmp_path / "a", "old")

    def write_half():
        with replacing(tmp_path / "a") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a", "old")]


def test_of_two_folders_the_first_stays(tmp_path):
    for content in ("first", "second"):
        with replacing(tmp_path / "folder") as temporary:
            temporary.mkdir()
            (temporary / "x").write_text(content)
    assert (tmp_path / "folder" / "x").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_sha256_is_the_standard_one(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_cache_is_for_its_owner_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", str(tmp_path / "c"))
    assert cache_folder().stat().st_mode & 0o777 == 0o700


def test_unusable_cache_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SEIZURE_BENCH_CACHE", str(tmp_path / "file" / "c"))
    with pytest.raises(BadInput, match="set SEIZURE_BENCH_CACHE"):
        cache_folder()
