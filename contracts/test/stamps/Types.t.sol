// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibClone} from "solady/utils/LibClone.sol";

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract TypesTest is ProgramTest {
    function block_(uint8 first, uint8 size) internal pure returns (S.TypeBlock memory) {
        return S.TypeBlock(first, size, NO_CAP, 0, 0, 2, 0, "Next card");
    }

    function addBlock(S.TypeBlock memory b) internal {
        S.TypeBlock[] memory types = new S.TypeBlock[](1);
        types[0] = b;
        vm.prank(owner);
        stamps.defineTypes(types);
    }

    function test_WhenTheOwnerDefinesAStampCard() external {
        vm.expectEmit(address(stamps));
        emit S.TypesDefined(10, 3, NO_CAP, 0, 0, 2, 0, "Next card");
        addBlock(block_(10, 3));
        for (uint8 t = 10; t < 13; ++t) {
            S.TypeInfo memory info = stamps.typeOf(t);
            vm.assertEq(info.cap, NO_CAP);
            vm.assertEq(info.minted, 0);
            vm.assertEq(info.flags, 2);
            vm.assertEq(info.blockFirst, 10);
            vm.assertEq(info.blockSize, 3);
            vm.assertEq(info.name, "Next card");
        }
        refuse(S.LoyaltyStamps_UnknownType.selector, 13);
        stamps.typeOf(13);
    }

    function test_RevertWhen_ATypeIsTaken() external {
        S.TypeBlock[] memory types = new S.TypeBlock[](2);
        types[0] = block_(20, 5);
        types[1] = block_(24, 1);
        refuse(S.LoyaltyStamps_TypeTaken.selector, 24);
        vm.prank(owner);
        stamps.defineTypes(types);
        refuse(S.LoyaltyStamps_UnknownType.selector, 20);
        stamps.typeOf(20);
        refuse(S.LoyaltyStamps_TypeTaken.selector, 5);
        addBlock(block_(5, 1));
        refuse(S.LoyaltyStamps_TypeTaken.selector, 1);
        addBlock(block_(1, 120));
    }

    function test_RevertWhen_ABlockLeaves1To120() external {
        uint8[2][7] memory bad = [[0, 1], [10, 0], [121, 1], [120, 2], [10, 112], [255, 255], [2, 255]];
        for (uint256 i; i < bad.length; ++i) {
            refuse(S.LoyaltyStamps_BadTypeBlock.selector, bad[i][0], bad[i][1]);
            addBlock(block_(bad[i][0], bad[i][1]));
        }
        addBlock(block_(10, 111));
        vm.assertEq(stamps.typeOf(120).blockFirst, 10);
    }

    function test_RevertWhen_AWindowClosesBeforeItOpens() external {
        S.TypeBlock memory b = block_(10, 1);
        b.opens = START;
        b.closes = START;
        refuse(S.LoyaltyStamps_BadWindow.selector, START, START);
        addBlock(b);
        b.closes = START - 1;
        refuse(S.LoyaltyStamps_BadWindow.selector, START, START - 1);
        addBlock(b);
        refuse(S.LoyaltyStamps_BadWindow.selector, 9, 8);
        vm.prank(owner);
        stamps.setType(COFFEE, NO_CAP, 9, 8, 2, 0);
        b.closes = 0;
        addBlock(b);
        vm.warp(type(uint40).max);
        giveStamp(alice, 10);
    }

    function test_RevertWhen_AFlagIsUnknown() external {
        for (uint256 bit = 2; bit < 8; ++bit) {
            S.TypeBlock memory b = block_(10, 1);
            b.flags = uint8(1 << bit);
            refuse(S.LoyaltyStamps_BadFlags.selector, b.flags);
            addBlock(b);
            refuse(S.LoyaltyStamps_BadFlags.selector, b.flags);
            vm.prank(owner);
            stamps.setType(COFFEE, NO_CAP, 0, 0, b.flags, 0);
        }
    }

    function test_WhenALowestTierIsGiven() external {
        S.TypeBlock memory b = block_(10, 1);
        b.flags = 0;
        b.minTier = 1;
        addBlock(b);
        refuse(S.LoyaltyStamps_Refused.selector, alice, 10, NOT_ACTIVE);
        giveStamp(alice, 10);
        mintCard(alice, 1, YEAR);
        giveStamp(alice, 10);
    }

    function test_WhenTheOwnerChangesCapOrWindow() external {
        giveStamp(alice, 1);
        vm.expectEmit(address(stamps));
        emit S.TypeSet(1, 2, 0, START + 10, 2, 0);
        vm.prank(owner);
        stamps.setType(1, 2, 0, START + 10, 2, 0);
        giveStamp(bob, 1);
        refuse(S.LoyaltyStamps_CapReached.selector, 1, 2);
        giveStamp(carol, 1);
        vm.warp(START + 10);
        refuse(S.LoyaltyStamps_NotOpen.selector, 1, 0, START + 10);
        giveStamp(carol, 1);
        giveStamp(carol, 2); // its neighbour on the same card is as before
        vm.assertEq(stamps.typeOf(1).name, "Five coffees");
        vm.assertEq(stamps.typeOf(1).blockSize, 5);
        vm.assertEq(stamps.typeOf(1).minted, 2);
    }

    function test_RevertWhen_TheCapIsBelowWhatWasMinted() external {
        giveStamp(alice, 1);
        giveStamp(bob, 1);
        vm.prank(alice);
        stamps.burn(alice, 1, 0, "");
        vm.expectRevert(abi.encodeWithSelector(S.LoyaltyStamps_CapBelowMinted.selector, 1, 1, 2));
        vm.prank(owner);
        stamps.setType(1, 1, 0, 0, 2, 0);
        vm.prank(owner);
        stamps.setType(1, 2, 0, 0, 2, 0);
    }

    function test_WhenGateOrRedeemFlagChangeBeforeTheFirstMint() external {
        vm.prank(owner);
        stamps.setType(OPENING_NIGHT, 3, 0, 0, 3, 2);
        S.TypeInfo memory info = stamps.typeOf(OPENING_NIGHT);
        vm.assertEq(info.flags, 3);
        vm.assertEq(info.minTier, 2);
        refuse(S.LoyaltyStamps_Refused.selector, alice, OPENING_NIGHT, NOT_ACTIVE);
        giveStamp(alice, OPENING_NIGHT);
    }

    function test_RevertWhen_GateOrRedeemFlagChangeAfterTheFirstMint() external {
        giveStamp(alice, 1);
        vm.startPrank(owner);
        refuse(S.LoyaltyStamps_TermsFixed.selector, 1);
        stamps.setType(1, NO_CAP, 0, 0, 0, 0);
        refuse(S.LoyaltyStamps_TermsFixed.selector, 1);
        stamps.setType(1, NO_CAP, 0, 0, 3, 0);
        refuse(S.LoyaltyStamps_TermsFixed.selector, 1);
        stamps.setType(1, NO_CAP, 0, 0, 2, 1);
        stamps.setType(1, 100, 0, 0, 2, 0);
        vm.stopPrank();
        // Fixed for good, also when no stamp is left.
        vm.prank(alice);
        stamps.burn(alice, 1, 0, "");
        refuse(S.LoyaltyStamps_TermsFixed.selector, 1);
        vm.prank(owner);
        stamps.setType(1, NO_CAP, 0, 0, 0, 0);
    }

    function test_RevertWhen_TheTypeIsUnknown() external {
        uint8[4] memory unknown = [0, UNDEFINED, 121, 255];
        for (uint256 i; i < unknown.length; ++i) {
            refuse(S.LoyaltyStamps_UnknownType.selector, unknown[i]);
            vm.prank(owner);
            stamps.setType(unknown[i], 1, 0, 0, 0, 0);
        }
        refuse(S.LoyaltyStamps_UnknownType.selector, type(uint256).max);
        stamps.typeOf(type(uint256).max);
    }

    function test_WhenASeasonUsesAll120Types() external {
        addBlock(block_(10, 111));
        uint256[] memory items = new uint256[](118);
        uint256 n;
        for (uint256 t = 1; t <= 120; ++t) {
            if (t != MEMBERS_ONLY && t != SILVER_TASTING && t != ADVENT) items[n++] = stampId(alice, t);
        }
        assembly ("memory-safe") {
            mstore(items, n)
        }
        vm.prank(minter);
        stamps.mintBatch(items);
        vm.assertEq(stamps.balanceOf(alice), n);
        vm.assertEq(n, 117);
        for (uint256 i; i < n; ++i) {
            vm.assertEq(stamps.ownerOf(items[i]), alice);
        }
        migrate(alice, bob);
        vm.assertEq(stamps.balanceOf(bob), n);
        vm.assertEq(stamps.balanceOf(alice), 0);
    }

    function test_WhenAQuotaIsSet() external {
        for (uint256 kind; kind < 3; ++kind) {
            (uint256 limit,) = stamps.quotaOf(kind);
            vm.expectEmit(address(stamps));
            emit S.QuotaSet(kind, limit - 1);
            vm.prank(guardian);
            stamps.setQuota(kind, uint24(limit - 1));
            refuse(S.LoyaltyStamps_QuotaOnlyLower.selector, kind, limit - 1, limit);
            vm.prank(guardian);
            stamps.setQuota(kind, uint24(limit));
            vm.prank(owner);
            stamps.setQuota(kind, type(uint24).max);
            (limit,) = stamps.quotaOf(kind);
            vm.assertEq(limit, type(uint24).max);
        }
        refuse(S.LoyaltyStamps_QuotaKind.selector, 3);
        vm.prank(owner);
        stamps.setQuota(3, 1);
        refuse(S.LoyaltyStamps_QuotaKind.selector, 3);
        stamps.quotaOf(3);
    }

    function test_WhenTheOwnerDefinesTypesWithTerms() external {
        vm.expectEmit(address(stamps));
        emit S.TypesDefined(20, 2, 500, START + 1, START + 2, 3, 2, "Tasting");
        addBlock(S.TypeBlock(20, 2, 500, START + 1, START + 2, 2, 2, "Tasting"));
        S.TypeInfo memory info = stamps.typeOf(21);
        vm.assertEq(info.cap, 500);
        vm.assertEq(info.opens, START + 1);
        vm.assertEq(info.closes, START + 2);
        vm.assertEq(info.flags, 3, "a lowest tier is for members");
        vm.assertEq(info.minTier, 2);
    }

    function test_RevertWhen_ALowestTierIsOneThatCannotBe() external {
        S.TypeBlock memory b = block_(20, 1);
        b.minTier = 251;
        refuse(S.LoyaltyStamps_BadTier.selector, 251, 250);
        addBlock(b);
        b.minTier = 255;
        refuse(S.LoyaltyStamps_BadTier.selector, 255, 250);
        addBlock(b);
        b.minTier = 250;
        addBlock(b);
        vm.assertEq(stamps.typeOf(20).minTier, 250);
        refuse(S.LoyaltyStamps_BadTier.selector, 251, 250);
        vm.prank(owner);
        stamps.setType(20, NO_CAP, 0, 0, 2, 251);
    }

    function test_RevertWhen_TheContractIsACopyThatTheFactoryDidNotOpen() external {
        S copy = S(LibClone.clone(stampsCode, abi.encodePacked(address(cards), uint8(0))));
        S.TypeBlock[] memory types = new S.TypeBlock[](1);
        types[0] = block_(1, 1);
        refuse(S.LoyaltyStamps_NotAllowed.selector, owner);
        vm.prank(owner);
        copy.defineTypes(types);
        // With nothing defined there is nothing to mint.
        refuse(S.LoyaltyStamps_UnknownType.selector, 1);
        vm.prank(minter);
        copy.mint(alice, 1);
    }
}
