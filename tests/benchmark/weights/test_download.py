"""Downloads from a real server that fails in every way it can: the published bytes at the end, or nothing."""

from __future__ import annotations

import hashlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.progress import Progress
from benchmark.weights.catalogue import PublishedWeights
from benchmark.weights.download import Limits, _Job, _redirected, fetch
from tasks.errors import BadInput
from tests.benchmark.weights.server import (
    Server,
    by_path,
    chunked,
    endless,
    redirect,
    serving,
    status,
    waits,
    whole,
)

BODY = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
QUICK = Limits(timeout_s=10, tries=4, pause_s=0.0)
ONCE = Limits(timeout_s=10, tries=1, pause_s=0.0)
LIMIT_S = 60


def published(server: Server, sha256: str | None = SHA256, size: int | None = None) -> PublishedWeights:
    file = {"path": "net/net.pth", "address": server.address, "sha256": sha256, "size_bytes": size}
    return PublishedWeights(name="net", init="k400", trained_on="x", licence="y", source="z", files=[file])


def get(server: Server, folder: Path, limits: Limits = QUICK, **entry: object) -> bytes:
    """Fetch; the bytes, once it is sure that nothing but the file is left behind."""
    files = fetch(published(server, **entry), folder, Progress(quiet=True), limits)
    assert files == [folder / "net/net.pth"]
    assert content(folder) == {"net.pth"}
    return files[0].read_bytes()


def refused(server: Server, folder: Path, says: str, limits: Limits = QUICK, **entry: object) -> None:
    with pytest.raises(BadInput, match=says) as error:
        fetch(published(server, **entry), folder, Progress(quiet=True), limits)
    sentence = str(error.value)
    assert server.address in sentence or "MiB are free" in sentence
    assert str(folder / "net/net.pth") in sentence
    assert not (folder / "net/net.pth").exists()


def content(folder: Path) -> set[str]:
    """Names of the files below, the empty lock files apart."""
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_a_file_comes_whole_in_one_request(tmp_path):
    with serving(whole(BODY)) as server:
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None]
    assert not list(tmp_path.rglob("*.lock"))


def test_a_connection_that_breaks_several_times_is_taken_up_where_it_stopped(tmp_path):
    with serving(*(whole(BODY, breaks_after=n) for n in (100_000, 1, 50_000)), whole(BODY)) as server:
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=100000-", "bytes=100001-", "bytes=150001-"]
    assert [asked.headers.get("if-range") for asked in server.asked] == [None, '"one"', '"one"', '"one"']
    assert sum(asked.sent for asked in server.asked) == len(BODY)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.booleans()), max_size=4))
def test_wherever_it_breaks_the_bytes_are_right(tmp_path_factory, breaks):
    """Law: any breaks, with or without ranges and ETags, end with the published bytes."""
    body, folder = BODY[:1000], tmp_path_factory.mktemp("any")
    answers = [whole(body, breaks_after=n, ranges=r, etag='"one"' if e else None) for n, r, e in breaks]
    with serving(*answers, whole(body)) as server:
        found = get(server, folder, Limits(tries=6, pause_s=0), sha256=hashlib.sha256(body).hexdigest())
    assert found == body


def test_tries_are_counted_anew_once_a_mebibyte_has_come(tmp_path):
    body = random.Random(2).randbytes(6 << 20)
    with serving(whole(body, breaks_after=1_100_000)) as server:
        found = get(server, tmp_path, Limits(tries=2, pause_s=0), sha256=hashlib.sha256(body).hexdigest())
    assert found == body
    assert len(server.asked) == 6


def test_it_gives_up_after_so_many_tries_with_growing_pauses(tmp_path, capsys):
    with serving(whole(BODY, breaks_after=10, ranges=False)) as server, pytest.raises(BadInput) as error:
        fetch(published(server), tmp_path, Progress(), Limits(tries=4, pause_s=0.01))
    assert "4 times in a row; 10 bytes are kept" in str(error.value)
    assert len(server.asked) == 4
    assert [line.split()[-2] for line in capsys.readouterr().err.splitlines()] == ["0.01", "0.02", "0.04"]


def test_a_second_call_goes_on_where_the_first_gave_up(tmp_path):
    with serving(whole(BODY, breaks_after=200_000), whole(BODY)) as server:
        refused(server, tmp_path, "200000 bytes are kept", ONCE)
        assert get(server, tmp_path, ONCE) == BODY
    assert server.ranges == [None, "bytes=200000-"]
    assert server.asked[1].sent == 100_000


@pytest.mark.parametrize(
    ("etag", "modified", "confirms"),
    [
        (None, "Tue, 01 Jul 2025 10:00:00 GMT", "Tue, 01 Jul 2025 10:00:00 GMT"),
        ('W/"weak"', "Tue, 01 Jul 2025 10:00:00 GMT", "Tue, 01 Jul 2025 10:00:00 GMT"),
        ('"strong"', "Tue, 01 Jul 2025 10:00:00 GMT", '"strong"'),
        (None, None, None),
        ('W/"weak"', None, None),
    ],
)
def test_only_a_strong_etag_or_a_date_allows_to_go_on(tmp_path, etag, modified, confirms):
    headers = {"Last-Modified": modified} if modified else {}
    with serving(whole(BODY, etag=etag, headers=headers, breaks_after=7), whole(BODY, etag=etag, headers=headers)) as s:
        assert get(s, tmp_path) == BODY
    assert s.ranges == [None, "bytes=7-" if confirms else None]
    assert s.asked[1].headers.get("if-range") == confirms


@pytest.mark.parametrize(
    ("second", "requests"),
    [
        (whole(BODY, ranges=False), 2),  # ignores ranges
        (whole(BODY, etag='"two"'), 2),  # changed, and says so by 200
        (whole(BODY, etag='"two"', heeds_if_range=False), 3),  # changed, and goes on all the same
        (whole(BODY + b"more", heeds_if_range=False), 3),  # another length under the same ETag
        (status(416), 3),
        (status(206, BODY[150_000:], {"Content-Range": f"bytes 150000-299999/{len(BODY)}", "ETag": '"one"'}), 3),
        (status(206, BODY[100_000:], {"ETag": '"one"'}), 3),  # a part of what?
    ],
)
def test_a_part_that_the_server_does_not_confirm_is_begun_anew(tmp_path, second, requests):
    """What had come was of another file, so one byte of it in the result would show."""
    with serving(whole(OTHER, breaks_after=100_000), second, whole(BODY, etag='"two"')) as server:
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=100000-", None][:requests]


def test_the_hub_naming_another_hash_for_the_same_part_begins_it_anew(tmp_path):
    first, second = (hashlib.sha256(body).hexdigest() for body in (OTHER, BODY))
    with serving(
        redirect("/a", {"X-Linked-ETag": f'"{first}"'}),
        whole(OTHER, breaks_after=100_000),
        redirect("/a", {"X-Linked-ETag": f'"{second}"'}),
        whole(BODY),
        redirect("/a", {"X-Linked-ETag": f'"{second}"'}),
        whole(BODY),
    ) as server:
        assert get(server, tmp_path, sha256=None) == BODY
    assert server.ranges == [None, None, "bytes=100000-", "bytes=100000-", None, None]


def test_a_part_without_its_note_or_of_another_address_is_not_trusted(tmp_path):
    for spoil in (lambda note: note.unlink(), lambda note: note.write_text("{"), lambda note: other_port(note)):
        folder = tmp_path / str(random.random())
        with serving(whole(OTHER, breaks_after=100_000), whole(BODY)) as server:
            refused(server, folder, "times in a row", ONCE)
            spoil(folder / "net/net.pth.part.json")
            assert get(server, folder) == BODY
        assert server.ranges == [None, None]


def other_port(note: Path) -> None:
    note.write_text(note.read_text().replace("127.0.0.1", "127.0.0.2"))


def test_a_version_that_cannot_be_told_apart_leaves_no_note_of_an_earlier_one(tmp_path):
    unnamed = whole(OTHER, ranges=False, etag=None, breaks_after=200_000)
    with serving(whole(BODY, breaks_after=100_000), unnamed, whole(BODY)) as server:
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=100000-", None]


def test_a_body_that_ends_in_good_order_but_early_is_gone_on_with(tmp_path):
    with serving(chunked(BODY[:100_000], {"X-Linked-Size": "300000"}), whole(BODY)) as server:
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=100000-"]


def test_a_part_that_is_complete_is_checked_and_put_in_place_without_a_request(tmp_path):
    """A process that was killed between the last byte and the rename."""
    with serving(whole(BODY, breaks_after=299_999)) as server:
        refused(server, tmp_path, "times in a row", ONCE)
        with (tmp_path / "net/net.pth.part").open("ab") as part:
            part.write(BODY[-1:])
        assert get(server, tmp_path) == BODY
    assert len(server.asked) == 1


def test_a_length_that_is_never_reached_is_refused(tmp_path):
    with serving(whole(BODY, stated_length=len(BODY) + 5, ranges=False)) as server:
        refused(server, tmp_path, "the connection")
    assert len(server.asked) == QUICK.tries


def test_a_length_that_is_too_short_is_found_by_the_hash(tmp_path):
    with serving(whole(BODY, stated_length=len(BODY) - 5)) as server:
        refused(server, tmp_path, "removed again, its sha256")
    assert content(tmp_path) == set()


def test_a_length_that_is_not_the_published_one_is_refused_before_a_byte_is_kept(tmp_path):
    with serving(whole(BODY)) as server:
        refused(server, tmp_path, "offers 300000 bytes, the published file has 299999", size=299_999)
    assert content(tmp_path) == set()
    assert len(server.asked) == 1


@pytest.mark.parametrize("digits", [8, 64])
def test_a_wrong_body_of_the_right_length_is_removed(tmp_path, digits):
    with serving(whole(OTHER), whole(BODY)) as server:
        refused(server, tmp_path, "what came was removed again, its sha256 begins with", sha256=SHA256[:digits])
        assert content(tmp_path) == set()
        assert get(server, tmp_path, sha256=SHA256[:digits]) == BODY
    assert server.ranges == [None, None]


def test_the_hash_that_the_hub_states_is_checked_too(tmp_path):
    hub = redirect("/bytes", {"X-Linked-ETag": f'"{SHA256}"', "X-Linked-Size": str(len(BODY))})
    for body, sha256 in ((OTHER, None), (BODY, None)):
        with serving(by_path({"/net.pth": hub, "/bytes": whole(body)})) as server:
            if body is OTHER:
                refused(server, tmp_path, f"the server says {SHA256[:16]}", sha256=sha256)
                assert content(tmp_path) == set()
            else:
                assert get(server, tmp_path, sha256=sha256) == BODY


def test_the_length_that_the_hub_states_is_checked_too(tmp_path):
    hub = redirect("/bytes", {"X-Linked-Size": "299999"})
    with serving(by_path({"/net.pth": hub, "/bytes": whole(BODY)})) as server:
        refused(server, tmp_path, "by the hub the file has 299999")


def test_a_git_hash_of_a_small_hub_file_is_not_taken_for_a_sha256(tmp_path):
    with serving(whole(BODY, headers={"X-Linked-ETag": f'"{"0" * 40}"'})) as server:
        assert get(server, tmp_path, sha256=None) == BODY


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_an_html_page_is_no_file_of_weights(tmp_path, kind):
    page = b"\n <!DOCTYPE html><html><body>log in</body></html>"
    with serving(status(200, page, {"Content-Type": kind})) as server:
        refused(server, tmp_path, "an HTML page", sha256=None)
    assert content(tmp_path) == set()


def test_a_log_in_page_on_the_way_costs_nothing_that_had_come(tmp_path):
    page = status(200, b"<html>", {"Content-Type": "text/html"})
    with serving(whole(BODY, breaks_after=200_000), page, whole(BODY)) as server:
        refused(server, tmp_path, "an HTML page")
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=200000-", "bytes=200000-"]


@pytest.mark.parametrize("code", [401, 403, 404, 410, 206, 304])
def test_an_answer_that_will_not_change_is_not_asked_for_again(tmp_path, code):
    with serving(status(code)) as server:
        refused(server, tmp_path, f"the server answers {code}")
    assert len(server.asked) == 1


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_server_that_is_unwell_is_asked_again(tmp_path, code):
    with serving(status(code), status(code), whole(BODY)) as server:
        assert get(server, tmp_path) == BODY
    assert len(server.asked) == 3


def test_redirects_are_followed_relative_and_absolute_and_take_the_range_along(tmp_path):
    with serving(
        lambda reply: by_path(
            {
                "/net.pth": redirect("deep/er"),
                "/deep/er": redirect(f"http://127.0.0.1:{server.port}/bytes?key=1"),
                "/bytes?key=1": whole(BODY, breaks_after=200_000),
            }
        )(reply)
    ) as server:
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None] * 3 + ["bytes=200000-"] * 3


def test_a_loop_of_redirects_ends(tmp_path):
    with serving(redirect("/net.pth")) as server:
        refused(server, tmp_path, "redirects more than 5 times")
    assert len(server.asked) == 6


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x", "javascript:1"])
def test_a_redirect_off_the_web_is_refused(tmp_path, location):
    with serving(redirect(location)) as server:
        refused(server, tmp_path, "it redirects .*(no address|not followed)")
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("url", "location", "leads_to"),
    [
        ("https://a/x", "http://a/x", None),
        ("https://a/x", "//b/y", "https://b/y"),
        ("https://a/x", "https://b/y", "https://b/y"),
        ("http://a/x", "https://b/y", "https://b/y"),
        ("http://a/x", "//b/y", "http://b/y"),
        ("https://a/x", "file:///y", None),
        ("https://a/x", "http://[", None),
    ],
)
def test_a_redirect_never_leaves_https(tmp_path, url, location, leads_to):
    with serving(status(404)) as server:
        job = _Job(published(server).files[0], tmp_path / "net.pth", QUICK, Progress(quiet=True))
    if leads_to is None:
        with pytest.raises(BadInput, match="it redirects"):
            _redirected(job, httpx.URL(url), location)
    else:
        assert str(_redirected(job, httpx.URL(url), location)) == leads_to


@pytest.mark.parametrize(
    ("limits", "size", "headers", "most"),
    [
        (Limits(largest_bytes=1 << 20), None, {}, 1 << 20),
        (Limits(), 300_000, {}, 300_000),
        (Limits(), None, {"X-Linked-Size": "300000"}, 300_000),
    ],
)
def test_a_body_without_end_is_cut_off(tmp_path, limits, size, headers, most):
    with serving(endless(headers)) as server:
        refused(server, tmp_path, f"sends more than .*{most} bytes", limits, size=size)
    assert len(server.asked) == 1
    assert content(tmp_path) == set()


def test_more_than_any_weights_have_is_refused_by_its_stated_length(tmp_path):
    with serving(whole(BODY)) as server:
        refused(server, tmp_path, "more than any published weights", Limits(largest_bytes=299_999))


def test_a_disk_without_room_is_told_before_the_first_byte(tmp_path):
    with serving(whole(b"x", stated_length=10**17)) as server:
        refused(server, tmp_path, "MiB are free", Limits(largest_bytes=10**18))
    assert content(tmp_path) == set()


def test_a_body_of_unstated_length_is_taken_where_its_end_can_be_told(tmp_path):
    with serving(chunked(BODY)) as server:
        assert get(server, tmp_path, sha256=None) == BODY


def test_a_body_whose_end_cannot_be_told_from_a_cut_is_refused_unless_there_is_a_hash(tmp_path):
    def until_closed(reply):
        reply.head(200, {})
        reply.send(BODY)

    with serving(until_closed) as server:
        refused(server, tmp_path, "does not state its length", sha256=None)
        assert get(server, tmp_path, sha256=SHA256[:8]) == BODY


def test_a_compressed_body_is_refused(tmp_path):
    with serving(whole(BODY, headers={"Content-Encoding": "gzip"})) as server:
        refused(server, tmp_path, "compressed")
    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_a_server_that_hangs_is_given_up(tmp_path):
    with serving(waits(BODY, 1000, threading.Event())) as server:
        begun = time.monotonic()
        refused(server, tmp_path, "does not answer in time", Limits(timeout_s=0.2, tries=2, pause_s=0))
        assert time.monotonic() - begun < 5
    assert len(server.asked) == 2


def test_without_a_network_one_sentence_gives_the_address_and_the_place(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused(Server(port, []), tmp_path, "no connection .*2 times in a row", Limits(tries=2, pause_s=0))


def test_a_file_that_is_there_and_whole_is_left_alone(tmp_path):
    with serving(whole(BODY)) as server:
        get(server, tmp_path)
        before = (tmp_path / "net/net.pth").stat()
        assert get(server, tmp_path) == BODY
    after = (tmp_path / "net/net.pth").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert len(server.asked) == 1


def test_a_damaged_file_is_replaced(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net/net.pth").write_bytes(OTHER)
    with serving(whole(BODY)) as server:
        assert get(server, tmp_path) == BODY


def in_a_process(server: Server, folder: Path) -> subprocess.Popen[str]:
    code = (
        "import sys\nfrom pathlib import Path\nfrom benchmark.progress import Progress\n"
        "from benchmark.weights.catalogue import PublishedWeights\n"
        "from benchmark.weights.download import Limits, fetch\n"
        "weights = PublishedWeights.model_validate_json(sys.argv[1])\n"
        "fetch(weights, Path(sys.argv[2]), Progress(), Limits(timeout_s=600))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code, published(server).model_dump_json(), str(folder)],
        cwd=Path(__file__).parents[3],
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_killed_in_mid_download_costs_nothing_that_had_come(tmp_path):
    with serving(waits(BODY, 1_000, threading.Event()), whole(BODY)) as server:
        process, part = in_a_process(server, tmp_path), tmp_path / "net/net.pth.part"
        deadline = time.monotonic() + LIMIT_S
        while not (part.is_file() and part.stat().st_size == 1_000) and time.monotonic() < deadline:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.01)
        os.kill(process.pid, 9)
        process.communicate(timeout=LIMIT_S)
        assert content(tmp_path) == {"net.pth.part", "net.pth.part.json"}
        assert get(server, tmp_path) == BODY
    assert server.ranges == [None, "bytes=1000-"]
    assert server.asked[1].sent == len(BODY) - 1_000


def test_of_two_processes_one_fetches_and_the_other_waits_for_it(tmp_path):
    go_on = threading.Event()
    with serving(waits(BODY, 1000, go_on), whole(OTHER)) as server:
        processes = [in_a_process(server, tmp_path) for _ in range(2)]
        said = threading.Event()
        lines: list[str] = []

        def listen(process: subprocess.Popen[str]) -> None:
            assert process.stderr
            for line in process.stderr:
                lines.append(line)
                said.set()

        listeners = [threading.Thread(target=listen, args=(process,)) for process in processes]
        for listener in listeners:
            listener.start()
        assert said.wait(LIMIT_S)
        go_on.set()
        assert [process.wait(LIMIT_S) for process in processes] == [0, 0], lines
        for listener in listeners:
            listener.join()
    assert [line.strip() for line in lines] == [
        f"{tmp_path / 'net/net.pth'}: another process is fetching it; waiting for that one"
    ]
    assert (tmp_path / "net/net.pth").read_bytes() == BODY
    assert len(server.asked) == 1
