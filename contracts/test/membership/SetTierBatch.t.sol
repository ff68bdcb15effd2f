// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract SetTierBatchTest is ProgramTest {
    function setTiers(uint256[] memory items) internal {
        vm.prank(manager);
        cards.setTierBatch(items);
    }

    function test_RevertWhen_TheCallerIsNoManager() external {
        mintCard(alice);
        uint256[] memory items = list(tierItem(alice, 2));
        address[6] memory others = [owner, minter, signer, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.setTierBatch(items);
        }
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        mintCard(alice);
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        setTiers(list(tierItem(alice, 2)));
    }

    function test_WhenTheTierIsAnother() external {
        mintCard(bob);
        mintCard(alice);
        M.Member memory before = cards.membershipOf(alice);
        vm.expectEmit(address(cards));
        emit M.MemberSet(id(alice), 3 | 2 << 8);
        setTiers(list(tierItem(alice, 3)));
        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.tier, 3);
        vm.assertEq(member.joinedAt, before.joinedAt);
        vm.assertEq(member.expiresAt, before.expiresAt);
        vm.assertEq(member.serial, before.serial);
        vm.assertEq(member.nonce, before.nonce);

        vm.recordLogs();
        setTiers(list(tierItem(alice, 1)));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(count(logs, address(cards), MetadataUpdate.selector), 1);
        vm.assertEq(count(logs, address(cards), M.MemberSet.selector), 1);
        vm.assertEq(logs.length, 2);
        vm.assertEq(cards.membershipOf(alice).tier, 1, "down again");
    }

    function test_WhenTheTierIsThePresentOne() external {
        mintCard(alice);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(alice), DONE);
        setTiers(list(tierItem(alice, 1)));
    }

    function test_WhenThereIsNoCard() external {
        mintCard(alice);
        burnCard(alice);
        mintCard(bob);
        revoke(bob);
        address moved = named("moved");
        mintCard(moved);
        migrate(moved, carol);
        bytes32 before = keccak256(abi.encode(cards.wordsOf(list(alice, bob, moved))));
        vm.expectEmit(address(cards));
        emit M.Skipped(id(alice), LEFT);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(bob), REVOKED);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(moved), MOVED);
        setTiers(list(tierItem(alice, 2), tierItem(bob, 2), tierItem(moved, 2)));
        vm.expectEmit(address(cards));
        emit M.Skipped(id(stranger), NOT_HELD);
        setTiers(list(tierItem(stranger, 2)));
        vm.assertEq(keccak256(abi.encode(cards.wordsOf(list(alice, bob, moved)))), before);
        vm.assertEq(wordOf(stranger), 0);
    }

    function test_RevertWhen_TheTierDoesNotExist() external {
        mintCard(alice);
        refuse(M.LoyaltyMembership_BadTier.selector, 0, 3);
        setTiers(list(tierItem(alice, 0)));
        refuse(M.LoyaltyMembership_BadTier.selector, 4, 3);
        setTiers(list(tierItem(alice, 2), tierItem(alice, 4)));
        vm.assertEq(cards.membershipOf(alice).tier, 1);
    }

    function test_RevertWhen_AnItemHasDirtyBits() external {
        mintCard(alice);
        for (uint256 bit = 168; bit < 256; ++bit) {
            uint256 dirty = tierItem(alice, 2) | 1 << bit;
            refuse(M.LoyaltyMembership_DirtyBits.selector, dirty);
            setTiers(list(dirty));
        }
    }

    function test_WhenTheSameBatchIsSentTwice() external {
        mintCard(alice);
        setTiers(list(tierItem(alice, 2)));
        bytes32 before = stateOf(alice);
        setTiers(list(tierItem(alice, 2)));
        vm.assertEq(stateOf(alice), before);
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        mintCard(alice);
        mintCard(bob);
        vm.prank(owner);
        cards.setQuota(MANAGE, 1);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MANAGE, 1);
        setTiers(list(tierItem(alice, 2), tierItem(bob, 2)));
        setTiers(list(tierItem(alice, 2), tierItem(bob, 1), tierItem(stranger, 2)));
        (, uint256 used) = cards.quotaOf(MANAGE);
        vm.assertEq(used, 1);
    }
}
