// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Cards, Stamps} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {MuteWallet, RefusingWallet, SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract MigrateTest is ProgramTest {
    /// @dev The move with both signatures must revert with this (empty = anything), and change neither wallet.
    function refuseMove(M.Move memory m, bytes memory why) internal {
        bytes memory a = consent(m, m.from);
        bytes memory b = consent(m, m.to);
        bytes32 before = keccak256(abi.encode(stateOf(m.from), stateOf(m.to)));
        if (why.length == 0) vm.expectRevert();
        else vm.expectRevert(why);
        cards.migrate(m, a, b);
        vm.assertEq(keccak256(abi.encode(stateOf(m.from), stateOf(m.to))), before, "nothing changed");
    }

    function test_WhenBothWalletsAgree() external {
        mintCard(carol);
        mintCard(alice, 3, YEAR);
        giveStamp(alice, COFFEE);
        giveStamp(alice, OPENING_NIGHT);
        M.Member memory old = cards.membershipOf(alice);
        vm.warp(START + 2 days);
        migrate(alice, bob);

        M.Member memory member = cards.membershipOf(bob);
        vm.assertEq(member.joinedAt, old.joinedAt, "a member since the same day");
        vm.assertEq(member.expiresAt, old.expiresAt);
        vm.assertEq(member.tier, 3);
        vm.assertEq(member.serial, 2);
        vm.assertEq(member.movedAt, START + 2 days);
        vm.assertEq(member.flags, 0);
        vm.assertTrue(member.active);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertTrue(has(bob, OPENING_NIGHT));
        vm.assertEq(stamps.balanceOf(bob), 2);

        member = cards.membershipOf(alice);
        vm.assertEq(member.joinedAt, 0);
        vm.assertEq(member.flags, FLAG_MOVED);
        vm.assertEq(member.nonce, old.nonce + 1);
        vm.assertEq(member.serial, 0, "the number is with one wallet");
        vm.assertFalse(member.active);
        vm.assertEq(stamps.balanceOf(alice), 0);
        (uint256 held, uint256 claimed, bool moved) = stamps.stampsOf(alice);
        vm.assertEq(held, 0);
        vm.assertEq(claimed, 1 << (COFFEE - 1) | 1 << (OPENING_NIGHT - 1), "what was claimed stays claimed");
        vm.assertTrue(moved);
        vm.assertEq(cards.totalSupply(), 2);
        vm.assertEq(cards.issued(), 2);
        vm.assertEq(cards.ownerOf(id(bob)), bob);
        vm.expectRevert();
        cards.ownerOf(id(alice));
    }

    function test_WhenBothWalletsAgree_SaysMigratedFirst() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        vm.recordLogs();
        cards.migrate(m, a, b);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs[0].emitter, address(cards));
        vm.assertEq(logs[0].topics[0], M.Migrated.selector, "first");
        vm.assertEq(address(uint160(uint256(logs[0].topics[1]))), alice);
        vm.assertEq(address(uint160(uint256(logs[0].topics[2]))), bob);
        vm.assertEq(abi.decode(logs[0].data, (uint256)), 1);
        vm.assertEq(count(logs, address(cards), M.Migrated.selector), 1);
        vm.assertEq(count(logs, address(cards), M.RecoveryExecuted.selector), 0, "the target agreed");
        vm.assertEq(count(logs, address(cards), Transfer.selector), 2, "one card away, one card in");
        vm.assertEq(count(logs, address(stamps), Transfer.selector), 2);
        vm.assertEq(count(logs, address(cards), Locked.selector), 1);
        vm.assertEq(count(logs, address(stamps), Locked.selector), 1);
        vm.assertEq(count(logs, address(cards), TokenExpiryUpdated.selector), 1, "the new token has its expiry");
    }

    function test_WhenTheSourceSendsItIn() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        bytes memory b = consent(m, bob);
        vm.prank(alice);
        cards.migrate(m, "", b);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_WhenTheTargetSendsItIn() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        vm.prank(bob);
        cards.migrate(m, a, "");
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    function test_RevertWhen_TheSourceDoesNotAgree() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        bytes memory b = consent(m, bob);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        vm.prank(bob);
        cards.migrate(m, "", "");
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        vm.prank(bob);
        cards.migrate(m, b, "");
        bytes memory stolen = mirrored(consent(m, alice));
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.migrate(m, stolen, b);
        // Nor can any power of the program move a card alone.
        address[5] memory powers = [owner, minter, signer, manager, guardian];
        for (uint256 i; i < powers.length; ++i) {
            refuse(M.LoyaltyMembership_NoConsent.selector, alice);
            vm.prank(powers[i]);
            cards.migrate(m, "", b);
        }
    }

    function test_RevertWhen_TheTargetDoesNotAgree() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        refuse(M.LoyaltyMembership_NoConsent.selector, bob);
        vm.prank(alice);
        cards.migrate(m, "", "");
        refuse(M.LoyaltyMembership_NoConsent.selector, bob);
        cards.migrate(m, a, a);
        vm.assertEq(cards.balanceOf(bob), 0);
    }

    function test_RevertWhen_AFieldOfTheMoveWasChanged() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        m.deadline += 1;
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.migrate(m, a, b);
        m.deadline -= 1;
        m.to = carol;
        bytes memory c = consent(m, carol);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.migrate(m, a, c);
    }

    function test_RevertWhen_ItIsSentTwice() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        M.Move memory m = moveOf(alice, bob);
        migrate(alice, bob);
        refuseMove(m, "");
    }

    function test_RevertWhen_TheDeadlineHasPassed() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        vm.warp(uint256(m.deadline) + 1);
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_Expired.selector, m.deadline));
        vm.warp(m.deadline);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        cards.migrate(m, a, b);
    }

    function test_RevertWhen_TheSerialIsAnother() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        m.serial = 2;
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongSerial.selector, alice, 2, 1));
        m.serial = 0;
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongSerial.selector, alice, 0, 1));
    }

    function test_RevertWhen_TheNonceIsAnother() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        m.nonce += 1;
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongNonce.selector, alice, m.nonce, m.nonce - 1));
    }

    function test_RevertWhen_TheTargetHoldsACardThatIsNotToBeReplaced() external {
        mintCard(alice);
        mintCard(bob);
        M.Move memory m = moveOf(alice, bob);
        m.replaces = 0;
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongSerial.selector, bob, 0, 2));
        m.replaces = 1;
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongSerial.selector, bob, 1, 2));
    }

    function test_RevertWhen_TheTargetHoldsNoCardToReplace() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        m.replaces = 2;
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongSerial.selector, bob, 2, 0));
        // The number of a card that is gone does not count as held.
        mintCard(bob);
        burnCard(bob);
        refuseMove(m, abi.encodeWithSelector(M.LoyaltyMembership_WrongSerial.selector, bob, 2, 0));
    }

    function test_WhenTheTargetsCardIsReplaced() external {
        mintCard(alice, 3, FOR_LIFE);
        mintCard(bob, 1, YEAR);
        giveStamp(alice, COFFEE);
        giveStamp(alice, COFFEE + 1);
        giveStamp(bob, COFFEE);
        giveStamp(bob, COFFEE + 2);
        vm.recordLogs();
        migrate(alice, bob);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(count(logs, address(cards), Transfer.selector), 3, "two cards away, one in");

        M.Member memory member = cards.membershipOf(bob);
        vm.assertEq(member.serial, 1, "the moved card's number");
        vm.assertEq(member.tier, 3);
        vm.assertEq(member.expiresAt, FOR_LIFE);
        vm.assertEq(cards.totalSupply(), 1);
        vm.assertEq(cards.issued(), 2);
        vm.assertEq(cards.balanceOf(bob), 1);
        (uint256 held,,) = stamps.stampsOf(bob);
        vm.assertEq(held, 7, "one of each");
        vm.assertEq(stamps.balanceOf(alice), 0);
    }

    function test_RevertWhen_SourceAndTargetAreOneWallet() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, alice);
        refuseMove(m, "");
        m.replaces = 0;
        refuseMove(m, "");
    }

    function test_RevertWhen_TheTargetIsTheZeroAddress() external {
        mintCard(alice);
        M.Move memory m = moveOf(alice, bob);
        m.to = address(0);
        bytes memory a = consent(m, alice);
        vm.expectRevert();
        cards.migrate(m, a, "");
        vm.expectRevert();
        cards.migrate(m, a, new bytes(65));
    }

    function test_RevertWhen_TheSourceWasRevoked() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        revoke(alice);
        M.Move memory m = moveOf(alice, bob);
        refuseMove(m, "");
        m.serial = 1;
        refuseMove(m, "");
    }

    function test_RevertWhen_TheTargetWasRevoked() external {
        mintCard(alice);
        mintCard(bob);
        revoke(bob);
        refuseMove(moveOf(alice, bob), "");
        // Stamps alone do not slip in either.
        giveStamp(carol, COFFEE);
        refuseMove(moveOf(carol, bob), "");
    }

    function test_RevertWhen_TheTargetHasMovedAway() external {
        mintCard(alice);
        migrate(alice, bob);
        vm.warp(START + COOLDOWN);
        refuseMove(moveOf(bob, alice), abi.encodeWithSelector(M.LoyaltyMembership_Refused.selector, alice, MOVED));
    }

    function test_WhenTheTargetHasLeft() external {
        M.CardVoucher memory v = cardVoucher(bob);
        bytes memory voucher = signCard(v);
        cards.claim(v, signer, voucher);
        burnCard(bob);
        mintCard(alice);
        migrate(alice, bob);
        M.Member memory member = cards.membershipOf(bob);
        vm.assertEq(member.serial, 2);
        vm.assertEq(member.flags, 0);
        vm.assertTrue(member.active);
        burnCard(bob);
        vm.expectRevert();
        cards.claim(v, signer, voucher);
    }

    function test_WhenTheTargetHasLeft_StampsAloneMakeItNoMember() external {
        M.CardVoucher memory v = cardVoucher(bob);
        bytes memory voucher = signCard(v);
        cards.claim(v, signer, voucher);
        burnCard(bob);
        giveStamp(alice, COFFEE);
        migrate(alice, bob);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertEq(cards.balanceOf(bob), 0);
        refuse(M.LoyaltyMembership_Refused.selector, bob, LEFT);
        cards.claim(v, signer, voucher);
    }

    function test_RevertWhen_StampsAloneWouldReplaceACard() external {
        giveStamp(alice, COFFEE);
        mintCard(bob);
        M.Move memory m = moveOf(alice, bob);
        refuseMove(m, "");
        m.replaces = 0;
        refuseMove(m, "");
    }

    function test_WhenTheSourceHasStampsOnly() external {
        giveStamp(alice, COFFEE);
        M.Move memory m = moveOf(alice, bob);
        vm.assertEq(m.serial, 0);
        migrate(alice, bob);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertFalse(has(alice, COFFEE));
        vm.assertEq(cards.balanceOf(bob), 0, "no card comes out of stamps");
        vm.assertEq(cards.totalSupply(), 0);
        vm.assertEq(cards.membershipOf(alice).flags, FLAG_MOVED);
        vm.assertEq(cards.membershipOf(alice).nonce, m.nonce + 1);
        refuse(M.LoyaltyMembership_Refused.selector, alice, MOVED);
        mintCard(alice);
    }

    function test_WhenTheSourceHasLeft() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        burnCard(alice);
        migrate(alice, bob);
        vm.assertTrue(has(bob, COFFEE));
        vm.assertEq(cards.balanceOf(bob), 0);
        vm.assertEq(cards.totalSupply(), 0);
        vm.assertEq(cards.membershipOf(bob).serial, 0);
    }

    function test_WhenTheSourceHasLeft_ItHasMovedAndNothingElse() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        burnCard(alice);
        migrate(alice, bob);
        vm.assertEq(cards.membershipOf(alice).flags, FLAG_MOVED);
        vm.assertEq(cards.membershipOf(alice).serial, 0, "no card carried the number along: it ends");
        refuse(M.LoyaltyMembership_Refused.selector, alice, MOVED);
        vm.prank(minter);
        cards.readmit(alice, 1, YEAR);
    }

    function test_RevertWhen_ThereIsNothingToMove() external {
        refuseMove(moveOf(alice, bob), abi.encodeWithSelector(M.LoyaltyMembership_NothingToMove.selector, alice));
    }

    function test_RevertWhen_TheCardMovedAShortWhileAgo() external {
        mintCard(alice);
        migrate(alice, bob);
        uint256 until = START + COOLDOWN;
        vm.warp(until - 1);
        refuseMove(
            moveOf(bob, carol), abi.encodeWithSelector(M.LoyaltyMembership_CoolingDown.selector, bob, until)
        );
        vm.warp(until);
        migrate(bob, carol);
        vm.assertEq(cards.membershipOf(carol).serial, 1);
        vm.assertEq(cards.membershipOf(carol).movedAt, until);
    }

    function test_WhenTheTargetHasStampsOfTheSameTypes() external {
        giveStamp(alice, 1);
        giveStamp(alice, 2);
        giveStamp(alice, 3);
        giveStamp(bob, 3);
        giveStamp(bob, 4);
        vm.recordLogs();
        migrate(alice, bob);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        // Three leave alice, two arrive: the third is burned.
        vm.assertEq(count(logs, address(stamps), Transfer.selector), 5);
        (uint256 held, uint256 claimed,) = stamps.stampsOf(bob);
        vm.assertEq(held, 15);
        vm.assertEq(claimed, 15);
        (held, claimed,) = stamps.stampsOf(alice);
        vm.assertEq(held, 0);
        vm.assertEq(claimed, 7);
        vm.assertEq(stamps.typeOf(3).minted, 2, "a move mints nothing");
        vm.assertEq(stamps.typeOf(1).minted, 1, "a move mints nothing");
    }

    function test_WhenTheTargetUsedAStampUp() external {
        giveStamp(alice, 1);
        giveStamp(bob, 1);
        vm.prank(bob);
        stamps.redeem(bob, 1, "order 1", uint40(block.timestamp), "");
        giveStamp(alice, 2);
        migrate(alice, bob);
        vm.assertFalse(has(bob, 1), "no second benefit by moving");
        vm.assertTrue(has(bob, 2));
        // And what the source ever had cannot be had again by the target.
        giveStamp(carol, 3);
        vm.prank(carol);
        stamps.burn(carol, 3, uint40(block.timestamp), "");
        giveStamp(carol, 4);
        migrate(carol, stranger);
        vm.assertTrue(everHad(stranger, 3));
        refuse(S.LoyaltyStamps_Refused.selector, stranger, 3, EVER_CLAIMED);
        giveStamp(stranger, 3);
    }

    function test_WhenTheProgramHasSeveralSeasons() external {
        Stamps spring = openSeason();
        mintCard(alice);
        giveStamp(alice, COFFEE);
        vm.prank(minter);
        spring.mint(alice, 2);
        vm.prank(minter);
        spring.mint(bob, 3);
        migrate(alice, bob);
        (uint256 held,,) = stamps.stampsOf(bob);
        vm.assertEq(held, 1);
        (held,,) = spring.stampsOf(bob);
        vm.assertEq(held, 6);
        (, uint256[] memory words) = cards.holdingsOf(alice);
        vm.assertEq(words.length, 2);
        vm.assertEq(uint120(words[0]) | uint120(words[1]), 0);
        refuse(S.LoyaltyStamps_Refused.selector, alice, 1, MOVED);
        vm.prank(minter);
        spring.mint(alice, 1);
    }

    function test_WhenAnEarlierSeasonAloneHasStamps() external {
        openSeason();
        giveStamp(alice, COFFEE);
        migrate(alice, bob);
        vm.assertTrue(has(bob, COFFEE));
        Stamps third = openSeason();
        vm.prank(minter);
        third.mint(carol, 1);
        migrate(carol, stranger);
        (uint256 held,,) = third.stampsOf(stranger);
        vm.assertEq(held, 1);
    }

    function test_RevertWhen_AStampContractFails() external {
        Stamps spring = openSeason();
        mintCard(alice);
        giveStamp(alice, COFFEE);
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        bytes32 card = bytes32(wordOf(alice));
        vm.etch(address(spring), address(new RefusingWallet()).code);
        vm.expectRevert();
        cards.migrate(m, a, b);
        vm.assertEq(bytes32(wordOf(alice)), card);
        vm.assertTrue(has(alice, COFFEE));
        vm.assertEq(wordOf(bob), 0);
        vm.assertFalse(has(bob, COFFEE));
    }

    function test_WhenAMintToTheSourceComesLate() external {
        mintCard(alice);
        migrate(alice, bob);
        vm.expectEmit(address(cards));
        emit M.Skipped(id(alice), MOVED);
        vm.prank(minter);
        cards.mintBatch(list(cardItem(alice, 1, YEAR)));
        vm.expectEmit(address(stamps));
        emit S.Skipped(stampId(alice, COFFEE), MOVED);
        vm.prank(minter);
        stamps.mintBatch(list(stampId(alice, COFFEE)));
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, MOVED);
        giveStamp(alice, COFFEE);
    }

    function test_WhenTheCardHasExpired() external {
        mintCard(alice);
        vm.warp(YEAR + 1);
        migrate(alice, bob);
        vm.assertEq(cards.balanceOf(bob), 1);
        vm.assertFalse(cards.isActive(bob), "expired it stays");
    }

    function test_WhenTheProgramIsPaused() external {
        mintCard(alice);
        giveStamp(alice, COFFEE);
        pause();
        migrate(alice, bob);
        vm.assertTrue(cards.isActive(bob));
        vm.assertTrue(has(bob, COFFEE));
    }

    function test_WhenAWalletIsAContract() external {
        address safe = address(new SigningWallet(carol));
        mintCard(alice);
        M.Move memory m = moveOf(alice, safe);
        bytes memory a = consent(m, alice);
        bytes memory wrong = consent(m, bob);
        bytes memory right = consent(m, carol);
        refuse(M.LoyaltyMembership_NoConsent.selector, safe);
        cards.migrate(m, a, wrong);
        cards.migrate(m, a, right);
        vm.assertEq(cards.ownerOf(id(safe)), safe);

        vm.warp(START + COOLDOWN);
        m = moveOf(safe, bob);
        a = consent(m, carol);
        bytes memory b = consent(m, bob);
        cards.migrate(m, a, b);
        vm.assertEq(cards.ownerOf(id(bob)), bob);
    }

    function test_WhenAWalletIsADelegatedAccount() external {
        mintCard(alice);
        address mute = address(new MuteWallet());
        vm.etch(alice, abi.encodePacked(hex"ef0100", mute));
        vm.etch(bob, mute.code);
        migrate(alice, bob);
        vm.assertEq(cards.ownerOf(id(bob)), bob);
    }

    function test_WhenARecoveryWasPending() external {
        mintCard(alice);
        propose(alice, carol);
        migrate(alice, bob);
        vm.warp(START + RECOVERY_DELAY);
        vm.expectRevert();
        cards.executeRecovery(alice);
        vm.assertEq(cards.balanceOf(bob), 1);
        vm.assertEq(cards.balanceOf(carol), 0);
    }

    function test_WhenTheTargetHadSignedSomething() external {
        mintCard(alice);
        mintCard(bob);
        giveStamp(carol, COFFEE);
        uint24 nonce = cards.membershipOf(bob).nonce;
        uint40 deadline = START + 1 days;
        bytes memory burn = signed(bob, cards.digestOf(Consents.burn(bob, nonce, deadline)));
        M.Move memory on = moveOf(bob, stranger);
        bytes memory a = consent(on, bob);
        bytes memory b = consent(on, stranger);
        migrate(alice, bob);
        vm.assertEq(cards.membershipOf(bob).nonce, nonce + 1);
        refuse(M.LoyaltyMembership_NoConsent.selector, bob);
        cards.burn(bob, deadline, burn);
        on.serial = 1;
        refuse(M.LoyaltyMembership_WrongNonce.selector, bob, nonce, nonce + 1);
        cards.migrate(on, a, b);
        // Also where stamps alone come.
        address fresh = named("fresh");
        migrate(carol, fresh);
        vm.assertEq(cards.membershipOf(fresh).nonce, 1);
    }

    function test_WhenARecoveryOfTheTargetWasPending() external {
        giveStamp(alice, COFFEE);
        giveStamp(bob, OPENING_NIGHT);
        propose(bob, carol);
        migrate(alice, bob);
        vm.assertEq(cards.recoveryOf(bob).to, address(0));
        vm.warp(START + RECOVERY_DELAY);
        refuse(M.LoyaltyMembership_WrongNonce.selector, bob, 0, 1);
        cards.executeRecovery(bob);
        vm.assertTrue(has(bob, OPENING_NIGHT));
        vm.assertTrue(has(bob, COFFEE));
    }

    function test_RevertWhen_ItIsForAnotherChainOrAnotherProgram() external {
        ILoyaltyFactory.Program memory p = program();
        p.salt = "tea";
        (Cards other,) = open(p);
        mintCard(alice);
        vm.prank(minter);
        other.mint(alice, 1, YEAR);
        M.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        other.migrate(m, a, b);
        vm.chainId(10);
        refuse(M.LoyaltyMembership_NoConsent.selector, alice);
        cards.migrate(m, a, b);
    }
}
