"""Vouchers: made by the brand's signer, sent in by the member, relayed by us."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nftloyalty.app import describing
from nftloyalty.app.calls import CLAIMS
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, signer_of
from nftloyalty.app.opening import Opened
from nftloyalty.chain import sender, signatures
from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.chain.signer import Signer
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind, request_key
from nftloyalty.domain.roster import judge_window
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.voucher import (
    AS_MADE,
    CardVoucher,
    SignedVoucher,
    StampVoucher,
    Voucher,
    VoucherExpired,
    signed_to_json,
    to_json,
)
from nftloyalty.domain.words import Role, SkipCode
from nftloyalty.errors import BadInput, Problem, ProgramProblem
from nftloyalty.store import intents, signers, vouchers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow, NewIntent
from nftloyalty.store.tables import VoucherKind

# ------------------------------------------------------------------------------------------------------------- making


@dataclass(frozen=True)
class Made:
    """A voucher that was signed and that these books do not hold yet; it is good for a claim all the same."""

    signed: SignedVoucher
    new: vouchers.NewVoucher


def create_card(
    app: App, opened: Opened, to: Address, *, tier: int, expires_at: int, deadline: datetime
) -> SignedVoucher:
    """Sign a voucher for one card and keep it, with a key that is opened for it. Raises as `sign_card`. Made twice, it
    is two rows, and one card."""
    signer = _opened_signer(app, opened, deadline)
    made = sign_card(app, opened, to, tier=tier, expires_at=expires_at, deadline=deadline, signer=signer)
    with begin(app.engine) as tx:
        keep(app, tx, made)
    return made.signed


def create_stamp(app: App, opened: Opened, to: Address, *, stamp_type: int, deadline: datetime) -> SignedVoucher:
    """Sign a voucher for one stamp and keep it, as `create_card`."""
    signer = _opened_signer(app, opened, deadline)
    made = sign_stamp(app, opened, to, stamp_type=stamp_type, deadline=deadline, signer=signer)
    with begin(app.engine) as tx:
        keep(app, tx, made)
    return made.signed


def sign_card(
    app: App, opened: Opened, to: Address, *, tier: int, expires_at: int, deadline: datetime, signer: Signer
) -> Made:
    """Sign a voucher for one card; asks the node, and whoever keeps the key, but nobody for a password. Raises
    ProgramProblem if the key is no SIGNER or `deadline` is past."""
    epoch = _may_sign(app, opened, signer.address, deadline)
    voucher = CardVoucher(to=to, tier=tier, expires_at=expires_at, epoch=epoch, deadline=int(deadline.timestamp()))
    return _sign(app, opened, voucher, signer)


def sign_stamp(app: App, opened: Opened, to: Address, *, stamp_type: int, deadline: datetime, signer: Signer) -> Made:
    """Sign a voucher for one stamp. Asks and raises as `sign_card`."""
    epoch = _may_sign(app, opened, signer.address, deadline)
    voucher = StampVoucher(to=to, stamp_type=stamp_type, epoch=epoch, deadline=int(deadline.timestamp()))
    return _sign(app, opened, voucher, signer)


def keep(app: App, tx: Connection, made: Made) -> vouchers.VoucherRow:
    """Store it in this transaction, so that it can be listed and handed out again."""
    return vouchers.add(tx, made.new, app.now())


def signing_key(opened: Opened) -> str:
    """The key that signs vouchers: the program's first signer. Raises ProgramProblem if it has none."""
    names = opened.program.powers.signers
    if not names:
        raise ProgramProblem("program.toml names no signers", mend="add a key to [powers] signers and grant its role")
    return names[0]


def _opened_signer(app: App, opened: Opened, deadline: datetime) -> Signer:
    """Nobody is asked for a password in vain: whether the key may sign is asked first."""
    name = signing_key(opened)
    _may_sign(app, opened, address_of(app, name), deadline)
    return signer_of(app, name)


def _may_sign(app: App, opened: Opened, address: Address, deadline: datetime) -> int:
    """The epoch of vouchers that are signed now."""
    if deadline <= app.now():
        raise ProgramProblem("the voucher's deadline is in the past", mend="give a later --until")
    powers = opened.membership.powers_of(address)
    if not powers.roles & Role.SIGNER:
        raise ProgramProblem(
            f"{address} may not sign vouchers for this program", mend="grant it: `nftloyalty roles grant signer <key>`"
        )
    return powers.voucher_epoch


def _sign(app: App, opened: Opened, voucher: Voucher, signer: Signer) -> Made:
    is_card = isinstance(voucher, CardVoucher)
    contract = opened.membership.address if is_card else opened.stamps.address
    digest = _digest(opened.attached.chain_id, contract, voucher)
    signed = SignedVoucher(voucher, opened.attached.chain_id, contract, signer.address, signer.sign_digest(digest))
    new = vouchers.NewVoucher(
        public_id=app.new_id("vou"),
        program=opened.row.id,
        kind=VoucherKind.CARD if is_card else VoucherKind.STAMP,
        recipient=voucher.to,
        args=to_json(voucher),
        signer=signer.address,
        signature="0x" + signed.signature.hex(),
    )
    return Made(signed, new)


def obstacle(app: App, opened: Opened, to: Address, stamp_type: int = 0) -> str | None:
    """Why the contract would refuse a claim of this wallet if it came now, in words that fit after the wallet's name.

    `stamp_type` 0 = a card. None = nothing that can be seen from here; what happens until the claim, nobody knows.
    """
    if not stamp_type:
        code = opened.membership.words_of([to])[0].mintable_code()
        return code.sentence if code is not None else None
    stamp = opened.program.stamp_type(stamp_type)
    code = opened.stamps.words_of([to])[0].mintable_code(stamp_type)
    if code is None and stamp.members_only:
        standing = opened.membership.standings_of([to])[0]
        if standing < max(1, stamp.min_tier):
            code = SkipCode.BELOW_TIER if standing else SkipCode.NOT_ACTIVE
    if code is not None:
        return code.sentence
    closed = judge_window(stamp, app.now())
    return f"can't get it now: the {closed.place} {closed.what}" if closed is not None else None


# ----------------------------------------------------------------------------------------------------------- claiming


@dataclass(frozen=True)
class Claim:
    """A voucher that was found good, to be taken in and sent by `relay`."""

    opened: Opened
    signed: SignedVoucher
    kind: Kind
    key: str
    relay: Address


def accept_claim(app: App, opened: Opened, signed: SignedVoucher) -> IntentRow:
    """Take a voucher in; a worker sends it. The same voucher again gives the same intent and sends nothing more. Raises
    as `prepare_claim`."""
    claim = prepare_claim(app, opened, signed)
    with begin(app.engine) as tx:
        return take_claim(app, tx, claim)


def prepare_claim(app: App, opened: Opened, signed: SignedVoucher) -> Claim | IntentRow:
    """Look whether a voucher can be taken in; the node is asked, and nothing is written. One that was taken in before
    is answered with what became of it.

    Raises BadInput for another program's voucher or a bad signature, VoucherExpired, and Reverted with the contract's
    reason if it would not land.
    """
    is_card = isinstance(signed.voucher, CardVoucher)
    contract = opened.membership.address if is_card else opened.stamps.address
    problems = []
    if signed.chain_id != opened.attached.chain_id:
        what = f"is {signed.chain_id}, and this program lives on chain {opened.attached.chain_id}"
        problems.append(Problem("chain_id", what, "send the voucher to the server of its own program"))
    if signed.contract != contract:
        what = f"is another program's; this one's {'cards' if is_card else 'stamps'} are at {contract}"
        problems.append(Problem("contract", what, "send the voucher to the server of its own program"))
    if not _is_signed(signed, _digest(signed.chain_id, signed.contract, signed.voucher)):
        what = "does not fit: something in the voucher was changed after it was signed"
        problems.append(Problem("signature", what, AS_MADE))
    if problems:
        raise BadInput("voucher", problems)
    kind = Kind.CLAIM_CARD if is_card else Kind.CLAIM_STAMP
    key = claim_key(opened, signed)
    with read(app.engine) as tx:
        known = intents.by_keys(tx, opened.attached.row, [key]).get(key)
    if known is not None and known.state not in (IntentState.REJECTED, IntentState.CANCELLED):
        return known
    if signed.voucher.deadline < int(app.now().timestamp()):
        # The deadline is the last second in which it can be claimed.
        raise VoucherExpired(shown_end(signed.voucher.deadline + 1))
    relay = address_of(app, relay_key(opened))
    refusal = sender.refusal(app.node, relay, contract, _calldata(signed))
    if refusal is not None:
        raise refusal
    return Claim(opened, signed, kind, key, relay)


def take_claim(app: App, tx: Connection, claim: Claim | IntentRow) -> IntentRow:
    """Accept what `prepare_claim` answered, in this transaction. Taken in twice at once, it is one claim."""
    if isinstance(claim, IntentRow):
        return claim
    chain = claim.opened.attached.row
    new = NewIntent(
        public_id=app.new_id("int"),
        chain=chain,
        program=claim.opened.row.id,
        signer=signers.register(tx, chain, claim.relay).id,
        kind=claim.kind,
        stamp_type=_stamp_type(claim.signed),
        recipient=claim.signed.voucher.to,
        args=signed_to_json(claim.signed),
        request_key=claim.key,
    )
    # A claim that failed while the voucher could not land is taken up again now that it can.
    intents.ask_again(tx, [new], app.now())
    row, _created = intents.accept(tx, new, app.now())
    return row


def claim_key(opened: Opened, signed: SignedVoucher) -> str:
    """The request key of a voucher's claim: of the same promise, whoever signed it and however often."""
    is_card = isinstance(signed.voucher, CardVoucher)
    kind = Kind.CLAIM_CARD if is_card else Kind.CLAIM_STAMP
    wanted = request_key(opened.program.id, kind, _stamp_type(signed), signed.voucher.to)
    digest = _digest(signed.chain_id, signed.contract, signed.voucher)
    return f"{wanted}|{opened.row.id}|{digest.hex()[:32]}"


def claim_status(app: App, opened: Opened, public_id: str) -> IntentRow:
    """Raises Unknown, also for the ids of other things than claims, and of another program's."""
    return describing.row_asked_for(app, opened, public_id, CLAIMS, "claim")


def relay_key(opened: Opened) -> str:
    """The key that pays for claims: the program's first minter. Raises ProgramProblem if it has none."""
    minters = opened.program.powers.minters
    if not minters:
        raise ProgramProblem(
            "program.toml names no minters, so nobody pays for claims", mend="add a key to [powers] minters"
        )
    return minters[0]


def _stamp_type(signed: SignedVoucher) -> int:
    return signed.voucher.stamp_type if isinstance(signed.voucher, StampVoucher) else 0


def _is_signed(signed: SignedVoucher, digest: bytes) -> bool:
    try:
        return signatures.recover(digest, signed.signature) == signed.signer
    except ValueError:  # no signature of a plain key, or none at all
        return False


def _digest(chain_id: int, contract: Address, voucher: Voucher) -> bytes:
    if isinstance(voucher, CardVoucher):
        return signatures.card_voucher_digest(chain_id, contract, voucher)
    return signatures.stamp_voucher_digest(chain_id, contract, voucher)


def _calldata(signed: SignedVoucher) -> bytes:
    if isinstance(signed.voucher, CardVoucher):
        return Membership.encode_claim(signed.voucher, signed.signer, signed.signature)
    return Stamps.encode_claim(signed.voucher, signed.signer, signed.signature)


def described(app: App, opened: Opened, row: IntentRow) -> dict[str, Any]:
    """A claim as storefronts see it, and where to ask for it again."""
    return {"status_url": f"/v1/claims/{row.public_id}", **describing.told(app, opened, row)}
