"""A connection is kept for the same endpoint and address, not for long, and a dead one counts for nothing."""

import socket
import threading
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from urllib3.connection import HTTPConnection

from nftloyalty.connect import keeping
from nftloyalty.connect.keeping import IDLE_SECONDS, LIFE_SECONDS, Kept, Line, Open
from nftloyalty.connect.posting import Poster
from tests.connect.receiver import LOOPBACK, Answering, Got, Handler, Receiver, new_authority, says

BODY = b"{}"
HERE = ip_address("127.0.0.1")
SHORT = 0.6


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def poster() -> Iterator[Poster]:
    poster = Poster(LOOPBACK, deadline_seconds=SHORT)
    yield poster
    poster.close()


def connections(receiver: Receiver) -> int:
    with receiver.lock:
        return len({got.peer for got in receiver.got})


def test_messages_to_one_endpoint_share_a_connection(receiver: Receiver, poster: Poster) -> None:
    for path in ("/1", "/2", "/3"):
        assert poster.post(receiver.url + path, BODY, {"webhook-id": path}, endpoint="ep_1").taken
    assert connections(receiver) == 1
    assert [(got.path, got.headers["webhook-id"]) for got in receiver.got] == [
        (f"/hooks{path}", path) for path in ("/1", "/2", "/3")
    ]


def test_a_message_without_an_endpoint_has_its_own(receiver: Receiver, poster: Poster) -> None:
    for _ in range(2):
        assert poster.post(receiver.url, BODY, {}).taken
        assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    assert connections(receiver) == 3
    assert [got.headers["connection"] for got in receiver.got] == ["close", "keep-alive"] * 2


def test_endpoints_never_share_one_nor_do_hosts(receiver: Receiver) -> None:
    poster = Poster(LOOPBACK, resolve=lambda host, port: ["127.0.0.1"])
    for host, endpoint in (("a.example", "ep_1"), ("b.example", "ep_1"), ("a.example", "ep_2"), ("a.example", "ep_1")):
        assert poster.post(f"http://{host}:{receiver.port}/", BODY, {}, endpoint=endpoint).taken
    first, second, third, fourth = (got.peer for got in receiver.got)
    assert len({first, second, third}) == 3
    assert fourth == first
    poster.close()


def test_over_tls_too_and_its_handshake_is_made_once(tmp_path: Path) -> None:
    def folder_file(name: str, content: bytes) -> str:
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    shaken: list[object] = []
    authority = new_authority()
    context = authority.server(folder_file, "hooks.example", "other.example")
    context.sni_callback = lambda _socket, name, _context: shaken.append(name)
    with Receiver(context=context) as receiver:
        poster = Poster(LOOPBACK, resolve=lambda host, port: ["127.0.0.1"], trust=authority.trust)
        for host in ("hooks.example", "hooks.example", "other.example", "hooks.example"):
            assert poster.post(f"https://{host}:{receiver.port}/", BODY, {}, endpoint="ep_1").taken
        poster.close()
    assert shaken == ["hooks.example", "other.example"]


def test_a_name_that_leads_elsewhere_now_is_not_sent_to_by_the_old_connection(receiver: Receiver) -> None:
    means = ["127.0.0.1"]
    poster = Poster(LOOPBACK, resolve=lambda host, port: means)
    url = f"http://moving.example:{receiver.port}/"
    assert poster.post(url, BODY, {}, endpoint="ep_1").taken
    means[:] = ["169.254.169.254"]
    assert "not a public address" in str(poster.post(url, BODY, {}, endpoint="ep_1").error)
    means[:] = ["127.0.0.1", "10.0.0.1"]
    assert "10.0.0.1, which is not" in str(poster.post(url, BODY, {}, endpoint="ep_1").error)
    with Receiver(host="127.0.0.2", at_port=receiver.port) as other:
        means[:] = ["127.0.0.2"]
        assert poster.post(url, BODY, {}, endpoint="ep_1").taken
        assert len(other.got) == 1
    poster.close()
    assert len(receiver.got) == 1


# ----------------------------------------------------------------------------------------------------- dead connections


def closes_unannounced(handler: Handler, got: Got) -> None:
    says(204)(handler, got)
    handler.close_connection = True


def test_one_that_was_closed_meanwhile_is_not_used(receiver: Receiver, poster: Poster) -> None:
    receiver.answer = closes_unannounced
    for _ in range(5):
        assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    assert len(receiver.got) == connections(receiver) == 5


def test_one_that_is_closed_as_the_message_comes_is_no_failure(receiver: Receiver, poster: Poster) -> None:
    """It comes a second time, by a connection of its own."""
    seen: set[int] = set()

    def once_each(handler: Handler, got: Got) -> None:
        if got.peer in seen:
            handler.close_connection = True
            return
        seen.add(got.peer)
        says(204)(handler, got)

    receiver.answer = once_each
    assert poster.post(receiver.url, BODY, {"webhook-id": "evt_1"}, endpoint="ep_1").taken
    assert poster.post(receiver.url, BODY, {"webhook-id": "evt_2"}, endpoint="ep_1").taken
    assert [got.headers["webhook-id"] for got in receiver.got] == ["evt_1", "evt_2", "evt_2"]


def breaks_off(handler: Handler, got: Got) -> None:
    handler.close_connection = True


def test_a_fresh_one_that_breaks_off_is_a_failure_and_is_tried_once(receiver: Receiver, poster: Poster) -> None:
    assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    receiver.answer = breaks_off
    assert not poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    # By the one that was kept, and by a fresh one.
    assert len(receiver.got) == 3
    assert not poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    assert len(receiver.got) == 4


def test_one_that_hangs_is_not_tried_again_and_not_kept(receiver: Receiver, poster: Poster) -> None:
    assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    hung = threading.Event()
    receiver.answer = lambda handler, got: (hung.wait(3), None)[1]
    assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").error == "no answer within 1 seconds"
    hung.set()
    receiver.answer = says(204)
    assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    assert connections(receiver) == 2
    assert len(receiver.got) == 3


def raw(text: bytes) -> Answering:
    def answer(handler: Handler, got: Got) -> None:
        handler.wfile.write(text)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        says(204, Connection="close"),
        raw(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"),
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"a" * 100_000),
        # Two answers to one message: the second must not pass for that to the next one.
        raw(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_what_is_not_at_its_end_is_not_kept(receiver: Receiver, poster: Poster, answer: Answering) -> None:
    receiver.answer = answer
    for _ in range(2):
        poster.post(receiver.url, BODY, {}, endpoint="ep_1")
    assert len(receiver.got) == connections(receiver) == 2


def test_what_nobody_asked_for_is_no_answer(receiver: Receiver, poster: Poster) -> None:
    sent = threading.Event()

    def twice(handler: Handler, got: Got) -> None:
        says(204)(handler, got)

        def more() -> None:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            sent.set()

        threading.Timer(0.1, more).start()

    receiver.answer = twice
    assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").taken
    assert sent.wait(5)
    receiver.answer = says(500)
    assert poster.post(receiver.url, BODY, {}, endpoint="ep_1").status == 500
    assert connections(receiver) == 2


# ------------------------------------------------------------------------------------------------------------ how long


class Clock:
    time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def open_one() -> Iterator[Callable[[Kept], Open]]:
    """Opens a connection to a server that says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=300) as server:

        def open_one(kept: Kept) -> Open:
            connection = HTTPConnection("127.0.0.1", server.getsockname()[1], timeout=5)
            connection.connect()
            return kept.opened(connection, HERE)

        yield open_one


LINE = Line("ep_1", "https", "hooks.example", 443)


def test_one_is_kept_while_it_is_used_and_not_for_ever(open_one: Callable[[Kept], Open]) -> None:
    clock = Clock()
    kept = Kept(clock)
    one = open_one(kept)
    kept.give(LINE, one)
    while clock.time < 100 + LIFE_SECONDS - IDLE_SECONDS:
        clock.time += IDLE_SECONDS - 1
        assert kept.take(LINE, [HERE]) is one
        kept.give(LINE, one)
    clock.time = 100 + LIFE_SECONDS
    assert kept.take(LINE, [HERE]) is None
    assert one.connection.sock is None


def test_one_that_is_idle_is_closed(open_one: Callable[[Kept], Open]) -> None:
    clock = Clock()
    kept = Kept(clock)
    one, two = open_one(kept), open_one(kept)
    kept.give(LINE, one)
    clock.time += IDLE_SECONDS - 1
    kept.give(LINE, two)
    clock.time += 1
    kept.tidy()
    assert one.connection.sock is None
    assert kept.take(LINE, [HERE]) is two
    two.close()


def test_of_too_many_those_that_were_idle_longest_are_closed(
    open_one: Callable[[Kept], Open], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MOST_KEPT", 3)
    clock = Clock()
    kept = Kept(clock)
    opened = [open_one(kept) for _ in range(5)]
    for number, each in enumerate(opened):
        clock.time += 1
        kept.give(Line(f"ep_{number % 2}", "https", "hooks.example", 443), each)
    assert [each.connection.sock is None for each in opened] == [True, True, False, False, False]
    kept.close()
    assert all(each.connection.sock is None for each in opened)
    late = open_one(kept)
    kept.give(LINE, late)
    assert late.connection.sock is None
