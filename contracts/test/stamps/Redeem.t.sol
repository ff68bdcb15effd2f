// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Consents} from "../support/Consents.sol";
import {MuteWallet, SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract RedeemTest is ProgramTest {
    bytes32 internal constant ORDER = "order 7";
    uint40 internal constant SOON = START + 1 hours;

    function redeemSignature(address holder, uint8 stampType, bytes32 orderRef, address by)
        internal
        view
        returns (bytes memory)
    {
        return signed(by, stamps.digestOf(Consents.redeem(holder, stampType, orderRef, SOON)));
    }

    function test_WhenTheHolderRedeems() external {
        giveStamp(alice, COFFEE);
        giveStamp(alice, COFFEE + 1);
        vm.expectEmit(address(stamps));
        emit Transfer(alice, address(0), stampId(alice, COFFEE));
        vm.expectEmit(address(stamps));
        emit S.Redeemed(stampId(alice, COFFEE), ORDER);
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, "");
        vm.assertFalse(has(alice, COFFEE));
        vm.assertTrue(everHad(alice, COFFEE));
        vm.assertTrue(has(alice, COFFEE + 1), "the others stay");
        vm.assertEq(stamps.redeemedFor(stampId(alice, COFFEE)), ORDER);
        vm.assertEq(stamps.redeemedFor(stampId(alice, COFFEE + 1)), 0);
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, EVER_CLAIMED);
        giveStamp(alice, COFFEE);
    }

    function test_WhenAnyoneRelaysTheHoldersSignature() external {
        giveStamp(alice, COFFEE);
        bytes memory signature = redeemSignature(alice, COFFEE, ORDER, alice);
        vm.prank(relayer);
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
        vm.assertEq(stamps.redeemedFor(stampId(alice, COFFEE)), ORDER);
    }

    function test_WhenTheSameOrderComesAgain() external {
        giveStamp(alice, COFFEE);
        bytes memory signature = redeemSignature(alice, COFFEE, ORDER, alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
        bytes32 before = stateOf(alice);
        vm.recordLogs();
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
        vm.warp(SOON + 1 days); // a retry may come late
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
        vm.assertEq(vm.getRecordedLogs().length, 0);
        vm.assertEq(stateOf(alice), before);
    }

    function test_RevertWhen_AnotherOrderComes() external {
        giveStamp(alice, COFFEE);
        vm.startPrank(alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, "");
        vm.expectRevert(
            abi.encodeWithSelector(S.LoyaltyStamps_RedeemedOtherwise.selector, stampId(alice, COFFEE), ORDER)
        );
        stamps.redeem(alice, COFFEE, "order 8", SOON, "");
        vm.stopPrank();
        vm.assertEq(stamps.redeemedFor(stampId(alice, COFFEE)), ORDER);
    }

    function test_RevertWhen_TheSignatureIsOfAnother() external {
        giveStamp(alice, COFFEE);
        giveStamp(bob, COFFEE);
        bytes memory signature = redeemSignature(alice, COFFEE, ORDER, bob);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        vm.prank(bob);
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
        address[5] memory powers = [owner, minter, signer, manager, guardian];
        for (uint256 i; i < powers.length; ++i) {
            refuse(S.LoyaltyStamps_NoConsent.selector, alice);
            vm.prank(powers[i]);
            stamps.redeem(alice, COFFEE, ORDER, SOON, "");
        }
        bytes memory mirror = mirrored(redeemSignature(alice, COFFEE, ORDER, alice));
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, mirror);
        vm.assertTrue(has(alice, COFFEE));
    }

    function test_RevertWhen_TheSignatureIsForAnotherOrderTypeOrWallet() external {
        giveStamp(alice, COFFEE);
        giveStamp(alice, COFFEE + 1);
        giveStamp(bob, COFFEE);
        bytes memory signature = redeemSignature(alice, COFFEE, ORDER, alice);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.redeem(alice, COFFEE, "order 8", SOON, signature);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.redeem(alice, COFFEE + 1, ORDER, SOON, signature);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON + 1, signature);
        refuse(S.LoyaltyStamps_NoConsent.selector, bob);
        stamps.redeem(bob, COFFEE, ORDER, SOON, signature);
        bytes memory burn = signed(alice, stamps.digestOf(Consents.burnStamp(alice, COFFEE, SOON)));
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, burn);
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        giveStamp(alice, COFFEE);
        bytes memory signature = redeemSignature(alice, COFFEE, ORDER, alice);
        vm.warp(SOON + 1);
        refuse(S.LoyaltyStamps_Expired.selector, SOON);
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
        vm.warp(SOON);
        stamps.redeem(alice, COFFEE, ORDER, SOON, signature);
    }

    function test_RevertWhen_TheOrderHasNoReference() external {
        // Zero means "not redeemed": taken as an order it could be redeemed again.
        giveStamp(alice, COFFEE);
        refuse(S.LoyaltyStamps_ZeroOrderRef.selector);
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, 0, SOON, "");
        vm.assertTrue(has(alice, COFFEE));
        refuse(S.LoyaltyStamps_ZeroOrderRef.selector);
        vm.prank(bob);
        stamps.redeem(bob, COFFEE, 0, SOON, "");
    }

    function test_RevertWhen_TheStampIsNotHeld() external {
        refuse(S.LoyaltyStamps_NotFound.selector, stampId(alice, COFFEE));
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, "");
        giveStamp(alice, COFFEE);
        vm.prank(alice);
        stamps.burn(alice, COFFEE, SOON, "");
        refuse(S.LoyaltyStamps_NotFound.selector, stampId(alice, COFFEE));
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, "");
        vm.expectRevert();
        vm.prank(alice);
        stamps.redeem(alice, 0, ORDER, SOON, "");
        vm.expectRevert();
        vm.prank(alice);
        stamps.redeem(alice, 255, ORDER, SOON, "");
    }

    function test_RevertWhen_TheTypeIsNotRedeemable() external {
        giveStamp(alice, OPENING_NIGHT);
        refuse(S.LoyaltyStamps_NotRedeemable.selector, OPENING_NIGHT);
        vm.prank(alice);
        stamps.redeem(alice, OPENING_NIGHT, ORDER, SOON, "");
        vm.assertTrue(has(alice, OPENING_NIGHT));
    }

    function test_WhenTheWindowHasClosedOrTheProgramIsPaused() external {
        giveStamp(alice, COFFEE);
        vm.prank(owner);
        stamps.setType(COFFEE, NO_CAP, 0, START + 1, 2, 0);
        vm.warp(START + 10);
        pause();
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, ORDER, SOON, "");
        vm.assertEq(stamps.redeemedFor(stampId(alice, COFFEE)), ORDER);
    }

    function test_WhenTheHolderIsAContractOrADelegatedAccount() external {
        address safe = address(new SigningWallet(alice));
        giveStamp(safe, COFFEE);
        stamps.redeem(safe, COFFEE, ORDER, SOON, redeemSignature(safe, COFFEE, ORDER, alice));
        vm.assertFalse(has(safe, COFFEE));
        giveStamp(bob, COFFEE);
        vm.etch(bob, abi.encodePacked(hex"ef0100", address(new MuteWallet())));
        stamps.redeem(bob, COFFEE, ORDER, SOON, redeemSignature(bob, COFFEE, ORDER, bob));
        vm.assertFalse(has(bob, COFFEE));
    }
}
