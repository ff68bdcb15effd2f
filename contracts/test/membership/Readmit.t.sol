// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Consents} from "../support/Consents.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract ReadmitTest is ProgramTest {
    function readmit(address to) internal {
        vm.prank(manager);
        cards.readmit(to, 1, YEAR);
    }

    function test_RevertWhen_TheCallerIsNeitherMinterNorManager() external {
        mintCard(alice);
        burnCard(alice);
        address[5] memory others = [owner, signer, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.readmit(alice, 1, YEAR);
        }
    }

    function test_WhenTheWalletHasLeft() external {
        mintCard(bob);
        mintCard(alice, 3, YEAR);
        burnCard(alice);
        uint24 nonce = cards.membershipOf(alice).nonce;
        vm.warp(START + 1 days);
        vm.expectEmit(address(cards));
        emit M.Readmitted(id(alice), minter);
        vm.expectEmit(address(cards));
        emit Transfer(address(0), alice, id(alice));
        vm.prank(minter);
        cards.readmit(alice, 2, FOR_LIFE);

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.serial, 2, "the old number");
        vm.assertEq(member.tier, 2);
        vm.assertEq(member.expiresAt, FOR_LIFE);
        vm.assertEq(member.joinedAt, START + 1 days);
        vm.assertEq(member.flags, 0);
        vm.assertGe(member.nonce, nonce, "the nonce is never reset");
        vm.assertEq(cards.issued(), 2, "no number is given out");
        vm.assertEq(cards.totalSupply(), 2);
    }

    function test_WhenTheWalletWasRevoked() external {
        mintCard(alice);
        revoke(alice);
        readmit(alice);
        vm.assertTrue(cards.isActive(alice));
        vm.assertEq(cards.membershipOf(alice).serial, 1);
        vm.assertEq(cards.membershipOf(alice).flags, 0);
    }

    function test_RevertWhen_TheWalletHasMovedAway() external {
        mintCard(alice);
        migrate(alice, bob);
        vm.expectRevert();
        readmit(alice);
        vm.assertEq(cards.totalSupply(), 1);
    }

    function test_RevertWhen_TheWalletHoldsACard() external {
        mintCard(alice);
        bytes32 before = stateOf(alice);
        vm.expectRevert();
        readmit(alice);
        vm.assertEq(stateOf(alice), before);
    }

    function test_RevertWhen_TheWalletNeverHadACard() external {
        vm.expectRevert();
        readmit(alice);
        vm.prank(manager);
        cards.voidVoucher(bob);
        vm.expectRevert();
        readmit(bob);
        vm.expectRevert();
        readmit(address(0));
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_RevertWhen_TheTierOrTheExpiryIsWrong() external {
        mintCard(alice);
        burnCard(alice);
        refuse(M.LoyaltyMembership_BadTier.selector, 4, 3);
        vm.prank(manager);
        cards.readmit(alice, 4, YEAR);
        refuse(M.LoyaltyMembership_PastExpiry.selector, alice, START);
        vm.prank(manager);
        cards.readmit(alice, 1, START);
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        mintCard(alice);
        burnCard(alice);
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        readmit(alice);
    }

    function test_RevertWhen_AnOldVoucherOrConsentIsTriedAfterwards() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory voucher = signCard(v);
        cards.claim(v, signer, voucher);
        bytes memory burn = signed(alice, cards.digestOf(Consents.burn(alice, 0, YEAR)));
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        burnCard(alice);
        readmit(alice);

        vm.expectRevert();
        cards.claim(v, signer, voucher);
        vm.expectRevert();
        cards.burn(alice, YEAR, burn);
        vm.expectRevert();
        cards.migrate(m, a, b);
        vm.assertTrue(cards.isActive(alice));
    }

    function test_RevertGiven_TheCapIsReached() external {
        mintCard(alice);
        burnCard(alice);
        mintCard(bob);
        vm.prank(owner);
        cards.setCap(1);
        refuse(M.LoyaltyMembership_CapReached.selector, 1);
        readmit(alice);
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        mintCard(alice);
        burnCard(alice);
        // Whichever quota an act of this caller counts against, at zero it must not happen.
        vm.prank(owner);
        cards.setQuota(MINT, 0);
        vm.prank(owner);
        cards.setQuota(MANAGE, 0);
        vm.expectPartialRevert(M.LoyaltyMembership_QuotaExceeded.selector);
        readmit(alice);
        vm.expectPartialRevert(M.LoyaltyMembership_QuotaExceeded.selector);
        vm.prank(minter);
        cards.readmit(alice, 1, YEAR);
    }

    function test_RevertWhen_ItIsSentTwice() external {
        mintCard(alice);
        burnCard(alice);
        readmit(alice);
        bytes32 before = stateOf(alice);
        vm.expectRevert();
        readmit(alice);
        vm.assertEq(stateOf(alice), before);
    }
}
