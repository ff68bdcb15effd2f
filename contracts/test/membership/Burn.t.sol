// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Consents} from "../support/Consents.sol";
import {MuteWallet, SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract BurnTest is ProgramTest {
    uint40 internal constant SOON = START + 1 days;

    function burnSignature(address holder, address by) internal view returns (bytes memory) {
        return signed(by, cards.digestOf(Consents.burn(holder, cards.membershipOf(holder).nonce, SOON)));
    }

    function test_WhenTheHolderCalls() external {
        mintCard(bob);
        mintCard(alice, 2, YEAR);
        giveStamp(alice, COFFEE);
        uint24 nonce = cards.membershipOf(alice).nonce;
        vm.recordLogs();
        burnCard(alice);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(count(logs, address(cards), Transfer.selector), 1);
        vm.assertEq(count(logs, address(cards), MetadataUpdate.selector), 0, "4906 is not for burns");

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.joinedAt, 0);
        vm.assertEq(member.serial, 2);
        vm.assertEq(member.nonce, nonce + 1);
        vm.assertEq(member.flags, FLAG_LEFT);
        vm.assertEq(cards.balanceOf(alice), 0);
        vm.assertEq(cards.totalSupply(), 1);
        vm.assertTrue(has(alice, COFFEE), "the stamps stay");
    }

    function test_WhenAnyoneRelaysTheHoldersSignature() external {
        mintCard(alice);
        bytes memory signature = burnSignature(alice, alice);
        vm.expectEmit(address(cards));
        emit Transfer(alice, address(0), id(alice));
        vm.prank(relayer);
        cards.burn(alice, SOON, signature);
        vm.assertEq(cards.balanceOf(alice), 0);
    }

    function test_RevertWhen_TheSignatureIsOfAnother() external {
        mintCard(alice);
        bytes memory signature = burnSignature(alice, bob);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.burn(alice, SOON, signature);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.burn(alice, SOON, "");
    }

    function test_RevertWhen_TheSignatureWasUsed() external {
        mintCard(alice);
        bytes memory signature = burnSignature(alice, alice);
        cards.burn(alice, SOON, signature);
        vm.expectRevert();
        cards.burn(alice, SOON, signature);
        vm.prank(manager);
        cards.readmit(alice, 1, YEAR);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.burn(alice, SOON, signature);
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_RevertWhen_TheNonceHasChangedSince() external {
        mintCard(alice);
        bytes memory signature = burnSignature(alice, alice);
        propose(alice, bob);
        vm.prank(alice);
        cards.vetoRecovery(alice, SOON, "");
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.burn(alice, SOON, signature);
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        mintCard(alice);
        bytes memory signature = burnSignature(alice, alice);
        vm.warp(uint256(SOON) + 1);
        refuse(M.LoyaltyMembership_Expired.selector, SOON);
        cards.burn(alice, SOON, signature);
        vm.warp(SOON);
        cards.burn(alice, SOON, signature);
    }

    function test_RevertWhen_TheSignatureIsForAnotherAct() external {
        mintCard(alice);
        uint24 nonce = cards.membershipOf(alice).nonce;
        bytes memory veto = signed(alice, cards.digestOf(Consents.veto(alice, nonce, SOON)));
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.burn(alice, SOON, veto);
        bytes memory atTheStamps = signed(alice, stamps.digestOf(Consents.burn(alice, nonce, SOON)));
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.burn(alice, SOON, atTheStamps);
    }

    function test_RevertWhen_ThereIsNoCard() external {
        bytes32 before = stateOf(alice);
        vm.expectRevert();
        burnCard(alice);
        bytes memory signature = burnSignature(alice, alice);
        vm.expectRevert();
        cards.burn(alice, SOON, signature);
        vm.assertEq(stateOf(alice), before);
    }

    function test_WhenTheCardHasExpired() external {
        mintCard(alice);
        vm.warp(YEAR);
        burnCard(alice);
        vm.assertEq(cards.balanceOf(alice), 0);
    }

    function test_WhenTheProgramIsPaused() external {
        mintCard(alice);
        pause();
        burnCard(alice);
        vm.assertEq(cards.balanceOf(alice), 0);
    }

    function test_WhenTheHolderCalls_NeedsNoDeadline() external {
        mintCard(alice);
        vm.prank(alice);
        cards.burn(alice, 0, "");
        vm.assertEq(cards.balanceOf(alice), 0);
    }

    function test_WhenTheHolderIsAContractWallet() external {
        address safe = address(new SigningWallet(alice));
        mintCard(safe);
        bytes memory wrong = burnSignature(safe, bob);
        bytes memory right = burnSignature(safe, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, safe);
        cards.burn(safe, SOON, wrong);
        cards.burn(safe, SOON, right);
        vm.assertEq(cards.balanceOf(safe), 0);
    }

    function test_WhenTheHolderIsADelegatedAccount() external {
        mintCard(alice);
        vm.etch(alice, abi.encodePacked(hex"ef0100", address(new MuteWallet())));
        cards.burn(alice, SOON, burnSignature(alice, alice));
        vm.assertEq(cards.balanceOf(alice), 0);
    }

    function test_RevertWhen_AManagerMinterOrOwnerCalls() external {
        mintCard(alice);
        address[5] memory powers = [owner, minter, signer, manager, guardian];
        for (uint256 i; i < powers.length; ++i) {
            refuse(M.LoyaltyMembership_NoConsent.selector, alice);
            vm.prank(powers[i]);
            cards.burn(alice, SOON, "");
        }
    }
}
