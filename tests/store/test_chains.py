from sqlalchemy import Engine, select

from nftloyalty.store import chains
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import chains as chains_table
from tests.store.build import CHAIN_ID, GENESIS, NOW, program, run_together

RESTARTED = "0x" + "a2" * 32


def test_a_chain_is_known_by_its_id_and_its_first_block(engine: Engine) -> None:
    with begin(engine) as tx:
        first = chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        assert chains.known_chain(tx, CHAIN_ID, GENESIS, NOW) == first
        assert chains.known_chain(tx, CHAIN_ID, RESTARTED, NOW) != first
        assert chains.known_chain(tx, 1, GENESIS, NOW) != first


def test_processes_that_meet_a_chain_at_once_agree(engine: Engine) -> None:
    seen: list[int] = []

    def meet() -> None:
        with begin(engine) as tx:
            seen.append(chains.known_chain(tx, CHAIN_ID, GENESIS, NOW))

    run_together([meet] * 6)
    assert len(set(seen)) == 1
    with read(engine) as tx:
        assert len(tx.execute(select(chains_table)).all()) == 1


def test_programs_on_a_restarted_chain_are_counted(engine: Engine) -> None:
    with begin(engine) as tx:
        old = chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        program(tx, old, "coffee")
        program(tx, old, "fashion")
        program(tx, chains.known_chain(tx, 1, GENESIS, NOW), "elsewhere")
        chains.known_chain(tx, CHAIN_ID, RESTARTED, NOW)
        assert chains.other_chains(tx, CHAIN_ID, RESTARTED) == 2
        assert chains.other_chains(tx, CHAIN_ID, GENESIS) == 0
