// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

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
        vm.expectEmit(address(cards));
        emit M.Migrated(alice, bob, 0);
        vm.expectEmit(address(cards));
        emit M.RecoveryExecuted(alice, bob, 0);
        cards.executeRecovery(alice);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertFalse(has(alice, COFFEE));
        vm.assertEq(cards.totalSupply(), 0);
    }

    function test_WhenTheWalletHasStampsOnly_BecauseItLeft() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        burnCard(alice);
        propose(alice, bob);
        vm.warp(READY);
        vm.expectEmit(address(cards));
        emit M.RecoveryExecuted(alice, bob, 0);
        cards.executeRecovery(alice);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertEq(cards.membershipOf(bob).serial, 0, "who left has no card to carry the number");
        vm.assertEq(cards.membershipOf(bob).flags, 0);
        vm.assertEq(cards.membershipOf(alice).flags, FLAG_MOVED);
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
        vm.assertEq(abi.decode(logs[0].data, (uint256)), 1);
        vm.assertEq(logs[1].topics[0], M.RecoveryExecuted.selector, "then that it was a recovery");
        vm.assertEq(address(uint160(uint256(logs[1].topics[1]))), alice);
        vm.assertEq(address(uint160(uint256(logs[1].topics[2]))), bob);
        vm.assertEq(abi.decode(logs[1].data, (uint256)), 1);

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

    function test_WhenAVetoIsRelayed_ByThePowersItIsTheHoldersAllTheSame() external {
        address[2] memory powers = [owner, guardian];
        for (uint256 i; i < powers.length; ++i) {
            address holder = i == 0 ? alice : bob;
            mintCard(holder);
            propose(holder, i == 0 ? carol : stranger);
            bytes memory signature = vetoSignature(holder, holder);
            vm.expectEmit(address(cards));
            emit M.RecoveryVetoed(holder, holder);
            vm.prank(powers[i]);
            cards.vetoRecovery(holder, READY, signature);
            vm.assertEq(cards.membershipOf(holder).nonce, 1, "the signature is used up");
        }
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
        vm.assertEq(cards.recoveryOf(alice).to, address(0), "nothing is proposed");
    }

    function test_WhenTheOwnerVetoes_WhatTheHolderSignedIsLeftAlone() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, carol);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, carol);
        address[2] memory powers = [owner, guardian];
        for (uint256 i; i < 2; ++i) {
            vm.startPrank(powers[i]);
            cards.proposeRecovery(alice, bob, "lost phone");
            cards.vetoRecovery(alice, 0, "");
            vm.stopPrank();
        }
        cards.migrate(m, a, b);
        vm.assertEq(cards.balanceOf(carol), 1);
    }

    function test_WhenTheProposerVetoes() external {
        mintCard(alice);
        propose(alice, stranger);
        vm.expectEmit(address(cards));
        emit M.RecoveryVetoed(alice, guardian);
        vm.prank(guardian);
        cards.vetoRecovery(alice, 0, "");
        vm.assertEq(cards.recoveryOf(alice).to, address(0));
        propose(alice, bob);
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_RevertWhen_AProposerWhoLostTheRoleVetoes() external {
        mintCard(alice);
        propose(alice, bob);
        vm.prank(owner);
        cards.revokeRoles(guardian, GUARDIAN);
        bytes32 before = stateOf(alice);
        vm.prank(guardian);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.vetoRecovery(alice, READY, "");
        // Nor with the role given again: what it proposed is none of its business any more.
        vm.prank(owner);
        cards.grantRoles(guardian, GUARDIAN);
        vm.prank(guardian);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.vetoRecovery(alice, READY, "");
        vm.assertEq(stateOf(alice), before);
    }

    function test_RevertWhen_AnybodyElseVetoes() external {
        mintCard(alice);
        propose(alice, bob);
        address another = named("another guardian");
        vm.prank(owner);
        cards.grantRoles(another, GUARDIAN);
        address[6] memory others = [minter, signer, manager, another, stranger, bob];
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

    function test_WhenAVetoWasSignedAndNotSentIn() external {
        mintCard(alice);
        propose(alice, bob);
        bytes memory signature = vetoSignature(alice, alice);
        vm.prank(owner);
        cards.vetoRecovery(alice, 0, "");
        propose(alice, bob);
        cards.vetoRecovery(alice, READY, signature);
        vm.assertEq(cards.recoveryOf(alice).to, address(0));
        propose(alice, bob);
        vm.expectPartialRevert(M.LoyaltyMembership_NoConsent.selector);
        cards.vetoRecovery(alice, READY, signature);
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

    function test_WhenTheCardIsRevoked_ANewProposalIsPossible() external {
        mintCard(alice);
        propose(alice, carol);
        vm.warp(START + 1 days);
        revoke(alice);
        propose(alice, bob);
        vm.assertEq(cards.recoveryOf(alice).to, bob);
        vm.warp(READY);
        refuse(M.LoyaltyMembership_RecoveryNotReady.selector, READY + 1 days);
        cards.executeRecovery(alice);
        vm.warp(READY + 1 days);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 1);
        vm.assertEq(cards.membershipOf(carol).serial, 0);
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
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
        // The cool-down holds for what the holder does next.
        M.Move memory m = moveOf(bob, stranger);
        refuse(M.LoyaltyMembership_CoolingDown.selector, bob, READY + COOLDOWN);
        cards.migrate(m, "", "");
    }

    function test_GivenTheCoolDownIsLongerThanTheWindow() external {
        ILoyaltyFactory.Program memory p = program();
        p.salt = "long";
        p.moveCooldown = 365 days;
        (cards, stamps) = open(p);
        mintCard(carol);
        migrate(carol, alice);
        propose(alice, bob);
        vm.warp(ENDS);
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_WhenARecoveryWentToAWrongWallet() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        propose(alice, carol);
        vm.warp(READY);
        cards.executeRecovery(alice);
        propose(carol, bob);
        vm.warp(READY + RECOVERY_DELAY);
        cards.executeRecovery(carol);
        vm.assertEq(cards.membershipOf(bob).serial, 1);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertEq(cards.totalSupply(), 1);
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

    function test_RevertWhen_TheTargetHasLeft() external {
        mintCard(alice);
        mintCard(bob);
        burnCard(bob);
        refuse(M.LoyaltyMembership_Refused.selector, bob, LEFT);
        propose(alice, bob);
        // Nor do stamps alone come to who has left and was not asked.
        giveStamp(stranger, COFFEE);
        refuse(M.LoyaltyMembership_Refused.selector, bob, LEFT);
        propose(stranger, bob);
        vm.assertEq(cards.membershipOf(bob).serial, 2);
    }

    function test_RevertWhen_TheTargetHasLeft_Meanwhile() external {
        mintCard(alice);
        propose(alice, bob);
        mintCard(bob);
        burnCard(bob);
        vm.warp(READY);
        refuse(M.LoyaltyMembership_Refused.selector, bob, LEFT);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).flags, FLAG_LEFT);
        vm.assertEq(cards.membershipOf(bob).serial, 2);
    }

    // ------------------------------------------------------------------------------------------ of a revoked wallet

    /// @dev Alice's key is stolen: a card of tier 3 and two stamps, revoked, to be recovered to bob.
    function robbed() internal {
        mintCard(carol);
        mintCard(alice, 3, YEAR);
        giveStamp(alice, COFFEE);
        giveStamp(alice, OPENING_NIGHT);
        revoke(alice);
        propose(alice, bob);
    }

    function recovered() internal {
        robbed();
        vm.warp(READY);
        cards.executeRecovery(alice);
    }

    function test_WhenTheWalletWasRevoked() external {
        robbed();
        M.Recovery memory r = cards.recoveryOf(alice);
        vm.assertEq(r.to, bob);
        vm.assertEq(r.serial, 0, "no card moves");
        vm.assertEq(r.readyAt, READY);
        vm.warp(READY);
        vm.prank(stranger);
        cards.executeRecovery(alice);

        M.Member memory member = cards.membershipOf(bob);
        vm.assertEq(member.serial, 2, "the number went along");
        vm.assertEq(member.flags, FLAG_REVOKED, "and the revocation");
        vm.assertEq(member.joinedAt, 0, "but no card");
        vm.assertEq(member.expiresAt, 0);
        vm.assertEq(member.tier, 0);
        vm.assertEq(member.movedAt, READY);
        vm.assertEq(member.nonce, 1);
        vm.assertFalse(cards.isActive(bob));
        vm.assertEq(cards.balanceOf(bob), 0);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertTrue(has(bob, OPENING_NIGHT));
        vm.assertEq(stamps.balanceOf(alice), 0, "the thief has nothing left");
        member = cards.membershipOf(alice);
        vm.assertEq(member.flags, FLAG_MOVED);
        vm.assertEq(member.serial, 0);
        vm.assertEq(cards.totalSupply(), 1, "no card came to life");
        vm.assertEq(cards.issued(), 2);
    }

    function test_WhenTheWalletWasRevoked_TellsOfTheNumber() external {
        robbed();
        vm.warp(READY);
        vm.recordLogs();
        cards.executeRecovery(alice);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].topics[0], M.Migrated.selector);
        vm.assertEq(abi.decode(logs[0].data, (uint256)), 0, "no card moves");
        vm.assertEq(logs[1].topics[0], M.RecoveryExecuted.selector);
        vm.assertEq(abi.decode(logs[1].data, (uint256)), 2, "but the number does");
        vm.assertEq(count(logs, address(cards), Transfer.selector), 0);
        vm.assertEq(count(logs, address(cards), M.MemberSet.selector), 0);
        vm.assertEq(count(logs, address(stamps), Transfer.selector), 4);
    }

    function test_WhenTheWalletWasRevoked_TheTargetIsReadmitted() external {
        recovered();
        vm.expectEmit(address(cards));
        emit M.MemberSet(id(bob), 1 | 2 << 8);
        vm.prank(manager);
        cards.readmit(bob, 1, YEAR);
        M.Member memory member = cards.membershipOf(bob);
        vm.assertEq(member.serial, 2);
        vm.assertEq(member.flags, 0);
        vm.assertTrue(member.active);
        vm.assertEq(cards.totalSupply(), 2);
        vm.assertEq(cards.issued(), 2, "no new number was given out");
        // What was the card of the new wallet's holder is his to move, after the cool-down.
        M.Move memory m = moveOf(bob, stranger);
        refuse(M.LoyaltyMembership_CoolingDown.selector, bob, READY + COOLDOWN);
        cards.migrate(m, "", "");
        vm.warp(READY + COOLDOWN);
        migrate(bob, stranger);
        vm.assertEq(cards.membershipOf(stranger).serial, 2);
    }

    function test_WhenTheWalletWasRevoked_NothingElseBringsTheCardBack() external {
        M.CardVoucher memory v = cardVoucher(bob);
        v.deadline = YEAR;
        bytes memory voucher = signCard(v);
        recovered();
        bytes32 before = stateOf(bob);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        mintCard(bob);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        cards.claim(v, signer, voucher);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(bob), REVOKED);
        vm.prank(minter);
        cards.mintBatch(list(cardItem(bob, 1, YEAR)));
        vm.assertEq(stateOf(bob), before);
    }

    function test_WhenTheWalletWasRevoked_TheTargetCannotMoveOnItsOwn() external {
        recovered();
        vm.warp(READY + COOLDOWN);
        M.Move memory m = moveOf(bob, stranger);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        cards.migrate(m, "", "");
        // Nor take in another's card.
        m = moveOf(carol, bob);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        cards.migrate(m, "", "");
        propose(carol, stranger);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        vm.prank(guardian);
        cards.proposeRecovery(named("nobody"), bob, "");
    }

    function test_WhenTheWalletWasRevoked_TheSourceIsDoneWith() external {
        recovered();
        refuse(M.LoyaltyMembership_Refused.selector, alice, MOVED);
        vm.prank(manager);
        cards.readmit(alice, 1, YEAR);
        refuse(M.LoyaltyMembership_Refused.selector, alice, MOVED);
        mintCard(alice);
        refuse(S.LoyaltyStamps_Refused.selector, alice, 2, MOVED);
        giveStamp(alice, 2);
        refuse(M.LoyaltyMembership_NoRecovery.selector, alice);
        cards.executeRecovery(alice);
        refuse(M.LoyaltyMembership_NothingToMove.selector, alice);
        propose(alice, stranger);
    }

    function test_WhenTheWalletWasRevoked_AndHasNoStamps() external {
        mintCard(alice);
        revoke(alice);
        propose(alice, bob);
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 1);
        vm.assertEq(cards.membershipOf(bob).flags, FLAG_REVOKED);
        vm.assertEq(cards.membershipOf(alice).serial, 0);
    }

    function test_WhenTheWalletWasRevokedAfterLeaving() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        burnCard(alice);
        revoke(alice);
        propose(alice, bob);
        vm.prank(alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.vetoRecovery(alice, READY, "");
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 1);
        vm.assertEq(cards.membershipOf(bob).flags, FLAG_REVOKED);
        vm.assertTrue(has(bob, COFFEE));
    }

    function test_RevertWhen_TheHolderOfARevokedWalletVetoes() external {
        robbed();
        bytes memory signature = vetoSignature(alice, alice);
        bytes32 before = stateOf(alice);
        vm.prank(alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.vetoRecovery(alice, READY, "");
        vm.prank(relayer);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.vetoRecovery(alice, READY, signature);
        // Nor does anything else that a thief with the key can do end it.
        vm.prank(alice);
        refuse(M.LoyaltyMembership_NotFound.selector, id(alice));
        cards.burn(alice, READY, "");
        M.Move memory m = moveOf(alice, stranger);
        vm.prank(alice);
        refuse(M.LoyaltyMembership_Refused.selector, alice, REVOKED);
        cards.migrate(m, "", "");
        vm.assertEq(stateOf(alice), before);
        // Stamps can be used up or burned until they are moved, and that ends nothing.
        vm.prank(alice);
        stamps.redeem(alice, COFFEE, "order of the thief", READY, "");
        vm.prank(alice);
        stamps.burn(alice, OPENING_NIGHT, READY, "");
        vm.warp(READY);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 2);
    }

    function test_WhenTheOwnerOrTheProposerVetoesForARevokedWallet() external {
        robbed();
        address[2] memory powers = [owner, guardian];
        for (uint256 i; i < 2; ++i) {
            uint256 before = vm.snapshotState();
            vm.prank(powers[i]);
            cards.vetoRecovery(alice, READY, "");
            vm.warp(READY);
            refuse(M.LoyaltyMembership_NoRecovery.selector, alice);
            cards.executeRecovery(alice);
            vm.revertToState(before);
        }
    }

    function test_WhenARevokedWalletIsReadmittedMeanwhile() external {
        robbed();
        vm.prank(manager);
        cards.readmit(alice, 1, YEAR);
        vm.assertEq(cards.recoveryOf(alice).to, address(0));
        vm.warp(READY);
        refuse(M.LoyaltyMembership_WrongSerial.selector, alice, 0, 2);
        cards.executeRecovery(alice);
        vm.assertTrue(cards.isActive(alice));
    }

    function test_WhenARevokedWalletWasRecoveredToAWrongWallet() external {
        recovered();
        address right = named("right");
        propose(bob, right);
        vm.prank(bob);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        cards.vetoRecovery(bob, READY, "");
        vm.warp(READY + RECOVERY_DELAY);
        cards.executeRecovery(bob);
        vm.assertEq(cards.membershipOf(bob).flags, FLAG_MOVED);
        vm.assertEq(cards.membershipOf(bob).serial, 0);
        vm.assertEq(cards.membershipOf(right).serial, 2);
        vm.assertEq(cards.membershipOf(right).flags, FLAG_REVOKED);
        vm.assertTrue(has(right, COFFEE));
        vm.prank(minter);
        cards.readmit(right, 2, YEAR);
        vm.assertEq(cards.membershipOf(right).serial, 2);
        vm.assertEq(cards.totalSupply(), 2);
    }

    /// @dev Otherwise a guardian with one revoked wallet would go from holder to holder: each is marked revoked without
    /// being asked, can then neither veto nor move, and what it holds goes on to the next.
    function test_RevertWhen_TheTargetOfARevokedWalletHoldsStamps() external {
        giveStamp(bob, COFFEE);
        mintCard(alice);
        revoke(alice);
        refuse(M.LoyaltyMembership_Refused.selector, bob, ALREADY_HELD);
        propose(alice, bob);
        // Who holds stamps only and was not revoked keeps its veto.
        propose(bob, stranger);
        vm.prank(bob);
        cards.vetoRecovery(bob, 0, "");
        vm.warp(READY);
        refuseExecution(bob);
        vm.assertTrue(has(bob, COFFEE));
        // A wallet that was not revoked may still be recovered to one that holds stamps.
        mintCard(carol);
        propose(carol, bob);
    }

    function test_RevertWhen_TheTargetOfARevokedWalletHoldsStamps_Meanwhile() external {
        mintCard(alice);
        revoke(alice);
        propose(alice, bob);
        giveStamp(bob, COFFEE);
        vm.warp(READY);
        refuse(M.LoyaltyMembership_Refused.selector, bob, ALREADY_HELD);
        cards.executeRecovery(alice);
        vm.prank(bob);
        stamps.burn(bob, COFFEE, READY, "");
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 1);
    }

    function test_RevertWhen_TheTargetOfARevokedWalletIsNotFresh() external {
        address left = named("left");
        address barred = named("barred");
        address away = named("away");
        mintCard(left);
        burnCard(left);
        mintCard(barred);
        revoke(barred);
        mintCard(away);
        migrate(away, stranger);
        mintCard(carol);
        mintCard(alice);
        revoke(alice);
        refuse(M.LoyaltyMembership_Refused.selector, left, LEFT);
        propose(alice, left);
        refuse(M.LoyaltyMembership_Refused.selector, barred, REVOKED);
        propose(alice, barred);
        refuse(M.LoyaltyMembership_Refused.selector, away, MOVED);
        propose(alice, away);
        refuse(M.LoyaltyMembership_WrongSerial.selector, carol, 0, 4);
        propose(alice, carol);
        refuse(M.LoyaltyMembership_SameWallet.selector, alice);
        propose(alice, alice);
        // Nor where it becomes so meanwhile.
        propose(alice, bob);
        mintCard(bob);
        vm.warp(READY);
        refuse(M.LoyaltyMembership_WrongSerial.selector, bob, 0, 6);
        cards.executeRecovery(alice);
        revoke(bob);
        refuse(M.LoyaltyMembership_Refused.selector, bob, REVOKED);
        cards.executeRecovery(alice);
        vm.assertEq(cards.membershipOf(bob).serial, 6);
        vm.assertEq(cards.membershipOf(alice).serial, 5);
    }

    // ---------------------------------------------------------------------------------------------------------- pauses

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

    function test_WhenTheProgramIsPausedAtTheProposal() external {
        mintCard(alice);
        pause();
        vm.warp(START + 2 days);
        propose(alice, bob);
        vm.warp(START + 7 days);
        vm.prank(owner);
        cards.unpause();
        // Five of the seven days of pause came after the proposal.
        vm.assertEq(cards.recoveryOf(alice).endsAt, ENDS + 2 days + 5 days);
        uint256 before = vm.snapshotState();
        vm.warp(ENDS + 7 days);
        cards.executeRecovery(alice);
        vm.revertToState(before);
        vm.warp(ENDS + 7 days + 1);
        refuse(M.LoyaltyMembership_RecoveryEnded.selector, ENDS + 7 days);
        cards.executeRecovery(alice);
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
