// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract SettingsTest is ProgramTest {
    event ContractURIUpdated();

    function names(string memory a) internal pure returns (string[] memory all) {
        all = new string[](1);
        all[0] = a;
    }

    function names(string memory a, string memory b, string memory c) internal pure returns (string[] memory all) {
        all = new string[](3);
        (all[0], all[1], all[2]) = (a, b, c);
    }

    function names(string memory a, string memory b, string memory c, string memory d)
        internal
        pure
        returns (string[] memory all)
    {
        all = new string[](4);
        (all[0], all[1], all[2], all[3]) = (a, b, c, d);
    }

    function test_WhenTheOwnerSetsTheCap() external {
        vm.expectEmit(address(cards));
        emit M.CapSet(1);
        vm.prank(owner);
        cards.setCap(1);
        vm.assertEq(cards.cap(), 1);
        mintCard(alice);
        refuse(M.LoyaltyMembership_CapReached.selector, 1);
        mintCard(bob);
        vm.prank(owner);
        cards.setCap(NO_CAP);
        mintCard(bob);
    }

    function test_RevertWhen_TheCapIsBelowWhatExists() external {
        mintCard(alice);
        mintCard(bob);
        refuse(M.LoyaltyMembership_CapBelowSupply.selector, 1, 2);
        vm.prank(owner);
        cards.setCap(1);
        // Expired cards exist too.
        vm.warp(YEAR);
        refuse(M.LoyaltyMembership_CapBelowSupply.selector, 1, 2);
        vm.prank(owner);
        cards.setCap(1);
        vm.prank(owner);
        cards.setCap(2);
        burnCard(alice);
        vm.prank(owner);
        cards.setCap(1);
    }

    function test_WhenTheOwnerRenamesTiers() external {
        mintCard(alice, 2, YEAR);
        string memory before = cards.tokenURI(id(alice));
        vm.expectEmit(address(cards));
        emit BatchMetadataUpdate(0, type(uint256).max);
        vm.prank(owner);
        cards.setTiers(names("Bean", "Roast", "Crema"));
        string[] memory all = cards.tierNames();
        vm.assertEq(all.length, 3);
        vm.assertEq(all[1], "Roast");
        vm.assertNotEq(keccak256(bytes(cards.tokenURI(id(alice)))), keccak256(bytes(before)), "shown");
    }

    function test_WhenTheOwnerAddsATier() external {
        vm.prank(owner);
        cards.setTiers(names("Basic", "Silver", "Gold", "Platinum"));
        mintCard(alice, 4, YEAR);
        vm.assertEq(cards.membershipOf(alice).tier, 4);
        refuse(M.LoyaltyMembership_BadTier.selector, 5, 4);
        mintCard(bob, 5, YEAR);
    }

    function test_RevertWhen_TheOwnerTakesATierAway() external {
        vm.expectRevert();
        vm.prank(owner);
        cards.setTiers(names("Basic"));
        vm.assertEq(cards.tierNames().length, 3);
    }

    function test_RevertWhen_ATierHasNoName() external {
        refuse(M.LoyaltyMembership_BadTierName.selector, 1);
        vm.prank(owner);
        cards.setTiers(names("Basic", "", "Gold"));
    }

    function test_RevertWhen_ThereIsNoTier() external {
        vm.expectPartialRevert(M.LoyaltyMembership_BadTierName.selector);
        vm.prank(owner);
        cards.setTiers(new string[](0));
    }

    function test_WhenTheOwnerSetsTheBaseURI() external {
        mintCard(alice);
        vm.expectEmit(address(cards));
        emit M.BaseURISet("https://cards.example/");
        vm.expectEmit(address(cards));
        emit BatchMetadataUpdate(0, type(uint256).max);
        vm.prank(owner);
        cards.setBaseURI("https://cards.example/");
        vm.assertEq(
            cards.tokenURI(id(alice)), string.concat("https://cards.example/", vm.toString(uint256(uint160(alice))))
        );
        vm.assertEq(cards.baseURI(), "https://cards.example/");
    }

    function test_WhenTheBaseURIIsEmptyAgain() external {
        mintCard(alice);
        string memory drawn = cards.tokenURI(id(alice));
        vm.prank(owner);
        cards.setBaseURI("https://cards.example/");
        vm.prank(owner);
        cards.setBaseURI("");
        vm.assertEq(cards.tokenURI(id(alice)), drawn);
    }

    function test_WhenTheOwnerSetsTheContractURI() external {
        vm.expectEmit(address(cards));
        emit ContractURIUpdated();
        vm.prank(owner);
        cards.setContractURI("ipfs://collection");
        vm.assertEq(cards.contractURI(), "ipfs://collection");
    }

    function test_WhenMetadataAreFrozen() external {
        mintCard(alice);
        vm.expectEmit(address(cards));
        emit M.MetadataFrozen();
        vm.prank(owner);
        cards.freezeMetadata();
        vm.assertTrue(cards.metadataFrozen());
        string memory drawn = cards.tokenURI(id(alice));

        vm.startPrank(owner);
        refuse(M.LoyaltyMembership_MetadataFrozen.selector);
        cards.setBaseURI("ipfs://cards/");
        refuse(M.LoyaltyMembership_MetadataFrozen.selector);
        cards.setContractURI("ipfs://collection");
        refuse(M.LoyaltyMembership_MetadataFrozen.selector);
        cards.freezeMetadata();
        refuse(M.LoyaltyMembership_MetadataFrozen.selector);
        cards.setTiers(names("Other", "Silver", "Gold"));
        // A further tier changes no card that exists.
        cards.setTiers(names("Basic", "Silver", "Gold", "Platinum"));
        vm.stopPrank();
        vm.assertEq(cards.tokenURI(id(alice)), drawn);
    }

    function test_RevertWhen_TheBaseURIIsNotPermanent() external {
        string[7] memory rented = [
            "https://cards.example/",
            "http://cards.example/",
            "ipfs:/cards",
            "IPFS://cards",
            " ipfs://cards",
            "ar:/cards",
            "i"
        ];
        for (uint256 i; i < rented.length; ++i) {
            vm.startPrank(owner);
            cards.setBaseURI(rented[i]);
            vm.expectRevert(abi.encodeWithSelector(M.LoyaltyMembership_NotPermanent.selector, rented[i]));
            cards.freezeMetadata();
            cards.setBaseURI("");
            cards.setContractURI(rented[i]);
            vm.expectRevert(abi.encodeWithSelector(M.LoyaltyMembership_NotPermanent.selector, rented[i]));
            cards.freezeMetadata();
            cards.setContractURI("");
            vm.stopPrank();
        }
        vm.assertFalse(cards.metadataFrozen());
    }

    function test_WhenTheBaseURIIsPermanent() external {
        vm.startPrank(owner);
        cards.setBaseURI("ipfs://bafy/");
        cards.setContractURI("ar://collection");
        cards.freezeMetadata();
        vm.stopPrank();
        vm.assertTrue(cards.metadataFrozen());
    }

    function test_WhenOwnershipPasses() external {
        vm.prank(stranger);
        cards.requestOwnershipHandover();
        vm.assertEq(cards.ownershipHandoverExpiresAt(stranger), START + 14 days);
        uint256 before = vm.snapshotState();
        vm.warp(START + 14 days);
        vm.expectEmit(address(cards));
        emit OwnershipTransferred(owner, stranger);
        vm.prank(owner);
        cards.completeOwnershipHandover(stranger);
        vm.assertEq(cards.owner(), stranger);
        vm.assertEq(stamps.owner(), stranger, "one step hands over the stamps too");
        (, bool isOwner,,) = cards.powersOf(owner);
        vm.assertFalse(isOwner);
        vm.prank(owner);
        vm.expectRevert();
        cards.setCap(5);

        vm.revertToState(before);
        vm.warp(START + 14 days + 1);
        vm.prank(owner);
        vm.expectRevert();
        cards.completeOwnershipHandover(stranger);
        vm.assertEq(cards.owner(), owner);
    }

    function test_WhenOwnershipPasses_NoSingleStepCanDoIt() external {
        vm.startPrank(owner);
        refuse(M.LoyaltyMembership_Disabled.selector);
        cards.transferOwnership(stranger);
        refuse(M.LoyaltyMembership_Disabled.selector);
        cards.renounceOwnership();
        vm.expectRevert();
        cards.completeOwnershipHandover(stranger);
        vm.expectRevert();
        cards.completeOwnershipHandover(address(0));
        vm.stopPrank();
        vm.prank(stranger);
        cards.requestOwnershipHandover();
        vm.prank(stranger);
        vm.expectRevert();
        cards.completeOwnershipHandover(stranger);
        vm.prank(stranger);
        cards.cancelOwnershipHandover();
        vm.prank(owner);
        vm.expectRevert();
        cards.completeOwnershipHandover(stranger);
        vm.assertEq(cards.owner(), owner);
    }

    function test_RevertWhen_ThereAreMoreThan250Tiers() external {
        vm.startPrank(owner);
        refuse(M.LoyaltyMembership_BadTierName.selector, 250);
        cards.setTiers(tierNames(257));
        refuse(M.LoyaltyMembership_BadTierName.selector, 250);
        cards.setTiers(tierNames(251));
        cards.setTiers(tierNames(250));
        vm.stopPrank();
        vm.assertEq(cards.tierNames().length, 250);
        vm.assertFalse(cards.paused());
        vm.assertFalse(cards.metadataFrozen());
    }
}
