// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Consents} from "../support/Consents.sol";
import {SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract ClaimBearerTest is ProgramTest {
    /// @dev Sends in a voucher with the agreement of its claim key and of the claimer.
    function claimBearer(M.BearerCardVoucher memory v, address claimer) internal {
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, claimer, claimKey);
        bytes memory consent = agree(v, claimer, claimer);
        vm.prank(relayer);
        cards.claimBearer(v, signer, signature, keySignature, claimer, consent);
    }

    /// @dev As above, but it must revert with this.
    function refuseBearer(M.BearerCardVoucher memory v, address claimer, bytes memory why) internal {
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, claimer, claimKey);
        bytes memory consent = agree(v, claimer, claimer);
        vm.expectRevert(why);
        cards.claimBearer(v, signer, signature, keySignature, claimer, consent);
    }

    function test_WhenTheClaimKeyAndTheClaimerAgree() external {
        M.BearerCardVoucher memory v = bearerCard(7);
        v.tier = 2;
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory consent = agree(v, alice, alice);
        vm.expectEmit(address(cards));
        emit M.BearerClaimed(7, alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, consent);

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.tier, 2);
        vm.assertEq(member.expiresAt, YEAR);
        vm.assertEq(cards.bearerWord(0), 1 << 7);
        (, uint256 claimed) = cards.quotaOf(CLAIM);
        vm.assertEq(claimed, 1);
    }

    function test_WhenTheClaimerSendsItIn() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        vm.prank(alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, "");
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_RevertWhen_TheClaimerDoesNotConsent() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory ofAnother = agree(v, alice, bob);
        bytes memory toAnother = agree(v, bob, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, "");
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, ofAnother);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, toAnother);
        // The claim key's own signature is no consent either.
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, keySignature);
    }

    function test_RevertWhen_TheClaimKeyAgreedToAnotherClaimer() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory consent = agree(v, bob, bob);
        refuse(M.LoyaltyMembership_NoConsent.selector, claimKey);
        cards.claimBearer(v, signer, signature, keySignature, bob, consent);
        vm.prank(bob);
        refuse(M.LoyaltyMembership_NoConsent.selector, claimKey);
        cards.claimBearer(v, signer, signature, keySignature, bob, "");
    }

    function test_RevertWhen_TheClaimKeySignedForAnotherVoucher() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(bearerCard(1), alice, claimKey);
        bytes memory consent = agree(v, alice, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, claimKey);
        cards.claimBearer(v, signer, signature, keySignature, alice, consent);
    }

    function test_RevertWhen_TheClaimKeyIsTheCaller() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory consent = agree(v, alice, alice);
        vm.prank(claimKey);
        refuse(M.LoyaltyMembership_NoConsent.selector, claimKey);
        cards.claimBearer(v, signer, signature, "", alice, consent);
    }

    function test_RevertWhen_TheClaimKeyIsAContractWallet() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        v.claimKey = address(new SigningWallet(claimKey));
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory consent = agree(v, alice, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, v.claimKey);
        cards.claimBearer(v, signer, signature, keySignature, alice, consent);
    }

    function test_RevertWhen_TheClaimKeyIsTheZeroAddress() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        v.claimKey = address(0);
        bytes memory signature = signCard(v);
        bytes memory consent = agree(v, alice, alice);
        // A signature that recovers nothing must not pass for one of the zero address.
        bytes[3] memory nothing = [bytes(""), new bytes(65), abi.encodePacked(bytes32(uint256(1)), bytes32(uint256(1)), uint8(29))];
        for (uint256 i; i < nothing.length; ++i) {
            vm.expectRevert();
            cards.claimBearer(v, signer, signature, nothing[i], alice, consent);
        }
    }

    function test_RevertWhen_TheIndexWasUsed() external {
        claimBearer(bearerCard(3), alice);
        refuseBearer(bearerCard(3), bob, abi.encodeWithSelector(M.LoyaltyMembership_VoucherUsed.selector, 3));
        // Nor does another voucher under the same index land.
        M.BearerCardVoucher memory v = bearerCard(3);
        v.tier = 3;
        refuseBearer(v, bob, abi.encodeWithSelector(M.LoyaltyMembership_VoucherUsed.selector, 3));
        // Nor after the card is gone.
        burnCard(alice);
        refuseBearer(bearerCard(3), bob, abi.encodeWithSelector(M.LoyaltyMembership_VoucherUsed.selector, 3));
    }

    function test_RevertWhen_TheIndexWasVoided() external {
        vm.expectEmit(address(cards));
        emit M.BearerVoided(1, 5);
        vm.prank(manager);
        cards.voidBearer(1, 5);
        vm.assertEq(cards.bearerWord(1), 5);
        refuseBearer(bearerCard(256), alice, abi.encodeWithSelector(M.LoyaltyMembership_VoucherUsed.selector, 256));
        refuseBearer(bearerCard(258), alice, abi.encodeWithSelector(M.LoyaltyMembership_VoucherUsed.selector, 258));
        claimBearer(bearerCard(257), alice);
        vm.assertEq(cards.bearerWord(1), 7, "voiding keeps what is set, and lets the rest be");

        vm.prank(guardian);
        cards.voidBearer(1, type(uint256).max);
        refuseBearer(bearerCard(300), bob, abi.encodeWithSelector(M.LoyaltyMembership_VoucherUsed.selector, 300));
        vm.prank(owner);
        cards.voidBearer(2, 1);
        vm.assertEq(cards.bearerWord(2), 1);
        vm.assertEq(cards.bearerWord(0), 0);
    }

    function test_RevertWhen_TheIndexWasVoided_ByVoidingNeverUnsetsABit() external {
        claimBearer(bearerCard(0), alice);
        vm.prank(manager);
        cards.voidBearer(0, 2);
        vm.assertEq(cards.bearerWord(0), 3);
        vm.prank(manager);
        cards.voidBearer(0, 0);
        vm.assertEq(cards.bearerWord(0), 3);
    }

    function test_WhenTheIndexesComeInAnyOrder() external {
        claimBearer(bearerCard(511), alice);
        claimBearer(bearerCard(0), bob);
        claimBearer(bearerCard(255), carol);
        vm.assertEq(cards.bearerWord(0), 1 | 1 << 255);
        vm.assertEq(cards.bearerWord(1), 1 << 255);
        vm.assertEq(cards.totalSupply(), 3);
    }

    function test_WhenTheIndexIsTheLargest() external {
        claimBearer(bearerCard(type(uint32).max), alice);
        vm.assertEq(cards.bearerWord(type(uint32).max >> 8), 1 << 255);
    }

    function test_RevertWhen_TheClaimerHoldsACard() external {
        mintCard(alice);
        refuseBearer(
            bearerCard(0), alice, abi.encodeWithSelector(M.LoyaltyMembership_Refused.selector, alice, ALREADY_HELD)
        );
        vm.assertEq(cards.bearerWord(0), 0);
        claimBearer(bearerCard(0), bob);
    }

    function test_RevertWhen_TheClaimerHasLeft() external {
        mintCard(alice);
        burnCard(alice);
        refuseBearer(bearerCard(0), alice, abi.encodeWithSelector(M.LoyaltyMembership_Refused.selector, alice, LEFT));
    }

    function test_WhenTheAddressedVouchersOfTheClaimerWereVoided() external {
        vm.prank(manager);
        cards.voidVoucher(alice);
        claimBearer(bearerCard(0), alice);
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_RevertWhen_TheSignerHasNoRole() external {
        vm.prank(owner);
        cards.revokeRoles(signer, SIGNER);
        refuseBearer(bearerCard(0), alice, abi.encodeWithSelector(M.LoyaltyMembership_NotSigner.selector, signer));
    }

    function test_RevertWhen_TheSignatureOfTheSignerIsWrong() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signed(stranger, cards.digestOf(Consents.hash(v)));
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory consent = agree(v, alice, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, signer);
        cards.claimBearer(v, signer, signature, keySignature, alice, consent);
    }

    function test_RevertWhen_TheEpochWasRaised() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        vm.prank(owner);
        cards.raiseVoucherEpoch();
        refuseBearer(
            v,
            alice,
            abi.encodeWithSelector(M.LoyaltyMembership_WrongEpoch.selector, uint256(v.epoch), uint256(v.epoch) + 1)
        );
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        vm.warp(v.deadline);
        uint256 before = vm.snapshotState();
        claimBearer(v, alice);
        vm.revertToState(before);
        vm.warp(uint256(v.deadline) + 1);
        refuseBearer(v, alice, abi.encodeWithSelector(M.LoyaltyMembership_Expired.selector, v.deadline));
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        pause();
        refuseBearer(bearerCard(0), alice, abi.encodeWithSelector(M.LoyaltyMembership_Paused.selector));
    }

    function test_RevertWhen_TheClaimerIsTheZeroAddress() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, address(0), claimKey);
        vm.expectRevert();
        cards.claimBearer(v, signer, signature, keySignature, address(0), new bytes(65));
        vm.expectRevert();
        cards.claimBearer(v, signer, signature, keySignature, address(0), "");
    }

    function test_WhenTheClaimerIsAContractWallet() external {
        address safe = address(new SigningWallet(alice));
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, safe, claimKey);
        bytes memory wrong = agree(v, safe, bob);
        bytes memory right = agree(v, safe, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, safe);
        cards.claimBearer(v, signer, signature, keySignature, safe, wrong);
        cards.claimBearer(v, signer, signature, keySignature, safe, right);
        vm.assertEq(cards.ownerOf(id(safe)), safe);
    }

    function test_RevertWhen_WhatWasSignedDoesNotShowTheVoucher() external {
        M.BearerCardVoucher memory v = bearerCard(0);
        bytes memory signature = signCard(v);
        bytes32 digest = cards.digestOf(
            keccak256(
                abi.encode(keccak256("Claim(bytes32 voucher,address claimer)"), Consents.hash(v), alice)
            )
        );
        bytes memory blind = signed(claimKey, digest);
        bytes memory agreed = agree(v, alice, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, claimKey);
        cards.claimBearer(v, signer, signature, blind, alice, agreed);
        bytes memory keySignature = agree(v, alice, claimKey);
        blind = signed(alice, digest);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, blind);
    }
}
