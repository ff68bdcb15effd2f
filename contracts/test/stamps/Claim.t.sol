// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {MuteWallet, NearlySigningWallet, RefusingWallet, SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract StampsClaimTest is ProgramTest {
    function claim(S.StampVoucher memory v) internal {
        bytes memory signature = signStamp(v);
        vm.prank(relayer);
        stamps.claim(v, signer, signature);
    }

    function refuseClaim(S.StampVoucher memory v, bytes memory why) internal {
        bytes memory signature = signStamp(v);
        vm.expectRevert(why);
        stamps.claim(v, signer, signature);
    }

    function refused(address to, uint256 stampType, uint256 code) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(S.LoyaltyStamps_Refused.selector, to, stampType, code);
    }

    function claimBearer(S.BearerStampVoucher memory v, address claimer) internal {
        bytes memory signature = signStamp(v);
        bytes memory keySignature = agree(v, claimer, claimKey);
        bytes memory consent = agree(v, claimer, claimer);
        vm.prank(relayer);
        stamps.claimBearer(v, signer, signature, keySignature, claimer, consent);
    }

    function refuseBearer(S.BearerStampVoucher memory v, address claimer, bytes memory why) internal {
        bytes memory signature = signStamp(v);
        bytes memory keySignature = agree(v, claimer, claimKey);
        bytes memory consent = agree(v, claimer, claimer);
        vm.expectRevert(why);
        stamps.claimBearer(v, signer, signature, keySignature, claimer, consent);
    }

    function test_WhenTheVoucherIsRight() external {
        vm.expectEmit(address(stamps));
        emit Transfer(address(0), alice, stampId(alice, COFFEE));
        claim(stampVoucher(alice, COFFEE));
        vm.assertTrue(has(alice, COFFEE));
        (, uint256 minted) = stamps.quotaOf(MINT);
        (, uint256 claimed) = stamps.quotaOf(CLAIM);
        vm.assertEq(minted, 0);
        vm.assertEq(claimed, 1);
        (, claimed) = cards.quotaOf(CLAIM);
        vm.assertEq(claimed, 0, "the cards' quota is another");
    }

    function test_RevertWhen_TheVoucherWasUsed() external {
        S.StampVoucher memory v = stampVoucher(alice, 1);
        claim(v);
        refuseClaim(v, refused(alice, 1, ALREADY_HELD));
        vm.prank(alice);
        stamps.burn(alice, 1, 0, "");
        refuseClaim(v, refused(alice, 1, EVER_CLAIMED));

        v = stampVoucher(alice, 2);
        claim(v);
        vm.prank(alice);
        stamps.redeem(alice, 2, "order", 0, "");
        refuseClaim(v, refused(alice, 2, EVER_CLAIMED));

        v = stampVoucher(alice, 3);
        claim(v);
        migrate(alice, bob);
        refuseClaim(v, refused(alice, 3, MOVED));
    }

    function test_RevertWhen_AFieldOfTheVoucherWasChanged() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        bytes memory signature = signStamp(v);
        S.StampVoucher[3] memory forged =
            [stampVoucher(bob, COFFEE), stampVoucher(alice, COFFEE + 1), stampVoucher(alice, COFFEE)];
        forged[2].deadline += 1;
        for (uint256 i; i < forged.length; ++i) {
            refuse(S.LoyaltyStamps_NoConsent.selector, signer);
            stamps.claim(forged[i], signer, signature);
        }
        stamps.claim(v, signer, signature);
    }

    function test_RevertWhen_TheVoucherIsForAnotherSeasonProgramOrChain() external {
        Stamps spring = openSeason();
        ILoyaltyFactory.Program memory p = program();
        p.salt = "tea";
        (, Stamps other) = open(p);
        S.StampVoucher memory v = stampVoucher(alice, 1);
        bytes memory signature = signStamp(v);
        refuse(S.LoyaltyStamps_NoConsent.selector, signer);
        spring.claim(v, signer, signature);
        refuse(S.LoyaltyStamps_NoConsent.selector, signer);
        other.claim(v, signer, signature);
        vm.chainId(10);
        refuse(S.LoyaltyStamps_NoConsent.selector, signer);
        stamps.claim(v, signer, signature);
    }

    function test_RevertWhen_TheSignerHasLostTheRole() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        bytes memory byStranger = signed(stranger, stamps.digestOf(Consents.hash(v)));
        refuse(S.LoyaltyStamps_NotSigner.selector, stranger);
        stamps.claim(v, stranger, byStranger);
        refuse(S.LoyaltyStamps_NoConsent.selector, signer);
        stamps.claim(v, signer, byStranger);
        vm.prank(owner);
        cards.revokeRoles(signer, SIGNER);
        refuseClaim(v, abi.encodeWithSelector(S.LoyaltyStamps_NotSigner.selector, signer));
    }

    function test_RevertWhen_TheEpochWasRaisedAtTheMembership() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        vm.prank(guardian);
        cards.raiseVoucherEpoch();
        refuseClaim(
            v, abi.encodeWithSelector(S.LoyaltyStamps_WrongEpoch.selector, uint256(v.epoch), uint256(v.epoch) + 1)
        );
        claim(stampVoucher(alice, COFFEE));
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        v.deadline = START - 1;
        refuseClaim(v, abi.encodeWithSelector(S.LoyaltyStamps_Expired.selector, START - 1));
        v.deadline = 0;
        refuseClaim(v, abi.encodeWithSelector(S.LoyaltyStamps_Expired.selector, 0));
        v.deadline = START;
        claim(v);
    }

    function test_RevertWhen_TheSignatureIsMirrored() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        bytes memory signature = mirrored(signStamp(v));
        refuse(S.LoyaltyStamps_NoConsent.selector, signer);
        stamps.claim(v, signer, signature);
    }

    function test_WhenTheSignatureIsCompact() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        bytes memory signature = signStamp(v);
        bytes memory short = compact(signature);
        try stamps.claim(v, signer, short) {} catch {}
        try stamps.claim(v, signer, signature) {} catch {}
        vm.assertEq(stamps.typeOf(COFFEE).minted, 1);
        vm.expectRevert();
        stamps.claim(v, signer, short);
    }

    function testFuzz_RevertWhen_TheSignatureIsJunkOfAnyLength(bytes calldata junk) external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        refuse(S.LoyaltyStamps_NoConsent.selector, signer);
        stamps.claim(v, signer, junk);
    }

    function test_WhenTheSignerIsAContractOrADelegatedAccount() external {
        address safe = address(new SigningWallet(stranger));
        vm.prank(owner);
        cards.grantRoles(safe, SIGNER);
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        stamps.claim(v, safe, signed(stranger, stamps.digestOf(Consents.hash(v))));
        vm.assertTrue(has(alice, COFFEE));

        address[3] memory bad =
            [address(new NearlySigningWallet()), address(new MuteWallet()), address(new RefusingWallet())];
        v = stampVoucher(bob, COFFEE);
        bytes memory signature = signStamp(v);
        for (uint256 i; i < bad.length; ++i) {
            vm.prank(owner);
            cards.grantRoles(bad[i], SIGNER);
            refuse(S.LoyaltyStamps_NoConsent.selector, bad[i]);
            stamps.claim(v, bad[i], signature);
        }

        vm.etch(signer, address(new RefusingWallet()).code);
        claim(v);
        vm.assertTrue(has(bob, COFFEE));
    }

    function test_RevertWhen_TheTypeIsGatedClosedUnknownOrFull() external {
        refuseClaim(stampVoucher(alice, MEMBERS_ONLY), refused(alice, MEMBERS_ONLY, NOT_ACTIVE));
        mintCard(alice);
        claim(stampVoucher(alice, MEMBERS_ONLY));
        refuseClaim(stampVoucher(alice, SILVER_TASTING), refused(alice, SILVER_TASTING, BELOW_TIER));
        refuseClaim(
            stampVoucher(alice, ADVENT),
            abi.encodeWithSelector(S.LoyaltyStamps_NotOpen.selector, ADVENT, ADVENT_OPENS, ADVENT_CLOSES)
        );
        refuseClaim(
            stampVoucher(alice, UNDEFINED), abi.encodeWithSelector(S.LoyaltyStamps_UnknownType.selector, UNDEFINED)
        );
        refuseClaim(stampVoucher(address(0), COFFEE), abi.encodeWithSelector(S.LoyaltyStamps_ZeroAddress.selector));
        giveStamp(bob, OPENING_NIGHT);
        giveStamp(carol, OPENING_NIGHT);
        giveStamp(stranger, OPENING_NIGHT);
        refuseClaim(
            stampVoucher(alice, OPENING_NIGHT),
            abi.encodeWithSelector(S.LoyaltyStamps_CapReached.selector, OPENING_NIGHT, 3)
        );
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        pause();
        refuseClaim(stampVoucher(alice, COFFEE), abi.encodeWithSelector(S.LoyaltyStamps_Paused.selector));
        refuseBearer(bearerStamp(0, COFFEE), alice, abi.encodeWithSelector(S.LoyaltyStamps_Paused.selector));
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        vm.prank(guardian);
        stamps.setQuota(CLAIM, 1);
        claim(stampVoucher(alice, COFFEE));
        bytes memory why = abi.encodeWithSelector(S.LoyaltyStamps_QuotaExceeded.selector, CLAIM, 1);
        refuseClaim(stampVoucher(bob, COFFEE), why);
        refuseBearer(bearerStamp(0, COFFEE), bob, why);
        giveStamp(bob, COFFEE);
    }

    function test_WhenABearerVoucherAndItsClaimerAgree() external {
        S.BearerStampVoucher memory v = bearerStamp(9, COFFEE);
        bytes memory signature = signStamp(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        vm.expectEmit(address(stamps));
        emit S.BearerClaimed(9, alice);
        vm.prank(alice);
        stamps.claimBearer(v, signer, signature, keySignature, alice, "");
        vm.assertTrue(has(alice, COFFEE));
        vm.assertEq(stamps.bearerWord(0), 1 << 9);
        claimBearer(bearerStamp(8, COFFEE), bob);
        vm.assertEq(stamps.bearerWord(0), 3 << 8);
    }

    function test_RevertWhen_ABearerVoucherIsSentForAnotherClaimer() external {
        S.BearerStampVoucher memory v = bearerStamp(0, COFFEE);
        bytes memory signature = signStamp(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory consent = agree(v, bob, bob);
        refuse(S.LoyaltyStamps_NoConsent.selector, claimKey);
        stamps.claimBearer(v, signer, signature, keySignature, bob, consent);
        // The claim key must sign even where it is the caller, and is never a contract.
        vm.prank(claimKey);
        refuse(S.LoyaltyStamps_NoConsent.selector, claimKey);
        stamps.claimBearer(v, signer, signature, "", bob, consent);
        v.claimKey = address(new SigningWallet(claimKey));
        signature = signStamp(v);
        keySignature = agree(v, bob, claimKey);
        consent = agree(v, bob, bob);
        refuse(S.LoyaltyStamps_NoConsent.selector, v.claimKey);
        stamps.claimBearer(v, signer, signature, keySignature, bob, consent);
    }

    function test_RevertWhen_TheClaimerOfABearerVoucherDoesNotConsent() external {
        S.BearerStampVoucher memory v = bearerStamp(0, COFFEE);
        bytes memory signature = signStamp(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.claimBearer(v, signer, signature, keySignature, alice, "");
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.claimBearer(v, signer, signature, keySignature, alice, keySignature);
    }

    function test_RevertWhen_TheIndexOfABearerVoucherWasUsedOrVoided() external {
        claimBearer(bearerStamp(0, COFFEE), alice);
        refuseBearer(bearerStamp(0, COFFEE), bob, abi.encodeWithSelector(S.LoyaltyStamps_VoucherUsed.selector, 0));
        refuseBearer(bearerStamp(0, 2), bob, abi.encodeWithSelector(S.LoyaltyStamps_VoucherUsed.selector, 0));
        vm.expectEmit(address(stamps));
        emit S.BearerVoided(3, type(uint256).max);
        vm.prank(manager);
        stamps.voidBearer(3, type(uint256).max);
        refuseBearer(bearerStamp(800, 2), bob, abi.encodeWithSelector(S.LoyaltyStamps_VoucherUsed.selector, 800));
        vm.assertEq(stamps.bearerWord(0), 1);
        // A failed claim leaves the index unused.
        refuseBearer(bearerStamp(1, COFFEE), alice, refused(alice, COFFEE, ALREADY_HELD));
        vm.assertEq(stamps.bearerWord(0), 1);
    }

    function test_WhenBearerIndexesOfCardsAndStampsAreEqual() external {
        claimBearer(bearerStamp(5, COFFEE), alice);
        vm.assertEq(cards.bearerWord(0), 0);
        M.BearerCardVoucher memory v = bearerCard(5);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        vm.prank(alice);
        cards.claimBearer(v, signer, signature, keySignature, alice, "");
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_RevertWhen_WhatWasSignedDoesNotShowTheVoucher() external {
        S.BearerStampVoucher memory v = bearerStamp(0, COFFEE);
        bytes memory signature = signStamp(v);
        bytes32 digest = stamps.digestOf(
            keccak256(
                abi.encode(keccak256("Claim(bytes32 voucher,address claimer)"), Consents.hash(v), alice)
            )
        );
        bytes memory blind = signed(claimKey, digest);
        bytes memory agreed = agree(v, alice, alice);
        refuse(S.LoyaltyStamps_NoConsent.selector, claimKey);
        stamps.claimBearer(v, signer, signature, blind, alice, agreed);
        bytes memory keySignature = agree(v, alice, claimKey);
        blind = signed(alice, digest);
        refuse(S.LoyaltyStamps_NoConsent.selector, alice);
        stamps.claimBearer(v, signer, signature, keySignature, alice, blind);
    }
}
