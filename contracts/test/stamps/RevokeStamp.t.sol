// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract RevokeStampTest is ProgramTest {
    function revokeStamp(address holder, uint8 stampType, bool mayReturn) internal {
        vm.prank(manager);
        stamps.revokeStamp(holder, stampType, mayReturn, "scanned twice");
    }

    function test_RevertWhen_TheCallerIsNoManager() external {
        giveStamp(alice, COFFEE);
        address[6] memory others = [owner, minter, signer, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(S.LoyaltyStamps_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            stamps.revokeStamp(alice, COFFEE, true, "");
        }
    }

    function test_WhenItMayNotReturn() external {
        giveStamp(alice, COFFEE);
        giveStamp(alice, COFFEE + 1);
        vm.expectEmit(address(stamps));
        emit Transfer(alice, address(0), stampId(alice, COFFEE));
        vm.expectEmit(address(stamps));
        emit S.StampRevoked(stampId(alice, COFFEE), manager, false, "scanned twice");
        revokeStamp(alice, COFFEE, false);
        vm.assertFalse(has(alice, COFFEE));
        vm.assertTrue(has(alice, COFFEE + 1));
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, EVER_CLAIMED);
        giveStamp(alice, COFFEE);
    }

    function test_WhenItMayReturn() external {
        giveStamp(alice, COFFEE);
        revokeStamp(alice, COFFEE, true);
        vm.assertFalse(has(alice, COFFEE));
        giveStamp(alice, COFFEE);
        vm.assertTrue(has(alice, COFFEE));
        vm.assertEq(stamps.typeOf(COFFEE).minted, 2, "ever minted counts both");
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, ALREADY_HELD);
        giveStamp(alice, COFFEE);
        vm.prank(alice);
        stamps.burn(alice, COFFEE, 0, "");
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, EVER_CLAIMED);
        giveStamp(alice, COFFEE);
    }

    function test_WhenItMayReturn_AUsedVoucherStaysUsed() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        bytes memory signature = signStamp(v);
        stamps.claim(v, signer, signature);
        revokeStamp(alice, COFFEE, true);
        refuse(S.LoyaltyStamps_VoucherUsed.selector, stampId(alice, COFFEE));
        stamps.claim(v, signer, signature);
        vm.assertFalse(has(alice, COFFEE));
        // Nor does it after the stamp came back otherwise, and went again.
        giveStamp(alice, COFFEE);
        revokeStamp(alice, COFFEE, true);
        refuse(S.LoyaltyStamps_VoucherUsed.selector, stampId(alice, COFFEE));
        stamps.claim(v, signer, signature);
    }

    function test_RevertWhen_TheStampIsNotHeld() external {
        refuse(S.LoyaltyStamps_NotFound.selector, stampId(alice, COFFEE));
        revokeStamp(alice, COFFEE, true);
        // Nor can a redeemed stamp be made to return.
        giveStamp(alice, COFFEE);
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, "order", 0, "");
        refuse(S.LoyaltyStamps_NotFound.selector, stampId(alice, COFFEE));
        revokeStamp(alice, COFFEE, true);
        vm.expectRevert();
        revokeStamp(alice, 0, true);
        vm.expectRevert();
        revokeStamp(alice, 121, true);
    }

    function test_WhenTheProgramIsPaused() external {
        giveStamp(alice, COFFEE);
        pause();
        revokeStamp(alice, COFFEE, false);
        vm.assertFalse(has(alice, COFFEE));
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        giveStamp(alice, COFFEE);
        giveStamp(bob, COFFEE);
        vm.prank(guardian);
        stamps.setQuota(MANAGE, 1);
        revokeStamp(alice, COFFEE, false);
        refuse(S.LoyaltyStamps_QuotaExceeded.selector, MANAGE, 1);
        revokeStamp(bob, COFFEE, false);
        vm.assertTrue(has(bob, COFFEE));
    }
}
