// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract PauseTest is ProgramTest {
    struct Act {
        string name;
        address caller;
        address target;
        bytes data;
        bool stops;
    }

    Act[] internal acts;
    address internal dora;
    address internal erin;

    function setUp() public override {
        super.setUp();
        dora = named("dora");
        erin = named("erin");
        mintCard(alice);
        giveStamp(alice, COFFEE);
        giveStamp(alice, COFFEE + 1);
        giveStamp(alice, COFFEE + 2);
        mintCard(bob);
        burnCard(bob);
        mintCard(dora);
        propose(dora, erin);
        vm.warp(START + RECOVERY_DELAY);
    }

    function act(string memory name, address caller, address target, bytes memory data, bool stops) internal {
        acts.push(Act(name, caller, target, data, stops));
    }

    function table() internal {
        address c = address(cards);
        address s = address(stamps);
        uint40 soon = uint40(block.timestamp + 1);
        M.CardVoucher memory card = cardVoucher(carol);
        M.BearerCardVoucher memory bearer = bearerCard(1);
        S.StampVoucher memory stamp = stampVoucher(carol, COFFEE);
        S.BearerStampVoucher memory bearerS = bearerStamp(1, COFFEE);
        M.Move memory move = moveOf(alice, carol);

        act("mint", minter, c, abi.encodeCall(M.mint, (carol, 1, YEAR)), true);
        act("mintBatch", minter, c, abi.encodeCall(M.mintBatch, (list(cardItem(carol, 1, YEAR)))), true);
        act("empty mintBatch", minter, c, abi.encodeCall(M.mintBatch, (new uint256[](0))), true);
        act("claim", relayer, c, abi.encodeCall(M.claim, (card, signer, signCard(card))), true);
        act(
            "claimBearer",
            carol,
            c,
            abi.encodeCall(
                M.claimBearer, (bearer, signer, signCard(bearer), agree(bearer, carol, claimKey), carol, "")
            ),
            true
        );
        act("readmit by manager", manager, c, abi.encodeCall(M.readmit, (bob, 1, YEAR)), true);
        act("readmit by minter", minter, c, abi.encodeCall(M.readmit, (bob, 1, YEAR)), true);
        act("renewBatch", manager, c, abi.encodeCall(M.renewBatch, (list(renewItem(alice, YEAR + 1, YEAR)))), true);
        act("setTierBatch", manager, c, abi.encodeCall(M.setTierBatch, (list(tierItem(alice, 2)))), true);
        act("executeRecovery", relayer, c, abi.encodeCall(M.executeRecovery, (dora)), true);
        act("stamps.mint", minter, s, abi.encodeCall(S.mint, (carol, COFFEE)), true);
        act("stamps.mintBatch", minter, s, abi.encodeCall(S.mintBatch, (list(stampId(carol, COFFEE)))), true);
        act("stamps.claim", relayer, s, abi.encodeCall(S.claim, (stamp, signer, signStamp(stamp))), true);
        act(
            "stamps.claimBearer",
            carol,
            s,
            abi.encodeCall(
                S.claimBearer, (bearerS, signer, signStamp(bearerS), agree(bearerS, carol, claimKey), carol, "")
            ),
            true
        );

        act("burn", alice, c, abi.encodeCall(M.burn, (alice, soon, "")), false);
        act("migrate", alice, c, abi.encodeCall(M.migrate, (move, "", consent(move, carol))), false);
        act("vetoRecovery", dora, c, abi.encodeCall(M.vetoRecovery, (dora, soon, "")), false);
        act("revoke", manager, c, abi.encodeCall(M.revoke, (alice, "")), false);
        act("proposeRecovery", guardian, c, abi.encodeCall(M.proposeRecovery, (alice, carol, "")), false);
        act("voidVoucher", manager, c, abi.encodeCall(M.voidVoucher, (carol)), false);
        act("voidBearer", manager, c, abi.encodeCall(M.voidBearer, (0, 1)), false);
        act("raiseVoucherEpoch", guardian, c, abi.encodeCall(M.raiseVoucherEpoch, ()), false);
        act("setQuota", guardian, c, abi.encodeCall(M.setQuota, (MINT, 1)), false);
        act("setCap", owner, c, abi.encodeCall(M.setCap, (500)), false);
        act("grantRoles", owner, c, abi.encodeCall(cards.grantRoles, (stranger, 1)), false);
        act("revokeRoles", owner, c, abi.encodeCall(cards.revokeRoles, (minter, 1)), false);
        act("stamps.burn", alice, s, abi.encodeCall(S.burn, (alice, COFFEE, soon, "")), false);
        act("redeem", alice, s, abi.encodeCall(S.redeem, (alice, COFFEE + 1, "order", soon, "")), false);
        act("revokeStamp", manager, s, abi.encodeCall(S.revokeStamp, (alice, COFFEE + 2, false, "")), false);
        act("stamps.voidBearer", manager, s, abi.encodeCall(S.voidBearer, (0, 1)), false);
        act("isActive", relayer, c, abi.encodeCall(M.isActive, (alice)), false);
        act("tokenURI", relayer, c, abi.encodeCall(cards.tokenURI, (id(alice))), false);
        act("stamps.ownerOf", relayer, s, abi.encodeCall(stamps.ownerOf, (stampId(alice, COFFEE))), false);
    }

    function run(Act memory a) internal returns (bool done, bytes memory why) {
        uint256 before = vm.snapshotState();
        vm.prank(a.caller);
        (done, why) = a.target.call(a.data);
        vm.revertToState(before);
    }

    function test_WhenTheProgramIsPaused() external {
        table();
        for (uint256 i; i < acts.length; ++i) {
            (bool done,) = run(acts[i]);
            vm.assertTrue(done, string.concat(acts[i].name, " works before"));
        }
        pause();
        vm.assertTrue(cards.paused());
        for (uint256 i; i < acts.length; ++i) {
            (bool done, bytes memory why) = run(acts[i]);
            vm.assertEq(done, !acts[i].stops, acts[i].name);
            if (!done) {
                bool forPause =
                    isError(why, M.LoyaltyMembership_Paused.selector) || isError(why, S.LoyaltyStamps_Paused.selector);
                vm.assertTrue(forPause, string.concat(acts[i].name, ": refused for another reason"));
            }
        }
    }

    function test_RevertWhen_ItIsPausedTwice() external {
        pause();
        refuse(M.LoyaltyMembership_Paused.selector);
        pause();
    }

    function test_RevertWhen_ItIsUnpausedTwice() external {
        refuse(M.LoyaltyMembership_NotPaused.selector);
        vm.prank(owner);
        cards.unpause();
    }

    function test_RevertWhen_AGuardianWantsToUnpause() external {
        pause();
        refuse(M.LoyaltyMembership_NotAllowed.selector, guardian);
        vm.prank(guardian);
        cards.unpause();
    }

    function test_WhenTheOwnerUnpauses() external {
        table();
        vm.expectEmit(address(cards));
        emit M.Paused(guardian);
        pause();
        vm.expectEmit(address(cards));
        emit M.Unpaused(owner);
        vm.prank(owner);
        cards.unpause();
        vm.assertFalse(cards.paused());
        for (uint256 i; i < acts.length; ++i) {
            (bool done,) = run(acts[i]);
            vm.assertTrue(done, acts[i].name);
        }
    }
}
