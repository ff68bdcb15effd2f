"""The program's contracts as typed reads and as calldata.

A read takes `block`, a number, a tag or a hash; give the hash when several reads must belong together. Reads raise
NodeUnreachable and NodeRefused, Reverted where the contract refuses, and ChainProblem where no such contract answers.
`encode_...` functions send nothing: they return calldata, and raise ValueError for a value that does not fit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, TypeVar

from nftloyalty.chain.abi import create2_address, decode_error, decode_words, encode_words, function
from nftloyalty.chain.client import BlockId, Node
from nftloyalty.domain.address import Address, address_number
from nftloyalty.domain.voucher import CardVoucher, StampVoucher
from nftloyalty.domain.words import CardWord, Role, StampsWord
from nftloyalty.errors import ChainProblem, Reverted

__all__ = [
    "CardGrant",
    "Factory",
    "FixedTerms",
    "Member",
    "Membership",
    "Opening",
    "PowersNow",
    "QuotaKind",
    "QuotaNow",
    "Recovery",
    "Stamps",
    "TypeBlock",
    "TypeNow",
    "create2_address",
    "decode_error",
]

Word = TypeVar("Word")


class QuotaKind(IntEnum):
    """Kinds of acts with a daily quota, as the contracts number them."""

    MINT = 0
    CLAIM = 1
    MANAGE = 2


@dataclass(frozen=True, slots=True)
class Member:
    """A wallet's card, and whether the contract calls it active at that block."""

    card: CardWord
    active: bool


@dataclass(frozen=True, slots=True)
class PowersNow:
    """What an account may do in the program, and whether the program is paused."""

    roles: Role
    is_owner: bool
    paused: bool
    voucher_epoch: int


@dataclass(frozen=True, slots=True)
class QuotaNow:
    """`limit` per UTC day, and how much of it is `used` in the day of that block."""

    limit: int
    used: int


@dataclass(frozen=True, slots=True)
class Supply:
    """What bounds mints as of one block: at most `cap`, of which `used` are taken, and the daily quota of mints."""

    cap: int
    used: int
    quota: QuotaNow


@dataclass(frozen=True, slots=True)
class FixedTerms:
    """What can never change after opening. Colours are 0xRRGGBB."""

    factory: Address
    recovery_delay_seconds: int
    move_cooldown_seconds: int
    background: int
    ink: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """A proposed recovery; `to` is the zero address where none stands. `serial` 0 = no card is to move: there is none,
    or it was revoked. Times in unix seconds, `ends_at` is the last second to execute it."""

    to: Address
    proposer: Address
    serial: int
    nonce: int
    ready_at: int
    ends_at: int


@dataclass(frozen=True, slots=True)
class TypeBlock:
    """`count` stamp types in a row from `first`, as they are defined.

    `cap` 2**32-1 = as good as none. Times in unix seconds, 0 = at once, never.
    """

    first: int
    count: int
    cap: int
    opens: int
    closes: int
    flags: int
    min_tier: int
    name: str

    MEMBERS_ONLY: ClassVar[int] = 1
    REDEEMABLE: ClassVar[int] = 2

    def to_tuple(self) -> tuple[Any, ...]:
        return (self.first, self.count, self.cap, self.opens, self.closes, self.flags, self.min_tier, self.name)


@dataclass(frozen=True, slots=True)
class TypeNow:
    """A stamp type on chain. `block_first` and `block_size` tell the stamp card it belongs to."""

    cap: int
    minted: int
    opens: int
    closes: int
    flags: int
    min_tier: int
    block_first: int
    block_size: int
    name: str


@dataclass(frozen=True, slots=True)
class CardGrant:
    """Roles that an account gets when the program is opened."""

    account: Address
    roles: Role


@dataclass(frozen=True, slots=True)
class Opening:
    """Everything `open` of the factory takes. Quotas are (mint, claim, manage) per UTC day; `cap` 2**32-1 = none."""

    salt: bytes
    name: str
    symbol: str
    background: int
    ink: int
    recovery_delay_seconds: int
    move_cooldown_seconds: int
    owner: Address
    cap: int
    card_quotas: tuple[int, int, int]
    stamp_quotas: tuple[int, int, int]
    grants: tuple[CardGrant, ...]
    tiers: tuple[str, ...]
    types: tuple[TypeBlock, ...]
    base_uri: str
    contract_uri: str
    stamps_base_uri: str

    def to_tuple(self) -> tuple[Any, ...]:
        return (
            self.salt,
            self.name,
            self.symbol,
            self.background,
            self.ink,
            self.recovery_delay_seconds,
            self.move_cooldown_seconds,
            self.owner,
            self.cap,
            self.card_quotas,
            self.stamp_quotas,
            [(grant.account, int(grant.roles)) for grant in self.grants],
            list(self.tiers),
            [block.to_tuple() for block in self.types],
            self.base_uri,
            self.contract_uri,
            self.stamps_base_uri,
        )


@dataclass(frozen=True)
class _Contract:
    node: Node
    address: Address

    CONTRACT: ClassVar[str]

    def _read(self, name: str, *arguments: Any, block: BlockId) -> tuple[Any, ...]:
        called = function(self.CONTRACT, name)
        return called.decode(self.node.eth_call(self.address, called.encode(*arguments), block))

    def _one(self, name: str, *arguments: Any, block: BlockId) -> Any:
        return self._read(name, *arguments, block=block)[0]

    def _read_all(self, *asked: tuple[Any, ...], block: BlockId) -> list[tuple[Any, ...]]:
        """Several functions, each with its arguments, in one message. Raises Reverted."""
        called = [(function(self.CONTRACT, name), arguments) for name, *arguments in asked]
        answers = self.node.eth_calls([(self.address, each.encode(*arguments)) for each, arguments in called], block)
        found = []
        for (each, _), answer in zip(called, answers, strict=True):
            if isinstance(answer, Reverted):
                raise answer
            found.append(each.decode(answer))
        return found

    def _words(self, name: str, words: Sequence[int], block: BlockId) -> list[int]:
        called = function(self.CONTRACT, name)
        answer = self.node.eth_call(self.address, encode_words(called.selector, words), block)
        return decode_words(called.signature, answer, len(words))

    @classmethod
    def _encode(cls, name: str, *arguments: Any) -> bytes:
        return function(cls.CONTRACT, name).encode(*arguments)

    @classmethod
    def _encode_items(cls, name: str, items: Sequence[int]) -> bytes:
        return encode_words(function(cls.CONTRACT, name).selector, items)

    # ------------------------------------------------------------------------------ what both ERC-721 contracts answer

    def name(self, block: BlockId = "latest") -> str:
        return str(self._one("name", block=block))

    def symbol(self, block: BlockId = "latest") -> str:
        return str(self._one("symbol", block=block))

    def token_uri(self, token_id: int, block: BlockId = "latest") -> str:
        return str(self._one("tokenURI", token_id, block=block))

    def owner_of(self, token_id: int, block: BlockId = "latest") -> Address:
        return str(self._one("ownerOf", token_id, block=block))

    def balance_of(self, holder: Address, block: BlockId = "latest") -> int:
        return int(self._one("balanceOf", holder, block=block))

    def owner(self, block: BlockId = "latest") -> Address:
        """The program's owner, not a token's."""
        return str(self._one("owner", block=block))

    def base_uri(self, block: BlockId = "latest") -> str:
        return str(self._one("baseURI", block=block))

    def contract_uri(self, block: BlockId = "latest") -> str:
        return str(self._one("contractURI", block=block))

    def metadata_frozen(self, block: BlockId = "latest") -> bool:
        return bool(self._one("metadataFrozen", block=block))

    def quota_of(self, kind: QuotaKind, block: BlockId = "latest") -> QuotaNow:
        return QuotaNow(*self._read("quotaOf", int(kind), block=block))

    def bearer_word(self, word: int, block: BlockId = "latest") -> int:
        """Bit set of used and voided bearer vouchers; voucher index = word * 256 + bit."""
        return int(self._one("bearerWord", word, block=block))

    def digest_of(self, struct_hash: bytes, block: BlockId = "latest") -> bytes:
        """The contract's own EIP-712 digest of a struct hash, to compare with ours."""
        return bytes(self._one("digestOf", struct_hash, block=block))

    @classmethod
    def encode_mint_batch(cls, items: Sequence[int]) -> bytes:
        """`items` as domain.words packs them: cards for the membership contract, token ids for the stamp contract."""
        return cls._encode_items("mintBatch", items)

    @classmethod
    def encode_set_quota(cls, kind: QuotaKind, limit: int) -> bytes:
        return cls._encode("setQuota", int(kind), limit)

    @classmethod
    def encode_void_bearer(cls, word: int, mask: int) -> bytes:
        return cls._encode("voidBearer", word, mask)

    @classmethod
    def encode_set_base_uri(cls, uri: str) -> bytes:
        return cls._encode("setBaseURI", uri)

    @classmethod
    def encode_set_contract_uri(cls, uri: str) -> bytes:
        return cls._encode("setContractURI", uri)

    @classmethod
    def encode_freeze_metadata(cls) -> bytes:
        return cls._encode("freezeMetadata")


class Membership(_Contract):
    """The membership cards of one program, and the seat of its powers."""

    CONTRACT = "LoyaltyMembership"

    # ----------------------------------------------------------------------------------------------------------- reads

    def is_active(self, holder: Address, block: BlockId = "latest") -> bool:
        return bool(self._one("isActive", holder, block=block))

    def membership_of(self, holder: Address, block: BlockId = "latest") -> Member:
        """The contract's own account of a wallet. For many wallets `words_of` is the cheaper question."""
        joined_at, expires_at, tier, serial, moved_at, nonce, flags, active = self._one(
            "membershipOf", holder, block=block
        )
        word = joined_at | expires_at << 40 | tier << 80 | serial << 88 | moved_at << 152 | nonce << 192 | flags << 216
        return Member(CardWord.from_int(word), active)

    def words_of(self, holders: Sequence[Address], block: BlockId = "latest") -> list[CardWord]:
        """What the contract knows of each wallet, in order. The caller keeps the number within the node's limits."""
        return _decoded(CardWord.from_int, self._words("wordsOf", [address_number(each) for each in holders], block))

    def holdings_of(self, holder: Address, block: BlockId = "latest") -> tuple[CardWord, tuple[StampsWord, ...]]:
        """Everything one wallet holds: its card, and its stamps of all seasons in order. One call."""
        card, stamps = self._read("holdingsOf", holder, block=block)
        return _decoded(CardWord.from_int, [card])[0], tuple(_decoded(StampsWord.from_int, stamps))

    def standings_of(self, holders: Sequence[Address], block: BlockId = "latest") -> list[int]:
        """The tier number of each wallet while its card is active, else 0."""
        return self._words("standingsOf", [address_number(each) for each in holders], block)

    def powers_of(self, account: Address, block: BlockId = "latest") -> PowersNow:
        roles, is_owner, is_paused, epoch = self._read("powersOf", account, block=block)
        return PowersNow(Role(roles), is_owner, is_paused, epoch)

    def roles_of(self, account: Address, block: BlockId = "latest") -> Role:
        return Role(self._one("rolesOf", account, block=block))

    def handover_expires_at(self, new_owner: Address, block: BlockId = "latest") -> int:
        """Unix seconds until which the owner may complete a requested handover; 0 = none was requested."""
        return int(self._one("ownershipHandoverExpiresAt", new_owner, block=block))

    def total_supply(self, block: BlockId = "latest") -> int:
        """Living cards, expired ones included."""
        return int(self._one("totalSupply", block=block))

    def issued(self, block: BlockId = "latest") -> int:
        """Member numbers given out so far."""
        return int(self._one("issued", block=block))

    def cap(self, block: BlockId = "latest") -> int:
        return int(self._one("cap", block=block))

    def supply(self, block: BlockId = "latest") -> Supply:
        """Of living cards. Pin `block` to a hash for an answer that belongs together."""
        (cap,), (used,), quota = self._read_all(
            ("cap",), ("totalSupply",), ("quotaOf", int(QuotaKind.MINT)), block=block
        )
        return Supply(int(cap), int(used), QuotaNow(*quota))

    def paused(self, block: BlockId = "latest") -> bool:
        return bool(self._one("paused", block=block))

    def voucher_epoch(self, block: BlockId = "latest") -> int:
        return int(self._one("voucherEpoch", block=block))

    def tier_names(self, block: BlockId = "latest") -> tuple[str, ...]:
        """Lowest first; the first is tier 1."""
        return tuple(self._one("tierNames", block=block))

    def seasons(self, block: BlockId = "latest") -> int:
        return int(self._one("seasons", block=block))

    def stamps_of_season(self, season: int, block: BlockId = "latest") -> Address:
        """The stamp contract of a season; the first season is 0."""
        return str(self._one("stampsOfSeason", season, block=block))

    def recovery_of(self, holder: Address, block: BlockId = "latest") -> Recovery:
        return Recovery(*self._one("recoveryOf", holder, block=block))

    def fixed_terms(self, block: BlockId = "latest") -> FixedTerms:
        return FixedTerms(*self._read("fixedTerms", block=block))

    # ---------------------------------------------------------------------------------------------------------- writes

    @classmethod
    def encode_mint(cls, to: Address, tier: int, expires_at: int) -> bytes:
        return cls._encode("mint", to, tier, expires_at)

    @classmethod
    def encode_readmit(cls, to: Address, tier: int, expires_at: int) -> bytes:
        return cls._encode("readmit", to, tier, expires_at)

    @classmethod
    def encode_claim(cls, voucher: CardVoucher, signer: Address, signature: bytes) -> bytes:
        fields = (voucher.to, voucher.tier, voucher.expires_at, voucher.epoch, voucher.deadline)
        return cls._encode("claim", fields, signer, signature)

    @classmethod
    def encode_void_voucher(cls, to: Address) -> bytes:
        return cls._encode("voidVoucher", to)

    @classmethod
    def encode_raise_voucher_epoch(cls) -> bytes:
        return cls._encode("raiseVoucherEpoch")

    @classmethod
    def encode_renew_batch(cls, items: Sequence[int]) -> bytes:
        return cls._encode_items("renewBatch", items)

    @classmethod
    def encode_set_tier_batch(cls, items: Sequence[int]) -> bytes:
        return cls._encode_items("setTierBatch", items)

    @classmethod
    def encode_revoke(cls, holder: Address, reason: str) -> bytes:
        return cls._encode("revoke", holder, reason)

    @classmethod
    def encode_burn(cls, holder: Address, deadline: int, signature: bytes) -> bytes:
        return cls._encode("burn", holder, deadline, signature)

    @classmethod
    def encode_pause(cls) -> bytes:
        return cls._encode("pause")

    @classmethod
    def encode_unpause(cls) -> bytes:
        return cls._encode("unpause")

    @classmethod
    def encode_set_cap(cls, cap: int) -> bytes:
        return cls._encode("setCap", cap)

    @classmethod
    def encode_set_tiers(cls, names: Sequence[str]) -> bytes:
        return cls._encode("setTiers", list(names))

    @classmethod
    def encode_grant_roles(cls, account: Address, roles: Role) -> bytes:
        return cls._encode("grantRoles", account, int(roles))

    @classmethod
    def encode_revoke_roles(cls, account: Address, roles: Role) -> bytes:
        return cls._encode("revokeRoles", account, int(roles))

    @classmethod
    def encode_request_ownership_handover(cls) -> bytes:
        """Sent by the new owner; the present one completes it within 14 days."""
        return cls._encode("requestOwnershipHandover")

    @classmethod
    def encode_cancel_ownership_handover(cls) -> bytes:
        """Sent by the account that requested it."""
        return cls._encode("cancelOwnershipHandover")

    @classmethod
    def encode_complete_ownership_handover(cls, new_owner: Address) -> bytes:
        """Sent by the present owner."""
        return cls._encode("completeOwnershipHandover", new_owner)

    @classmethod
    def encode_migrate(
        cls,
        source: Address,
        target: Address,
        serial: int,
        replaces: int,
        nonce: int,
        deadline: int,
        source_signature: bytes,
        target_signature: bytes,
    ) -> bytes:
        """A move with both wallets' consent (signatures.migrate_digest); empty for the wallet that sends it."""
        move = (source, target, serial, replaces, nonce, deadline)
        return cls._encode("migrate", move, source_signature, target_signature)

    @classmethod
    def encode_veto_recovery(cls, holder: Address, deadline: int, signature: bytes) -> bytes:
        """The holder's no (signatures.veto_digest); with an empty signature the owner's or the proposer's."""
        return cls._encode("vetoRecovery", holder, deadline, signature)

    @classmethod
    def encode_propose_recovery(cls, holder: Address, to: Address, reason: str) -> bytes:
        return cls._encode("proposeRecovery", holder, to, reason)

    @classmethod
    def encode_execute_recovery(cls, holder: Address) -> bytes:
        return cls._encode("executeRecovery", holder)


class Stamps(_Contract):
    """The stamps of one season of a program."""

    CONTRACT = "LoyaltyStamps"

    # ----------------------------------------------------------------------------------------------------------- reads

    def membership(self, block: BlockId = "latest") -> Address:
        return str(self._one("membership", block=block))

    def season(self, block: BlockId = "latest") -> int:
        return int(self._one("season", block=block))

    def words_of(self, holders: Sequence[Address], block: BlockId = "latest") -> list[StampsWord]:
        """What each wallet holds and ever had, in order. The caller keeps the number within the node's limits."""
        return _decoded(StampsWord.from_int, self._words("wordsOf", [address_number(each) for each in holders], block))

    def holds_all(self, holder: Address, mask: int, block: BlockId = "latest") -> bool:
        """`mask` as domain.words.types_mask builds it."""
        return bool(self._one("holdsAll", holder, mask, block=block))

    def type_of(self, stamp_type: int, block: BlockId = "latest") -> TypeNow:
        """Raises Reverted if the type is not defined."""
        return TypeNow(*self._one("typeOf", stamp_type, block=block))

    def supply(self, stamp_type: int, block: BlockId = "latest") -> Supply:
        """Of stamps of one type ever minted; the quota is that of all types. Raises Reverted if the type is not
        defined."""
        (terms,), quota = self._read_all(("typeOf", stamp_type), ("quotaOf", int(QuotaKind.MINT)), block=block)
        now = TypeNow(*terms)
        return Supply(now.cap, now.minted, QuotaNow(*quota))

    def types_of(self, stamp_types: Sequence[int], block: BlockId = "latest") -> list[TypeNow | None]:
        """Many types in few messages; None = not defined. Raises Reverted for any other reason."""
        called = function(self.CONTRACT, "typeOf")
        answers = self.node.eth_calls([(self.address, called.encode(number)) for number in stamp_types], block)
        found: list[TypeNow | None] = []
        for answer in answers:
            if isinstance(answer, Reverted):
                if answer.name != "LoyaltyStamps_UnknownType":
                    raise answer
                found.append(None)
            else:
                found.append(TypeNow(*called.decode(answer)[0]))
        return found

    def redeemed_for(self, token_id: int, block: BlockId = "latest") -> bytes:
        """The order a stamp was redeemed for, 32 bytes; all zero = it was not."""
        return bytes(self._one("redeemedFor", token_id, block=block))

    # ---------------------------------------------------------------------------------------------------------- writes

    @classmethod
    def encode_mint(cls, to: Address, stamp_type: int) -> bytes:
        return cls._encode("mint", to, stamp_type)

    @classmethod
    def encode_claim(cls, voucher: StampVoucher, signer: Address, signature: bytes) -> bytes:
        fields = (voucher.to, voucher.stamp_type, voucher.epoch, voucher.deadline)
        return cls._encode("claim", fields, signer, signature)

    @classmethod
    def encode_void_voucher(cls, to: Address, stamp_type: int) -> bytes:
        return cls._encode("voidVoucher", to, stamp_type)

    @classmethod
    def encode_redeem(
        cls, holder: Address, stamp_type: int, order_ref: bytes, deadline: int, signature: bytes
    ) -> bytes:
        """`order_ref` has 32 bytes; the same one again is success."""
        return cls._encode("redeem", holder, stamp_type, order_ref, deadline, signature)

    @classmethod
    def encode_burn(cls, holder: Address, stamp_type: int, deadline: int, signature: bytes) -> bytes:
        return cls._encode("burn", holder, stamp_type, deadline, signature)

    @classmethod
    def encode_revoke_stamp(cls, holder: Address, stamp_type: int, may_return: bool, reason: str) -> bytes:
        return cls._encode("revokeStamp", holder, stamp_type, may_return, reason)

    @classmethod
    def encode_define_types(cls, blocks: Sequence[TypeBlock]) -> bytes:
        return cls._encode("defineTypes", [block.to_tuple() for block in blocks])

    @classmethod
    def encode_set_type(cls, stamp_type: int, cap: int, opens: int, closes: int, flags: int, min_tier: int) -> bytes:
        return cls._encode("setType", stamp_type, cap, opens, closes, flags, min_tier)


class Factory(_Contract):
    """Opens programs. It has no owner and no say in a program that is open."""

    CONTRACT = "LoyaltyFactory"

    def program_of(self, opener: Address, salt: bytes, block: BlockId = "latest") -> Address | None:
        """The membership contract of a program; None = not open."""
        found = str(self._one("programOf", opener, salt, block=block))
        return found if address_number(found) else None

    def predict(self, opener: Address, opening: Opening, block: BlockId = "latest") -> tuple[Address, Address]:
        """Addresses of membership and stamps that `open` would give."""
        membership, stamps = self._read("predict", opener, opening.to_tuple(), block=block)
        return membership, stamps

    def implementations(self, block: BlockId = "latest") -> tuple[Address, Address]:
        """The membership and the stamp contract that programs are clones of."""
        membership, stamps = self._read("implementations", block=block)
        return membership, stamps

    @classmethod
    def encode_open(cls, opening: Opening) -> bytes:
        return cls._encode("open", opening.to_tuple())

    @classmethod
    def encode_open_season(
        cls, membership: Address, quotas: tuple[int, int, int], blocks: Sequence[TypeBlock], stamps_base_uri: str
    ) -> bytes:
        return cls._encode("openSeason", membership, quotas, [block.to_tuple() for block in blocks], stamps_base_uri)


def _decoded(read: Callable[[int], Word], words: Sequence[int]) -> list[Word]:
    try:
        return [read(word) for word in words]
    except ValueError as failure:
        raise ChainProblem(f"the contract answered with a word that is not ours: {failure}") from None
