"""Events reach their endpoints whatever receivers, processes and networks do, each object's in order, none lost."""

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from nftloyalty.app import delivering, endpoints
from nftloyalty.app.context import build_app, system_now
from nftloyalty.app.delivering import Deliverer, deliver
from nftloyalty.connect.posting import Poster
from nftloyalty.errors import DatabaseProblem
from nftloyalty.store import delivery_steps
from nftloyalty.store.tables import EndpointState
from tests.app.hooked import Hooked, hooked
from tests.conftest import ROOT
from tests.connect.receiver import LOOPBACK, Answering, Got, Handler, Receiver, free_port, says


@pytest.fixture
def shop(tmp_path: Path, migrated_url: str) -> Iterator[Hooked]:
    found = hooked(tmp_path / "home", migrated_url)
    yield found
    found.app.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def arrived(receiver: Receiver) -> list[tuple[str, int]]:
    """Object and sequence of all that came, in the order in which it came."""
    with receiver.lock:
        told = [json.loads(got.body) for got in receiver.got]
    return [(each["object"], each["sequence"]) for each in told]


def in_order(receiver: Receiver) -> bool:
    """Whether each object's events came in order; one that came twice may not come after a newer one."""
    last: dict[str, int] = {}
    for of, sequence in arrived(receiver):
        if sequence < last.get(of, 0) or sequence > last.get(of, 0) + 1:
            return False
        last[of] = sequence
    return True


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.02)


def test_an_event_arrives_and_the_published_library_takes_it(
    tmp_path: Path, migrated_url: str, receiver: Receiver
) -> None:
    shop = hooked(tmp_path / "home", migrated_url, now=system_now)
    made = shop.endpoint(receiver.url)
    (event,) = shop.happen("m:1")
    shop.deliver()
    (got,) = receiver.got
    told = Webhook(made.secret.reveal()).verify(got.body, dict(got.headers))
    assert told["id"] == got.headers["webhook-id"] == event
    assert (told["type"], told["object"], told["sequence"], told["phase"], told["program"], told["data"]) == (
        "membership.created",
        "m:1",
        1,
        "final",
        "coffee",
        {"of": "m:1"},
    )
    assert shop.states() == {"delivered": 1}
    shop.app.close()


def test_each_object_s_events_arrive_in_order_though_receivers_fail_at_random(shop: Hooked, receiver: Receiver) -> None:
    rng = random.Random(7)  # noqa: S311

    def moody(handler: Handler, got: Got) -> None:
        time.sleep(rng.random() / 100)
        says(rng.choice([204, 204, 204, 500, 429]))(handler, got)

    receiver.answer = moody
    shop.endpoint(receiver.url)
    with Deliverer(shop.app, shop.program, jitter=lambda: 0.0) as deliverer:
        for _ in range(12):
            shop.happen(*(f"m:{rng.randrange(5)}" for _ in range(6)))
            shop.deliver(deliverer)
            shop.clock.forward(timedelta(seconds=20))
        receiver.answer = says(204)
        while shop.states().keys() != {"delivered"}:
            shop.clock.forward(timedelta(minutes=6))
            shop.deliver(deliverer)
    assert in_order(receiver)
    assert {got.headers["webhook-id"] for got in receiver.got} == set(shop.sent)


def test_a_receiver_that_was_down_for_an_hour_gets_everything_once_it_is_back(shop: Hooked, receiver: Receiver) -> None:
    down = threading.Event()
    tried: list[str] = []

    def answer(handler: Handler, got: Got) -> None:
        if down.is_set():
            tried.append(got.headers["webhook-id"])
            receiver.got.remove(got)
            says(503)(handler, got)
        else:
            says(204)(handler, got)

    receiver.answer = answer
    made = shop.endpoint(receiver.url)
    shop.happen("m:1")
    shop.deliver()
    down.set()
    with Deliverer(shop.app, shop.program, jitter=lambda: 0.0) as deliverer:
        for minute in range(60):
            shop.happen(*(f"m:{(minute + number) % 7}" for number in range(3)))
            shop.deliver(deliverer)
            shop.clock.forward(timedelta(minutes=1))
        assert shop.states() == {"delivered": 1, "waiting": 180}
        # It was asked now and then, and not for each event.
        assert 10 < len(tried) < 40
        down.clear()
        shop.clock.forward(timedelta(minutes=5))
        shop.deliver(deliverer)
    assert shop.states() == {"delivered": 181}
    assert {got.headers["webhook-id"] for got in receiver.got} == set(shop.sent)
    assert len(receiver.got) == len(shop.sent)
    assert in_order(receiver)
    assert shop.standing(made).endpoint.failing_since is None


def hangs(handler: Handler, got: Got) -> None:
    time.sleep(2)


def test_a_receiver_that_hangs_holds_up_no_other(shop: Hooked, receiver: Receiver) -> None:
    shop.posts_with(Poster(LOOPBACK, deadline_seconds=1.0))
    with Receiver(hangs) as slow:
        bad = shop.endpoint(slow.url)
        good = shop.endpoint(receiver.url)
        shop.happen(*(f"m:{number}" for number in range(100)))
        began = time.monotonic()
        with Deliverer(shop.app, shop.program, jitter=lambda: 0.0) as deliverer:
            while len(receiver.got) < 100:
                deliverer.turn(0.05)
                assert time.monotonic() - began < 20
            shop.deliver(deliverer)
        assert 1 <= len(slow.got) <= delivering.LIMIT_EACH
    assert shop.standing(bad).endpoint.failures == 1
    assert shop.standing(good).endpoint.waiting == 0
    assert [each.error for each in endpoints.log_of(shop.app, shop.program, bad.endpoint.public_id, limit=100)].count(
        "no answer within 1 seconds"
    ) == len(slow.got)


def redirects_inside(handler: Handler, got: Got) -> None:
    says(302, Location="http://169.254.169.254/latest/meta-data")(handler, got)


@pytest.mark.parametrize(
    ("answer", "told"), [(redirects_inside, "302"), (says(500), "500"), (says(404), "404"), (says(204), "204")]
)
def test_what_came_of_each_try_is_in_the_log(shop: Hooked, receiver: Receiver, answer: Answering, told: str) -> None:
    receiver.answer = answer
    made = shop.endpoint(receiver.url)
    (event,) = shop.happen("m:1")
    shop.deliver()
    (row,) = endpoints.log_of(shop.app, shop.program, made.endpoint.public_id)
    (tried,) = endpoints.tries_of(shop.app, shop.program, made.endpoint.public_id, event)
    assert (str(row.status), row.error, row.tries) == (told, None, 1)
    assert (tried.at, str(tried.status)) == (shop.clock.time, told)
    assert row.state.value == ("delivered" if told == "204" else "waiting")


def test_a_receiver_that_is_gone_is_disabled_at_once(shop: Hooked, receiver: Receiver) -> None:
    receiver.answer = says(410)
    made = shop.endpoint(receiver.url)
    shop.happen("m:1", "m:1", "m:1")
    shop.deliver()
    assert len(receiver.got) == 1
    found = shop.standing(made)
    assert (found.endpoint.state, found.endpoint.waiting) == (EndpointState.DISABLED, 0)
    assert shop.states() == {"given-up": 3}


def test_a_name_that_comes_to_mean_a_private_address_is_no_longer_sent_to(shop: Hooked, receiver: Receiver) -> None:
    means = ["127.0.0.1"]
    shop.posts_with(Poster(LOOPBACK, resolve=lambda host, port: means))
    made = shop.endpoint(f"http://hooks.example:{receiver.port}/")
    shop.happen("m:1")
    shop.deliver()
    means[:] = ["169.254.169.254"]
    (event,) = shop.happen("m:1")
    shop.deliver()
    assert len(receiver.got) == 1
    (tried,) = endpoints.tries_of(shop.app, shop.program, made.endpoint.public_id, event)
    assert tried.error == "hooks.example is at 169.254.169.254, which is not a public address"


def test_an_operator_who_takes_back_a_network_is_heeded(tmp_path: Path, migrated_url: str, receiver: Receiver) -> None:
    shop = hooked(tmp_path / "home", migrated_url)
    shop.endpoint(receiver.url)
    shop.happen("m:1")
    shop.app.close()
    stricter = hooked(tmp_path / "home", migrated_url, NFTLOYALTY_WEBHOOK_NETWORKS="")
    stricter.deliver()
    assert receiver.got == []
    assert stricter.states() == {"waiting": 1}
    stricter.app.close()


def test_without_the_key_file_nothing_is_sent_and_it_is_told(shop: Hooked, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    shop.happen("m:1")
    file = shop.app.settings.home / "seal.key"
    file.rename(file.with_suffix(".away"))
    again = shop.again()
    with Deliverer(again.app, shop.program) as deliverer:
        shop.deliver(deliverer)
        assert str(file) in deliverer.trouble
        shop.clock.forward(timedelta(seconds=10))
        shop.deliver(deliverer)
        assert receiver.got == []
        file.with_suffix(".away").rename(file)
        shop.clock.forward(delivering.KEY_PAUSE * 2)
        shop.deliver(deliverer)
        assert deliverer.trouble == ""
    again.app.close()
    assert len(receiver.got) == 1
    assert shop.states() == {"delivered": 1}


def test_two_workers_share_the_work_and_send_nothing_twice(shop: Hooked, receiver: Receiver) -> None:
    shop.endpoint(receiver.url)
    shop.happen(*(f"m:{number % 20}" for number in range(100)))
    apps = [shop.again().app for _ in range(2)]
    stop = threading.Event()
    threads = [
        threading.Thread(
            target=deliver,
            args=(app, shop.program),
            kwargs={"done": stop.is_set, "sleep": lambda seconds: time.sleep(0.01), "note": lambda trouble: None},
        )
        for app in apps
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: shop.states() == {"delivered": 100})
    stop.set()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    for app in apps:
        app.close()
    assert len(receiver.got) == 100
    assert in_order(receiver)


def test_told_to_stop_it_settles_what_is_under_way(shop: Hooked, receiver: Receiver) -> None:
    def slow(handler: Handler, got: Got) -> None:
        time.sleep(0.3)
        says(204)(handler, got)

    receiver.answer = slow
    shop.endpoint(receiver.url)
    shop.happen("m:1", "m:2")
    deliverer = Deliverer(shop.app, shop.program)
    deliverer.turn(0)
    assert shop.states() == {"waiting": 2}
    wait_until(lambda: len(receiver.got) == 2)
    deliverer.close()
    assert shop.states() == {"delivered": 2}


def test_told_to_stop_it_gives_back_what_no_thread_has_begun(shop: Hooked, receiver: Receiver) -> None:
    def slow(handler: Handler, got: Got) -> None:
        time.sleep(0.3)
        says(204)(handler, got)

    receiver.answer = slow
    shop.endpoint(receiver.url)
    shop.happen("m:1", "m:2")
    deliverer = Deliverer(shop.app, shop.program, threads=1)
    deliverer.turn(0)
    wait_until(lambda: len(receiver.got) == 1)
    deliverer.close()
    assert shop.states() == {"delivered": 1, "waiting": 1}
    # The other one needs not wait for the end of its claim.
    shop.deliver()
    assert shop.states() == {"delivered": 2}
    assert len(receiver.got) == 2


def test_what_waited_too_long_for_a_thread_is_not_sent(shop: Hooked, receiver: Receiver) -> None:
    """By the time it went, another process could have sent it, and the one after it."""

    def slow(handler: Handler, got: Got) -> None:
        shop.clock.forward(delivering.HOLD)
        says(204)(handler, got)

    receiver.answer = slow
    shop.endpoint(receiver.url)
    shop.happen("m:1", "m:2")
    with Deliverer(shop.app, shop.program, threads=1) as deliverer:
        assert deliverer.turn(0)
        wait_until(lambda: len(receiver.got) == 1)
        receiver.answer = says(204)
        shop.deliver(deliverer)
    assert shop.states() == {"delivered": 2}
    assert sorted(arrived(receiver)) == [("m:1", 1), ("m:2", 1)]


def test_trouble_with_the_database_loses_nothing(
    shop: Hooked, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.endpoint(receiver.url)
    (event,) = shop.happen("m:1")
    with monkeypatch.context() as patched:

        def fail(tx: object, outcomes: list[object], *_: object) -> dict[str, str]:
            if outcomes:
                raise DatabaseProblem("sqlite", "is full")
            return {}

        patched.setattr(delivery_steps, "settle", fail)
        deliverer = Deliverer(shop.app, shop.program)
        assert deliverer.turn(0)
        with pytest.raises(DatabaseProblem):
            while True:
                deliverer.turn(1)
    assert shop.states() == {"waiting": 1}
    shop.clock.forward(delivering.HOLD)
    shop.deliver()
    assert shop.states() == {"delivered": 1}
    assert [got.headers["webhook-id"] for got in receiver.got] == [event, event]


# ------------------------------------------------------------------------------------------------------------- kill -9

PROCESS = """
import sys, time
from pathlib import Path
from nftloyalty.app.context import build_app
from nftloyalty.app.delivering import deliver
from nftloyalty.store import programs
from nftloyalty.store.engine import read
from tests.app.hooked import NOWHERE
from tests.app.build import settings_of

app = build_app(settings_of(Path(sys.argv[1]), NOWHERE, sys.argv[2], NFTLOYALTY_WEBHOOK_NETWORKS="127.0.0.0/8"))
with read(app.engine) as tx:
    (program,) = programs.list_all(tx)
deliver(app, program, done=lambda: False, sleep=lambda seconds: time.sleep(0.02), note=lambda trouble: None)
"""


@contextmanager
def process_for(shop: Hooked) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(shop.folder), shop.database_url], cwd=ROOT, stdin=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)


def test_processes_that_are_killed_lose_nothing_and_keep_the_order(
    tmp_path: Path, migrated_url: str, receiver: Receiver
) -> None:
    shop = hooked(tmp_path / "home", migrated_url, now=system_now)
    shop.endpoint(receiver.url)

    def slow(handler: Handler, got: Got) -> None:
        time.sleep(0.01)
        says(204)(handler, got)

    receiver.answer = slow
    shop.happen(*(f"m:{number % 12}" for number in range(240)))
    for share in (20, 60, 120):
        with process_for(shop) as process:
            wait_until(lambda share=share: len(receiver.got) >= share)  # type: ignore[misc]
            process.send_signal(signal.SIGKILL)
            assert process.wait(timeout=20) == -signal.SIGKILL
        # Those that the killed one had sent may still be answered.
        time.sleep(0.1)
    with process_for(shop):
        wait_until(lambda: shop.states() == {"delivered": 240})
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert set(ids) == set(shop.sent)
    assert 240 <= len(ids) <= 240 + 3 * 2 * delivering.THREADS
    assert in_order(receiver)
    shop.app.close()


def test_a_receiver_that_is_not_there_is_tried_again(tmp_path: Path, migrated_url: str) -> None:
    shop = hooked(tmp_path / "home", migrated_url)
    made = shop.endpoint(f"http://127.0.0.1:{free_port()}/")
    shop.happen("m:1")
    shop.deliver()
    (row,) = endpoints.log_of(shop.app, shop.program, made.endpoint.public_id)
    assert (row.status, row.error, row.state.value) == (None, "the connection was refused", "waiting")
    shop.app.close()


def test_building_an_app_makes_no_key(tmp_path: Path) -> None:
    shop = hooked(tmp_path / "home", "")
    assert not (shop.app.settings.home / "seal.key").exists()
    assert build_app(shop.app.settings).seal.file == shop.app.settings.home / "seal.key"
    shop.app.close()
