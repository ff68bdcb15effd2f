// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "../support/Test.sol";
import {CardCounters, CardCountersLib} from "../../src/libraries/CardCounters.sol";
import {DailyQuota} from "../../src/libraries/DailyQuota.sol";
import {MemberWord, MemberWords} from "../../src/libraries/MemberWord.sol";
import {StampTypeWord, StampTypeWords} from "../../src/libraries/StampTypeWord.sol";
import {StampWord, StampWords} from "../../src/libraries/StampWord.sol";
import {TierNames} from "../../src/libraries/TierNames.sol";

contract WordsTest is Test {
    uint256 internal constant BITS_224 = (1 << 224) - 1;

    // --------------------------------------------------------------------------------------------------------- cards

    /// @dev Layout from the lowest bit: joinedAt 40, expiresAt 40, tier 8, serial 64, movedAt 40, nonce 24, flags 8.
    function packed(uint40 joined, uint40 expires, uint8 tier, uint64 serial, uint40 moved, uint24 nonce, uint8 flags)
        internal
        pure
        returns (uint256)
    {
        return uint256(joined) | uint256(expires) << 40 | uint256(tier) << 80 | uint256(serial) << 88
            | uint256(moved) << 152 | uint256(nonce) << 192 | uint256(flags) << 216;
    }

    function testFuzz_WhenACardIsPutIntoAWord(
        uint40 joined,
        uint40 expires,
        uint8 tier,
        uint64 serial,
        uint40 moved,
        uint24 nonce,
        uint8 flags
    ) external pure {
        MemberWord word = MemberWord.wrap(packed(joined, expires, tier, serial, moved, nonce, flags));
        vm.assertEq(word.joinedAt(), joined);
        vm.assertEq(word.expiresAt(), expires);
        vm.assertEq(word.tier(), tier);
        vm.assertEq(word.serial(), serial);
        vm.assertEq(word.movedAt(), moved);
        vm.assertEq(word.nonce(), nonce);
        vm.assertEq(word.flags(), flags);
        vm.assertEq(word.isHeld(), joined != 0);
        vm.assertEq(word.cardSerial(), joined == 0 ? 0 : serial);
        // Over any other card: the fields of the card change, the rest stays.
        MemberWord other = MemberWord.wrap(packed(~joined, ~expires, ~tier, ~serial, moved, nonce, flags));
        vm.assertEq(MemberWord.unwrap(other.withCard(joined, expires, tier, serial)), MemberWord.unwrap(word));
    }

    function testFuzz_WhenOneFieldOfAMembersWordIsChanged(uint256 raw, uint40 time, uint8 tier, uint8 flag)
        external
        pure
    {
        raw &= BITS_224;
        MemberWord word = MemberWord.wrap(raw);
        vm.assertEq(
            MemberWord.unwrap(word.withExpiresAt(time)), (raw & ~(uint256(type(uint40).max) << 40)) | uint256(time) << 40
        );
        vm.assertEq(MemberWord.unwrap(word.withTier(tier)), (raw & ~(uint256(0xff) << 80)) | uint256(tier) << 80);
        vm.assertEq(
            MemberWord.unwrap(word.withMovedAt(time)), (raw & ~(uint256(type(uint40).max) << 152)) | uint256(time) << 152
        );
        vm.assertEq(MemberWord.unwrap(word.withFlag(flag)), raw | uint256(flag) << 216);
        vm.assertEq(MemberWord.unwrap(word.withoutFlags(flag)), raw & ~(uint256(flag) << 216));
        vm.assertEq(MemberWord.unwrap(word.withoutSerial()), raw & ~(uint256(type(uint64).max) << 88));
        if (word.nonce() != type(uint24).max) {
            vm.assertEq(MemberWord.unwrap(word.withNextNonce()), raw + (1 << 192));
        }
    }

    function testFuzz_WhenACardIsTakenOutOfAWord(uint256 raw) external pure {
        raw &= BITS_224;
        uint256 left = MemberWord.unwrap(MemberWord.wrap(raw).withoutCard());
        vm.assertEq(left, raw >> 88 << 88);
        MemberWord gone = MemberWord.wrap(raw | 1 << 88).withoutCard().withFlag(MemberWords.LEFT);
        vm.assertFalse(gone.isHeld());
        vm.assertTrue(MemberWord.unwrap(gone) != 0);
    }

    function nextNonce(uint256 raw) external pure returns (uint256) {
        return MemberWord.unwrap(MemberWord.wrap(raw).withNextNonce());
    }

    function test_RevertWhen_TheNonceIsFull() external {
        vm.expectRevert();
        this.nextNonce(uint256(type(uint24).max) << 192);
    }

    // ------------------------------------------------------------------------------------------------------ counters

    function testFuzz_WhenOneFieldOfTheCountersIsChanged(uint256 raw, uint32 cap, uint24 limit, uint8 tier) external pure {
        CardCounters word = CardCounters.wrap(raw);
        vm.assertEq(word.issued(), uint32(raw));
        vm.assertEq(word.living(), uint32(raw >> 32));
        vm.assertEq(word.cap(), uint32(raw >> 64));
        vm.assertEq(word.epoch(), uint24(raw >> 216));
        vm.assertEq(word.highestTier(), uint8(raw >> 240));
        vm.assertEq(CardCounters.unwrap(word.withCap(cap)), (raw & ~(uint256(type(uint32).max) << 64)) | uint256(cap) << 64);
        vm.assertEq(
            CardCounters.unwrap(word.withHighestTier(tier)), (raw & ~(uint256(0xff) << 240)) | uint256(tier) << 240
        );
        vm.assertEq(
            CardCounters.unwrap(word.withHighestTier(uint256(tier) | raw << 8)),
            CardCounters.unwrap(word.withHighestTier(tier)),
            "what is too large for the field touches no neighbour"
        );
        for (uint256 kind; kind < 2; ++kind) {
            CardCounters limited = word.withLimit(kind, limit);
            vm.assertEq(limited.limitOf(kind), limit);
            vm.assertEq(limited.limitOf(1 - kind), word.limitOf(1 - kind));
            uint256 field = uint256(type(uint24).max) << (96 + 48 + 48 * kind);
            vm.assertEq(CardCounters.unwrap(limited) & ~field, raw & ~field);
        }
        CardCounters flagged = word.withFlag(CardCountersLib.PAUSED);
        vm.assertTrue(flagged.has(CardCountersLib.PAUSED));
        vm.assertEq(flagged.has(CardCountersLib.FROZEN), word.has(CardCountersLib.FROZEN));
        vm.assertFalse(flagged.withoutFlag(CardCountersLib.PAUSED).has(CardCountersLib.PAUSED));
        vm.assertEq(CardCounters.unwrap(flagged) | 1 << 248, raw | 1 << 248);
        if (word.living() < type(uint32).max - 5 && word.issued() < type(uint32).max - 5) {
            CardCounters more = word.withMore(3, 2);
            vm.assertEq(more.living(), word.living() + 3);
            vm.assertEq(more.issued(), word.issued() + 2);
            vm.assertEq(CardCounters.unwrap(more) >> 64, raw >> 64);
            vm.assertEq(more.withOneLess().living(), word.living() + 2);
        }
        if (word.epoch() != type(uint24).max) {
            vm.assertEq(CardCounters.unwrap(word.withNextEpoch()), raw + (1 << 216));
        }
    }

    function nextEpoch(uint256 raw) external pure returns (uint256) {
        return CardCounters.unwrap(CardCounters.wrap(raw).withNextEpoch());
    }

    function test_RevertWhen_TheVoucherEpochIsFull() external {
        vm.expectRevert();
        this.nextEpoch(uint256(type(uint24).max) << 216);
    }

    /// @dev Any word around the row, any row of one to three kinds, any day.
    function testFuzz_WhenAQuotaIsSpent(uint256 raw, uint8 kinds, uint8 place, uint24 amount, uint24 day) external pure {
        kinds = uint8(bound(kinds, 1, 3));
        uint256 start = bound(place, 0, 255 - widthOf(kinds));
        for (uint256 kind; kind < kinds; ++kind) {
            checkSpend(raw, start, kinds, kind, amount, day);
        }
    }

    function checkSpend(uint256 raw, uint256 start, uint256 kinds, uint256 kind, uint256 amount, uint24 day)
        internal
        pure
    {
        uint256 used = DailyQuota.usedOf(raw, start, kind, day);
        (uint256 spent, bool fits) = DailyQuota.spend(raw, start, kinds, kind, amount, day);
        vm.assertEq(fits, used + amount <= DailyQuota.limitOf(raw, start, kind), "fits exactly up to the limit");
        if (!fits) {
            vm.assertEq(spent, raw, "unchanged where it does not fit");
            return;
        }
        uint256 outside = ~(((1 << widthOf(kinds)) - 1) << start);
        vm.assertEq(spent & outside, raw & outside, "nothing outside the row");
        vm.assertEq(DailyQuota.usedOf(spent, start, kind, day), used + amount);
        for (uint256 i; i < kinds; ++i) {
            vm.assertEq(DailyQuota.limitOf(spent, start, i), DailyQuota.limitOf(raw, start, i), "limits stay");
            if (i == kind) continue;
            vm.assertEq(
                DailyQuota.usedOf(spent, start, i, day), DailyQuota.usedOf(raw, start, i, day), "other kinds stay"
            );
        }
        uint24 tomorrow = day == type(uint24).max ? 0 : day + 1;
        vm.assertEq(DailyQuota.usedOf(spent, start, kind, tomorrow), 0, "a new day starts at zero");
    }

    function widthOf(uint256 kinds) internal pure returns (uint256) {
        return 24 + 48 * kinds;
    }

    // -------------------------------------------------------------------------------------------------------- stamps

    function testFuzz_WhenStampsAreGivenAndTaken(uint256 seed) external pure {
        StampWord word;
        uint256 held;
        uint256 claimed;
        for (uint256 i; i < 24; ++i) {
            uint256 r = uint256(keccak256(abi.encode(seed, i)));
            uint256 t = 1 + r % 120;
            uint256 bit = 1 << (t - 1);
            if (r >> 200 & 3 != 0) {
                if (word.refusal(t) == 0) {
                    word = word.withStamp(t);
                    held |= bit;
                    claimed |= bit;
                }
            } else {
                word = word.withoutStamp(t);
                held &= ~bit;
            }
            vm.assertEq(word.held(), held);
            vm.assertEq(word.claimed(), claimed);
            vm.assertFalse(word.isMoved());
            vm.assertEq(word.refusal(t), held & bit != 0 ? 1 : claimed & bit != 0 ? 2 : 0);
        }
    }

    function testFuzz_WhenStampsAreTakenIn(uint120 heldA, uint120 claimedA, uint120 heldB, uint120 claimedB)
        external
        pure
    {
        claimedA |= heldA;
        claimedB |= heldB;
        StampWord a = StampWord.wrap(uint256(heldA) | uint256(claimedA) << 120);
        StampWord b = StampWord.wrap(uint256(heldB) | uint256(claimedB) << 120);
        (StampWord joined, uint256 moved, uint256 dropped) = b.takeIn(a);
        vm.assertEq(moved | dropped, heldA, "all that was held goes");
        vm.assertEq(moved & dropped, 0, "one way or the other");
        vm.assertEq(moved & claimedB, 0, "only what the target never had");
        vm.assertEq(dropped & ~uint256(claimedB), 0, "dropped is what it had");
        vm.assertEq(joined.held(), heldB | moved);
        vm.assertEq(joined.claimed(), uint256(claimedA) | claimedB);
        vm.assertFalse(joined.isMoved());
        StampWord left = a.movedAway();
        vm.assertEq(left.held(), 0);
        vm.assertEq(left.claimed(), claimedA);
        vm.assertTrue(left.isMoved());
        for (uint256 t = 1; t <= 120; t += 17) {
            vm.assertEq(left.refusal(t), 5, "Moved");
        }
    }

    function testFuzz_WhenTheTermsOfATypeArePacked(
        uint32 cap,
        uint40 opens,
        uint40 closes,
        uint8 flags,
        uint8 tier,
        uint8 first,
        uint8 size
    ) external pure {
        StampTypeWord word = StampTypeWords.pack(cap, opens, closes, flags, tier, first, size);
        checkTerms(word, cap, opens, closes, flags, tier);
        vm.assertEq(word.blockFirst(), first);
        vm.assertEq(word.blockSize(), size);
        vm.assertEq(word.minted(), 0);
        word = word.withMore(cap / 2);
        word = word.withTerms(~cap, ~opens, ~closes, ~flags, ~tier);
        checkTerms(word, ~cap, ~opens, ~closes, ~flags, ~tier);
        vm.assertEq(word.minted(), cap / 2);
        vm.assertEq(word.blockFirst(), first);
        vm.assertEq(word.blockSize(), size);
    }

    function checkTerms(StampTypeWord word, uint32 cap, uint40 opens, uint40 closes, uint8 flags, uint8 tier)
        internal
        pure
    {
        vm.assertEq(word.cap(), cap);
        vm.assertEq(word.opens(), opens);
        vm.assertEq(word.closes(), closes);
        vm.assertEq(word.flags(), flags);
        vm.assertEq(word.minTier(), tier);
    }

    // ---------------------------------------------------------------------------------------------------- time, names

    function testFuzz_WhenTheActiveTimeEnds(uint40 expires) external {
        expires = uint40(bound(expires, 2, type(uint40).max));
        MemberWord word = MemberWord.wrap(packed(1, expires, 1, 1, 0, 0, 0));
        vm.warp(expires - 1);
        vm.assertTrue(word.isActive());
        vm.warp(expires);
        vm.assertFalse(word.isActive());
        vm.assertTrue(MemberWord.wrap(packed(1, 0, 1, 1, 0, 0, 0)).isActive(), "for life");
        vm.assertFalse(MemberWord.wrap(packed(0, 0, 1, 1, 0, 0, 0)).isActive(), "no card");
    }

    function firstBad(string[] calldata names) external pure returns (uint256) {
        return TierNames.firstBad(names);
    }

    function join(string[] calldata names) external pure returns (string memory) {
        return TierNames.join(names);
    }

    function testFuzz_WhenTierNamesAreJoined(string[] calldata names) external view {
        vm.assume(names.length != 0 && names.length < 12);
        vm.assume(this.firstBad(names) == names.length);
        string memory joined = TierNames.join(names);
        string[] memory back = TierNames.split(joined);
        vm.assertEq(back.length, names.length);
        for (uint256 i; i < names.length; ++i) {
            vm.assertEq(back[i], names[i]);
        }
        vm.assertTrue(TierNames.keeps(joined, joined));
        vm.assertTrue(TierNames.keeps(string.concat(joined, "\n", "more"), joined));
        vm.assertFalse(TierNames.keeps(string.concat(joined, "more"), joined));
    }

    function test_WhenTierNamesAreJoined() external view {
        string[] memory names = new string[](3);
        (names[0], names[1], names[2]) = ("Basic", unicode"金", "Gold & more");
        vm.assertEq(this.firstBad(names), 3);
        string[] memory back = TierNames.split(this.join(names));
        for (uint256 i; i < 3; ++i) {
            vm.assertEq(back[i], names[i]);
        }
        names[1] = "two\nlines";
        vm.assertEq(this.firstBad(names), 1);
    }
}
