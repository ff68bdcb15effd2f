// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {RefusingWallet} from "../support/Wallets.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract StampsMintTest is ProgramTest {
    function test_RevertWhen_TheCallerIsNoMinter() external {
        address[6] memory others = [owner, signer, manager, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(S.LoyaltyStamps_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            stamps.mint(alice, COFFEE);
        }
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        pause();
        refuse(S.LoyaltyStamps_Paused.selector);
        giveStamp(alice, COFFEE);
    }

    function test_WhenTheWalletNeverHadThisStamp() external {
        vm.recordLogs();
        giveStamp(alice, COFFEE);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2);
        vm.assertEq(stamps.ownerOf(stampId(alice, COFFEE)), alice);
        vm.assertEq(stamps.balanceOf(alice), 1);
        vm.assertTrue(stamps.holdsAll(alice, 1));
        vm.assertEq(stamps.typeOf(COFFEE).minted, 1);
        vm.assertEq(stamps.wordsOf(list(alice))[0], 1 | 1 << 120);
        (, uint256 used) = stamps.quotaOf(MINT);
        vm.assertEq(used, 1);
        vm.assertEq(cards.balanceOf(alice), 0, "no card is needed");
    }

    function test_WhenTheWalletNeverHadThisStamp_EmitsTheValues() external {
        vm.expectEmit(address(stamps));
        emit Transfer(address(0), alice, stampId(alice, COFFEE));
        vm.expectEmit(address(stamps));
        emit Locked(stampId(alice, COFFEE));
        giveStamp(alice, COFFEE);
    }

    function test_WhenTheWalletHasOtherStamps() external {
        giveStamp(alice, 1);
        giveStamp(alice, 5);
        giveStamp(alice, 3);
        (uint256 held, uint256 claimed, bool moved) = stamps.stampsOf(alice);
        vm.assertEq(held, 21);
        vm.assertEq(claimed, 21);
        vm.assertFalse(moved);
        vm.assertEq(stamps.balanceOf(alice), 3);
        vm.assertTrue(stamps.holdsAll(alice, 21));
        vm.assertTrue(stamps.holdsAll(alice, 4));
        vm.assertTrue(stamps.holdsAll(alice, 0));
        vm.assertFalse(stamps.holdsAll(alice, 23));
    }

    function test_RevertWhen_TheWalletHoldsThisStamp() external {
        giveStamp(alice, COFFEE);
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, ALREADY_HELD);
        giveStamp(alice, COFFEE);
    }

    function test_RevertWhen_TheWalletBurnedOrRedeemedThisStamp() external {
        giveStamp(alice, 1);
        giveStamp(alice, 2);
        vm.startPrank(alice);
        stamps.burn(alice, 1, 0, "");
        stamps.redeem(alice, 2, "order", 0, "");
        vm.stopPrank();
        for (uint8 t = 1; t <= 2; ++t) {
            refuse(S.LoyaltyStamps_Refused.selector, alice, t, EVER_CLAIMED);
            giveStamp(alice, t);
        }
        vm.assertEq(stamps.balanceOf(alice), 0);
    }

    function test_RevertWhen_TheWalletHasMovedAway() external {
        giveStamp(alice, 1);
        migrate(alice, bob);
        refuse(S.LoyaltyStamps_Refused.selector, alice, 1, MOVED);
        giveStamp(alice, 1);
        refuse(S.LoyaltyStamps_Refused.selector, alice, 2, MOVED);
        giveStamp(alice, 2);
    }

    function test_RevertWhen_TheWalletMovedAwayBeforeThisSeason() external {
        mintCard(alice);
        migrate(alice, bob);
        Stamps spring = openSeason();
        refuse(S.LoyaltyStamps_Refused.selector, alice, 1, MOVED);
        vm.prank(minter);
        spring.mint(alice, 1);

        // In a batch it is skipped, and a gated type is no way in either.
        S.TypeBlock[] memory types = new S.TypeBlock[](1);
        types[0] = S.TypeBlock(10, 1, NO_CAP, 0, 0, 1, 3, "Gold only");
        vm.prank(owner);
        spring.defineTypes(types);
        vm.expectEmit(address(spring));
        emit S.Skipped(stampId(alice, 1), MOVED);
        vm.expectEmit(address(spring));
        emit S.Skipped(stampId(alice, 10), MOVED);
        vm.prank(minter);
        spring.mintBatch(list(stampId(alice, 1), stampId(bob, 1), stampId(alice, 10)));
        vm.assertEq(spring.balanceOf(alice), 0);
        vm.assertEq(spring.balanceOf(bob), 1);
        S.StampVoucher memory v = stampVoucher(alice, 2);
        bytes memory signature = signed(signer, spring.digestOf(Consents.hash(v)));
        refuse(S.LoyaltyStamps_Refused.selector, alice, 2, MOVED);
        spring.claim(v, signer, signature);
    }

    function test_RevertWhen_TheWalletIsTheZeroAddress() external {
        refuse(S.LoyaltyStamps_ZeroAddress.selector);
        giveStamp(address(0), COFFEE);
    }

    function test_RevertWhen_TheTypeIsUnknown() external {
        uint8[5] memory types = [0, UNDEFINED, 120, 121, 255];
        for (uint256 i; i < types.length; ++i) {
            refuse(S.LoyaltyStamps_UnknownType.selector, types[i]);
            giveStamp(alice, types[i]);
        }
    }

    function test_WhenTheTypeIsTheLast() external {
        S.TypeBlock[] memory types = new S.TypeBlock[](1);
        types[0] = S.TypeBlock(120, 1, NO_CAP, 0, 0, 2, 0, "Last");
        vm.prank(owner);
        stamps.defineTypes(types);
        giveStamp(alice, 1);
        giveStamp(alice, 120);
        (uint256 held, uint256 claimed, bool moved) = stamps.stampsOf(alice);
        vm.assertEq(held, 1 | 1 << 119);
        vm.assertEq(claimed, held);
        vm.assertFalse(moved);
        vm.assertEq(stamps.ownerOf(stampId(alice, 120)), alice);
        vm.prank(alice);
        stamps.redeem(alice, 120, "order", 0, "");
        (held, claimed, moved) = stamps.stampsOf(alice);
        vm.assertEq(held, 1);
        vm.assertEq(claimed, 1 | 1 << 119);
        migrate(alice, bob);
        vm.assertTrue(everHad(bob, 120));
        vm.assertFalse(has(bob, 120));
    }

    function test_RevertWhen_TheWindowIsNotOpenYet() external {
        vm.warp(ADVENT_OPENS - 1);
        refuse(S.LoyaltyStamps_NotOpen.selector, ADVENT, ADVENT_OPENS, ADVENT_CLOSES);
        giveStamp(alice, ADVENT);
        vm.warp(ADVENT_OPENS);
        giveStamp(alice, ADVENT);
        vm.assertTrue(has(alice, ADVENT));
    }

    function test_RevertWhen_TheWindowHasClosed() external {
        vm.warp(ADVENT_CLOSES - 1);
        giveStamp(alice, ADVENT);
        vm.warp(ADVENT_CLOSES);
        refuse(S.LoyaltyStamps_NotOpen.selector, ADVENT, ADVENT_OPENS, ADVENT_CLOSES);
        giveStamp(bob, ADVENT);
    }

    function test_WhenTheTypeIsForMembers() external {
        refuse(S.LoyaltyStamps_Refused.selector, alice, MEMBERS_ONLY, NOT_ACTIVE);
        giveStamp(alice, MEMBERS_ONLY);
        mintCard(alice);
        giveStamp(alice, MEMBERS_ONLY);

        mintCard(bob);
        vm.warp(YEAR);
        refuse(S.LoyaltyStamps_Refused.selector, bob, MEMBERS_ONLY, NOT_ACTIVE);
        giveStamp(bob, MEMBERS_ONLY);
        vm.assertTrue(has(alice, MEMBERS_ONLY), "what was earned stays when the card expires");
    }

    function test_WhenTheTypeHasALowestTier() external {
        refuse(S.LoyaltyStamps_Refused.selector, alice, SILVER_TASTING, NOT_ACTIVE);
        giveStamp(alice, SILVER_TASTING);
        mintCard(alice, 1, YEAR);
        refuse(S.LoyaltyStamps_Refused.selector, alice, SILVER_TASTING, BELOW_TIER);
        giveStamp(alice, SILVER_TASTING);
        mintCard(bob, 2, YEAR);
        giveStamp(bob, SILVER_TASTING);
        mintCard(carol, 3, YEAR);
        giveStamp(carol, SILVER_TASTING);
        vm.warp(YEAR);
        address dora = named("dora");
        mintCard(dora, 3, YEAR + 1);
        vm.warp(YEAR + 1);
        refuse(S.LoyaltyStamps_Refused.selector, dora, SILVER_TASTING, NOT_ACTIVE);
        giveStamp(dora, SILVER_TASTING);
    }

    function test_WhenTheWalletIsAContractThatRefusesEverything() external {
        address refusing = address(new RefusingWallet());
        giveStamp(refusing, COFFEE);
        vm.assertTrue(has(refusing, COFFEE));
    }

    function test_RevertGiven_TheCapOfTheTypeIsReached() external {
        giveStamp(alice, OPENING_NIGHT);
        giveStamp(bob, OPENING_NIGHT);
        giveStamp(carol, OPENING_NIGHT);
        refuse(S.LoyaltyStamps_CapReached.selector, OPENING_NIGHT, 3);
        giveStamp(stranger, OPENING_NIGHT);
        vm.prank(alice);
        stamps.burn(alice, OPENING_NIGHT, 0, "");
        refuse(S.LoyaltyStamps_CapReached.selector, OPENING_NIGHT, 3);
        giveStamp(stranger, OPENING_NIGHT);
        vm.assertEq(stamps.typeOf(OPENING_NIGHT).minted, 3, "ever minted");
        giveStamp(stranger, COFFEE); // each type has its own cap
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        vm.prank(guardian);
        stamps.setQuota(MINT, 1);
        giveStamp(alice, COFFEE);
        refuse(S.LoyaltyStamps_QuotaExceeded.selector, MINT, 1);
        giveStamp(bob, COFFEE);
        mintCard(bob); // the cards have their own quota
        vm.warp(20_801 days);
        giveStamp(bob, COFFEE);
    }

    function test_WhenTheSameCallIsSentTwice() external {
        giveStamp(alice, COFFEE);
        bytes32 before = stateOf(alice);
        vm.prank(minter);
        try stamps.mint(alice, COFFEE) {
            revert("a second mint must revert");
        } catch {}
        vm.assertEq(stateOf(alice), before);
        vm.assertEq(stamps.typeOf(COFFEE).minted, 1);
    }
}
