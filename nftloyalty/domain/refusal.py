"""What the contracts' refusals mean to people: a stable code, a sentence, and what helps.

One table for everything that shows one: commands, reports of a file's rows, and HTTP. A code is the last part of the
Solidity error's name in small letters (`quota_exceeded`), or the skip code's (`already_held`); programs may match it.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nftloyalty.domain.times import shown_end, shown_start
from nftloyalty.domain.words import SkipCode

Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a contract refused. `mend` is empty where nothing can be done."""

    code: str
    sentence: str
    mend: str


_Sentence = str | Callable[[Values], str]

_READMIT = "`nftloyalty readmit` brings it back"
_NEW_VOUCHER = "ask for a new voucher"

_SKIP_MENDS = {
    SkipCode.LEFT: _READMIT,
    SkipCode.REVOKED: _READMIT,
    SkipCode.MOVED: "use the new wallet",
    SkipCode.NOT_ACTIVE: "mint or renew its card first",
    SkipCode.BELOW_TIER: "raise its tier first",
    SkipCode.CONFLICT: "look at it and run this again",
    SkipCode.NOT_HELD: "mint it a card first",
}

_QUOTA_KINDS = ("mints", "claims", "manager's acts")


def explain(name: str, values: Values) -> Refusal | None:
    """The refusal behind a Solidity error of ours with its named values; None for an error that is none of ours."""
    short = name.rpartition("_")[2]
    if short == "Refused":
        return _skipped(values)
    found = _TABLE.get(name) or _TABLE.get(short)
    if found is None:
        return None
    sentence, mend = found
    return Refusal(_code(short), sentence(values) if callable(sentence) else sentence, mend)


def skip_mend(code: SkipCode) -> str:
    """What helps against a skip; empty where nothing is to be done."""
    return _SKIP_MENDS.get(code, "")


def _skipped(values: Values) -> Refusal:
    """A single mint or claim that a batch would have left out."""
    stamp = values.get("stampType")
    what = f"no stamp of type {stamp} for {values['to']}" if stamp is not None else f"no card for {values['to']}"
    try:
        code = SkipCode(values["code"])
    except ValueError:
        return Refusal("refused", f"{what}: skip code {values['code']}", "")
    return Refusal(code.name.lower(), f"{what}: the wallet {code.sentence}", skip_mend(code))


def _code(short: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", short).lower()


def _quota(values: Values) -> str:
    kind = values["kind"]
    what = _QUOTA_KINDS[kind] if kind < len(_QUOTA_KINDS) else f"kind {kind}"
    return f"today's quota for {what} ({values['limit']:,} a day) is too small for this"


def _window(values: Values) -> str:
    opens = f"opens {shown_start(values['opens'])}" if values["opens"] else "is open at once"
    closes = f" and is open {shown_end(values['closes'])}" if values["closes"] else ""
    return f"stamp type {values['stampType']} can't be given now: it {opens}{closes}"


_FAULT = "please report this: the service should have seen it before"

_TABLE: Mapping[str, tuple[_Sentence, str]] = {
    # Powers and the state of the whole program.
    "Paused": ("the program is paused", "the owner ends the pause with `nftloyalty unpause`"),
    "NotPaused": ("the program is not paused", "nothing is to be done"),
    "NotAllowed": (
        lambda values: f"{values['caller']} may not do this",
        "see who may with `nftloyalty roles show`; the owner grants it with `nftloyalty roles grant`",
    ),
    "Unauthorized": (
        "only the owner, or an address that has asked for the ownership, may do this",
        "see `nftloyalty roles show`",
    ),
    "NoHandoverRequest": (
        "that address has not asked for the ownership in the last 14 days",
        "it asks with `nftloyalty handover request`",
    ),
    "NewOwnerIsZeroAddress": ("the zero address can't own a program", "name the new owner"),
    "Disabled": ("ownership changes hands in two steps only", "use `nftloyalty handover`"),
    "AlreadyInitialized": ("this contract is open already", _FAULT),
    "TooManySeasons": (lambda values: f"a program has at most {values['most']} seasons", ""),
    "QuotaExceeded": (_quota, "wait for the next UTC day, or let the owner raise it with `nftloyalty quota set`"),
    "QuotaKind": (lambda values: f"there is no quota of kind {values['kind']}", _FAULT),
    "QuotaOnlyLower": (
        lambda values: f"a guardian may only lower the quota, which is {values['current']:,}",
        "the owner raises it",
    ),
    # Cards.
    "LoyaltyMembership_CapReached": (
        lambda values: f"the program's cap of {values['cap']:,} cards is reached",
        "the owner raises it: `cap` in program.toml, then `nftloyalty update`",
    ),
    "CapBelowSupply": (
        lambda values: f"there are {values['supply']:,} cards, so the cap can't be {values['cap']:,}",
        "choose a higher cap",
    ),
    "LoyaltyMembership_BadTier": (
        lambda values: f"tier {values['tier']} can't be: the program has {values['highest']}",
        "`nftloyalty deploy` lists where program.toml and the chain differ",
    ),
    "LoyaltyStamps_BadTier": (
        lambda values: f"tier {values['tier']} can't be asked for: tiers end at {values['highest']}",
        "mend min_tier in program.toml",
    ),
    "BadTierName": (
        lambda values: f"the name of tier {values['index'] + 1} can't be used",
        "give it a name without control characters",
    ),
    "PastExpiry": (lambda values: f"the expiry given for {values['to']} has passed", "give a later one"),
    "NotRenewable": (lambda values: f"the card of {values['holder']} is for life", "nothing is to be done"),
    "ExpiryNotLater": (
        lambda values: f"the card of {values['holder']} is valid {shown_end(values['current'])}, which is not earlier",
        "give a later expiry",
    ),
    # Stamps.
    "UnknownType": (
        lambda values: f"there is no stamp type {values['stampType']} on chain",
        "`nftloyalty update` adds what is new in program.toml",
    ),
    "TypeTaken": (lambda values: f"there is a stamp type {values['stampType']} already", "take a free number"),
    "NotOpen": (_window, "wait, or move opens and closes in program.toml and run `nftloyalty update`"),
    "LoyaltyStamps_CapReached": (
        lambda values: f"the cap of {values['cap']:,} stamps of type {values['stampType']} is reached",
        "the owner raises it: `cap` in program.toml, then `nftloyalty update`",
    ),
    "CapBelowMinted": (
        lambda values: (
            f"{values['minted']:,} stamps of type {values['stampType']} were given, so the cap can't be "
            f"{values['cap']:,}"
        ),
        "choose a higher cap",
    ),
    "TermsFixed": (
        lambda values: (
            f"stamps of type {values['stampType']} were given already: who may get them and whether they can be "
            "redeemed stays as it is"
        ),
        "define a new stamp with another number",
    ),
    "BadTypeBlock": (
        lambda values: f"{values['count']} stamp types from number {values['first']} on can't be",
        "numbers go from 1 to 120",
    ),
    "BadWindow": ("a stamp must close later than it opens", "mend opens and closes"),
    "BadFlags": (lambda values: f"stamp types have no flags {values['flags']}", _FAULT),
    "NotRedeemable": (lambda values: f"stamps of type {values['stampType']} can't be redeemed", ""),
    "ZeroOrderRef": ("the order has no reference", "name the order"),
    "RedeemedOtherwise": (lambda values: "this stamp was redeemed for another order", ""),
    # Vouchers and consents.
    "Expired": (
        lambda values: f"this voucher or consent was valid {shown_end(values['deadline'] + 1)}",
        "ask for a new one",
    ),
    "WrongEpoch": ("all vouchers of that time were called back", _NEW_VOUCHER),
    "NotSigner": (
        lambda values: f"{values['signer']}, who signed the voucher, may not sign for this program",
        _NEW_VOUCHER,
    ),
    "NoConsent": (
        lambda values: f"the signature of {values['signer']} is not over this",
        "hand it in unchanged, as it was signed",
    ),
    "VoucherUsed": ("this voucher was used already, or called back", _NEW_VOUCHER),
    # Moves and recoveries.
    "WrongSerial": (lambda values: f"{values['wallet']} holds card number {values['current']}", "sign for that card"),
    "WrongNonce": (
        lambda values: f"{values['wallet']} has consented to something else since",
        "let it be signed once more",
    ),
    "SameWallet": ("both wallets are the same", "name two wallets"),
    "CoolingDown": (
        lambda values: f"the card of {values['wallet']} moved lately and can move again {shown_start(values['until'])}",
        "wait until then",
    ),
    "NothingToMove": (lambda values: f"{values['from']} holds neither card nor stamps", ""),
    "NoRecovery": (lambda values: f"no recovery of {values['from']} stands", ""),
    "RecoveryNotReady": (
        lambda values: f"the recovery can be carried out from {shown_start(values['readyAt'])}",
        "wait until then",
    ),
    "RecoveryEnded": ("the time for this recovery is over", "propose it again"),
    "RecoveryPending": (lambda values: f"a recovery of {values['from']} stands already", "wait for it, or veto it"),
    # Tokens.
    "Soulbound": ("cards and stamps can't be sold or given away", ""),
    "NotFound": ("there is no such card or stamp", ""),
    "ERC721NonexistentToken": ("there is no such card or stamp", ""),
    "ZeroAddress": ("the zero address can hold nothing", "name a wallet"),
    "DirtyBits": ("a batch item is malformed", _FAULT),
    # Metadata.
    "MetadataFrozen": ("names and metadata were frozen for good", ""),
    "NotPermanent": (
        lambda values: f"metadata at {values['uri']} could still change, so it can't be frozen",
        "use ipfs:// or ar://, or none",
    ),
    # Opening.
    "AlreadyOpen": (lambda values: f"the program is open already, at {values['membership']}", "nothing is to be done"),
    "BadName": (
        "the program's name must have 1 to 64 bytes and its symbol 1 to 16",
        "mend name and symbol in program.toml",
    ),
    "DelayTooShort": (
        lambda values: f"the recovery delay of {values['given']:,} seconds is too short",
        "at least 3 days: recovery_delay_days in program.toml",
    ),
    "CooldownTooLong": (
        lambda values: f"the cool-down of {values['given']:,} seconds between two moves is too long",
        "at most 365 days: move_cooldown_days in program.toml",
    ),
    "NoCode": (lambda values: f"no contract lies at {values['implementation']}", _FAULT),
    "NotOurs": (lambda values: f"{values['membership']} was not opened by this factory", ""),
    "NotOwner": (lambda values: f"{values['caller']} does not own the program", "this is the owner's act"),
    "DeploymentFailed": ("the contract could not be created", "is it there already? Run `nftloyalty deploy` again"),
}
"""By the error's whole name, else by its last part."""
