"""Only addresses for everyone are reached, in whatever form the others are written and whenever a name changes."""

import re
import socket
import threading
import time
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.connect import reach
from nftloyalty.connect.reach import Network, Refused, checked_addresses, is_public, parse_target, resolve_in
from nftloyalty.errors import BadInput

PRIVATE = [
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.8.8",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.0.1", "172.32.0.1", "192.167.1.1", "2606:4700::1111"]
PUBLIC_WITHIN = ["::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", PRIVATE)
def test_a_special_address_is_not_public(text: str) -> None:
    assert not is_public(ip_address(text))


@pytest.mark.parametrize("text", PUBLIC + PUBLIC_WITHIN)
def test_an_ordinary_address_is_public(text: str) -> None:
    assert is_public(ip_address(text))


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: object) -> None:
    found = ip_address(str(address))
    if is_public(found) and str(found).startswith(("::ffff:", "64:ff9b::")):
        return
    assert not is_public(found) or (found.is_global and not found.is_multicast)


@pytest.mark.parametrize("text", PRIVATE)
def test_a_name_that_leads_to_a_special_address_is_refused(text: str) -> None:
    target = parse_target("https://hooks.example/in")
    with pytest.raises(Refused, match="not a public address"):
        checked_addresses(target, lambda host, port: [text], ())


def test_one_bad_address_spoils_all() -> None:
    target = parse_target("https://hooks.example/in")
    with pytest.raises(Refused):
        checked_addresses(target, lambda host, port: ["1.1.1.1", "10.0.0.1"], ())
    found = checked_addresses(target, lambda host, port: ["1.1.1.1", "2606:4700::1111", "1.1.1.1"], ())
    assert [str(each) for each in found] == ["1.1.1.1", "2606:4700::1111"]


def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        checked_addresses(parse_target("https://hooks.example/in"), lambda host, port: [], ())


def test_the_operator_can_allow_networks_in_every_form_of_their_addresses() -> None:
    allowed = (ip_network("10.1.0.0/16"), ip_network("fd00::/8"))
    target = parse_target("http://inside.example:81/in", allowed)
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::7"):
        assert checked_addresses(target, lambda host, port, text=text: [text], allowed)  # type: ignore[misc]
    for text in ("10.2.0.1", "127.0.0.1", "fe80::1"):
        with pytest.raises(Refused, match="not a public address"):
            checked_addresses(target, lambda host, port, text=text: [text], allowed)  # type: ignore[misc]
    # What is open to everyone is never spoken to in the clear.
    with pytest.raises(Refused, match="others need https"):
        checked_addresses(target, lambda host, port: ["1.1.1.1"], allowed)


@pytest.mark.parametrize(
    ("url", "allowed", "by_setting"),
    [
        ("http://127.0.0.1:9000/in", (), True),
        ("https://10.1.2.3/in", (), True),
        ("http://10.2.0.1/in", (ip_network("10.1.0.0/16"),), True),
        ("http://1.1.1.1/in", (ip_network("10.1.0.0/16"),), True),
        ("ftp://10.1.2.3/in", (), False),
        ("https://hooks.example/#in", (), False),
    ],
)
def test_the_mend_names_the_setting_where_that_would_help(
    url: str, allowed: tuple[Network, ...], by_setting: bool
) -> None:
    with pytest.raises(BadInput) as refused:
        parse_target(url, allowed)
    assert ("NFTLOYALTY_WEBHOOK_NETWORKS" in refused.value.problems[0].mend) is by_setting


@pytest.mark.parametrize("port", [1, 22, 25, 80, 444, 1023])
def test_a_port_of_another_service_is_refused(port: int) -> None:
    target = parse_target(f"https://hooks.example:{port}/")
    with pytest.raises(Refused, match=f"port {port} is not"):
        checked_addresses(target, lambda host, port: ["1.1.1.1"], ())


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://hooks.example/", "not an https"),
        ("ftp://hooks.example/", "not an https"),
        ("hooks.example", "not an https"),
        ("//hooks.example/", "not an https"),
        ("https:///in", "no name of a server"),
        ("https://user@hooks.example/", "a name or a password"),
        ("https://user:word@hooks.example/", "a name or a password"),
        ("https://hooks.example/#part", "a fragment"),
        ("https://hooks.example\\@inside/", "characters"),
        ("https://hooks.example/a b", "characters"),
        ("https://hooks.example/\r\nHost: inside", "characters"),
        ("https://kawiarnia-łódź.example/", "characters"),
        ("https://hooks..example/", "no name of a server"),
        ("https://-hooks.example/", "no name of a server"),
        ("https://hooks.example:0/", "no port"),
        ("https://hooks.example:65536/", "not a URL"),
        ("https://hooks.example:x/", "not a URL"),
        ("https://[::1/", "not a URL"),
        ("https://[fe80::1%25lo]/", "not a public|no name of a server|not a URL"),
        ("https://" + "a" * 2000, "longer than"),
        ("https://169.254.169.254/latest", "not a public address"),
        ("https://[::ffff:10.0.0.1]/", "not a public address"),
        ("https://127.0.0.1:8443/", "not a public address"),
    ],
)
def test_a_url_that_could_never_work_is_refused_at_once(url: str, what: str) -> None:
    with pytest.raises(BadInput) as refused:
        parse_target(url)
    (problem,) = refused.value.problems
    assert problem.place == "url"
    assert re.search(what, problem.what)
    assert "word" not in problem.what.replace("password", "")


def test_a_url_is_taken_apart() -> None:
    target = parse_target("https://Hooks.Example.:8443/in/v1?key=a&b")
    assert (target.host, target.port, target.path) == ("hooks.example", 8443, "/in/v1?key=a&b")
    assert target.authority == "hooks.example:8443"
    assert parse_target("https://hooks.example").path == "/"
    assert parse_target("https://[2606:4700::1111]/").authority == "[2606:4700::1111]"


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1", "0177.0.0.1"])
def test_another_way_of_writing_this_machine_is_found_out_by_what_it_resolves_to(host: str) -> None:
    target = parse_target(f"https://{host}:8443/")
    with pytest.raises((Refused, OSError)):
        checked_addresses(target, resolve_in(5), ())


def test_a_resolver_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> list[object]:
        time.sleep(0.5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        resolve_in(0.1)("hooks.example", 443)
    assert time.monotonic() - began < 0.4


def asking() -> set[int]:
    """The threads that ask the resolver."""
    return {thread.ident or 0 for thread in threading.enumerate() if thread.name == "resolver"}


def test_one_thread_asks_for_one_name_after_the_other_and_ends_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "_IDLE_SECONDS", 0.2)
    before = asking()
    resolve = resolve_in(5)
    used: set[int] = set()
    for _ in range(20):
        assert resolve("127.0.0.1", 443) == ["127.0.0.1"]
        used |= asking() - before
    assert len(used) == 1
    give_up = time.monotonic() + 5
    while asking() & used and time.monotonic() < give_up:
        time.sleep(0.02)
    assert not asking() & used
    assert resolve("127.0.0.1", 443) == ["127.0.0.1"]


def test_a_name_that_hangs_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()
    whole = socket.getaddrinfo

    def ask(host: str, *rest: Any, **more: Any) -> Any:
        if host == "hangs.example":
            goes_on.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "nobody answers")
        return whole(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", ask)
    resolve = resolve_in(0.2)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            resolve("hangs.example", 443)
    assert resolve("127.0.0.1", 443) == ["127.0.0.1"]
    goes_on.set()
    # A late answer is nobody's: not that of the next one who asks.
    for _ in range(5):
        assert resolve("127.0.0.1", 443) == ["127.0.0.1"]
