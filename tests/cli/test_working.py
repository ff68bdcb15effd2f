"""`nftloyalty worker` as processes: any number of them share the work, and what one leaves the others finish."""

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nftloyalty.app import deploying, minting, verifying
from nftloyalty.domain.intent import IntentState
from nftloyalty.errors import IndexBehind
from nftloyalty.store import index, tables
from nftloyalty.store.engine import read
from tests.app.build import (
    OUTSIDER,
    PASSWORD,
    World,
    app_of,
    make_keys,
    new_wallet,
    program_of,
    program_text,
    settings_of,
)
from tests.cli.conftest import Run
from tests.cli.processes import PATIENCE_SECONDS, started
from tests.cli.test_commands import shop
from tests.conftest import PostgreSQL, StartAnvil
from tests.faults.proof import Chain

__all__ = ["shop"]  # a fixture

Shop = tuple[World, Path, Mapping[str, str]]

ROWS, BATCH, WINDOW = 300, 10, 4
SMALL_BATCHES = f"from nftloyalty.app import gathering; gathering.GATHER_AT_MOST = {BATCH}\n"


@pytest.fixture
def team(start_anvil: StartAnvil, postgresql: PostgreSQL, tmp_path: Path) -> Iterator[Shop]:
    """A program on an anvil that makes a block a second, its books in PostgreSQL, and the environment for workers."""
    name = postgresql.create()
    settings = settings_of(tmp_path / "home", start_anvil().url, postgresql.url(name))
    text = program_text(rest="[chain]\nfinality_blocks = 1\n")
    (tmp_path / "program.toml").write_text(text)
    app = app_of(settings)
    make_keys(app)
    deploying.deploy(app, program_of(text))
    app.node.call("evm_setIntervalMining", [1])
    environment = {
        "NFTLOYALTY_HOME": str(settings.home),
        "NFTLOYALTY_RPC_URL": settings.rpc_url,
        "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
        "NFTLOYALTY_WINDOW": str(WINDOW),
        "DATABASE_URL": settings.database_url,
    }
    yield World(app, program_of(text)), tmp_path, environment
    app.close()
    postgresql.drop(name)


def wait_until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.05)


def senders_pid(world: World) -> int | None:
    """The process that sends with the key hot; None = nobody."""
    owner = select(tables.signers.c.lease_owner).where(tables.signers.c.address == world.address("hot"))
    with read(world.app.engine) as tx:
        return pid_of(tx.execute(owner).scalar_one_or_none())


def indexers_pid(world: World) -> int | None:
    with read(world.app.engine) as tx:
        return pid_of(tx.execute(select(tables.indexers.c.owner)).scalar_one_or_none())


def pid_of(owner: str | None) -> int | None:
    return None if owner is None else int(owner.split("/")[-2])


def count(world: World, state: IntentState) -> int:
    query = select(func.count()).select_from(tables.intents).where(tables.intents.c.state == state)
    with read(world.app.engine) as tx:
        return tx.execute(query.where(tables.intents.c.program == world.here.row.id)).scalar_one()


def cards(world: World) -> int:
    """How many cards the index knows."""
    with read(world.app.engine) as tx:
        return sum(state.joined_at > 0 for state in index.everything_held(tx, world.here.row.id).values())


def is_ready(world: World) -> bool:
    try:
        verifying.check_index(world.app, world.here)
    except IndexBehind:
        return False
    return True


def test_when_one_of_two_workers_is_killed_the_other_finishes_its_mint(team: Shop) -> None:
    world, folder, environment = team
    here = world.here
    wallets = [new_wallet() for _ in range(ROWS)]
    minting._accept(world.app, here, world.plan(*(f"{wallet},member,never" for wallet in wallets)))
    with (
        started(folder, "worker", before=SMALL_BATCHES, **environment) as one,
        started(folder, "worker", before=SMALL_BATCHES, **environment) as two,
    ):
        wait_until(lambda: count(world, IntentState.FINAL) >= 3 * BATCH)
        pid = senders_pid(world)
        killed, other = (one, two) if pid == one.process.pid else (two, one)
        assert pid == killed.process.pid
        killed.process.kill()
        # Until then it is still there as a zombie, as it would not be under a service manager.
        killed.process.wait()
        left = count(world, IntentState.FINAL)
        assert left < ROWS - WINDOW * BATCH
        wait_until(lambda: senders_pid(world) == other.process.pid, seconds=10)
        wait_until(lambda: count(world, IntentState.FINAL) == ROWS, seconds=120)
        wait_until(lambda: indexers_pid(world) == other.process.pid and is_ready(world), seconds=10)
        assert cards(world) == ROWS
        assert other.end(signal.SIGTERM)[0] == 0
    chain = Chain(environment["NFTLOYALTY_RPC_URL"])
    try:
        minted = Counter(each.wallet for each in chain.minted(here.membership.address))
        transactions = chain.transactions_of(world.address("hot"))
    finally:
        chain.close()
    assert minted == Counter(wallets)
    assert sorted(each.nonce for each in transactions) == list(range(len(transactions)))
    assert len(transactions) == ROWS // BATCH


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_in_good_order_and_gives_its_leases_back(team: Shop, by: signal.Signals) -> None:
    world, folder, environment = team
    with started(folder, "worker", **environment) as worker:
        wait_until(lambda: {senders_pid(world), indexers_pid(world)} == {worker.process.pid})
        wait_until(lambda: is_ready(world))
        status, seconds = worker.end(by)
        assert (senders_pid(world), indexers_pid(world)) == (None, None)
    assert status == 0
    assert seconds < 5
    assert "Sending with hot, desk and indexing for Bean Club (Ctrl-C ends it)." in worker.said
    assert worker.said.endswith("Stopped.\n")


def test_what_another_process_indexes_is_verified_beside_it(team: Shop) -> None:
    """Its lease is no obstacle, and the answer is of a block that is newer than the question."""
    world, folder, environment = team
    wallet = new_wallet()
    with started(folder, "worker", "--index-only", **environment) as worker:
        worker.wait_for("(Indexing for Bean Club)")
        wait_until(lambda: indexers_pid(world) == worker.process.pid and is_ready(world))
        world.app.node.call("evm_setIntervalMining", [0])
        world.app.node.call("evm_setAutomine", [True])
        world.mint_outside(wallet)
        with started(folder, "verify", wallet, "--tier", "member", **environment) as verify:
            assert verify.process.wait(timeout=PATIENCE_SECONDS) == 0, verify.said
        assert indexers_pid(world) == worker.process.pid
        assert senders_pid(world) is None


def test_a_worker_says_when_its_node_goes_away(start_anvil: StartAnvil, tmp_path: Path) -> None:
    anvil = start_anvil()
    text = program_text(rest="[chain]\nfinality_blocks = 1\n")
    (tmp_path / "program.toml").write_text(text)
    app = app_of(settings_of(tmp_path / "home", anvil.url))
    make_keys(app)
    deploying.deploy(app, program_of(text))
    app.close()
    environment = {
        "NFTLOYALTY_HOME": str(tmp_path / "home"),
        "NFTLOYALTY_RPC_URL": anvil.url,
        "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
    }
    with started(tmp_path, "worker", **environment) as worker:
        worker.wait_for("(Sending with hot, desk)")
        anvil.kill()
        worker.wait_for("(index waits: no answer from the node)")
        worker.wait_for("(sender 0x[0-9a-fA-F]{40} waits: no answer from the node)")
        assert worker.end(signal.SIGTERM)[0] == 0


def test_a_worker_without_any_key_to_send_with_says_so(shop: Run) -> None:
    text = Path("program.toml").read_text()
    without = text.replace('minters = ["hot",', "minters = [").replace(
        'managers = ["desk"]', f'managers = ["{OUTSIDER}"]'
    )
    Path("program.toml").write_text(without)
    refused = shop("worker")
    assert refused.status == 3
    assert (
        "none of the minters' and managers' keys of program.toml is here, so this worker could send nothing"
        in refused.err
    )
    assert "--index-only" in refused.err


def test_a_worker_that_only_indexes_takes_no_key(shop: Run) -> None:
    refused = shop("worker", "--index-only", "--key", "hot")
    assert refused.status == 2
    assert "--index-only: sends nothing, and --key names a key to send with (leave one of them out)" in refused.err


def test_a_key_that_is_not_here_is_told(shop: Run) -> None:
    refused = shop("worker", "--key", "cold")
    assert refused.status == 3
    assert "there is no key 'cold'" in refused.err
