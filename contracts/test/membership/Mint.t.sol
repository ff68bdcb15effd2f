// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {MuteWallet, RefusingWallet} from "../support/Wallets.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract MintTest is ProgramTest {
    function test_RevertWhen_TheCallerIsNoMinter() external {
        address[6] memory others = [owner, signer, manager, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.mint(alice, 1, YEAR);
        }
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        mintCard(alice);
    }

    function test_WhenTheWalletIsUntouched() external {
        vm.recordLogs();
        mintCard(alice, 2, YEAR);
        Vm.Log[] memory logs = vm.getRecordedLogs();

        vm.assertEq(logs.length, 4, "four events");
        vm.assertEq(count(logs, address(cards), Transfer.selector), 1, "Transfer");
        vm.assertEq(count(logs, address(cards), Locked.selector), 1, "Locked");
        vm.assertEq(count(logs, address(cards), TokenExpiryUpdated.selector), 1, "TokenExpiryUpdated");
        vm.assertEq(count(logs, address(cards), M.MemberSet.selector), 1, "MemberSet");

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.joinedAt, START);
        vm.assertEq(member.expiresAt, YEAR);
        vm.assertEq(member.tier, 2);
        vm.assertEq(member.serial, 1);
        vm.assertEq(member.movedAt, 0);
        vm.assertEq(member.nonce, 0);
        vm.assertEq(member.flags, 0);
        vm.assertTrue(member.active);
        vm.assertEq(cards.ownerOf(id(alice)), alice);
        vm.assertEq(cards.balanceOf(alice), 1);
        vm.assertEq(cards.totalSupply(), 1);
        vm.assertEq(cards.issued(), 1);
    }

    function test_WhenTheWalletIsUntouched_EmitsTheValues() external {
        mintCard(bob);
        vm.expectEmit(address(cards));
        emit Transfer(address(0), alice, id(alice));
        vm.expectEmit(address(cards));
        emit Locked(id(alice));
        vm.expectEmit(address(cards));
        emit TokenExpiryUpdated(id(alice), START, YEAR);
        vm.expectEmit(address(cards));
        emit M.MemberSet(id(alice), 2 | 2 << 8);
        mintCard(alice, 2, YEAR);
    }

    function test_WhenTheWalletIsUntouched_WritesTwoWords() external {
        vm.record();
        mintCard(alice);
        (, bytes32[] memory writes) = vm.accesses(address(cards));
        for (uint256 i; i < writes.length; ++i) {
            vm.assertTrue(writes[i] == writes[0] || writes[i] == writes[writes.length - 1], "a third word");
        }
        vm.assertNotEq(writes[0], writes[writes.length - 1], "one word only");
    }

    function test_WhenTheExpiryIsZero() external {
        mintCard(alice, 1, FOR_LIFE);
        vm.warp(START + 1000 * 365 days);
        vm.assertTrue(cards.isActive(alice));
        vm.assertEq(cards.endTime(id(alice)), 0);
        vm.assertFalse(cards.isTokenExpired(id(alice)));
    }

    function test_WhenTheExpiryIsTheLargest() external {
        uint40 last = type(uint40).max;
        mintCard(alice, 1, last);
        vm.assertEq(cards.membershipOf(alice).expiresAt, last);
        vm.warp(uint256(last) - 1);
        vm.assertTrue(cards.isActive(alice), "last second");
        vm.warp(last);
        vm.assertFalse(cards.isActive(alice), "first second after");
    }

    function test_WhenTheWalletHasCodeAndNoReceiver() external {
        address mute = address(new MuteWallet());
        address refusing = address(new RefusingWallet());
        mintCard(mute);
        mintCard(refusing);
        vm.assertEq(cards.balanceOf(mute) + cards.balanceOf(refusing), 2);
    }

    function test_RevertWhen_TheWalletHoldsACard() external {
        mintCard(alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, ALREADY_HELD);
        mintCard(alice, 3, FOR_LIFE);
    }

    function test_RevertWhen_TheCardHasExpired() external {
        mintCard(alice);
        vm.warp(YEAR + 1);
        refuse(M.LoyaltyMembership_Refused.selector, alice, ALREADY_HELD);
        mintCard(alice, 1, YEAR + 365 days);
    }

    function test_RevertWhen_TheWalletHasLeft() external {
        mintCard(alice);
        burnCard(alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, LEFT);
        mintCard(alice);
    }

    function test_RevertWhen_TheWalletWasRevoked() external {
        mintCard(alice);
        revoke(alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        mintCard(alice);
    }

    function test_RevertWhen_TheWalletHasMovedAway() external {
        mintCard(alice);
        migrate(alice, bob);
        refuse(M.LoyaltyMembership_Refused.selector, alice, MOVED);
        mintCard(alice);
    }

    function test_RevertWhen_TheWalletIsTheZeroAddress() external {
        refuse(M.LoyaltyMembership_ZeroAddress.selector);
        mintCard(address(0));
    }

    function test_RevertWhen_TheTierDoesNotExist() external {
        refuse(M.LoyaltyMembership_BadTier.selector, 0, 3);
        mintCard(alice, 0, YEAR);
        refuse(M.LoyaltyMembership_BadTier.selector, 4, 3);
        mintCard(alice, 4, YEAR);
        refuse(M.LoyaltyMembership_BadTier.selector, 255, 3);
        mintCard(alice, 255, YEAR);
    }

    function test_RevertWhen_TheExpiryIsNotLaterThanNow() external {
        refuse(M.LoyaltyMembership_PastExpiry.selector, alice, START);
        mintCard(alice, 1, START);
        refuse(M.LoyaltyMembership_PastExpiry.selector, alice, 1);
        mintCard(alice, 1, 1);
        mintCard(alice, 1, START + 1);
        vm.assertTrue(cards.isActive(alice));
    }

    function test_RevertGiven_TheCapIsReached() external {
        vm.prank(owner);
        cards.setCap(2);
        mintCard(alice);
        mintCard(bob);
        refuse(M.LoyaltyMembership_CapReached.selector, 2);
        mintCard(carol);

        burnCard(alice);
        mintCard(carol);
        vm.assertEq(cards.totalSupply(), 2);
        vm.assertEq(cards.membershipOf(carol).serial, 3, "serials are not given out again");
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        vm.prank(owner);
        cards.setQuota(MINT, 2);
        mintCard(alice);
        mintCard(bob);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MINT, 2);
        mintCard(carol);

        vm.warp(20_801 days - 1);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MINT, 2);
        mintCard(carol);

        vm.warp(20_801 days);
        mintCard(carol);
        vm.assertEq(cards.totalSupply(), 3);
    }

    function test_WhenTheSameCallIsSentTwice() external {
        mintCard(alice);
        bytes32 before = stateOf(alice);
        vm.prank(minter);
        try cards.mint(alice, 1, YEAR) {
            revert("a second mint must revert");
        } catch {}
        vm.assertEq(stateOf(alice), before);
    }
}
