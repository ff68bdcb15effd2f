// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract RevokeTest is ProgramTest {
    function test_RevertWhen_TheCallerIsNoManager() external {
        mintCard(alice);
        address[6] memory others = [owner, minter, signer, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.revoke(alice, "because");
        }
    }

    function test_WhenThereIsACard() external {
        mintCard(bob);
        mintCard(alice, 2, YEAR);
        vm.expectEmit(address(cards));
        emit Transfer(alice, address(0), id(alice));
        vm.expectEmit(address(cards));
        emit M.CardRevoked(id(alice), manager, "shared the card");
        revoke(alice);

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.joinedAt, 0);
        vm.assertEq(member.serial, 2, "the member number is kept");
        vm.assertEq(member.flags, FLAG_REVOKED);
        vm.assertFalse(member.active);
        vm.assertEq(cards.balanceOf(alice), 0);
        vm.assertFalse(cards.isActive(alice));
        vm.expectRevert();
        cards.ownerOf(id(alice));
        vm.assertEq(cards.totalSupply(), 1);
        vm.assertEq(cards.issued(), 2);
    }

    function test_WhenThereIsACard_EmitsNoMetadataUpdate() external {
        mintCard(alice);
        vm.recordLogs();
        revoke(alice);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(count(logs, address(cards), MetadataUpdate.selector), 0);
        vm.assertEq(count(logs, address(cards), BatchMetadataUpdate.selector), 0);
    }

    function test_WhenTheWalletHasLeft() external {
        mintCard(bob);
        mintCard(alice);
        giveStamp(alice, COFFEE);
        burnCard(alice);
        vm.recordLogs();
        revoke(alice);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(count(logs, address(cards), Transfer.selector), 0, "no card ends");
        vm.assertEq(count(logs, address(cards), M.CardRevoked.selector), 1);
        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.flags, FLAG_REVOKED);
        vm.assertEq(member.serial, 2, "the member number is kept");
        vm.assertEq(cards.totalSupply(), 1);
        vm.assertTrue(has(alice, COFFEE));
        // Neither can its stamps move, nor a card into it.
        M.Move memory m = moveOf(alice, carol);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.migrate(m, "", "");
        m = moveOf(bob, alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.migrate(m, "", "");
        refuse(M.LoyaltyMembership_NotFound.selector, id(alice));
        revoke(alice);
        vm.prank(manager);
        cards.readmit(alice, 1, YEAR);
        vm.assertEq(cards.membershipOf(alice).serial, 2);
        vm.assertEq(cards.membershipOf(alice).flags, 0);
        vm.assertEq(cards.totalSupply(), 2);
    }

    function test_WhenTheWalletHasLeft_WhatItSignedIsOver() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        burnCard(alice);
        propose(alice, bob);
        uint24 nonce = cards.membershipOf(alice).nonce;
        revoke(alice);
        vm.assertEq(cards.membershipOf(alice).nonce, nonce + 1);
        vm.assertEq(cards.recoveryOf(alice).to, address(0));
        vm.warp(START + RECOVERY_DELAY);
        refuse(M.LoyaltyMembership_WrongNonce.selector, alice, nonce, nonce + 1);
        cards.executeRecovery(alice);
    }

    function test_WhenTheWalletHasLeft_ItCountsAgainstTheQuota() external {
        mintCard(alice);
        mintCard(bob);
        burnCard(alice);
        burnCard(bob);
        vm.prank(owner);
        cards.setQuota(MANAGE, 1);
        revoke(alice);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MANAGE, 1);
        revoke(bob);
    }

    function test_RevertWhen_TheWalletNeverHadACard() external {
        refuse(M.LoyaltyMembership_NotFound.selector, id(stranger));
        revoke(stranger);
        giveStamp(bob, COFFEE);
        refuse(M.LoyaltyMembership_NotFound.selector, id(bob));
        revoke(bob);
        vm.prank(manager);
        cards.voidVoucher(carol);
        refuse(M.LoyaltyMembership_NotFound.selector, id(carol));
        revoke(carol);
    }

    function test_RevertWhen_TheWalletHasMovedAway() external {
        mintCard(alice);
        migrate(alice, bob);
        refuse(M.LoyaltyMembership_NotFound.selector, id(alice));
        revoke(alice);
    }

    function test_WhenTheWalletHoldsStamps() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        revoke(alice);
        vm.assertTrue(has(alice, COFFEE));
    }

    function test_WhenTheProgramIsPaused() external {
        mintCard(alice);
        pause();
        revoke(alice);
        vm.assertEq(cards.balanceOf(alice), 0);
    }

    function test_RevertWhen_ItIsSentTwice() external {
        mintCard(alice);
        revoke(alice);
        bytes32 before = stateOf(alice);
        vm.expectRevert();
        revoke(alice);
        vm.assertEq(stateOf(alice), before);
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        mintCard(alice);
        mintCard(bob);
        vm.prank(owner);
        cards.setQuota(MANAGE, 1);
        revoke(alice);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MANAGE, 1);
        revoke(bob);
        vm.assertTrue(cards.isActive(bob));
    }
}
