from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError

from nftloyalty.errors import Unknown
from nftloyalty.store import vouchers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import VoucherKind
from nftloyalty.store.vouchers import NewVoucher
from tests.store.build import MINTER, NOW, Ground, prepared, program, wallet
from tests.store.test_plans import listening, rows_touched, sqlite_plans, steps_taken


@pytest.fixture
def tx(engine: Engine) -> Iterator[Connection]:
    with begin(engine) as tx:
        yield tx


@pytest.fixture
def ground(tx: Connection) -> Ground:
    return prepared(tx)


def new(ground: Ground, number: int, **changes: object) -> NewVoucher:
    values = {
        "public_id": f"vou_{number}",
        "program": ground.program,
        "kind": VoucherKind.CARD,
        "recipient": wallet(number),
        "args": {"tier": 1, "expires_at": 0, "epoch": 0, "deadline": 1_830_000_000},
        "signer": MINTER,
        "signature": "0x" + "ab" * 65,
    }
    return NewVoucher(**(values | changes))  # type: ignore[arg-type]


def test_a_voucher_comes_back_as_it_was_stored(tx: Connection, ground: Ground) -> None:
    asked = new(ground, 1)
    row = vouchers.add(tx, asked, NOW)
    assert vouchers.get(tx, "vou_1") == row
    assert {name: getattr(row, name) for name in vars(asked)} == vars(asked)
    assert row.created_at == NOW


def test_vouchers_are_listed_by_program_and_recipient(tx: Connection, ground: Ground) -> None:
    tea = program(tx, ground.chain, "tea").id
    vouchers.add_many(
        tx,
        [
            new(ground, 1),
            new(ground, 2),
            new(ground, 3, recipient=wallet(1), kind=VoucherKind.STAMP, args={"stamp_type": 2}),
            new(ground, 4, program=tea),
        ],
        NOW,
    )
    vouchers.add_many(tx, [], NOW)
    assert [row.public_id for row in vouchers.of_program(tx, ground.program)] == ["vou_1", "vou_2", "vou_3"]
    assert [row.public_id for row in vouchers.of_program(tx, ground.program, wallet(1))] == ["vou_1", "vou_3"]
    assert [row.public_id for row in vouchers.of_program(tx, tea)] == ["vou_4"]


def test_a_public_id_is_never_given_twice(tx: Connection, ground: Ground) -> None:
    vouchers.add(tx, new(ground, 1), NOW)
    with pytest.raises(IntegrityError), tx.begin_nested():
        vouchers.add(tx, new(ground, 1), NOW)


def test_an_unknown_voucher_is_said_to_be_so(tx: Connection) -> None:
    with pytest.raises(Unknown, match="vou_9"):
        vouchers.get(tx, "vou_9")


# --------------------------------------------------------------------------------------------------------------- pages


def fill(tx: Connection, ground: Ground, first: int, count: int) -> None:
    """Of two programs by turns, every tenth of a stamp, and as many for each of fifty wallets."""
    tea = program(tx, ground.chain, f"tea-{first}").id
    vouchers.add_many(
        tx,
        [
            new(
                ground,
                number,
                program=(ground.program, tea)[number % 2],
                recipient=wallet(number % 100),
                kind=VoucherKind.STAMP if number % 10 == 0 else VoucherKind.CARD,
            )
            for number in range(first, first + count)
        ],
        NOW,
    )


@pytest.mark.parametrize("recipient", [None, wallet(20)])
@pytest.mark.parametrize("kind", [None, *VoucherKind])
def test_pages_are_all_there_is_and_the_newest_come_first(
    tx: Connection, ground: Ground, kind: VoucherKind | None, recipient: str | None
) -> None:
    fill(tx, ground, 0, 300)
    found: list[vouchers.VoucherRow] = []
    before: int | None = None
    while page := vouchers.page(tx, ground.program, kind=kind, recipient=recipient, before=before, limit=7):
        assert len(page) <= 7
        found += page
        before = page[-1].id
    all_there_is = vouchers.of_program(tx, ground.program, recipient)
    assert found == [row for row in reversed(all_there_is) if kind in (None, row.kind)]


QUESTIONS: dict[str, dict[str, Any]] = {
    "all": {},
    "of a kind": {"kind": VoucherKind.STAMP},
    "older": {"before": 40},
    "of a wallet": {"recipient": wallet(1_002)},
    "of a wallet and a kind": {"recipient": wallet(1_002), "kind": VoucherKind.CARD},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_page_takes_as_long_as_it_is(engine: Engine, name: str) -> None:
    """Measured by the rows that PostgreSQL touches and the steps that SQLite's machine takes, beside a smaller one."""

    def work(ground: Ground) -> int:
        with begin(engine) as tx:

            def ask() -> object:
                return vouchers.page(tx, ground.program, **QUESTIONS[name], limit=5)

            if engine.dialect.name == "sqlite":
                return steps_taken(tx, ask)
            tx.execute(text("ANALYZE vouchers"))
            return rows_touched(tx, ask)

    with begin(engine) as tx:
        ground = prepared(tx)
        vouchers.add_many(tx, [new(ground, 9_000 + each, recipient=wallet(1_002)) for each in range(10)], NOW)
        fill(tx, ground, 0, 500)
    few = work(ground)
    with begin(engine) as tx:
        fill(tx, ground, 500, 4_000)
    many = work(ground)
    assert many <= 2 * few + 50, (few, many)


def test_every_question_finds_its_rows_by_index(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return
    with begin(engine) as tx:
        ground = prepared(tx)
        fill(tx, ground, 0, 20)
    with read(engine) as tx, listening(engine) as asked:
        for question in QUESTIONS.values():
            vouchers.page(tx, ground.program, **question, limit=5)
    with read(engine) as tx:
        plans = sqlite_plans(tx, asked)
    for statement, plan in plans.items():
        assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)
        assert "TEMP B-TREE" not in str(plan), (statement, plan)
    for index in ("program_kind_id", "program_recipient"):
        assert [plan for plan in plans.values() if any(f"INDEX ix_vouchers_{index} (" in step for step in plan)], index
