// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract PowersTest is ProgramTest {
    uint256 internal constant OWNER = 16;
    uint256 internal constant NOBODY = 0;

    /// @param allowed The roles (OWNER = 16) whose call goes through; all others are refused for who they are.
    struct Act {
        string name;
        address target;
        bytes data;
        uint256 allowed;
    }

    Act[] internal acts;

    function setUp() public override {
        super.setUp();
        mintCard(alice);
        mintCard(bob);
        giveStamp(alice, COFFEE);
        burnCard(bob);
    }

    function act(string memory name, address target, bytes memory data, uint256 allowed) internal {
        acts.push(Act(name, target, data, allowed));
    }

    /// @dev The table. Read it as: who may do what.
    function table() internal {
        uint256 guardians = GUARDIAN | OWNER;
        uint256 voiders = MANAGER | GUARDIAN | OWNER;
        address c = address(cards);
        address s = address(stamps);
        string[] memory tiers = cards.tierNames();
        S.TypeBlock[] memory types = new S.TypeBlock[](1);
        types[0] = S.TypeBlock(UNDEFINED, 1, NO_CAP, 0, 0, 0, 0, "New");

        act("mint", c, abi.encodeCall(M.mint, (carol, 1, YEAR)), MINTER);
        act("mintBatch", c, abi.encodeCall(M.mintBatch, (list(cardItem(carol, 1, YEAR)))), MINTER);
        act("readmit", c, abi.encodeCall(M.readmit, (bob, 1, YEAR)), MINTER | MANAGER);
        act("voidVoucher", c, abi.encodeCall(M.voidVoucher, (carol)), voiders);
        act("voidBearer", c, abi.encodeCall(M.voidBearer, (0, 1)), voiders);
        act("raiseVoucherEpoch", c, abi.encodeCall(M.raiseVoucherEpoch, ()), guardians);
        act("renewBatch", c, abi.encodeCall(M.renewBatch, (list(renewItem(alice, YEAR + 1, YEAR)))), MANAGER);
        act("setTierBatch", c, abi.encodeCall(M.setTierBatch, (list(tierItem(alice, 2)))), MANAGER);
        act("revoke", c, abi.encodeCall(M.revoke, (alice, "")), MANAGER);
        act("proposeRecovery", c, abi.encodeCall(M.proposeRecovery, (alice, carol, "")), guardians);
        act("pause", c, abi.encodeCall(M.pause, ()), guardians);
        act("setQuota lower", c, abi.encodeCall(M.setQuota, (MINT, 1)), guardians);
        act("setQuota higher", c, abi.encodeCall(M.setQuota, (MINT, 1_000_000)), OWNER);
        act("unpause", c, abi.encodeCall(M.unpause, ()), OWNER);
        act("setCap", c, abi.encodeCall(M.setCap, (500)), OWNER);
        act("setTiers", c, abi.encodeCall(M.setTiers, (tiers)), OWNER);
        act("setBaseURI", c, abi.encodeCall(M.setBaseURI, ("ipfs://x/")), OWNER);
        act("setContractURI", c, abi.encodeCall(M.setContractURI, ("ipfs://x")), OWNER);
        act("freezeMetadata", c, abi.encodeCall(M.freezeMetadata, ()), OWNER);
        act("grantRoles", c, abi.encodeCall(cards.grantRoles, (stranger, MINTER)), OWNER);
        act("revokeRoles", c, abi.encodeCall(cards.revokeRoles, (minter, MINTER)), OWNER);
        act("transferOwnership", c, abi.encodeCall(cards.transferOwnership, (stranger)), NOBODY);
        act("renounceOwnership", c, abi.encodeCall(cards.renounceOwnership, ()), NOBODY);
        act("linkSeason", c, abi.encodeCall(M.linkSeason, (stranger)), NOBODY);

        act("stamps.mint", s, abi.encodeCall(S.mint, (carol, COFFEE)), MINTER);
        act("stamps.mintBatch", s, abi.encodeCall(S.mintBatch, (list(stampId(carol, COFFEE)))), MINTER);
        act("stamps.voidVoucher", s, abi.encodeCall(S.voidVoucher, (carol, COFFEE)), voiders);
        act("stamps.voidBearer", s, abi.encodeCall(S.voidBearer, (0, 1)), voiders);
        act("revokeStamp", s, abi.encodeCall(S.revokeStamp, (alice, COFFEE, true, "")), MANAGER);
        act("stamps.setQuota lower", s, abi.encodeCall(S.setQuota, (MINT, 1)), guardians);
        act("stamps.setQuota higher", s, abi.encodeCall(S.setQuota, (MINT, 1_000_000)), OWNER);
        act("defineTypes", s, abi.encodeCall(S.defineTypes, (types)), OWNER);
        act("setType", s, abi.encodeCall(S.setType, (MEMBERS_ONLY, 5, 0, 0, 1, 0)), OWNER);
        act("stamps.setBaseURI", s, abi.encodeCall(S.setBaseURI, ("ipfs://x/")), OWNER);
        act("stamps.setContractURI", s, abi.encodeCall(S.setContractURI, ("ipfs://x")), OWNER);
        act("stamps.freezeMetadata", s, abi.encodeCall(S.freezeMetadata, ()), OWNER);
        act("moveAll", s, abi.encodeCall(S.moveAll, (alice, carol)), NOBODY);
    }

    function test_WhenAGuardedFunctionIsCalled() external {
        table();
        address[7] memory callers = [minter, signer, manager, guardian, owner, alice, stranger];
        uint256[7] memory powers = [MINTER, SIGNER, MANAGER, GUARDIAN, OWNER, NOBODY, NOBODY];
        for (uint256 i; i < acts.length; ++i) {
            for (uint256 j; j < callers.length; ++j) {
                check(acts[i], callers[j], acts[i].allowed & powers[j] != 0);
            }
        }
    }

    /// @dev One cell of the table, on a state of its own.
    function check(Act memory a, address caller, bool allowed) internal {
        uint256 before = vm.snapshotState();
        // Only a paused program can be unpaused.
        if (bytes4(a.data) == M.unpause.selector) pause();
        vm.prank(caller);
        (bool done, bytes memory why) = a.target.call(a.data);
        string memory cell = string.concat(a.name, " by ", vm.toString(caller));
        vm.assertEq(done, allowed, cell);
        if (!done) {
            bool aboutPowers = isError(why, M.LoyaltyMembership_NotAllowed.selector)
                || isError(why, S.LoyaltyStamps_NotAllowed.selector)
                || isError(why, M.LoyaltyMembership_QuotaOnlyLower.selector)
                || isError(why, S.LoyaltyStamps_QuotaOnlyLower.selector)
                || isError(why, M.LoyaltyMembership_Disabled.selector) || isError(why, bytes4(keccak256("Unauthorized()")));
            vm.assertTrue(aboutPowers, string.concat(cell, ": refused for another reason"));
        }
        vm.revertToState(before);
    }

    function test_WhenRolesAreGrantedOrTaken() external {
        address[6] memory others = [minter, signer, manager, guardian, alice, stranger];
        for (uint256 i; i < others.length; ++i) {
            vm.startPrank(others[i]);
            vm.expectRevert();
            cards.grantRoles(others[i], MINTER | MANAGER);
            vm.expectRevert();
            cards.revokeRoles(guardian, GUARDIAN);
            vm.stopPrank();
        }
        vm.prank(owner);
        cards.revokeRoles(minter, MINTER);
        refuse(M.LoyaltyMembership_NotAllowed.selector, minter);
        mintCard(carol);
        refuse(S.LoyaltyStamps_NotAllowed.selector, minter);
        giveStamp(carol, COFFEE);
        vm.prank(owner);
        cards.grantRoles(stranger, MINTER);
        vm.prank(stranger);
        cards.mint(carol, 1, YEAR);
        vm.prank(stranger);
        stamps.mint(carol, COFFEE);
    }

    function test_WhenAnAccountHasSeveralRoles() external {
        vm.prank(owner);
        cards.grantRoles(stranger, MINTER | MANAGER | GUARDIAN);
        vm.startPrank(stranger);
        cards.mint(carol, 1, YEAR);
        cards.revoke(carol, "");
        cards.pause();
        vm.stopPrank();
        (uint256 roles, bool isOwner, bool isPaused,) = cards.powersOf(stranger);
        vm.assertEq(roles, MINTER | MANAGER | GUARDIAN);
        vm.assertFalse(isOwner);
        vm.assertTrue(isPaused);
    }

    function test_WhenARoleIsRenounced() external {
        vm.prank(minter);
        cards.renounceRoles(MINTER);
        refuse(M.LoyaltyMembership_NotAllowed.selector, minter);
        mintCard(carol);
    }

    function test_RevertWhen_ARoleHolderTriesToWidenItsPowers() external {
        address[4] memory holders = [minter, signer, manager, guardian];
        for (uint256 i; i < holders.length; ++i) {
            vm.startPrank(holders[i]);
            vm.expectRevert();
            cards.grantRoles(holders[i], 15);
            cards.requestOwnershipHandover();
            vm.expectRevert();
            cards.completeOwnershipHandover(holders[i]);
            vm.stopPrank();
        }
        vm.assertEq(cards.owner(), owner);
    }

    function test_WhenTheOwnerHasNoMINTER() external {
        vm.prank(owner);
        refuse(M.LoyaltyMembership_NotAllowed.selector, owner);
        cards.mint(carol, 1, YEAR);
        vm.prank(owner);
        cards.grantRoles(owner, MINTER);
        vm.prank(owner);
        cards.mint(carol, 1, YEAR);
        vm.assertEq(cards.balanceOf(carol), 1);
    }
}
