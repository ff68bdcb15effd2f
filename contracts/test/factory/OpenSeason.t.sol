// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";
import {ILoyaltyFactory as F} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract OpenSeasonTest is ProgramTest {
    function test_WhenTheOwnerOpensASeason() external {
        giveStamp(alice, 1);
        vm.expectEmit(true, true, false, false, address(factory));
        emit F.SeasonOpened(address(cards), 1, address(0));
        Stamps spring = openSeason();
        vm.assertEq(cards.seasons(), 2);
        vm.assertEq(cards.stampsOfSeason(1), address(spring));
        vm.assertEq(spring.season(), 1);
        vm.assertEq(spring.membership(), address(cards));
        vm.assertEq(spring.owner(), owner);
        vm.assertEq(spring.typeOf(1).name, "Spring");
        vm.assertNotEq(keccak256(bytes(spring.name())), keccak256(bytes(stamps.name())), "named apart");

        // Another contract: the same type number is another stamp.
        vm.prank(minter);
        spring.mint(alice, 1);
        vm.assertEq(stamps.balanceOf(alice), 1);
        vm.assertEq(spring.balanceOf(alice), 1);
        vm.assertEq(cards.stampsOfSeason(0), address(stamps));
        pause();
        refuse(S.LoyaltyStamps_Paused.selector);
        vm.prank(minter);
        spring.mint(bob, 1);
    }

    function test_RevertWhen_TheCallerIsNotTheOwner() external {
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        address[5] memory callers = [opener, minter, manager, guardian, stranger];
        for (uint256 i; i < callers.length; ++i) {
            refuse(F.LoyaltyFactory_NotOwner.selector, callers[i]);
            vm.prank(callers[i]);
            factory.openSeason(address(cards), quotas, types, "");
        }
    }

    function test_WhenOwnershipHasPassed() external {
        vm.prank(stranger);
        cards.requestOwnershipHandover();
        vm.prank(owner);
        cards.completeOwnershipHandover(stranger);
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        refuse(F.LoyaltyFactory_NotOwner.selector, owner);
        vm.prank(owner);
        factory.openSeason(address(cards), quotas, types, "");
        vm.prank(stranger);
        factory.openSeason(address(cards), quotas, types, "");
        vm.assertEq(cards.seasons(), 2);
    }

    function test_RevertWhen_TheMembershipIsNotOfThisFactory() external {
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        address[5] memory others = [address(0), stranger, cardsCode, address(stamps), address(factory)];
        for (uint256 i; i < others.length; ++i) {
            refuse(F.LoyaltyFactory_NotOurs.selector, others[i]);
            factory.openSeason(others[i], quotas, types, "");
        }
    }

    function test_RevertWhen_ThereAreEightSeasons() external {
        for (uint256 i = 1; i < 8; ++i) {
            openSeason();
        }
        vm.assertEq(cards.seasons(), 8);
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        refuse(M.LoyaltyMembership_TooManySeasons.selector, 8);
        vm.prank(owner);
        factory.openSeason(address(cards), quotas, types, "");
        vm.assertEq(cards.seasons(), 8);
    }

    function test_WhenAWalletHasStampsInEverySeason() external {
        for (uint256 i = 1; i < 8; ++i) {
            openSeason();
        }
        for (uint256 i; i < 8; ++i) {
            Stamps season = Stamps(cards.stampsOfSeason(i));
            vm.startPrank(minter);
            season.mint(alice, 1);
            season.mint(alice, 2);
            season.mint(bob, 2);
            vm.stopPrank();
        }
        migrate(alice, bob);
        for (uint256 i; i < 8; ++i) {
            (uint256 held,,) = Stamps(cards.stampsOfSeason(i)).stampsOf(bob);
            vm.assertEq(held, 3);
            vm.assertEq(Stamps(cards.stampsOfSeason(i)).balanceOf(alice), 0);
        }
    }
}
