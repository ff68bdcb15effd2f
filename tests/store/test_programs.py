import json

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from nftloyalty.errors import ProgramProblem, Unknown
from nftloyalty.store import chains, programs
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import ProgramState
from tests.store.build import CHAIN_ID, GENESIS, MINTER, NOW, fresh_hash, program, wallet


def test_an_opening_is_recorded_once(engine: Engine) -> None:
    with begin(engine) as tx:
        chain = chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        assert programs.find(tx, chain, "coffee") is None
        first = program(tx, chain)
        again = program(tx, chain, name="Another name", membership=wallet(5))
        assert again == first == programs.find(tx, chain, "coffee") == programs.get(tx, first.id)
    assert first.state is ProgramState.OPENING
    assert first.terms == {"tiers": ["green", "gold"]}
    assert first.created_at == NOW
    assert (first.opened_tx, first.opened_block) == (None, None)


def test_the_same_program_may_be_open_on_two_chains(engine: Engine) -> None:
    with begin(engine) as tx:
        one = program(tx, chains.known_chain(tx, CHAIN_ID, GENESIS, NOW))
        two = program(tx, chains.known_chain(tx, 1, GENESIS, NOW))
        assert one.id != two.id
        assert programs.list_all(tx) == [one, two]
        assert programs.list_all(tx, two.chain) == [two]


def test_two_programs_never_share_a_membership_contract(engine: Engine) -> None:
    with pytest.raises(IntegrityError), begin(engine) as tx:
        chain = chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        program(tx, chain, "coffee", membership=wallet(7))
        program(tx, chain, "fashion", membership=wallet(7))


def test_marking_open_twice_keeps_the_first_record(engine: Engine) -> None:
    with begin(engine) as tx:
        planned = program(tx, chains.known_chain(tx, CHAIN_ID, GENESIS, NOW))
        tx_hash = fresh_hash()
        opened = programs.mark_open(tx, planned.id, tx_hash, 7, {"tiers": ["gold"]})
        assert (opened.state, opened.opened_tx, opened.opened_block) == (ProgramState.OPEN, tx_hash, 7)
        assert opened.terms == {"tiers": ["gold"]}
        assert programs.mark_open(tx, planned.id, None, None, {}) == opened
        assert program(tx, planned.chain) == opened


def test_a_plan_can_change_until_the_program_is_open(engine: Engine) -> None:
    plan = {
        "opener": MINTER,
        "salt": "0x" + "06" * 32,
        "name": "A better name",
        "factory": wallet(1),
        "membership": wallet(2),
        "stamps": wallet(3),
    }
    with begin(engine) as tx:
        planned = program(tx, chains.known_chain(tx, CHAIN_ID, GENESIS, NOW))
        changed = programs.replan(tx, planned.id, **plan, terms={"cap": 1})
        assert (changed.id, changed.name, changed.membership, changed.terms) == (
            planned.id,
            "A better name",
            wallet(2),
            {"cap": 1},
        )
        programs.mark_open(tx, planned.id, None, None)
        with pytest.raises(ProgramProblem, match="is open"):
            programs.replan(tx, planned.id, **plan, terms={})
        assert programs.get(tx, planned.id).terms == {"cap": 1}


def test_an_unknown_program_is_said_to_be_so(engine: Engine) -> None:
    with begin(engine) as tx:
        with pytest.raises(Unknown):
            programs.get(tx, 1)
        with pytest.raises(Unknown):
            programs.mark_open(tx, 1, None, None)


def test_the_export_is_plain_json_and_complete(engine: Engine) -> None:
    with begin(engine) as tx:
        row = program(tx, chains.known_chain(tx, CHAIN_ID, GENESIS, NOW))
        row = programs.mark_open(tx, row.id, fresh_hash(), 7)
    with read(engine) as tx:
        (exported,) = json.loads(json.dumps(programs.export(tx)))
    assert exported == {
        "program": "coffee",
        "name": "The coffee club",
        "state": "open",
        "chain_id": CHAIN_ID,
        "genesis_hash": GENESIS,
        "factory": row.factory,
        "membership": row.membership,
        "stamps": row.stamps,
        "opener": row.opener,
        "salt": row.salt,
        "transaction": row.opened_tx,
        "block": 7,
        "recorded_at": "2026-03-01T12:00:00.250000+00:00",
        "terms": {"tiers": ["green", "gold"]},
    }
