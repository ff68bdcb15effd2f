// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract RecoveryTest is ProgramTest {
    uint40 internal constant READY = START + RECOVERY_DELAY;
    uint40 internal constant ENDS = READY + 14 days;

    function vetoSignature(address holder, address by) internal view returns (bytes memory) {
        return signed(by, cards.digestOf(Consents.veto(holder, cards.membershipOf(holder).nonce, READY)));
    }

    /// @dev It cannot be executed now, and trying changes nothing.
    function refuseExecution(address from) internal {
        bytes32 before = stateOf(from);
        vm.expectRevert();
        cards.executeRecovery(from);
        vm.assertEq(stateOf(from), before);
    }

    function test_RevertWhen_TheProposerIsNeitherGuardianNorOwner() external {
        mintCard(alice);
        address[5] memory others = [minter, signer, manager, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            cards.proposeRecovery(alice, bob, "mine");
        }
    }

    function test_WhenAGuardianOrTheOwnerProposes() external {
        mintCard(carol);
        mintCard(alice);
        vm.expectEmit(address(cards));
        emit M.RecoveryProposed(alice, bob, 2, READY, guardian, "lost phone");
        propose(alice, bob);
        M.Recovery memory r = cards.recoveryOf(alice);
        vm.assertEq(r.to, bob);
        vm.assertEq(r.proposer, guardian);
        vm.assertEq(r.serial, 2);
        vm.assertEq(r.nonce, cards.membershipOf(alice).nonce);
        vm.assertEq(r.readyAt, READY);
        vm.assertEq(r.endsAt, ENDS);
        vm.assertTrue(cards.isActive(alice), "a proposal changes nothing yet");

        vm.prank(owner);
        cards.proposeRecovery(carol, stranger, "lost phone");
        vm.assertEq(cards.recoveryOf(carol).proposer, owner);
        vm.assertEq(cards.recoveryOf(bob).to, address(0));
    }

    function test_RevertWhen_ThereIsNothingToRecover() external {
        refuse(M.LoyaltyMembership_NothingToMove.selector, alice);
        propose(alice, bob);
        mintCard(alice);
        burnCard(alice);
        refuse(M.LoyaltyMembership_NothingToMove.selector, alice);
        propose(alice, bob);
        refuse(M.LoyaltyMembership_NoRecovery.selector, alice);
        cards.executeRecovery(alice);
    }

    function test_WhenTheWalletHasStampsOnly() external {
        giveStamp(alice, COFFEE);
        propose(alice, bob);
        vm.assertEq(cards.recoveryOf(alice).to, bob);
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertFalse(has(alice, COFFEE));
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_RevertWhen_TheTargetIsZeroTheSameRevokedOrAMember() external {
        mintCard(alice);
        mintCard(carol);
        revoke(carol);
        address member = named("member");
        mintCard(member);
        address[4] memory targets = [address(0), alice, carol, member];
        for (uint256 i; i < targets.length; ++i) {
            uint256 before = vm.snapshotState();
            vm.prank(guardian);
            // Refused at once or at the end, but never done.
            try cards.proposeRecovery(alice, targets[i], "wrong") {
                vm.warp(READY);
                refuseExecution(alice);
            } catch {}
            vm.assertTrue(cards.isActive(alice));
            vm.revertToState(before);
        }
    }

    function test_RevertWhen_OneIsPendingAlready() external {
        mintCard(alice);
        propose(alice, bob);
        refuse(M.LoyaltyMembership_RecoveryPending.selector, alice);
        propose(alice, carol);
        vm.warp(ENDS);
        refuse(M.LoyaltyMembership_RecoveryPending.selector, alice);
        propose(alice, carol);
    }

    function test_RevertWhen_TheDelayIsNotOver() external {
        mintCard(alice);
        propose(alice, bob);
        refuse(M.LoyaltyMembership_RecoveryNotReady.selector, READY);
        cards.executeRecovery(alice);
        vm.warp(READY - 1);
        refuse(M.LoyaltyMembership_RecoveryNotReady.selector, READY);
        vm.prank(owner);
        cards.executeRecovery(alice);
    }

    function test_WhenTheDelayIsOver() external {
        Stamps spring = openSeason();
        mintCard(alice, 3, YEAR);
        giveStamp(alice, COFFEE);
        vm.prank(minter);
        spring.mint(alice, 2);
        uint24 nonce = cards.membershipOf(alice).nonce;
        propose(alice, bob);
        vm.warp(READY);
        vm.recordLogs();
        vm.prank(stranger);
        cards.executeRecovery(alice);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], M.Migrated.selector, "Migrated first");

        M.Member memory member = cards.membershipOf(bob);
        vm.assertEq(member.serial, 1);
        vm.assertEq(member.tier, 3);
        vm.assertEq(member.expiresAt, YEAR);
        vm.assertEq(member.joinedAt, START);
        vm.assertEq(member.movedAt, READY);
        vm.assertTrue(has(bob, COFFEE));
        (uint256 held,,) = spring.stampsOf(bob);
        vm.assertEq(held, 2);
        member = cards.membershipOf(alice);
        vm.assertEq(member.flags, FLAG_MOVED);
        vm.assertEq(member.nonce, nonce + 1);
        vm.assertEq(cards.totalSupply(), 1);
        vm.assertEq(stamps.balanceOf(alice) + spring.balanceOf(alice) + cards.balanceOf(alice), 0);
    }

    function test_WhenTheWindowsLastSecondHasCome() external {
        mintCard(alice);
        propose(alice, bob);
        vm.warp(ENDS);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_RevertWhen_TheWindowIsOver() external {
        mintCard(alice);
        propose(alice, bob);
        vm.warp(ENDS + 1);
        refuse(M.LoyaltyMembership_RecoveryEnded.selector, ENDS);
        cards.executeRecovery(alice);

        propose(alice, carol);
        vm.warp(ENDS + 1 + RECOVERY_DELAY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(carol), 1);
        vm.assertEq(cards.balanceOf(bob), 0);
    }

    function test_WhenTheHolderVetoes() external {
        mintCard(alice);
        propose(alice, bob);
        uint24 nonce = cards.membershipOf(alice).nonce;
        vm.expectEmit(address(cards));
        emit M.RecoveryVetoed(alice, alice);
        vm.prank(alice);
        cards.vetoRecovery(alice, READY, "");
        vm.assertEq(cards.membershipOf(alice).nonce, nonce + 1);
        vm.warp(READY);
        refuseExecution(alice);
        vm.assertEq(cards.recoveryOf(alice).to, address(0), "nothing is proposed");
    }

    function test_WhenAVetoIsRelayed() external {
        mintCard(alice);
        propose(alice, bob);
        bytes memory signature = vetoSignature(alice, alice);
        vm.prank(relayer);
        cards.vetoRecovery(alice, READY, signature);
        vm.warp(READY);
        refuseExecution(alice);
    }

    function test_WhenTheOwnerVetoes() external {
        mintCard(alice);
        propose(alice, bob);
        vm.expectEmit(address(cards));
        emit M.RecoveryVetoed(alice, owner);
        vm.prank(owner);
        cards.vetoRecovery(alice, READY, "");
        vm.warp(READY);
        refuseExecution(alice);
    }

    function test_RevertWhen_AnybodyElseVetoes() external {
        mintCard(alice);
        propose(alice, bob);
        address[6] memory others = [minter, signer, manager, guardian, stranger, bob];
        for (uint256 i; i < others.length; ++i) {
            bytes memory signature = vetoSignature(alice, others[i]);
            vm.expectRevert();
            vm.prank(others[i]);
            cards.vetoRecovery(alice, READY, signature);
            vm.expectRevert();
            vm.prank(others[i]);
            cards.vetoRecovery(alice, READY, "");
        }
        bytes memory burn =
            signed(alice, cards.digestOf(Consents.burn(alice, cards.membershipOf(alice).nonce, READY)));
        vm.expectRevert();
        cards.vetoRecovery(alice, READY, burn);
        vm.warp(READY);
        cards.executeRecovery(alice);
    }

    function test_RevertWhen_AVetoIsSentTwice() external {
        mintCard(alice);
        propose(alice, bob);
        bytes memory signature = vetoSignature(alice, alice);
        cards.vetoRecovery(alice, READY, signature);
        bytes32 before = stateOf(alice);
        vm.expectRevert();
        cards.vetoRecovery(alice, READY, signature);
        vm.prank(alice);
        vm.expectRevert();
        cards.vetoRecovery(alice, READY, "");
        vm.assertEq(stateOf(alice), before);
    }

    function test_RevertWhen_AnOldVetoIsSentAgain() external {
        mintCard(alice);
        propose(alice, bob);
        bytes memory signature = vetoSignature(alice, alice);
        cards.vetoRecovery(alice, READY, signature);
        propose(alice, bob);
        vm.expectRevert();
        cards.vetoRecovery(alice, READY, signature);
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_RevertWhen_TheVetosDeadlineHasPassed() external {
        mintCard(alice);
        propose(alice, bob);
        bytes memory signature = vetoSignature(alice, alice);
        vm.warp(READY + 1);
        refuse(M.LoyaltyMembership_Expired.selector, READY);
        cards.vetoRecovery(alice, READY, signature);
    }

    function test_RevertWhen_ThereIsNothingToVeto() external {
        mintCard(alice);
        refuse(M.LoyaltyMembership_NoRecovery.selector, alice);
        vm.prank(alice);
        cards.vetoRecovery(alice, READY, "");
        refuse(M.LoyaltyMembership_NoRecovery.selector, alice);
        vm.prank(owner);
        cards.vetoRecovery(alice, READY, "");
    }

    function test_WhenTheHolderLeaves() external {
        mintCard(alice);
        propose(alice, bob);
        burnCard(alice);
        vm.warp(READY);
        refuseExecution(alice);
        vm.prank(manager);
        cards.readmit(alice, 1, YEAR);
        refuseExecution(alice);
    }

    function test_WhenTheCardIsRevoked() external {
        mintCard(alice);
        propose(alice, bob);
        revoke(alice);
        vm.warp(READY);
        refuseExecution(alice);
        vm.prank(manager);
        cards.readmit(alice, 1, YEAR);
        refuseExecution(alice);
        vm.assertEq(cards.balanceOf(alice), 1);
    }

    function test_WhenTheProposerLosesTheRole() external {
        mintCard(alice);
        propose(alice, bob);
        vm.prank(owner);
        cards.revokeRoles(guardian, GUARDIAN);
        vm.warp(READY);
        refuseExecution(alice);
    }

    function test_WhenTheProposerLosesTheRole_ANewProposalReplacesIt() external {
        mintCard(alice);
        propose(alice, bob);
        vm.prank(owner);
        cards.revokeRoles(guardian, GUARDIAN);
        vm.prank(owner);
        cards.proposeRecovery(alice, carol, "the right wallet");
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(carol), 1);
    }

    function test_WhenTheProposerGetsTheRoleAgain() external {
        mintCard(alice);
        propose(alice, bob);
        vm.prank(owner);
        cards.revokeRoles(guardian, GUARDIAN);
        vm.prank(owner);
        cards.grantRoles(guardian, GUARDIAN);
        vm.warp(READY);
        refuseExecution(alice);
        vm.assertEq(cards.recoveryOf(alice).to, address(0), "nothing is proposed");
        propose(alice, carol);
        vm.warp(READY + RECOVERY_DELAY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(carol), 1);
    }

    function test_WhenTheProposerGetsTheRoleAgain_AfterRenouncingIt() external {
        mintCard(alice);
        propose(alice, bob);
        vm.warp(START + 1);
        vm.prank(guardian);
        cards.renounceRoles(GUARDIAN);
        vm.prank(owner);
        cards.grantRoles(guardian, GUARDIAN | MANAGER);
        vm.warp(READY);
        refuseExecution(alice);
    }

    function test_WhenTheProposerGetsTheRoleAgain_ButAnotherRoleCountsForNothing() external {
        vm.prank(owner);
        cards.grantRoles(guardian, MANAGER);
        mintCard(alice);
        propose(alice, bob);
        vm.warp(START + 1);
        vm.prank(owner);
        cards.revokeRoles(guardian, MANAGER);
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_WhenTheCardMovedAShortWhileAgo() external {
        mintCard(carol);
        migrate(carol, alice);
        propose(alice, bob);
        vm.warp(READY);
        refuse(M.LoyaltyMembership_CoolingDown.selector, alice, START + COOLDOWN);
        cards.executeRecovery(alice);
        vm.warp(START + COOLDOWN - RECOVERY_DELAY);
        propose(alice, bob);
        vm.warp(START + COOLDOWN);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_WhenTheOwnerWhoProposedHasHandedOver() external {
        mintCard(alice);
        vm.prank(owner);
        cards.proposeRecovery(alice, bob, "lost phone");
        vm.prank(stranger);
        cards.requestOwnershipHandover();
        vm.prank(owner);
        cards.completeOwnershipHandover(stranger);
        uint256 before = vm.snapshotState();
        vm.warp(READY);
        refuseExecution(alice);
        vm.revertToState(before);
        // Nor when ownership comes back.
        vm.prank(owner);
        cards.requestOwnershipHandover();
        vm.prank(stranger);
        cards.completeOwnershipHandover(owner);
        vm.warp(READY);
        refuseExecution(alice);
    }

    function test_RevertWhen_TheTargetBecomesAMemberMeanwhile() external {
        mintCard(alice);
        propose(alice, bob);
        mintCard(bob);
        vm.warp(READY);
        refuseExecution(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 2);
    }

    function test_RevertWhen_TheTargetIsRevokedMeanwhile() external {
        mintCard(alice);
        propose(alice, bob);
        mintCard(bob);
        revoke(bob);
        vm.warp(READY);
        refuseExecution(alice);
    }

    function test_WhenTheProgramIsPaused() external {
        mintCard(alice);
        mintCard(carol);
        propose(alice, bob);
        pause();
        vm.prank(guardian);
        cards.proposeRecovery(carol, stranger, "lost phone");
        vm.warp(READY);
        refuse(M.LoyaltyMembership_Paused.selector);
        cards.executeRecovery(alice);
        vm.prank(carol);
        cards.vetoRecovery(carol, READY, "");
    }

    function test_WhenTheProgramWasPausedWithinTheWindow() external {
        mintCard(alice);
        propose(alice, bob);
        vm.warp(READY + 1 days);
        pause();
        vm.warp(READY + 11 days);
        vm.prank(owner);
        cards.unpause();
        vm.assertEq(cards.recoveryOf(alice).endsAt, ENDS + 10 days);
        uint256 before = vm.snapshotState();
        vm.warp(ENDS + 10 days);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
        vm.revertToState(before);
        vm.warp(ENDS + 10 days + 1);
        refuse(M.LoyaltyMembership_RecoveryEnded.selector, ENDS + 10 days);
        cards.executeRecovery(alice);
    }

    function test_WhenTheProgramWasPausedWithinTheWindow_ReadsCountARunningPause() external {
        mintCard(alice);
        propose(alice, bob);
        vm.warp(READY + 1 days);
        pause();
        vm.warp(ENDS + 30 days);
        vm.assertGt(cards.recoveryOf(alice).endsAt, block.timestamp, "still to come once unpaused");
        vm.prank(owner);
        cards.unpause();
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_WhenTheProgramWasPausedBeforeTheProposal() external {
        mintCard(alice);
        pause();
        vm.warp(START + 20 days);
        vm.prank(owner);
        cards.unpause();
        propose(alice, bob);
        vm.assertEq(cards.recoveryOf(alice).endsAt, START + 20 days + RECOVERY_DELAY + 14 days);
    }

    function test_RevertWhen_ItWasExecuted() external {
        mintCard(alice);
        propose(alice, bob);
        vm.warp(READY);
        cards.executeRecovery(alice);
        bytes32 before = stateOf(bob);
        refuseExecution(alice);
        vm.assertEq(stateOf(bob), before);
    }

    function test_WhenTheHolderRenewsOrChangesTierMeanwhile() external {
        mintCard(alice);
        propose(alice, bob);
        vm.prank(manager);
        cards.renewBatch(list(renewItem(alice, YEAR + 1, YEAR)));
        vm.prank(manager);
        cards.setTierBatch(list(tierItem(alice, 2)));
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).expiresAt, YEAR + 1);
        vm.assertEq(cards.membershipOf(bob).tier, 2);
    }
}
