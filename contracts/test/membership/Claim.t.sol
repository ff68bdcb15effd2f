// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Cards} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {MuteWallet, NearlySigningWallet, RefusingWallet, SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract ClaimTest is ProgramTest {
    function claim(M.CardVoucher memory v) internal {
        bytes memory signature = signCard(v);
        vm.prank(relayer);
        cards.claim(v, signer, signature);
    }

    function test_WhenTheVoucherIsRight() external {
        M.CardVoucher memory v = cardVoucher(alice);
        v.tier = 2;
        vm.recordLogs();
        claim(v);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 4, "the events of a mint, no more");

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.joinedAt, START);
        vm.assertEq(member.expiresAt, YEAR);
        vm.assertEq(member.tier, 2);
        vm.assertEq(member.serial, 1);
        (, uint256 minted) = cards.quotaOf(MINT);
        (, uint256 claimed) = cards.quotaOf(CLAIM);
        vm.assertEq(minted, 0, "mints");
        vm.assertEq(claimed, 1, "claims");
    }

    function test_WhenAnyoneRelaysIt() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        vm.prank(stranger);
        cards.claim(v, signer, signature);
        vm.assertEq(cards.balanceOf(alice), 1);
        vm.assertEq(cards.balanceOf(stranger), 0);
    }

    function test_RevertWhen_TheVoucherWasUsed() external {
        claim(cardVoucher(alice));
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Refused.selector, alice, ALREADY_HELD);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheCardOfTheVoucherWasBurned() external {
        M.CardVoucher memory v = cardVoucher(alice);
        claim(v);
        burnCard(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Refused.selector, alice, LEFT);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheCardOfTheVoucherWasRevoked() external {
        M.CardVoucher memory v = cardVoucher(alice);
        claim(v);
        revoke(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheCardOfTheVoucherHasMovedAway() external {
        M.CardVoucher memory v = cardVoucher(alice);
        claim(v);
        migrate(alice, bob);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Refused.selector, alice, MOVED);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheWalletGotACardOtherwise() external {
        M.CardVoucher memory v = cardVoucher(alice);
        mintCard(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Refused.selector, alice, ALREADY_HELD);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheVoucherOfTheWalletWasVoided() external {
        M.CardVoucher memory v = cardVoucher(alice);
        vm.expectEmit(address(cards));
        emit M.VoucherVoided(alice);
        vm.prank(manager);
        cards.voidVoucher(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_VoucherUsed.selector, id(alice));
        cards.claim(v, signer, signature);
        vm.assertEq(cards.balanceOf(alice), 0);
        vm.assertEq(cards.membershipOf(alice).flags & FLAG_VOIDED, FLAG_VOIDED);

        mintCard(alice);
        vm.assertEq(cards.balanceOf(alice), 1, "a mint stays possible");
    }

    function test_RevertWhen_AFieldOfTheVoucherWasChanged() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        M.CardVoucher[4] memory forged = [cardVoucher(alice), cardVoucher(alice), cardVoucher(alice), cardVoucher(alice)];
        forged[0].to = bob;
        forged[1].tier = 3;
        forged[2].expiresAt = FOR_LIFE;
        forged[3].deadline = v.deadline + 1;
        for (uint256 i; i < forged.length; ++i) {
            refuse(M.LoyaltyMembership_NoConsent.selector, signer);
            cards.claim(forged[i], signer, signature);
        }
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheVoucherIsForAnotherContract() external {
        ILoyaltyFactory.Program memory p = program();
        p.salt = "tea";
        (Cards other,) = open(p);
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_NoConsent.selector, signer);
        other.claim(v, signer, signature);
    }

    function test_RevertWhen_TheVoucherIsForAnotherChain() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        vm.chainId(10);
        refuse(M.LoyaltyMembership_NoConsent.selector, signer);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheSignerHasLostTheRole() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        vm.prank(owner);
        cards.revokeRoles(signer, SIGNER);
        refuse(M.LoyaltyMembership_NotSigner.selector, signer);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheSignerNeverHadTheRole() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes32 digest = cards.digestOf(Consents.hash(v));
        address[5] memory others = [owner, minter, manager, guardian, alice];
        for (uint256 i; i < others.length; ++i) {
            bytes memory signature = signed(others[i], digest);
            refuse(M.LoyaltyMembership_NotSigner.selector, others[i]);
            cards.claim(v, others[i], signature);
        }
    }

    function test_RevertWhen_TheSignerNamedIsNotTheOneWhoSigned() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signed(stranger, cards.digestOf(Consents.hash(v)));
        refuse(M.LoyaltyMembership_NoConsent.selector, signer);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheEpochWasRaised() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        vm.prank(guardian);
        cards.raiseVoucherEpoch();
        refuse(M.LoyaltyMembership_WrongEpoch.selector, v.epoch, uint256(v.epoch) + 1);
        cards.claim(v, signer, signature);
        // A voucher of the new epoch lands.
        claim(cardVoucher(alice));
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_RevertWhen_TheEpochIsInTheFuture() external {
        M.CardVoucher memory v = cardVoucher(alice);
        v.epoch += 1;
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_WrongEpoch.selector, v.epoch, uint256(v.epoch) - 1);
        cards.claim(v, signer, signature);
    }

    function test_WhenTheDeadlineIsNow() external {
        M.CardVoucher memory v = cardVoucher(alice);
        v.deadline = START;
        claim(v);
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        M.CardVoucher memory v = cardVoucher(alice);
        v.deadline = START - 1;
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Expired.selector, START - 1);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheDeadlineIsZero() external {
        M.CardVoucher memory v = cardVoucher(alice);
        v.deadline = 0;
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_Expired.selector, 0);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheSignatureIsMirrored() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = mirrored(signCard(v));
        refuse(M.LoyaltyMembership_NoConsent.selector, signer);
        cards.claim(v, signer, signature);
    }

    function test_WhenTheSignatureIsCompact() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        bytes memory short = compact(signature);
        // Accepted or not: together the two forms give one card.
        try cards.claim(v, signer, short) {} catch {}
        try cards.claim(v, signer, signature) {} catch {}
        vm.assertEq(cards.totalSupply(), 1);
        bytes32 before = stateOf(alice);
        vm.expectRevert();
        cards.claim(v, signer, short);
        vm.expectRevert();
        cards.claim(v, signer, signature);
        vm.assertEq(stateOf(alice), before);
    }

    function testFuzz_RevertWhen_TheSignatureIsJunkOfAnyLength(bytes calldata junk) external {
        M.CardVoucher memory v = cardVoucher(alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, signer);
        cards.claim(v, signer, junk);
    }

    function test_RevertWhen_TheSignatureIsJunkOfAnyLength() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory right = signCard(v);
        for (uint256 length; length <= 130; ++length) {
            if (length == 65) continue;
            bytes memory junk = new bytes(length);
            for (uint256 i; i < length; ++i) {
                junk[i] = right[i % 65];
            }
            refuse(M.LoyaltyMembership_NoConsent.selector, signer);
            cards.claim(v, signer, junk);
        }
    }

    function test_WhenTheSignerIsAContractWallet() external {
        address safe = address(new SigningWallet(stranger));
        vm.prank(owner);
        cards.grantRoles(safe, SIGNER);
        M.CardVoucher memory v = cardVoucher(alice);
        bytes32 digest = cards.digestOf(Consents.hash(v));
        bytes memory wrong = signed(signer, digest);
        refuse(M.LoyaltyMembership_NoConsent.selector, safe);
        cards.claim(v, safe, wrong);
        cards.claim(v, safe, signed(stranger, digest));
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_WhenTheSignerIsAContractWallet_RefusesAnythingButTheMagicValue() external {
        address[3] memory wallets =
            [address(new NearlySigningWallet()), address(new MuteWallet()), address(new RefusingWallet())];
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        for (uint256 i; i < wallets.length; ++i) {
            vm.prank(owner);
            cards.grantRoles(wallets[i], SIGNER);
            refuse(M.LoyaltyMembership_NoConsent.selector, wallets[i]);
            cards.claim(v, wallets[i], signature);
            refuse(M.LoyaltyMembership_NoConsent.selector, wallets[i]);
            cards.claim(v, wallets[i], "");
        }
    }

    function test_WhenTheSignerIsADelegatedAccount() external {
        // EIP-7702: the account has code, which knows no ERC-1271 or says no; its own key still speaks for it.
        M.CardVoucher memory v = cardVoucher(alice);
        vm.etch(signer, address(new MuteWallet()).code);
        claim(v);
        vm.etch(signer, address(new RefusingWallet()).code);
        claim(cardVoucher(bob));
        vm.etch(signer, abi.encodePacked(hex"ef0100", address(new MuteWallet())));
        claim(cardVoucher(carol));
        vm.assertEq(cards.totalSupply(), 3);
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        cards.claim(v, signer, signature);
    }

    function test_RevertWhen_TheVoucherPromisesWhatAMintRefuses() external {
        M.CardVoucher memory v = cardVoucher(alice);
        v.tier = 4;
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_BadTier.selector, 4, 3);
        cards.claim(v, signer, signature);

        v = cardVoucher(alice);
        v.expiresAt = START;
        signature = signCard(v);
        refuse(M.LoyaltyMembership_PastExpiry.selector, alice, START);
        cards.claim(v, signer, signature);

        v = cardVoucher(address(0));
        signature = signCard(v);
        refuse(M.LoyaltyMembership_ZeroAddress.selector);
        cards.claim(v, signer, signature);
    }

    function test_RevertGiven_TheCapIsReached() external {
        vm.prank(owner);
        cards.setCap(1);
        mintCard(bob);
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_CapReached.selector, 1);
        cards.claim(v, signer, signature);
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        vm.prank(owner);
        cards.setQuota(CLAIM, 1);
        claim(cardVoucher(bob));
        M.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, CLAIM, 1);
        cards.claim(v, signer, signature);
        mintCard(carol); // another quota
        vm.warp(20_801 days);
        cards.claim(v, signer, signature);
        vm.assertEq(cards.balanceOf(alice), 1);
    }
}
