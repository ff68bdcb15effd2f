"""One POST, to receivers of every kind: it ends in time, follows nothing, and goes where it was checked to go."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from nftloyalty.connect.posting import Poster
from tests.connect.receiver import LOOPBACK, Authority, Got, Handler, Receiver, free_port, new_authority, says

BODY = b'{"type":"webhook.test"}'
HEADERS = {"webhook-id": "evt_1"}
SHORT = 0.6


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
def folder_file(tmp_path: Path) -> Callable[[str, bytes], str]:
    def write(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        return str(path)

    return write


def test_a_message_arrives_as_it_was_given(receiver: Receiver) -> None:
    answer = Poster(LOOPBACK).post(receiver.url + "?key=a%20b", BODY, HEADERS)
    assert (answer.status, answer.error, answer.taken, answer.gone) == (204, None, True, False)
    (got,) = receiver.got
    assert (got.path, got.body) == ("/hooks?key=a%20b", BODY)
    assert got.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert got.headers["webhook-id"] == "evt_1"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("nftloyalty/")


@pytest.mark.parametrize("status", [199, 300, 304, 400, 404, 429, 500, 503])
def test_only_2xx_is_taken(receiver: Receiver, status: int) -> None:
    receiver.answer = says(status)
    answer = Poster(LOOPBACK, deadline_seconds=SHORT).post(receiver.url, BODY, HEADERS)
    assert not answer.taken
    assert (answer.status == status) or (status < 200 and answer.status is None)


def test_gone_is_told(receiver: Receiver) -> None:
    receiver.answer = says(410)
    assert Poster(LOOPBACK).post(receiver.url, BODY, HEADERS).gone


@pytest.mark.parametrize(("text", "seconds"), [("120", 120), ("999999999", 3600), ("soon", 0), ("-1", 0)])
def test_a_receiver_may_ask_for_time(receiver: Receiver, text: str, seconds: int) -> None:
    receiver.answer = says(503, Retry_After=text)
    assert Poster(LOOPBACK).post(receiver.url, BODY, HEADERS).retry_after_seconds == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as inside:
        receiver.answer = says(status, Location=inside.url)
        answer = Poster(LOOPBACK).post(receiver.url, BODY, HEADERS)
        assert (answer.status, answer.taken) == (status, False)
        assert inside.got == []
    assert len(receiver.got) == 1


def test_nobody_is_reached_who_is_not_allowed(receiver: Receiver) -> None:
    for url in (receiver.url, receiver.url.replace("http:", "https:"), f"https://localhost:{receiver.port}/"):
        answer = Poster().post(url, BODY, HEADERS)
        assert answer.status is None
        assert "127.0.0.1" in str(answer.error) or "::1" in str(answer.error) or "https" in str(answer.error)
    assert receiver.got == []


def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(receiver: Receiver) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        """The allowed address first, and one that is not from then on, as an attacker's name server would."""
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    poster = Poster(LOOPBACK, resolve=resolve)
    url = f"http://rebinding.example:{receiver.port}/"
    assert poster.post(url, BODY, HEADERS).taken
    assert asked == ["rebinding.example"]
    assert receiver.got[0].headers["host"] == f"rebinding.example:{receiver.port}"
    assert "169.254.169.254, which is not a public address" in str(poster.post(url, BODY, HEADERS).error)
    assert len(receiver.got) == 1


def test_a_public_and_a_private_address_together_are_refused(receiver: Receiver) -> None:
    poster = Poster(resolve=lambda host, port: ["1.1.1.1", "127.0.0.1"])
    answer = poster.post(f"https://both.example:{receiver.port}/", BODY, HEADERS)
    assert "127.0.0.1, which is not a public address" in str(answer.error)
    assert receiver.got == []


def test_a_further_address_is_tried_where_one_does_not_listen(receiver: Receiver) -> None:
    poster = Poster(LOOPBACK, resolve=lambda host, port: ["127.0.0.9", "127.0.0.1"])
    assert poster.post(f"http://two.example:{receiver.port}/", BODY, HEADERS).taken


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert Poster(LOOPBACK).post(receiver.url, BODY, HEADERS).taken
        assert proxy.got == []


def test_a_name_that_does_not_exist_is_told() -> None:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    assert Poster(resolve=resolve).post("https://hooks.example/", BODY, HEADERS).error == "its name has no address"


def test_a_closed_port_is_told() -> None:
    answer = Poster(LOOPBACK).post(f"http://127.0.0.1:{free_port()}/secret-path", BODY, HEADERS)
    assert answer.error == "the connection was refused"


# ------------------------------------------------------------------------------------------------ slow, broken, hostile


def hangs(handler: Handler, got: Got) -> None:
    time.sleep(3)


def drips_headers(handler: Handler, got: Got) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(1000):
        handler.wfile.write(b"X-%d: a\r\n" % number)
        time.sleep(0.05)


def drips_a_line(handler: Handler, got: Got) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.05)


def continues_for_ever(handler: Handler, got: Got) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.01)


@pytest.mark.parametrize("answer", [hangs, drips_headers, drips_a_line, continues_for_ever])
def test_who_does_not_answer_in_time_is_left(receiver: Receiver, answer: Callable[[Handler, Got], None]) -> None:
    receiver.answer = answer
    began = time.monotonic()
    found = Poster(LOOPBACK, deadline_seconds=SHORT).post(receiver.url, BODY, HEADERS)
    assert SHORT <= time.monotonic() - began < SHORT + 0.5
    assert (found.status, found.error) == (None, "no answer within 1 seconds")
    assert SHORT * 1000 <= found.milliseconds < (SHORT + 0.5) * 1000


def endless_body(handler: Handler, got: Got) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        handler.wfile.write(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")


def huge_body(handler: Handler, got: Got) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    while True:
        handler.wfile.write(b"a" * 0x10000)


@pytest.mark.parametrize("answer", [endless_body, huge_body])
def test_of_a_long_answer_only_the_beginning_is_read(
    receiver: Receiver, answer: Callable[[Handler, Got], None]
) -> None:
    receiver.answer = answer
    began = time.monotonic()
    assert Poster(LOOPBACK).post(receiver.url, BODY, HEADERS).taken
    assert time.monotonic() - began < 2


def announces_for_ever(handler: Handler, got: Got) -> None:
    while True:
        handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)


def trails_for_ever(handler: Handler, got: Got) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
    while True:
        handler.wfile.write(b"T: x\r\n" * 1000)


@pytest.mark.parametrize(("answer", "taken"), [(announces_for_ever, False), (trails_for_ever, True)])
def test_who_says_more_than_anybody_needs_is_left_at_once(
    receiver: Receiver, answer: Callable[[Handler, Got], None], taken: bool
) -> None:
    """Until its deadline, sixteen messages to such a one would take a whole core of the worker."""
    receiver.answer = answer
    began = time.monotonic()
    assert Poster(LOOPBACK).post(receiver.url, BODY, HEADERS).taken is taken
    assert time.monotonic() - began < 2


def drips_body(handler: Handler, got: Got) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        handler.wfile.write(b"a")
        time.sleep(0.05)


def test_a_status_counts_though_the_rest_is_slow(receiver: Receiver) -> None:
    receiver.answer = drips_body
    began = time.monotonic()
    assert Poster(LOOPBACK, deadline_seconds=SHORT).post(receiver.url, BODY, HEADERS).taken
    assert time.monotonic() - began < SHORT + 0.5


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", "what it answered is not HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "what it answered is not HTTP"),
        (b"HTTP/1.1 abc\r\n\r\n", "what it answered is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 100_000 + b"\r\n\r\n", "what it answered is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 200 + b"\r\n", "what it answered is not HTTP"),
    ],
)
def test_what_is_no_http_is_told(receiver: Receiver, content: bytes, error: str) -> None:
    def answer(handler: Handler, got: Got) -> None:
        handler.close_connection = True
        handler.wfile.write(content)

    receiver.answer = answer
    assert Poster(LOOPBACK).post(receiver.url, BODY, HEADERS).error in (error, "the connection broke off")


def test_broken_headers_don_t_bring_the_path_into_the_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    def answer(handler: Handler, got: Got) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nno colon here\r\nContent-Length: 0\r\n\r\n")
        handler.close_connection = True

    receiver.answer = answer
    with caplog.at_level(logging.DEBUG):
        Poster(LOOPBACK).post(receiver.url + "/key-in-the-path", BODY, HEADERS)
    assert "key-in-the-path" not in caplog.text


def test_a_receiver_that_accepts_and_says_nothing_at_tls_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        began = time.monotonic()
        answer = Poster(LOOPBACK, deadline_seconds=SHORT).post(
            f"https://127.0.0.1:{server.getsockname()[1]}/", BODY, HEADERS
        )
    assert time.monotonic() - began < 2 * SHORT + 0.5
    assert answer.error == "no answer within 1 seconds"


def test_a_receiver_that_does_not_read_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        began = time.monotonic()
        answer = Poster(LOOPBACK, deadline_seconds=SHORT).post(
            f"http://127.0.0.1:{server.getsockname()[1]}/", b"a" * 20_000_000, HEADERS
        )
    assert time.monotonic() - began < SHORT + 0.5
    assert answer.error == "no answer within 1 seconds"


def test_no_thread_and_no_socket_is_left(receiver: Receiver) -> None:
    poster = Poster(LOOPBACK)
    poster.post(receiver.url, BODY, HEADERS)
    before = threading.active_count()
    for _ in range(5):
        poster.post(receiver.url, BODY, HEADERS)
    give_up = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < give_up:
        time.sleep(0.01)
    assert threading.active_count() <= before


# ------------------------------------------------------------------------------------------------------------------ tls


def test_a_certificate_is_checked_against_the_name_and_not_the_address(
    authority: Authority, folder_file: Callable[[str, bytes], str]
) -> None:
    shown: list[str | None] = []
    context = authority.server(folder_file, "hooks.example")
    context.sni_callback = lambda _socket, name, _context: shown.append(name)
    with Receiver(context=context) as receiver:
        poster = Poster(LOOPBACK, resolve=lambda host, port: ["127.0.0.1"], trust=authority.trust)
        assert poster.post(f"https://hooks.example:{receiver.port}/", BODY, HEADERS).taken
        assert shown == ["hooks.example"]
        assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"
        other = poster.post(f"https://other.example:{receiver.port}/", BODY, HEADERS)
        address = poster.post(f"https://127.0.0.1:{receiver.port}/", BODY, HEADERS)
    for answer in (other, address):
        assert answer.status is None
        assert str(answer.error).startswith("its certificate is not valid: ")
    assert len(receiver.got) == 1


def test_an_address_can_have_a_certificate(authority: Authority, folder_file: Callable[[str, bytes], str]) -> None:
    context = authority.server(folder_file, IPv4Address("127.0.0.1"))
    with Receiver(context=context) as receiver:
        poster = Poster(LOOPBACK, trust=authority.trust)
        assert poster.post(f"https://127.0.0.1:{receiver.port}/", BODY, HEADERS).taken


def test_an_authority_nobody_knows_is_not_believed(
    authority: Authority, folder_file: Callable[[str, bytes], str]
) -> None:
    with Receiver(context=authority.server(folder_file, "hooks.example")) as receiver:
        for poster in (
            Poster(LOOPBACK, resolve=lambda host, port: ["127.0.0.1"]),
            Poster(LOOPBACK, resolve=lambda host, port: ["127.0.0.1"], trust=new_authority().trust),
        ):
            answer = poster.post(f"https://hooks.example:{receiver.port}/", BODY, HEADERS)
            assert str(answer.error).startswith("its certificate is not valid: ")
        assert receiver.got == []


def test_who_hangs_within_tls_is_left(authority: Authority, folder_file: Callable[[str, bytes], str]) -> None:
    def drip(handler: Handler, got: Got) -> None:
        with suppress(OSError):
            drips_a_line(handler, got)

    with Receiver(drip, authority.server(folder_file, "hooks.example")) as receiver:
        poster = Poster(
            LOOPBACK, deadline_seconds=SHORT, resolve=lambda host, port: ["127.0.0.1"], trust=authority.trust
        )
        began = time.monotonic()
        answer = poster.post(f"https://hooks.example:{receiver.port}/", BODY, HEADERS)
    assert time.monotonic() - began < SHORT + 1
    assert answer.error == "no answer within 1 seconds"
