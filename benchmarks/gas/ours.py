"""Our own contracts: the committed artifacts, opened by the factory as `nftloyalty deploy` does it."""

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from benchmarks.gas.chain import IN_A_YEAR, IN_TWO_YEARS, TRANSFER, Chain, addresses, wallet
from benchmarks.gas.plain import NAME, SYMBOL
from benchmarks.gas.rows import Figures, Row, each
from benchmarks.gas.sources import BenchmarkProblem
from nftloyalty.chain import deployment, signatures
from nftloyalty.chain.abi import artifact, event_topic, function
from nftloyalty.chain.contracts import Membership, Stamps, TypeBlock
from nftloyalty.chain.deployment import ResolvedPowers
from nftloyalty.domain.address import checksummed
from nftloyalty.domain.program_file import NO_CAP, read_program
from nftloyalty.domain.voucher import CardVoucher, StampVoucher
from nftloyalty.domain.words import card_item, renewal_item, stamp_token_id, tier_item

PROGRAM = f"""\
[program]
id = "gas"
brand = "Coffee and Cake"
name = "{NAME}"
symbol = "{SYMBOL}"
[[tiers]]
id = "member"
name = "Member"
[[tiers]]
id = "silver"
name = "Silver"
[[tiers]]
id = "gold"
name = "Gold"
"""
"""Opened for an owner and one hot key: three tiers, no stamp types, metadata drawn on chain, quotas as they come."""

MEMBERS_ONLY = 3
"""The stamp type that only members get; the other types up to 6 are for everyone."""

_BEARER = "BearerCardVoucher(address claimKey,uint32 index,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)"
_CLAIM = f"Claim(BearerCardVoucher voucher,address claimer){_BEARER}"


def measure(chain: Chain) -> Figures:
    program = OurProgram(chain)
    figures = program.open()
    figures |= program.cards()
    figures |= program.stamp_acts()
    figures |= program.claims()
    figures |= program.leaving()
    return figures


class OurProgram:
    """A program and its people: the owner, one hot key with the roles of minter, signer and manager, and a relayer that
    sends in what others signed."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.owner, self.hot, self.relayer = wallet("owner"), wallet("hot"), wallet("relayer")
        program = read_program(PROGRAM, "the benchmark's program")
        hot = (self.hot.address,)
        powers = ResolvedPowers(self.owner.address, self.owner.address, hot, hot, hot, ())
        self.plan = deployment.plan(chain.node, program, powers)
        self.membership = Membership(chain.node, self.plan.membership)
        self.stamps = Stamps(chain.node, self.plan.stamps)

    def card(self, data: bytes) -> int:
        return self.chain.gas(self.hot, self.membership.address, data)

    def stamp(self, data: bytes) -> int:
        return self.chain.gas(self.hot, self.stamps.address, data)

    def card_batch(self, data: bytes, event: str) -> int:
        topic = event_topic("LoyaltyMembership", event)
        return each(self.chain.batch(self.hot, self.membership.address, data, topic))

    def stamp_batch(self, stamp_type: int) -> int:
        """Gas of the whole batch of one type, one stamp for each of the hundred members."""
        items = [stamp_token_id(member, stamp_type) for member in addresses("member")]
        return self.chain.batch(self.hot, self.stamps.address, Stamps.encode_mint_batch(items), TRANSFER)

    def open(self) -> Figures:
        if any(step.raw is not None for step in self.plan.missing):
            raise BenchmarkProblem("this anvil comes without the CREATE2 deployer")
        shared = sum(self.chain.gas(self.owner, step.to, step.data) for step in self.plan.missing)
        opened = self.chain.gas(self.owner, self.plan.factory, self.plan.open_data)
        types = [TypeBlock(number, 1, NO_CAP, 0, 0, 0, 0, f"Type {number}") for number in (1, 2)]
        types.append(TypeBlock(MEMBERS_ONLY, 1, NO_CAP, 0, 0, TypeBlock.MEMBERS_ONLY, 0, "Members only"))
        types.append(TypeBlock(4, 3, NO_CAP, 0, 0, 0, 0, "Stamp card"))
        self.chain.send(self.owner, self.stamps.address, Stamps.encode_define_types(types))
        return {
            Row.SHARED: shared,
            Row.OPEN: opened,
            Row.CARD_BYTES: self._size("LoyaltyMembership"),
            Row.STAMP_BYTES: self._size("LoyaltyStamps"),
        }

    def _size(self, name: str) -> int:
        """Bytes of a contract's code and of the code that it made for itself: the membership's is in two halves."""
        places = {step.name: step.address for step in self.plan.steps}
        code = self.chain.node.code(str(places[name]))
        named = (code[start : start + length] for start, length in artifact(name).immutables)
        others = {checksummed(value[-20:].hex()) for value in named} - set(places.values())
        return len(code) + sum(len(self.chain.node.code(other)) for other in others)

    def cards(self) -> Figures:
        """The first card also begins the program's and the day's counters; every later act finds them in use."""
        figures: Figures = {}
        steady = wallet("steady").address
        figures[Row.CARD_FIRST] = self.card(Membership.encode_mint(wallet("first").address, 2, IN_A_YEAR))
        figures[Row.CARD] = self.card(Membership.encode_mint(steady, 2, IN_A_YEAR))
        members = addresses("member")
        items = [card_item(member, 1, IN_A_YEAR) for member in members]
        figures[Row.CARD_BATCH] = self.card_batch(Membership.encode_mint_batch(items), "Transfer")

        # The first act of the day by a manager begins a counter too.
        self.card(Membership.encode_set_tier_batch([tier_item(wallet("first").address, 3)]))
        renewal = renewal_item(steady, IN_TWO_YEARS, IN_A_YEAR)
        figures[Row.RENEW] = self.card(Membership.encode_renew_batch([renewal]))
        items = [renewal_item(member, IN_TWO_YEARS, IN_A_YEAR) for member in members]
        figures[Row.RENEW_BATCH] = self.card_batch(Membership.encode_renew_batch(items), "TokenExpiryUpdated")
        figures[Row.TIER] = self.card(Membership.encode_set_tier_batch([tier_item(steady, 3)]))
        items = [tier_item(member, 3) for member in members]
        figures[Row.TIER_BATCH] = self.card_batch(Membership.encode_set_tier_batch(items), "MemberSet")
        return figures

    def stamp_acts(self) -> Figures:
        """All who get stamps here hold cards, so that the types for everyone and for members meet the same wallets."""
        figures: Figures = {}
        for stamp_type in range(1, 7):
            self.stamp(Stamps.encode_mint(wallet("first").address, stamp_type))
        steady = wallet("steady").address
        figures[Row.STAMP] = self.stamp(Stamps.encode_mint(steady, 1))
        figures[Row.FURTHER] = self.stamp(Stamps.encode_mint(steady, 2))
        figures[Row.GATED] = self.stamp(Stamps.encode_mint(steady, MEMBERS_ONLY)) - figures[Row.FURTHER]
        figures[Row.STAMP_BATCH] = each(self.stamp_batch(1))
        further = self.stamp_batch(2)
        figures[Row.FURTHER_BATCH] = each(further)
        figures[Row.GATED_BATCH] = each(self.stamp_batch(MEMBERS_ONLY) - further)
        return figures

    def claims(self) -> Figures:
        """Of each kind two: the first pays for counters that later ones find in use."""
        figures: Figures = {}
        for label in ("first claimer", "claimer"):
            figures[Row.CLAIM_CARD] = self._claim_card(label)
            figures[Row.CLAIM_STAMP] = self._claim_stamp(label)
        for index, label in enumerate(("first bearer", "bearer")):
            figures[Row.CLAIM_BEARER] = self._claim_bearer(index, label)
        return figures

    def leaving(self) -> Figures:
        figures: Figures = {}
        for label in ("mover", "collector"):
            self.card(Membership.encode_mint(wallet(label).address, 1, IN_A_YEAR))
        for stamp_type in (1, 2, 4, 5, 6):
            self.stamp(Stamps.encode_mint(wallet("collector").address, stamp_type))
        figures[Row.MOVE] = self._move("mover")
        figures[Row.MOVE_ALL] = self._move("collector")
        for label in ("first leaver", "leaver"):
            leaver = wallet(label)
            self.card(Membership.encode_mint(leaver.address, 1, IN_A_YEAR))
            self.stamp(Stamps.encode_mint(leaver.address, 1))
            data = Stamps.encode_burn(leaver.address, 1, 0, b"")
            figures[Row.BURN_STAMP] = self.chain.gas(leaver, self.stamps.address, data)
            data = Membership.encode_burn(leaver.address, 0, b"")
            figures[Row.BURN] = self.chain.gas(leaver, self.membership.address, data)
        return figures

    def _claim_card(self, label: str) -> int:
        voucher = CardVoucher(wallet(label).address, 1, IN_A_YEAR, 0, IN_A_YEAR)
        digest = signatures.card_voucher_digest(self.chain.id, self.membership.address, voucher)
        data = Membership.encode_claim(voucher, self.hot.address, self.hot.sign_digest(digest))
        return self.chain.gas(self.relayer, self.membership.address, data)

    def _claim_stamp(self, label: str) -> int:
        voucher = StampVoucher(wallet(label).address, 1, 0, IN_A_YEAR)
        digest = signatures.stamp_voucher_digest(self.chain.id, self.stamps.address, voucher)
        data = Stamps.encode_claim(voucher, self.hot.address, self.hot.sign_digest(digest))
        return self.chain.gas(self.relayer, self.stamps.address, data)

    def _claim_bearer(self, index: int, label: str) -> int:
        claimer, key = wallet(label), wallet(f"claim key of {label}")
        voucher = (key.address, index, 1, IN_A_YEAR, 0, IN_A_YEAR)
        kinds = ["bytes32", "address", "uint32", "uint8", "uint40", "uint24", "uint40"]
        promise = keccak(abi_encode(kinds, (keccak(text=_BEARER), *voucher)))
        claim = keccak(abi_encode(["bytes32", "bytes32", "address"], (keccak(text=_CLAIM), promise, claimer.address)))
        promised, agreed = self.membership.digest_of(promise), self.membership.digest_of(claim)
        data = function("LoyaltyMembership", "claimBearer").encode(
            voucher,
            self.hot.address,
            self.hot.sign_digest(promised),
            key.sign_digest(agreed),
            claimer.address,
            claimer.sign_digest(agreed),
        )
        return self.chain.gas(self.relayer, self.membership.address, data)

    def _move(self, label: str) -> int:
        source, target = wallet(label), wallet(f"new phone of {label}")
        card = self.membership.membership_of(source.address).card
        move = (source.address, target.address, card.serial, 0, card.nonce, IN_A_YEAR)
        digest = signatures.migrate_digest(self.chain.id, self.membership.address, *move)
        data = function("LoyaltyMembership", "migrate").encode(
            move, source.sign_digest(digest), target.sign_digest(digest)
        )
        return self.chain.gas(self.relayer, self.membership.address, data)
