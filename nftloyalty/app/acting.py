"""One act at a time: a call by one key, tried first, sent exactly once, watched until it is on chain."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import Connection

from nftloyalty.app.calls import ACTS
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, key_name, signer_of
from nftloyalty.app.opening import Attached
from nftloyalty.app.pricing import offered
from nftloyalty.app.sending import work
from nftloyalty.chain import sender
from nftloyalty.chain.signer import Signer
from nftloyalty.domain.act import UNFINISHED
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IllegalTransition, IntentState, Kind
from nftloyalty.errors import ChainProblem, OutOfFunds
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Group, IntentRow, NewIntent

TRIAL_GAS = 16_000_000
# An operator waits in front of one act, and running the command again goes on with it.
RETRY_PAUSES = (0.5, 1.0)


@dataclass(frozen=True)
class Act:
    """A call to be made. `what` is said to people; `key` names it uniquely, without its generation."""

    what: str
    key: str
    to: Address | None
    data: bytes
    value_wei: int = 0
    kind: Kind = Kind.CALL


@dataclass(frozen=True)
class Done:
    """The act is on chain. `final` = it can no longer be undone."""

    tx_hash: str
    block: int
    final: bool


@dataclass(frozen=True)
class Unsigned:
    """The power belongs to an address whose key is not here (a Safe): this is the transaction to sign there."""

    signer: Address
    to: Address | None
    data: bytes


def perform(
    app: App,
    attached: Attached,
    act: Act,
    *,
    by: str,
    program: int | None,
    finality_blocks: int | None,
    tick: Callable[[], None] = lambda: None,
) -> Done | Unsigned:
    """Make the call with the key or address `by`, or hand back what must be signed elsewhere.

    A call of the same key that was begun and not finished is gone on with, whatever process began it. Raises Reverted
    with the contract's reason and OutOfFunds before anything is sent, SignerHalted, and what the node says. An act that
    failed before it was signed is taken back: it is not done later behind the operator's back.
    """
    name = key_name(app, by)
    address = address_of(app, by)
    with read(app.engine) as tx:
        begun = _unfinished(tx, generations(tx, attached.row, act.key))
    if begun is None:
        refusal = sender.refusal(app.node, address, act.to, act.data, act.value_wei)
        if refusal is not None:
            raise refusal
    if name is None:
        return Unsigned(signer=address, to=act.to, data=act.data)
    if begun is None:
        check_funds(app, address, act.to, act.data, act.value_wei)
    signer = signer_of(app, name)
    public_id = begun.public_id if begun is not None else _accept(app, attached, act, address, program)
    row = bring(app, attached, signer, public_id, finality_blocks=finality_blocks, tick=tick)
    return done_by(row, act.what)


def bring(
    app: App,
    attached: Attached,
    signer: Signer,
    public_id: str,
    *,
    finality_blocks: int | None,
    tick: Callable[[], None],
    ours: bool = True,
) -> IntentRow:
    """Send with this key until the intent has ended one way or the other, as far as a block tells.

    What stops that is raised, and the intent is taken back if it is `ours`, asked for by who waits here, and nothing
    was signed for it yet.
    """

    def done() -> bool:
        with read(app.engine) as tx:
            row = intents.get(tx, public_id)
            return row.state not in UNFINISHED or (row.kind in ACTS and _reverted(tx, row))

    with read(app.engine) as tx:
        asked = intents.get(tx, public_id)
    try:
        group = Group(asked.program, asked.kind, asked.stamp_type)
        work(
            app,
            attached,
            signer,
            finality_blocks=finality_blocks,
            done=done,
            group=group,
            tick=tick,
            retry_pauses=RETRY_PAUSES,
        )
    except BaseException:
        # Also when the operator stops it: what was not signed yet must not be done by the next command.
        if ours:
            _take_back(app, public_id)
        raise
    with read(app.engine) as tx:
        return intents.get(tx, public_id)


def done_by(row: IntentRow, what: str) -> Done:
    """How an intent ended. Raises ChainProblem if nothing came of it."""
    if row.tx_hash is None or row.block_number is None or row.state in (IntentState.REJECTED, IntentState.CANCELLED):
        withdrawn = row.state is IntentState.CANCELLED
        why = "it was withdrawn before it was sent" if withdrawn else row.error or "the transaction was reverted"
        raise ChainProblem(f"could not {what}: {why}")
    return Done(tx_hash=row.tx_hash, block=row.block_number, final=row.state == IntentState.FINAL)


def generations(tx: Connection, chain: int, key: str) -> list[IntentRow]:
    """All intents of an act's key so far, in order."""
    rows: list[IntentRow] = []
    while True:
        keys = [f"{key}|{number}" for number in range(len(rows), len(rows) + 16)]
        found = intents.by_keys(tx, chain, keys)
        rows += [found[each] for each in keys if each in found]
        if len(found) < len(keys):
            return rows


def check_funds(app: App, address: Address, to: Address | None, data: bytes, value_wei: int = 0) -> None:
    """Raises OutOfFunds if the address can't pay for this call now."""
    has = app.node.balance(address)
    if has >= value_wei + offered(app, TRIAL_GAS):
        return
    needs = value_wei + offered(app, sender.estimate(app.node, address, to, data, value_wei))
    if has < needs:
        raise OutOfFunds(address, has, needs)


def _take_back(app: App, public_id: str) -> None:
    """Cancel what nothing was signed for. What another process took up in this moment stays as it is."""
    with suppress(IllegalTransition), begin(app.engine) as tx:
        row = intents.get(tx, public_id)
        if row.state is IntentState.RECEIVED:
            intents.cancel(tx, [row.id], app.now())


def _unfinished(tx: Connection, rows: list[IntentRow]) -> IntentRow | None:
    return next((row for row in rows if row.state in UNFINISHED and not _reverted(tx, row)), None)


def _reverted(tx: Connection, row: IntentRow) -> bool:
    """Whether the intent's transaction is on chain and failed, so that nothing more comes of it."""
    return row.slot is not None and slots.get(tx, row.slot).succeeded is False


def _accept(app: App, attached: Attached, act: Act, address: Address, program: int | None) -> str:
    with begin(app.engine) as tx:
        rows = generations(tx, attached.row, act.key)
        begun = _unfinished(tx, rows)
        if begun is not None:
            return begun.public_id
        row, _created = intents.accept(
            tx,
            NewIntent(
                public_id=app.new_id("int"),
                chain=attached.row,
                program=program,
                signer=signers.register(tx, attached.row, address).id,
                kind=act.kind,
                stamp_type=0,
                recipient=None,
                args={
                    "what": act.what,
                    "to": act.to,
                    "data": "0x" + act.data.hex(),
                    "value_wei": str(act.value_wei),
                },
                request_key=f"{act.key}|{len(rows)}",
            ),
            app.now(),
        )
        return row.public_id
