// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract RenewBatchTest is ProgramTest {
    uint40 internal constant NEXT = YEAR + 365 days;

    function renew(uint256[] memory items) internal {
        vm.prank(manager);
        cards.renewBatch(items);
    }

    /// @dev The item is skipped with this code and the wallet's word stays.
    function skips(uint256 item, address holder, uint256 code) internal {
        uint256 before = wordOf(holder);
        vm.recordLogs();
        renew(list(item));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 1, "one event");
        vm.assertEq(logs[0].topics[0], M.Skipped.selector, "Skipped");
        vm.assertEq(uint256(logs[0].topics[1]), id(holder), "of this wallet");
        vm.assertEq(abi.decode(logs[0].data, (uint256)), code, "code");
        vm.assertEq(wordOf(holder), before, "word");
    }

    function test_RevertWhen_TheCallerIsNoManager() external {
        mintCard(alice);
        uint256[] memory items = list(renewItem(alice, NEXT, YEAR));
        address[6] memory others = [owner, minter, signer, guardian, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.renewBatch(items);
        }
    }

    function test_RevertWhen_TheProgramIsPaused() external {
        mintCard(alice);
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        renew(list(renewItem(alice, NEXT, YEAR)));
    }

    function test_WhenTheCardIsActive() external {
        mintCard(alice, 2, YEAR);
        vm.warp(START + 5 days);
        M.Member memory before = cards.membershipOf(alice);
        vm.recordLogs();
        renew(list(renewItem(alice, NEXT, YEAR)));
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(count(logs, address(cards), TokenExpiryUpdated.selector), 1, "7858");
        vm.assertEq(count(logs, address(cards), MetadataUpdate.selector), 1, "4906: the card shows its expiry");
        vm.assertEq(count(logs, address(cards), Transfer.selector), 0);

        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.expiresAt, NEXT);
        vm.assertEq(member.joinedAt, before.joinedAt);
        vm.assertEq(member.tier, before.tier);
        vm.assertEq(member.serial, before.serial);
        vm.assertEq(member.nonce, before.nonce);
        vm.assertEq(member.flags, before.flags);
    }

    function test_WhenTheCardIsActive_EmitsTheValues() external {
        mintCard(alice);
        vm.warp(START + 5 days);
        vm.expectEmit(address(cards));
        emit TokenExpiryUpdated(id(alice), START, NEXT);
        renew(list(renewItem(alice, NEXT, YEAR)));
    }

    function test_WhenTheCardHasExpired() external {
        mintCard(alice);
        vm.warp(YEAR + 100 days);
        vm.assertFalse(cards.isActive(alice));
        vm.assertTrue(cards.isRenewable(id(alice)));
        renew(list(renewItem(alice, YEAR + 101 days, YEAR)));
        vm.assertTrue(cards.isActive(alice));
        vm.assertEq(cards.totalSupply(), 1);
    }

    function test_WhenTheCurrentExpiryIsTheNewOne() external {
        mintCard(alice);
        skips(renewItem(alice, YEAR, START + 1), alice, DONE);
    }

    function test_WhenTheCurrentExpiryIsAnotherThanExpected() external {
        mintCard(alice);
        skips(renewItem(alice, NEXT, YEAR - 1), alice, CONFLICT);
        skips(renewItem(alice, NEXT, YEAR + 1), alice, CONFLICT);
    }

    function test_WhenTheSameBatchIsSentTwice() external {
        mintCard(alice);
        mintCard(bob);
        uint256[] memory items = list(renewItem(alice, NEXT, YEAR), renewItem(bob, NEXT, YEAR));
        renew(items);
        bytes32 before = keccak256(abi.encode(stateOf(alice), stateOf(bob)));
        renew(items);
        vm.assertEq(keccak256(abi.encode(stateOf(alice), stateOf(bob))), before);
        // A late copy does not undo a later renewal either.
        renew(list(renewItem(alice, NEXT + 1, NEXT)));
        before = stateOf(alice);
        renew(items);
        vm.assertEq(stateOf(alice), before);
    }

    function test_WhenThereIsNoCard() external {
        skips(renewItem(stranger, NEXT, YEAR), stranger, NOT_HELD);
        mintCard(alice);
        burnCard(alice);
        skips(renewItem(alice, NEXT, YEAR), alice, LEFT);
        mintCard(bob);
        revoke(bob);
        skips(renewItem(bob, NEXT, YEAR), bob, REVOKED);
        address moved = named("moved");
        mintCard(moved);
        migrate(moved, carol);
        skips(renewItem(moved, NEXT, YEAR), moved, MOVED);
    }

    function test_RevertWhen_TheCardIsForLife() external {
        mintCard(alice, 1, FOR_LIFE);
        uint256 before = wordOf(alice);
        vm.assertFalse(cards.isRenewable(id(alice)));
        vm.prank(manager);
        try cards.renewBatch(list(renewItem(alice, NEXT, 0))) {} catch {}
        vm.assertEq(wordOf(alice), before, "expected: for life");
        vm.prank(manager);
        try cards.renewBatch(list(renewItem(alice, NEXT, YEAR))) {} catch {}
        vm.assertEq(wordOf(alice), before, "expected: some date");
    }

    function test_RevertWhen_TheNewExpiryIsNotLaterThanNow() external {
        mintCard(alice);
        vm.warp(YEAR + 10 days);
        vm.expectRevert();
        renew(list(renewItem(alice, YEAR + 10 days, YEAR)));
        renew(list(renewItem(alice, YEAR + 10 days + 1, YEAR)));
        vm.assertTrue(cards.isActive(alice));
    }

    function test_RevertWhen_TheNewExpiryIsNotLaterThanExpected() external {
        mintCard(alice);
        mintCard(bob);
        vm.expectRevert();
        renew(list(renewItem(bob, NEXT, YEAR), renewItem(alice, YEAR - 1, YEAR)));
        vm.assertEq(cards.membershipOf(alice).expiresAt, YEAR);
        vm.assertEq(cards.membershipOf(bob).expiresAt, YEAR);
    }

    function test_RevertWhen_TheNewExpiryWouldMakeTheCardOneForLife() external {
        mintCard(alice);
        vm.expectRevert();
        renew(list(renewItem(alice, 0, YEAR)));
        vm.assertEq(cards.membershipOf(alice).expiresAt, YEAR);
    }

    function test_RevertWhen_AnItemHasDirtyBits() external {
        mintCard(alice);
        for (uint256 bit = 240; bit < 256; ++bit) {
            uint256 dirty = renewItem(alice, NEXT, YEAR) | 1 << bit;
            refuse(M.LoyaltyMembership_DirtyBits.selector, dirty);
            renew(list(dirty));
        }
    }

    function test_WhenTheExpiryIsTheLargest() external {
        mintCard(alice);
        uint256 last = type(uint40).max;
        renew(list(renewItem(alice, last, YEAR)));
        vm.assertEq(cards.membershipOf(alice).expiresAt, last);
        M.Member memory member = cards.membershipOf(alice);
        vm.assertEq(member.tier, 1, "the neighbour field is untouched");
    }

    function test_RevertGiven_TheDailyQuotaIsUsedUp() external {
        mintCard(alice);
        mintCard(bob);
        vm.prank(owner);
        cards.setQuota(MANAGE, 1);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MANAGE, 1);
        renew(list(renewItem(alice, NEXT, YEAR), renewItem(bob, NEXT, YEAR)));
        renew(list(renewItem(alice, NEXT, YEAR), renewItem(alice, NEXT, YEAR), renewItem(bob, NEXT, YEAR - 1)));
        (, uint256 used) = cards.quotaOf(MANAGE);
        vm.assertEq(used, 1);
        refuse(M.LoyaltyMembership_QuotaExceeded.selector, MANAGE, 1);
        renew(list(renewItem(bob, NEXT, YEAR)));
        vm.warp(20_801 days);
        renew(list(renewItem(bob, NEXT, YEAR)));
    }
}
