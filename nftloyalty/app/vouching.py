"""Vouchers for whoever asks over HTTP: signed by a server that was given the key, and how each stands."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from nftloyalty.app.claiming import Made, claim_key, sign_card, sign_stamp, signing_key
from nftloyalty.app.context import App
from nftloyalty.app.contracts import own_contracts
from nftloyalty.app.describing import MOST_ON_A_PAGE, as_known, row_of
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.opening import Opened
from nftloyalty.chain.contracts import PowersNow
from nftloyalty.chain.signer import Signer
from nftloyalty.domain.address import Address
from nftloyalty.domain.holding import HoldingState
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.times import at, iso, last_day
from nftloyalty.domain.voucher import (
    Asked,
    CardVoucher,
    SignedVoucher,
    Voucher,
    VoucherState,
    from_json,
    signed_to_json,
    state_of,
)
from nftloyalty.domain.words import Flag, Role, SkipCode
from nftloyalty.errors import Unknown
from nftloyalty.store import index, intents, vouchers
from nftloyalty.store.engine import read
from nftloyalty.store.intents import IntentRow
from nftloyalty.store.tables import VoucherKind
from nftloyalty.store.vouchers import VoucherRow

_ID = re.compile(r"[a-z0-9_]{1,64}")
_NOT_SIGNER = {"code": "not_signer", "sentence": "who signed it may not sign for this program"}
_WRONG_EPOCH = {"code": "wrong_epoch", "sentence": "all vouchers of its time were called back"}
_VOIDED = {"code": "voucher_used", "sentence": "the vouchers of this wallet were called back"}

# ------------------------------------------------------------------------------------------------------------- signing


@dataclass(frozen=True)
class Desk:
    """Signs vouchers with a key that was opened beforehand. Nothing here can ask for a password: whoever waits for an
    answer is no one to type it. `contracts` says what each of the program's own addresses is.

    May be used by several threads.
    """

    app: App
    opened: Opened
    signer: Signer
    contracts: Mapping[Address, str]

    def may_sign(self) -> bool:
        """Whether the key has its role now. Asks the node."""
        return bool(self.opened.membership.powers_of(self.signer.address).roles & Role.SIGNER)

    def sign(self, asked: Asked) -> Made:
        """Asks the node, and whoever keeps the key. Raises as `claiming.sign_card`."""
        if asked.stamp_type:
            return sign_stamp(
                self.app,
                self.opened,
                asked.to,
                stamp_type=asked.stamp_type,
                deadline=asked.deadline,
                signer=self.signer,
            )
        return sign_card(
            self.app,
            self.opened,
            asked.to,
            tier=asked.tier,
            expires_at=asked.expires_at,
            deadline=asked.deadline,
            signer=self.signer,
        )


def open_desk(app: App, opened: Opened) -> Desk:
    """Open the signer's key: its password is asked for now, and never again.

    Raises ProgramProblem if the program has no signers, and KeyProblem.
    """
    return Desk(app, opened, signer_of(app, signing_key(opened)), own_contracts(opened))


# ----------------------------------------------------------------------------------------------------- how each stands


@dataclass(frozen=True)
class Page:
    """`cursor` asks for what is older; None = there is nothing more."""

    vouchers: Sequence[Mapping[str, Any]]
    cursor: str | None


def kind_named(name: str) -> VoucherKind:
    return VoucherKind(name)


def told_new(tx: Connection, app: App, opened: Opened, row: VoucherRow) -> dict[str, Any]:
    """A voucher that was made just now, with what is to be handed in. Nobody is asked: whoever signed it could."""
    (known,) = _known(tx, opened, [row])
    return _told(app, opened, known, None)


def find(app: App, opened: Opened, public_id: str) -> dict[str, Any]:
    """One voucher of this program, with what is to be handed in. Raises Unknown, also for the ids of other things, and
    what the node fails with."""
    with read(app.engine) as tx:
        known = _known(tx, opened, [_row(tx, opened, public_id)])
    (told,) = _all_told(app, opened, known)
    return told


def page(
    app: App,
    opened: Opened,
    *,
    kind: VoucherKind | None = None,
    wallet: Address | None = None,
    cursor: str = "",
    limit: int = 100,
) -> Page:
    """The program's vouchers, the newest first, without what is handed in. Raises BadInput for a cursor that was not
    given out, and what the node fails with."""
    limit = max(1, min(limit, MOST_ON_A_PAGE))
    before = row_of(cursor)
    with read(app.engine) as tx:
        rows = vouchers.page(tx, opened.row.id, kind=kind, recipient=wallet, before=before, limit=limit + 1)
        known = _known(tx, opened, rows[:limit])
    told = _all_told(app, opened, known)
    for each in told:
        del each["signed"]
    return Page(told, str(rows[limit - 1].id) if len(rows) > limit else None)


@dataclass(frozen=True)
class _Known:
    """A voucher, and what our books tell of it: its claim and how far that is, and what the wallet has as of the newest
    block of the index, None = nothing is known."""

    row: VoucherRow
    signed: SignedVoucher
    claim: IntentRow | None
    claim_state: IntentState | None
    held: HoldingState | None


def _row(tx: Connection, opened: Opened, public_id: str) -> VoucherRow:
    # What is not of an id's letters may be what a database refuses to look for.
    if _ID.fullmatch(public_id):
        with suppress(Unknown):
            row = vouchers.get(tx, public_id)
            if row.program == opened.row.id:
                return row
    raise Unknown("there is no voucher of this id")


def _known(tx: Connection, opened: Opened, rows: Sequence[VoucherRow]) -> list[_Known]:
    signed = [_signed(opened, row) for row in rows]
    keys = [claim_key(opened, each) for each in signed]
    claims = intents.by_keys(tx, opened.attached.row, keys)
    position = index.position(tx, opened.row.id)
    final_number = -1 if position is None else position.final_number
    held: dict[Address, HoldingState | None] = {}
    if position is not None and position.incident is None:
        wallets = dict.fromkeys(row.recipient for row in rows)
        held = {wallet: index.holding(tx, opened.row.id, bytes.fromhex(wallet[2:])) for wallet in wallets}
    found = []
    for row, each, key in zip(rows, signed, keys, strict=True):
        claim = claims.get(key)
        state = as_known(claim, final_number) if claim is not None else None
        found.append(_Known(row, each, claim, state, held.get(row.recipient)))
    return found


def _signed(opened: Opened, row: VoucherRow) -> SignedVoucher:
    """A stored voucher as it was handed out."""
    contract = opened.membership.address if row.kind is VoucherKind.CARD else opened.stamps.address
    signature = bytes.fromhex(row.signature[2:])
    return SignedVoucher(from_json(row.args), opened.attached.chain_id, contract, row.signer, signature)


def _all_told(app: App, opened: Opened, known: Sequence[_Known]) -> list[dict[str, Any]]:
    """What the node knows of their signers is asked once for each, and there is one as a rule."""
    powers = {
        signer: opened.membership.powers_of(signer) for signer in dict.fromkeys(each.row.signer for each in known)
    }
    return [_told(app, opened, each, powers[each.row.signer]) for each in known]


def _told(app: App, opened: Opened, known: _Known, signer: PowersNow | None) -> dict[str, Any]:
    """`signer` is what its signer may do now; None = it could sign a moment ago."""
    row, voucher, program = known.row, known.signed.voucher, opened.program
    called_back = _called_back(voucher, known.held, signer)
    refused = _refused(voucher, known.held)
    state = state_of(
        voucher.deadline,
        app.now(),
        claim=known.claim_state,
        called_back=called_back is not None,
        refused=refused,
    )
    reason = None
    if state is VoucherState.CALLED_BACK:
        reason = called_back
    elif state is VoucherState.REFUSED and refused is not None:
        reason = {"code": refused.name.lower(), "sentence": f"the wallet {refused.sentence}"}
    tier = voucher.tier if isinstance(voucher, CardVoucher) else None
    expires_at = voucher.expires_at if isinstance(voucher, CardVoucher) else 0
    return {
        "id": row.public_id,
        "kind": row.kind.value,
        "wallet": row.recipient,
        "tier": program.tiers[tier - 1].id if tier is not None and tier <= len(program.tiers) else None,
        "tier_number": tier,
        "expires_at": iso(at(expires_at)) if expires_at else None,
        "last_day": last_day(expires_at) if expires_at else None,
        "stamp": None if isinstance(voucher, CardVoucher) else program.stamp_id(voucher.stamp_type),
        "until": iso(at(voucher.deadline + 1)),
        "state": state.value,
        "reason": reason,
        "status_url": f"/v1/vouchers/{row.public_id}",
        "claim_url": None if known.claim is None else f"/v1/claims/{known.claim.public_id}",
        "created_at": iso(row.created_at),
        "signed": signed_to_json(known.signed),
    }


def _called_back(voucher: Voucher, held: HoldingState | None, signer: PowersNow | None) -> dict[str, str] | None:
    """Why the program no longer stands by it; None = it does, for all that is known."""
    if isinstance(voucher, CardVoucher) and held is not None and held.flags & Flag.VOIDED:
        return _VOIDED
    if signer is not None and signer.voucher_epoch != voucher.epoch:
        return _WRONG_EPOCH
    if signer is not None and not signer.roles & Role.SIGNER:
        return _NOT_SIGNER
    return None


def _refused(voucher: Voucher, held: HoldingState | None) -> SkipCode | None:
    """What the wallet has against it for good: a tier or an active card that is missing may come yet."""
    if held is None:
        return None
    holding = held.to_holding(1)
    if isinstance(voucher, CardVoucher):
        return holding.card.mintable_code()
    return holding.stamps[0].mintable_code(voucher.stamp_type)
