from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from nftloyalty.errors import Unknown
from nftloyalty.store import vouchers
from nftloyalty.store.engine import begin
from nftloyalty.store.tables import VoucherKind
from nftloyalty.store.vouchers import NewVoucher
from tests.store.build import MINTER, NOW, Ground, prepared, program, wallet


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
