"""Acts by chance on a program that is open on a real chain: what the contracts refuse is not sent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from nftloyalty.chain import signatures
from nftloyalty.chain.contracts import Factory, Membership, Stamps, TypeBlock
from nftloyalty.chain.signer import LocalSigner
from nftloyalty.domain.address import Address
from nftloyalty.domain.words import CardWord, Flag, card_item, renewal_item, tier_item
from nftloyalty.errors import Reverted
from tests.chain.opened import GUARDIAN, HOT, OWNER, Opened, key, transact

NO_DEADLINE = (1 << 40) - 1
DAY = 86_400


@dataclass
class Acted:
    """`done` counts the acts that were mined, by name."""

    opened: Opened
    random: Random
    members: list[LocalSigner] = field(default_factory=lambda: [key(number) for number in range(70_001, 70_019)])
    done: dict[str, int] = field(default_factory=dict)

    def act(self) -> None:
        acts: dict[str, tuple[int, Callable[[], None]]] = {
            "mint": (4, self.mint),
            "stamp": (6, self.stamp),
            "move": (4, self.move),
            "recover": (4, self.recover),
            "readmit": (3, self.readmit),
            "renew": (1, self.renew),
            "tier": (1, self.tier),
            "revoke": (2, self.revoke),
            "leave": (1, self.leave),
            "void": (1, self.void),
            "burn stamp": (1, self.burn_stamp),
            "redeem": (2, self.redeem),
            "revoke stamp": (2, self.revoke_stamp),
            "season": (1, self.season),
        }
        weights = [weight for weight, _ in acts.values()]
        name = self.random.choices(list(acts), weights=weights)[0]
        try:
            acts[name][1]()
        except Reverted:
            return
        self.done[name] = self.done.get(name, 0) + 1

    @property
    def some(self) -> LocalSigner:
        return self.random.choice(self.members)

    def mint(self) -> None:
        """A batch, in which some are skipped."""
        two = self.random.sample(self.members, 2)
        items = [card_item(each.address, self.random.randint(1, 2), self._expiry()) for each in two]
        self._cards(HOT, Membership.encode_mint_batch(items))

    def readmit(self) -> None:
        self._cards(HOT, Membership.encode_readmit(self.some.address, self.random.randint(1, 2), self._expiry()))

    def renew(self) -> None:
        who = self.some
        expires_at = self._word(who).expires_at
        self._cards(HOT, Membership.encode_renew_batch([renewal_item(who.address, expires_at + DAY, expires_at)]))

    def tier(self) -> None:
        self._cards(HOT, Membership.encode_set_tier_batch([tier_item(self.some.address, self.random.randint(1, 3))]))

    def revoke(self) -> None:
        self._cards(HOT, Membership.encode_revoke(self.some.address, "lost, or worse"))

    def void(self) -> None:
        self._cards(HOT, Membership.encode_void_voucher(self.some.address))

    def leave(self) -> None:
        who, membership = self.some, self.opened.membership
        nonce = self._word(who).nonce
        digest = signatures.burn_digest(self.opened.chain_id, membership.address, who.address, nonce, NO_DEADLINE)
        self._cards(HOT, Membership.encode_burn(who.address, NO_DEADLINE, who.sign_digest(digest)))

    def move(self) -> None:
        source, target = self.random.sample(self.members, 2)
        words = self.opened.membership.words_of([each.address for each in self.members])
        holders = [each for each, word in zip(self.members, words, strict=True) if word.exists and each is not target]
        source = self.random.choice([source, *holders])
        membership, a, b = self.opened.membership, self._word(source), self._word(target)
        serial, replaces = (word.serial if word.exists else 0 for word in (a, b))
        move = (source.address, target.address, serial, replaces, a.nonce, NO_DEADLINE)
        digest = signatures.migrate_digest(self.opened.chain_id, membership.address, *move)
        self._cards(HOT, Membership.encode_migrate(*move, source.sign_digest(digest), target.sign_digest(digest)))

    def recover(self) -> None:
        """Proposed, waited for and done; often from a wallet that was revoked."""
        words = self.opened.membership.words_of([each.address for each in self.members])
        revoked = [each for each, word in zip(self.members, words, strict=True) if Flag.REVOKED in word.flags]
        holders = [each for each, word in zip(self.members, words, strict=True) if word.exists]
        source = self.random.choice(self.random.choice([revoked, holders]) or self.members)
        target = key(70_500 + len(self.members))
        self.members.append(target)
        self._cards(GUARDIAN, Membership.encode_propose_recovery(source.address, target.address, "new phone"))
        self.opened.node.call("evm_increaseTime", [4 * DAY])
        self.opened.node.call("evm_mine")
        self._cards(HOT, Membership.encode_execute_recovery(source.address))
        name = "recover revoked" if source in revoked else "recover held"
        self.done[name] = self.done.get(name, 0) + 1

    def stamp(self) -> None:
        self._send(self._season(), Stamps.encode_mint(self.some.address, self.random.choice([1, 1, 2, 11, 12])))

    def redeem(self) -> None:
        (who, stamps), order = self._holder(2), self.random.randbytes(32)
        digest = signatures.redeem_digest(self.opened.chain_id, stamps, who.address, 2, order, NO_DEADLINE)
        signature = who.sign_digest(digest)
        self._send(stamps, Stamps.encode_redeem(who.address, 2, order, NO_DEADLINE, signature))

    def burn_stamp(self) -> None:
        who, stamps = self._holder(1)
        digest = signatures.burn_stamp_digest(self.opened.chain_id, stamps, who.address, 1, NO_DEADLINE)
        self._send(stamps, Stamps.encode_burn(who.address, 1, NO_DEADLINE, who.sign_digest(digest)))

    def revoke_stamp(self) -> None:
        stamp_type, may_return = self.random.choice([1, 11]), self.random.random() < 0.5
        who, stamps = self._holder(stamp_type)
        self._send(stamps, Stamps.encode_revoke_stamp(who.address, stamp_type, may_return, "wrong"))

    def season(self) -> None:
        if self.opened.membership.seasons() == 3:
            raise Reverted("", {})
        most = (1 << 24) - 1
        # As the types of the first season that are used here: 2 may be redeemed.
        types = [TypeBlock(first, 1, 1 << 31, 0, 0, flags, 0, "Later") for first, flags in ((1, 0), (2, 2), (11, 0))]
        data = Factory.encode_open_season(self.opened.membership.address, (most, most, most), types, "")
        transact(self.opened.node, OWNER, self.opened.factory.address, data)

    def _word(self, who: LocalSigner) -> CardWord:
        return self.opened.membership.words_of([who.address])[0]

    def _expiry(self) -> int:
        return self.random.choice([0, 4_000_000_000])

    def _holder(self, stamp_type: int) -> tuple[LocalSigner, Address]:
        """Somebody who holds a stamp of this type, and its contract."""
        stamps = Stamps(self.opened.node, self._season())
        words = stamps.words_of([each.address for each in self.members])
        holders = [each for each, word in zip(self.members, words, strict=True) if word.holds(stamp_type)]
        return self.random.choice(holders or self.members), stamps.address

    def _season(self) -> Address:
        membership = self.opened.membership
        return membership.stamps_of_season(self.random.randrange(membership.seasons()))

    def _cards(self, sender: LocalSigner, data: bytes) -> None:
        transact(self.opened.node, sender, self.opened.membership.address, data)

    def _send(self, contract: Address, data: bytes) -> None:
        transact(self.opened.node, HOT, contract, data)
