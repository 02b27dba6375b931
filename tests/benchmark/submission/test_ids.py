"""Keyed hashes of ids, and the secret that they need."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.submission.ids import open_key, read_site_key, site_key, token, tokens_query
from tasks.errors import BadInput


def test_a_token_is_the_hmac_of_kind_and_id():
    # printf 'clip\0a' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0000...00 (32 zero bytes)
    assert token(bytes(32), "clip", "a") == "234a9ae6f01af372"


@given(st.binary(min_size=32, max_size=32), st.lists(st.text(max_size=20), unique=True, max_size=20))
def test_other_ids_kinds_and_keys_have_other_tokens(key, ids):
    other = bytes([key[0] ^ 1]) + key[1:]
    found = [token(k, kind, one) for k in (key, other) for kind in ("clip", "patient") for one in ids]
    assert len(set(found)) == len(found)
    assert all(len(one) == 16 and set(one) <= set("0123456789abcdef") for one in found)


@given(st.lists(st.text("0123456789abcdef", min_size=16, max_size=16), unique=True, min_size=2), st.randoms())
def test_a_query_is_known_whatever_its_order_and_by_every_clip(tokens, random):
    mixed = random.sample(tokens, len(tokens))
    assert tokens_query(mixed) == tokens_query(tokens)
    assert tokens_query(tokens[1:]) != tokens_query(tokens)


def test_open_data_have_a_key_of_their_own_that_everybody_finds():
    assert open_key("ab" * 32) == open_key("ab" * 32)
    assert len(open_key("ab" * 32)) == 32
    assert open_key("ab" * 32) != open_key("ba" * 32)


def test_a_sites_key_is_made_once_and_for_its_owner_alone(tmp_path):
    path = tmp_path / "settings" / "site.key"
    key = site_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(key) == 32
    assert path.read_bytes() == key
    assert site_key(path) == key
    assert site_key(tmp_path / "other.key") != key


def test_processes_that_want_a_new_key_at_once_get_the_same_one(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: site_key(tmp_path / "site.key"), range(32)))
    assert len(keys) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path, mode):
    site_key(tmp_path / "site.key")
    (tmp_path / "site.key").chmod(mode)
    with pytest.raises(BadInput, match=r"site\.key: others than its owner .* `chmod 600"):
        site_key(tmp_path / "site.key")


@pytest.mark.parametrize("content", [b"", b"short", bytes(33)])
def test_what_is_no_key_is_refused_and_kept(tmp_path, content):
    path = tmp_path / "site.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadInput, match="is no key of a site, which has 32 bytes"):
        site_key(path)
    assert path.read_bytes() == content


def test_reading_makes_no_key(tmp_path):
    with pytest.raises(BadInput, match="cannot be read"):
        read_site_key(tmp_path / "site.key")
    with pytest.raises(BadInput, match="cannot be read"):
        site_key(tmp_path)
    assert list(tmp_path.iterdir()) == []
