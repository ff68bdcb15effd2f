// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {MuteWallet, RefusingWallet} from "../support/Wallets.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract MintBatchTest is ProgramTest {
    function mintBatch(uint256[] memory items) internal {
        vm.prank(minter);
        cards.mintBatch(items);
    }

    function test_RevertWhen_TheCallerIsNoMinter() external {
        uint256[] memory items = list(cardItem(alice, 1, YEAR));
        refuse(M.LoyaltyMembership_NotAllowed.selector, manager);
        vm.prank(manager);
        cards.mintBatch(items);
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        mintBatch(list(cardItem(alice, 1, YEAR)));
    }

    function test_WhenTheBatchIsEmpty() external {
        vm.recordLogs();
        mintBatch(new uint256[](0));
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(cards.issued(), 0);
    }

    function test_WhenAllWalletsAreUntouched() external {
        uint256 before = vm.snapshotState();
        mintCard(alice, 1, YEAR);
        mintCard(bob, 2, FOR_LIFE);
        mintCard(carol, 3, START + 1);
        uint256[] memory singles = cards.wordsOf(list(alice, bob, carol));
        vm.revertToState(before);

        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 2, FOR_LIFE), cardItem(carol, 3, START + 1)));
        vm.assertEq(cards.wordsOf(list(alice, bob, carol)), singles);
        vm.assertEq(cards.totalSupply(), 3);
        vm.assertEq(cards.issued(), 3);
        (, uint256 used) = cards.quotaOf(MINT);
        vm.assertEq(used, 3);
    }

    function test_WhenAWalletHoldsLeftWasRevokedOrMoved() external {
        address holds = named("holds");
        address left = named("left");
        address revoked = named("revoked");
        address moved = named("moved");
        mintCard(holds);
        mintCard(left);
        mintCard(revoked);
        mintCard(moved);
        burnCard(left);
        revoke(revoked);
        migrate(moved, carol);

        uint256[] memory items = new uint256[](6);
        items[0] = cardItem(alice, 1, YEAR);
        items[1] = cardItem(holds, 3, FOR_LIFE);
        items[2] = cardItem(left, 3, FOR_LIFE);
        items[3] = cardItem(revoked, 3, FOR_LIFE);
        items[4] = cardItem(moved, 3, FOR_LIFE);
        items[5] = cardItem(bob, 1, YEAR);

        vm.expectEmit(address(cards));
        emit M.Skipped(id(holds), ALREADY_HELD);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(left), LEFT);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(revoked), REVOKED);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(moved), MOVED);
        mintBatch(items);

        vm.assertEq(cards.balanceOf(alice), 1);
        vm.assertEq(cards.balanceOf(bob), 1);
        vm.assertEq(cards.membershipOf(holds).tier, 1, "unchanged");
        vm.assertEq(cards.balanceOf(left) + cards.balanceOf(revoked) + cards.balanceOf(moved), 0);
        vm.assertEq(cards.membershipOf(bob).serial, 6, "skipped items use no serial");
    }

    function test_WhenAWalletAppearsTwice() external {
        vm.expectEmit(address(cards));
        emit M.Skipped(id(alice), ALREADY_HELD);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 1, YEAR), cardItem(alice, 3, FOR_LIFE)));
        vm.assertEq(cards.totalSupply(), 2);
        vm.assertEq(cards.membershipOf(alice).tier, 1);
    }

    function test_WhenAWalletIsAContractThatRefusesEverything() external {
        address mute = address(new MuteWallet());
        address refusing = address(new RefusingWallet());
        mintBatch(list(cardItem(mute, 1, YEAR), cardItem(refusing, 1, YEAR), cardItem(alice, 1, YEAR)));
        vm.assertEq(cards.totalSupply(), 3);
    }

    function test_RevertWhen_AnItemHasDirtyBits() external {
        for (uint256 bit = 208; bit < 256; ++bit) {
            uint256 dirty = cardItem(bob, 1, YEAR) | 1 << bit;
            refuse(M.LoyaltyMembership_DirtyBits.selector, dirty);
            mintBatch(list(cardItem(alice, 1, YEAR), dirty));
        }
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_RevertWhen_AnItemIsTheZeroAddress() external {
        refuse(M.LoyaltyMembership_ZeroAddress.selector);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(address(0), 1, YEAR)));
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_RevertWhen_AnItemHasATierThatDoesNotExist() external {
        refuse(M.LoyaltyMembership_BadTier.selector, 4, 3);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 4, YEAR)));
        refuse(M.LoyaltyMembership_BadTier.selector, 0, 3);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 0, YEAR)));
    }

    function test_RevertWhen_AnItemHasAPastExpiry() external {
        refuse(M.LoyaltyMembership_PastExpiry.selector, bob, START);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 1, START)));
    }

    function test_RevertGiven_TheBatchGoesOverTheCap() external {
        vm.prank(owner);
        cards.setCap(2);
        refuse(M.LoyaltyMembership_CapReached.selector, 2);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 1, YEAR), cardItem(carol, 1, YEAR)));
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 1, YEAR)));
        vm.assertEq(cards.totalSupply(), 2);
    }

    function test_RevertGiven_TheBatchGoesOverTheQuota() external {
        vm.prank(owner);
        cards.setQuota(MINT, 2);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MINT, 2);
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(bob, 1, YEAR), cardItem(carol, 1, YEAR)));

        // Three items, but only two of them happen.
        mintBatch(list(cardItem(alice, 1, YEAR), cardItem(alice, 1, YEAR), cardItem(bob, 1, YEAR)));
        (uint256 limit, uint256 used) = cards.quotaOf(MINT);
        vm.assertEq(limit, 2);
        vm.assertEq(used, 2);
    }

    function test_WhenTheSameBatchIsSentTwice() external {
        uint256[] memory items = list(cardItem(alice, 1, YEAR), cardItem(bob, 2, FOR_LIFE));
        mintBatch(items);
        bytes32 before = keccak256(abi.encode(stateOf(alice), stateOf(bob)));
        (, uint256 usedBefore) = cards.quotaOf(MINT);
        vm.recordLogs();
        mintBatch(items);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2);
        vm.assertEq(count(logs, address(cards), M.Skipped.selector), 2, "only skips");
        vm.assertEq(keccak256(abi.encode(stateOf(alice), stateOf(bob))), before);
        (, uint256 used) = cards.quotaOf(MINT);
        vm.assertEq(used, usedBefore);
    }
}
