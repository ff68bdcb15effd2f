// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract StampsMintBatchTest is ProgramTest {
    function mintBatch(uint256[] memory items) internal {
        vm.prank(minter);
        stamps.mintBatch(items);
    }

    function usedMints() internal view returns (uint256 used) {
        (, used) = stamps.quotaOf(MINT);
    }

    function test_WhenAllItemsAreNew() external {
        uint256 before = vm.snapshotState();
        giveStamp(alice, 1);
        giveStamp(bob, 1);
        giveStamp(alice, 2);
        uint256[] memory singles = stamps.wordsOf(list(alice, bob));
        vm.revertToState(before);
        mintBatch(list(stampId(alice, 1), stampId(bob, 1), stampId(alice, 2)));
        vm.assertEq(stamps.wordsOf(list(alice, bob)), singles);
        vm.assertEq(stamps.typeOf(1).minted, 2);
        vm.assertEq(stamps.typeOf(2).minted, 1);
        vm.assertEq(usedMints(), 3);
    }

    function test_WhenTypesComeInAnyOrder() external {
        uint256[] memory items = new uint256[](6);
        items[0] = stampId(alice, 1);
        items[1] = stampId(alice, 2);
        items[2] = stampId(bob, 1);
        items[3] = stampId(bob, 2);
        items[4] = stampId(carol, 1);
        items[5] = stampId(carol, OPENING_NIGHT);
        mintBatch(items);
        vm.assertEq(stamps.typeOf(1).minted, 3);
        vm.assertEq(stamps.typeOf(2).minted, 2);
        vm.assertEq(stamps.typeOf(OPENING_NIGHT).minted, 1);
        vm.assertEq(usedMints(), 6);
    }

    function test_WhenItemsCannotLand() external {
        address moved = named("moved");
        giveStamp(moved, 2);
        migrate(moved, stranger);
        giveStamp(alice, 1);
        giveStamp(bob, 1);
        vm.prank(bob);
        stamps.burn(bob, 1, 0, "");
        uint256[] memory items = new uint256[](4);
        items[0] = stampId(alice, 1);
        items[1] = stampId(bob, 1);
        items[2] = stampId(moved, 1);
        items[3] = stampId(carol, 1);
        vm.expectEmit(address(stamps));
        emit S.Skipped(items[0], ALREADY_HELD);
        vm.expectEmit(address(stamps));
        emit S.Skipped(items[1], EVER_CLAIMED);
        vm.expectEmit(address(stamps));
        emit S.Skipped(items[2], MOVED);
        mintBatch(items);
        vm.assertTrue(has(carol, 1));
        vm.assertFalse(has(bob, 1));
        vm.assertEq(stamps.balanceOf(moved), 0);
    }

    function test_WhenAnItemAppearsTwice() external {
        vm.expectEmit(address(stamps));
        emit S.Skipped(stampId(alice, 1), ALREADY_HELD);
        mintBatch(list(stampId(alice, 1), stampId(bob, 1), stampId(alice, 1)));
        vm.assertEq(stamps.typeOf(1).minted, 2);
        vm.assertEq(usedMints(), 2);
    }

    function test_WhenGatedAndOpenTypesAreMixed() external {
        mintCard(bob, 1, YEAR);
        mintCard(carol, 2, YEAR);
        uint256[] memory items = new uint256[](9);
        items[0] = stampId(alice, COFFEE);
        items[1] = stampId(alice, MEMBERS_ONLY);
        items[2] = stampId(alice, SILVER_TASTING);
        items[3] = stampId(bob, COFFEE);
        items[4] = stampId(bob, MEMBERS_ONLY);
        items[5] = stampId(bob, SILVER_TASTING);
        items[6] = stampId(carol, SILVER_TASTING);
        items[7] = stampId(carol, MEMBERS_ONLY);
        items[8] = stampId(carol, COFFEE);
        vm.expectEmit(address(stamps));
        emit S.Skipped(items[1], NOT_ACTIVE);
        vm.expectEmit(address(stamps));
        emit S.Skipped(items[2], NOT_ACTIVE);
        vm.expectEmit(address(stamps));
        emit S.Skipped(items[5], BELOW_TIER);
        mintBatch(items);
        vm.assertEq(stamps.balanceOf(alice), 1);
        vm.assertEq(stamps.balanceOf(bob), 2);
        vm.assertEq(stamps.balanceOf(carol), 3);
        vm.assertEq(stamps.typeOf(SILVER_TASTING).minted, 1);
    }

    function test_RevertWhen_AnItemHasDirtyBits() external {
        for (uint256 bit = 168; bit < 256; ++bit) {
            uint256 dirty = stampId(bob, 1) | 1 << bit;
            refuse(S.LoyaltyStamps_DirtyBits.selector, dirty);
            mintBatch(list(stampId(alice, 1), dirty));
        }
        refuse(S.LoyaltyStamps_DirtyBits.selector, stampId(bob, 1) | 1 << 255);
        mintBatch(list(stampId(bob, 1) | 1 << 255));
        vm.assertEq(stamps.typeOf(1).minted, 0);
    }

    function test_RevertWhen_AnItemIsTheZeroAddress() external {
        refuse(S.LoyaltyStamps_ZeroAddress.selector);
        mintBatch(list(stampId(alice, 1), stampId(address(0), 1)));
    }

    function test_RevertWhen_AnItemHasAnUnknownType() external {
        uint8[4] memory types = [0, UNDEFINED, 121, 255];
        for (uint256 i; i < types.length; ++i) {
            refuse(S.LoyaltyStamps_UnknownType.selector, types[i]);
            mintBatch(list(stampId(alice, 1), stampId(bob, types[i])));
        }
        refuse(S.LoyaltyStamps_UnknownType.selector, 0);
        mintBatch(list(stampId(bob, 0)));
        vm.assertEq(stamps.balanceOf(alice), 0);
    }

    function test_RevertWhen_AWindowIsClosed() external {
        refuse(S.LoyaltyStamps_NotOpen.selector, ADVENT, ADVENT_OPENS, ADVENT_CLOSES);
        mintBatch(list(stampId(alice, 1), stampId(alice, ADVENT)));
        vm.assertEq(stamps.balanceOf(alice), 0);
    }

    function test_RevertGiven_ACapIsExceeded() external {
        uint256[] memory items = new uint256[](4);
        items[0] = stampId(alice, OPENING_NIGHT);
        items[1] = stampId(bob, OPENING_NIGHT);
        items[2] = stampId(carol, OPENING_NIGHT);
        items[3] = stampId(stranger, OPENING_NIGHT);
        refuse(S.LoyaltyStamps_CapReached.selector, OPENING_NIGHT, 3);
        mintBatch(items);
        // Also where other types stand between.
        items = new uint256[](7);
        items[0] = stampId(alice, OPENING_NIGHT);
        items[1] = stampId(alice, 1);
        items[2] = stampId(bob, OPENING_NIGHT);
        items[3] = stampId(bob, 1);
        items[4] = stampId(carol, OPENING_NIGHT);
        items[5] = stampId(carol, 1);
        items[6] = stampId(stranger, OPENING_NIGHT);
        refuse(S.LoyaltyStamps_CapReached.selector, OPENING_NIGHT, 3);
        mintBatch(items);
        items[6] = stampId(alice, OPENING_NIGHT); // a duplicate takes none
        mintBatch(items);
        vm.assertEq(stamps.typeOf(OPENING_NIGHT).minted, 3);
    }

    function test_RevertGiven_TheQuotaIsExceeded() external {
        vm.prank(guardian);
        stamps.setQuota(MINT, 2);
        refuse(S.LoyaltyStamps_QuotaExceeded.selector, MINT, 2);
        mintBatch(list(stampId(alice, 1), stampId(alice, 2), stampId(alice, 3)));
        mintBatch(list(stampId(alice, 1), stampId(alice, 1), stampId(alice, 2)));
        vm.assertEq(usedMints(), 2);
    }

    function test_WhenTheBatchIsEmpty() external {
        vm.recordLogs();
        mintBatch(new uint256[](0));
        vm.assertEq(vm.getRecordedLogs().length, 0);
    }

    function test_WhenTheSameBatchIsSentTwice() external {
        uint256[] memory items = list(stampId(alice, 1), stampId(bob, 1), stampId(alice, 2));
        mintBatch(items);
        bytes32 before = keccak256(abi.encode(stateOf(alice), stateOf(bob), usedMints()));
        vm.recordLogs();
        mintBatch(items);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 3);
        vm.assertEq(count(logs, address(stamps), S.Skipped.selector), 3);
        vm.assertEq(keccak256(abi.encode(stateOf(alice), stateOf(bob), usedMints())), before);
        vm.assertEq(stamps.typeOf(1).minted, 2);
    }
}
