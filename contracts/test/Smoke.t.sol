// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ILoyaltyMembership} from "../src/interfaces/ILoyaltyMembership.sol";
import {ProgramTest} from "./support/ProgramTest.sol";

/// @title A program from its opening to a move, in one breath
contract SmokeTest is ProgramTest {
    function test_AProgramLives() external {
        vm.warp(START);
        uint256[] memory items = new uint256[](2);
        items[0] = cardItem(alice, 1, YEAR);
        items[1] = cardItem(bob, 3, FOR_LIFE);
        vm.prank(minter);
        cards.mintBatch(items);
        vm.assertEq(cards.totalSupply(), 2);
        vm.assertTrue(cards.isActive(alice));
        vm.assertEq(cards.ownerOf(id(bob)), bob);

        giveStamp(alice, COFFEE);
        giveStamp(alice, MEMBERS_ONLY);
        vm.assertEq(stamps.balanceOf(alice), 2);

        cards.claim(cardVoucher(carol), signer, signCard(cardVoucher(carol)));
        vm.assertEq(cards.membershipOf(carol).serial, 3);

        address phone = named("new phone");
        migrate(alice, phone);
        vm.assertEq(cards.membershipOf(phone).serial, 1);
        vm.assertEq(stamps.balanceOf(phone), 2);
        vm.assertFalse(cards.isActive(alice));

        vm.prank(bob);
        cards.burn(bob, 0, "");
        vm.assertEq(cards.totalSupply(), 2);
        vm.assertTrue(bytes(cards.tokenURI(id(phone))).length > 500);
        vm.assertTrue(bytes(stamps.tokenURI(stampId(phone, COFFEE))).length > 500);
        vm.assertEq(stamps.name(), "Bean & Co stamps");
    }

    /// @dev The membership's code deploys the office with its first nonce.
    function test_TheOfficeItselfIsNobodysAndCannotBeOpened() external {
        address office = address(uint160(uint256(keccak256(abi.encodePacked(bytes2(0xd694), cardsCode, bytes1(0x01))))));
        vm.assertGt(office.code.length, 1000, "there is an office");
        ILoyaltyMembership.Opening memory opening;
        opening.owner = stranger;
        opening.stamps = stranger;
        opening.tiers = program().tiers;
        refuse(ILoyaltyMembership.LoyaltyMembership_AlreadyInitialized.selector);
        ILoyaltyMembership(office).initialize(opening);
        refuse(ILoyaltyMembership.LoyaltyMembership_NotAllowed.selector, address(this));
        ILoyaltyMembership(office).pause();
    }
}
