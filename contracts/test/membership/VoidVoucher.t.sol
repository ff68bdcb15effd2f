// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract VoidVoucherTest is ProgramTest {
    function test_RevertWhen_TheCallerHasNoPowerOverVouchers() external {
        address[4] memory others = [minter, signer, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.voidVoucher(alice);
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.voidBearer(0, 1);
        }
    }

    function test_WhenTheWalletIsUntouched() external {
        vm.prank(guardian);
        cards.voidVoucher(alice);
        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.flags, FLAG_VOIDED);
        vm.assertEq(member.joinedAt, 0);
        vm.assertFalse(member.active);
        vm.assertEq(cards.balanceOf(alice), 0);
        vm.assertFalse(cards.isActive(alice));
        vm.expectRevert();
        cards.ownerOf(id(alice));
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_WhenTheWalletHoldsACard() external {
        mintCard(alice, 2, YEAR);
        M.Member memory before = cards.membershipOf(alice);
        vm.prank(manager);
        (bool done,) = address(cards).call(abi.encodeCall(cards.voidVoucher, (alice)));
        // Refused, or without effect on the card: both keep the holder's rights.
        done;
        M.Member memory member = cards.membershipOf(alice);
        vm.assertTrue(member.active);
        vm.assertEq(member.tier, before.tier);
        vm.assertEq(member.serial, before.serial);
        vm.assertEq(member.expiresAt, before.expiresAt);
        vm.assertEq(member.nonce, before.nonce);
    }

    function test_WhenItIsSentTwice() external {
        vm.prank(manager);
        cards.voidVoucher(alice);
        uint256 word = wordOf(alice);
        vm.prank(manager);
        (bool done,) = address(cards).call(abi.encodeCall(cards.voidVoucher, (alice)));
        done;
        vm.assertEq(wordOf(alice), word);
    }

    function test_WhenTheProgramIsPaused() external {
        pause();
        vm.prank(guardian);
        cards.voidVoucher(alice);
        vm.prank(guardian);
        cards.voidBearer(0, 1);
        vm.prank(guardian);
        cards.raiseVoucherEpoch();
        vm.assertEq(cards.membershipOf(alice).flags, FLAG_VOIDED);
    }
}
