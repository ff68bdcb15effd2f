// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract QuotaTest is ProgramTest {
    uint256 internal constant MIDNIGHT = 20_801 days;
    uint256 private _wallets;

    /// @dev Mints single cards to fresh wallets until one is refused.
    function mintAll() internal returns (uint256 minted) {
        while (true) {
            vm.prank(minter);
            try cards.mint(address(uint160(++_wallets)), 1, FOR_LIFE) {
                ++minted;
            } catch {
                return minted;
            }
        }
    }

    function limitOf(uint256 kind) internal view returns (uint256 limit) {
        (limit,) = cards.quotaOf(kind);
    }

    function usedOf(uint256 kind) internal view returns (uint256 used) {
        (, used) = cards.quotaOf(kind);
    }

    function setQuota(address by, uint256 kind, uint24 limit) internal {
        vm.prank(by);
        cards.setQuota(kind, limit);
    }

    function test_WhenALeakedMinterKeyMintsAroundMidnight() external {
        setQuota(owner, MINT, 10);
        vm.warp(MIDNIGHT - 1);
        uint256 minted = mintAll();
        vm.warp(MIDNIGHT);
        minted += mintAll();
        vm.assertEq(minted, 20, "twice the limit within two seconds");
        // Not one more for the rest of these 24 hours, however often it tries.
        for (uint256 hour = 1; hour < 24; ++hour) {
            vm.warp(MIDNIGHT - 1 + hour * 1 hours);
            vm.assertEq(mintAll(), 0);
        }
        vm.warp(MIDNIGHT + 1 days - 1);
        vm.assertEq(mintAll(), 0);
        vm.warp(MIDNIGHT + 1 days);
        vm.assertEq(mintAll(), 10);
    }

    function test_WhenADayBegins() external {
        mintCard(alice);
        cards.claim(cardVoucher(bob), signer, signCard(cardVoucher(bob)));
        vm.prank(manager);
        cards.setTierBatch(list(tierItem(alice, 2)));
        for (uint256 kind; kind < 3; ++kind) {
            vm.assertEq(usedOf(kind), 1);
        }
        vm.warp(MIDNIGHT);
        for (uint256 kind; kind < 3; ++kind) {
            vm.assertEq(usedOf(kind), 0, "read as zero before anything is written");
        }
        mintCard(carol);
        vm.assertEq(usedOf(MINT), 1);
        vm.assertEq(usedOf(CLAIM), 0, "the other kind of the same word");
    }

    function test_WhenNothingHappenedToday() external view {
        vm.assertEq(usedOf(MINT), 0);
        vm.assertEq(limitOf(MINT), 100);
        vm.assertEq(limitOf(CLAIM), 50);
        vm.assertEq(limitOf(MANAGE), 60);
    }

    function test_WhenAGuardianLowers() external {
        mintCard(alice);
        mintCard(bob);
        vm.expectEmit(address(cards));
        emit M.QuotaSet(MINT, 1);
        setQuota(guardian, MINT, 1);
        vm.assertEq(limitOf(MINT), 1);
        vm.assertEq(usedOf(MINT), 2, "what was done stays counted");
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MINT, 1);
        mintCard(carol);
        setQuota(guardian, CLAIM, 0);
        setQuota(guardian, MANAGE, 59);
        vm.assertEq(limitOf(CLAIM), 0);
        vm.assertEq(limitOf(MANAGE), 59);
    }

    function test_RevertWhen_AGuardianRaises() external {
        for (uint256 kind; kind < 3; ++kind) {
            uint256 current = limitOf(kind);
            refuse(M.LoyaltyMembership_QuotaOnlyLower.selector, kind, current, current + 1);
            setQuota(guardian, kind, uint24(current + 1));
        }
    }

    function test_WhenTheOwnerRaises() external {
        setQuota(owner, MINT, 0);
        setQuota(owner, MINT, type(uint24).max);
        vm.assertEq(limitOf(MINT), type(uint24).max);
        mintCard(alice);
        vm.assertEq(limitOf(CLAIM), 50, "the others stay");
        vm.assertEq(limitOf(MANAGE), 60, "the others stay");
    }

    function test_RevertWhen_TheKindDoesNotExist() external {
        uint256[3] memory kinds = [uint256(3), 255, type(uint256).max];
        for (uint256 i; i < kinds.length; ++i) {
            refuse(M.LoyaltyMembership_QuotaKind.selector, kinds[i]);
            setQuota(owner, kinds[i], 1);
            refuse(M.LoyaltyMembership_QuotaKind.selector, kinds[i]);
            cards.quotaOf(kinds[i]);
        }
    }

    function test_RevertWhen_TheCallerIsNeitherGuardianNorOwner() external {
        address[4] memory others = [minter, signer, manager, stranger];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            setQuota(others[i], MINT, 1);
        }
    }

    function test_WhenTheLimitIsZero() external {
        mintCard(alice);
        for (uint256 kind; kind < 3; ++kind) {
            setQuota(guardian, kind, 0);
        }
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MINT, 0);
        mintCard(bob);
        M.CardVoucher memory v = cardVoucher(bob);
        bytes memory signature = signCard(v);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, CLAIM, 0);
        cards.claim(v, signer, signature);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MANAGE, 0);
        revoke(alice);
    }

    function test_WhenOneKindIsUsedUp() external {
        setQuota(owner, MINT, 0);
        cards.claim(cardVoucher(bob), signer, signCard(cardVoucher(bob)));
        revoke(bob);
        vm.assertEq(usedOf(MINT), 0);
        vm.assertEq(usedOf(CLAIM), 1);
        vm.assertEq(usedOf(MANAGE), 1);
    }

    /// @dev Whatever the times and sizes: within any 24 hours at most twice the limit, within a UTC day at most the limit.
    function testFuzz_Limit(uint24 limit, uint256[12] calldata steps) external {
        limit = uint24(bound(limit, 0, 12));
        setQuota(owner, MINT, limit);
        uint256[12] memory times;
        uint256[12] memory amounts;
        for (uint256 i; i < 12; ++i) {
            uint256 time = vm.getBlockTimestamp() + bound(steps[i], 0, 9 hours);
            vm.warp(time);
            uint256 wanted = bound(steps[i] >> 128, 0, 8);
            uint256[] memory items = new uint256[](wanted);
            for (uint256 j; j < wanted; ++j) {
                items[j] = cardItem(address(uint160(++_wallets)), 1, FOR_LIFE);
            }
            vm.prank(minter);
            try cards.mintBatch(items) {
                (times[i], amounts[i]) = (time, wanted);
            } catch {}
            uint256 inDay;
            uint256 in24Hours;
            for (uint256 j; j <= i; ++j) {
                if (times[j] / 1 days == time / 1 days) inDay += amounts[j];
                if (times[j] + 1 days > time) in24Hours += amounts[j];
            }
            vm.assertLe(inDay, limit, "day");
            vm.assertLe(in24Hours, 2 * uint256(limit), "24 hours");
            vm.assertEq(usedOf(MINT), inDay, "used");
        }
    }
}
