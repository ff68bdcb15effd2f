// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Consents} from "../support/Consents.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract StampsBurnTest is ProgramTest {
    uint40 internal constant SOON = START + 1 hours;

    function burnSignature(address holder, uint8 stampType, address by) internal view returns (bytes memory) {
        return signed(by, stamps.digestOf(Consents.burnStamp(holder, stampType, SOON)));
    }

    function test_WhenTheHolderBurns() external {
        giveStamp(alice, OPENING_NIGHT);
        vm.expectEmit(address(stamps));
        emit Transfer(alice, address(0), stampId(alice, OPENING_NIGHT));
        vm.prank(alice);
        stamps.burn(alice, OPENING_NIGHT, SOON, "");
        vm.assertFalse(has(alice, OPENING_NIGHT));
        vm.assertEq(stamps.balanceOf(alice), 0);
        refuse(S.LoyaltyStamps_Refused.selector, alice, OPENING_NIGHT, EVER_CLAIMED);
        giveStamp(alice, OPENING_NIGHT);
    }

    function test_WhenAnyoneRelaysTheHoldersSignature() external {
        giveStamp(alice, COFFEE);
        bytes memory signature = burnSignature(alice, COFFEE, alice);
        vm.prank(relayer);
        stamps.burn(alice, COFFEE, SOON, signature);
        vm.assertFalse(has(alice, COFFEE));
        vm.assertEq(stamps.redeemedFor(stampId(alice, COFFEE)), 0, "burned is not redeemed");
    }

    function test_RevertWhen_TheSignatureIsOfAnotherForAnotherTypeOrTooLate() external {
        giveStamp(alice, COFFEE);
        giveStamp(alice, COFFEE + 1);
        bytes memory signature = burnSignature(alice, COFFEE, bob);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.burn(alice, COFFEE, SOON, signature);
        signature = burnSignature(alice, COFFEE, alice);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.burn(alice, COFFEE + 1, SOON, signature);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        vm.prank(manager);
        stamps.burn(alice, COFFEE, SOON, "");
        vm.warp(SOON + 1);
        refuse(S.LoyaltyStamps_Expired.selector, SOON);
        stamps.burn(alice, COFFEE, SOON, signature);
        vm.assertTrue(has(alice, COFFEE));
    }

    function test_RevertWhen_TheStampIsNotHeld() external {
        refuse(S.LoyaltyStamps_NotFound.selector, stampId(alice, COFFEE));
        vm.prank(alice);
        stamps.burn(alice, COFFEE, SOON, "");
        vm.expectRevert();
        vm.prank(alice);
        stamps.burn(alice, 0, SOON, "");
        vm.expectRevert();
        vm.prank(alice);
        stamps.burn(alice, 121, SOON, "");
    }

    function test_RevertWhen_ItIsSentTwice() external {
        giveStamp(alice, COFFEE);
        bytes memory signature = burnSignature(alice, COFFEE, alice);
        stamps.burn(alice, COFFEE, SOON, signature);
        bytes32 before = stateOf(alice);
        refuse(S.LoyaltyStamps_NotFound.selector, stampId(alice, COFFEE));
        stamps.burn(alice, COFFEE, SOON, signature);
        vm.assertEq(stateOf(alice), before);
    }
}
