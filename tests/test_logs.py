"""One line for each thing, whatever it holds; with what it is about, and never with a secret."""

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nftloyalty import logs
from nftloyalty.chain.client import Node
from nftloyalty.config import from_environment
from nftloyalty.errors import LoyaltyError, NodeUnreachable
from nftloyalty.logs import Form, Level
from nftloyalty.store.engine import open_engine, read
from tests.app.build import PASSWORD

log = logging.getLogger("nftloyalty.test")
Lines = Callable[[], list[str]]
BOTH = pytest.mark.parametrize("form", list(Form))


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Logging belongs to the process, so to the tests that follow."""
    root, ours = logging.getLogger(), logging.getLogger("nftloyalty")
    before = root.level, ours.level, list(root.handlers)
    yield
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]


def written(form: Form = Form.TEXT, level: Level = Level.INFO, secrets: tuple[str, ...] = ()) -> Lines:
    """Sets up logging; tells the lines so far. pytest's own handlers are away: half a character stops them."""
    root = logging.getLogger()
    root.handlers[:] = [each for each in root.handlers if type(each) is logging.StreamHandler]
    stream = io.StringIO()
    logs.set_up(form, level, secrets, stream)
    return lambda: stream.getvalue().split("\n")[:-1]


def test_a_line_of_text_holds_time_level_logger_message_and_what_it_is_about() -> None:
    lines = written()
    with logs.about(request_id="req_1", signer="0xAb"):
        log.warning("nonce %d waits", 7, extra={"nonce": 7, "method": "a b"})
    (line,) = lines()
    time, rest = line.split(" ", 1)
    assert rest == 'WARNING nftloyalty.test nonce 7 waits request_id=req_1 signer=0xAb nonce=7 method="a b"'
    assert len(time) == len("2026-03-01T12:00:00.250Z")
    assert time.endswith("Z")


def test_a_line_of_json_holds_the_same() -> None:
    lines = written(Form.JSON)
    with logs.about(intent="int_1", milliseconds=1.5):
        log.info("Grüße")
    found = json.loads(lines()[0])
    assert list(found) == ["time", "level", "logger", "message", "intent", "milliseconds"]
    assert (found["level"], found["message"], found["milliseconds"]) == ("INFO", "Grüße", 1.5)
    assert lines()[0].isascii()


def test_what_a_line_is_about_ends_with_its_block_and_stays_in_its_thread() -> None:
    lines = written()
    with logs.about(program="coffee"), logs.about(signer="0x1"):
        other = threading.Thread(target=log.info, args=("elsewhere",))
        other.start()
        other.join()
    log.info("after")
    assert [line.split(" ", 3)[3] for line in lines()] == ["elsewhere", "after"]
    assert logs.current_request() is None


def test_every_field_has_its_meaning() -> None:
    assert set(logs.FIELDS) == set(logs.Fields.__annotations__) | {"error", "at"}


FORGED = "sent\n2026-03-01T12:00:00.000Z ERROR nftloyalty forged\r\x1b[2J\x00\x7f\x85\u2028\u2029\u202e\ud800"


@BOTH
def test_nothing_ends_a_line_or_begins_another(form: Form) -> None:
    lines = written(form)
    log.info("%s", FORGED)
    log.info("plain", extra={"transaction": FORGED, "route": FORGED})
    with logs.about(request_id=FORGED):
        log.info("plain")
    try:
        raise NodeUnreachable(FORGED, FORGED)
    except NodeUnreachable:
        log.exception(FORGED)
    assert len(lines()) == 4
    for line in lines():
        assert line.splitlines() == [line]
        assert line.isprintable()
        if form is Form.JSON:
            assert any(FORGED in str(value) for value in json.loads(line).values())


@BOTH
def test_of_an_exception_its_kind_and_places_are_told_and_not_its_text(form: Form) -> None:
    lines = written(form)
    try:
        open_engine("sqlite://")
    except LoyaltyError:
        log.exception("one of ours")
    try:
        dict[str, str]()["hidden"]
    except KeyError:
        log.exception("another")
    first, second = lines()
    assert "BadInput: DATABASE_URL: 1 problem" in first
    assert "nftloyalty/store/engine.py:" in first
    assert "KeyError" in second
    assert "test_logs.py:" in second
    assert "hidden" not in second


def test_what_does_not_fit_its_message_is_still_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written()
    log.info("%d of %d\n", "secret")
    assert len(lines()) == 1
    assert "does not fit" in lines()[0]
    assert capsys.readouterr().err == ""


def test_setting_up_again_writes_each_line_once() -> None:
    first, second = written(), written(level=Level.WARNING)
    log.info("less")
    log.warning("more")
    assert (first(), len(second())) == ([], 1)


def test_of_libraries_only_warnings_are_written() -> None:
    lines = written(level=Level.DEBUG)
    log.debug("ours")
    logging.getLogger("urllib3").info("theirs")
    logging.getLogger("uvicorn.error").warning("theirs, and matters")
    assert [line.split(" ")[2] for line in lines()] == ["nftloyalty.test", "uvicorn.error"]


KEY = "k3y-0f-the-node-provider"


@BOTH
def test_no_secret_of_the_settings_is_ever_written(form: Form, tmp_path: Path) -> None:
    settings = from_environment(
        {
            "NFTLOYALTY_HOME": str(tmp_path),
            "NFTLOYALTY_RPC_URL": f"http://someone:{KEY}@127.0.0.1:9/v3/{KEY}?token={KEY}",
            "DATABASE_URL": "postgresql://brand:pa%24s%20w0rd@127.0.0.1:9/loyalty?connect_timeout=1",
            "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
        }
    )
    lines = written(form, Level.DEBUG, settings.secrets())

    def told(fails: Callable[[], Any]) -> None:
        with pytest.raises(LoyaltyError) as raised:
            fails()
        log.error("it says: %s", raised.value, exc_info=raised.value)
        log.error("repeated %r", raised.value, extra={"route": raised.value.message})

    told(Node(settings.rpc_url, timeout=1).head)
    engine = open_engine(settings.database_url)

    def reads() -> None:
        with read(engine):
            pass

    told(reads)
    engine.dispose()
    # What nobody should do, and somebody will.
    for text in (settings.rpc_url, settings.database_url, PASSWORD, "password is 'pa$s w0rd'"):
        log.error("settings: %s", text, extra={"route": text})
        logging.getLogger("urllib3.connectionpool").warning("trying %s", text)
    whole = "\n".join(lines())
    assert len(lines()) == 12
    for secret in (KEY, "pa%24s%20w0rd", "pa$s w0rd", PASSWORD, "/v3/"):
        assert secret not in whole
        assert json.dumps(secret)[1:-1] not in whole
    assert "127.0.0.1:9" in whole


def test_the_guide_lists_every_field_in_its_order() -> None:
    guide = (Path(__file__).parents[1] / "docs" / "operating.md").read_text(encoding="utf-8")
    table = guide.partition("| field | meaning |\n|---|---|\n")[2].partition("\n\n")[0]
    assert table.splitlines() == [f"| {name} | {meaning} |" for name, meaning in logs.FIELDS.items()]
