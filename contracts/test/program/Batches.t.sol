// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract BatchesTest is ProgramTest {
    address[] internal people;

    function setUp() public override {
        super.setUp();
        for (uint256 i; i < 6; ++i) {
            people.push(named(string.concat("person ", vm.toString(i))));
        }
        // Somebody of every kind.
        mintCard(people[0]);
        mintCard(people[1], 2, START + 1 days);
        mintCard(people[2]);
        burnCard(people[2]);
        mintCard(people[3]);
        revoke(people[3]);
        giveStamp(people[0], 1);
        giveStamp(people[1], 2);
        vm.prank(people[1]);
        stamps.burn(people[1], 2, 0, "");
        vm.warp(START + 2 days);
    }

    function digest() internal view returns (bytes32) {
        (, uint256 a) = cards.quotaOf(MINT);
        (, uint256 b) = stamps.quotaOf(MINT);
        uint256[] memory minted = new uint256[](10);
        for (uint256 t = 1; t < 10; ++t) {
            minted[t] = stamps.typeOf(t).minted;
        }
        return keccak256(
            abi.encode(
                cards.wordsOf(people), stamps.wordsOf(people), cards.totalSupply(), cards.issued(), a, b, minted
            )
        );
    }

    function cardItems(uint256[8] calldata seeds) internal view returns (uint256[] memory items) {
        items = new uint256[](8);
        for (uint256 i; i < 8; ++i) {
            uint256 expires = seeds[i] >> 64 & 1 == 0 ? 0 : block.timestamp + 1 + (seeds[i] >> 72) % 900 days;
            items[i] = cardItem(people[seeds[i] % 6], 1 + (seeds[i] >> 32) % 3, expires);
        }
    }

    function stampItems(uint256[8] calldata seeds) internal view returns (uint256[] memory items) {
        items = new uint256[](8);
        for (uint256 i; i < 8; ++i) {
            items[i] = stampId(people[seeds[i] % 6], 1 + (seeds[i] >> 32) % 8); // 9 is not open
        }
    }

    function testFuzz_WhenCardsAreMintedInABatch(uint256[8] calldata seeds) external {
        uint256[] memory items = cardItems(seeds);
        uint256 before = vm.snapshotState();
        for (uint256 i; i < 8; ++i) {
            vm.prank(minter);
            try cards.mint(address(uint160(items[i])), uint8(items[i] >> 160), uint40(items[i] >> 168)) {} catch {}
        }
        bytes32 singles = digest();
        vm.revertToState(before);
        vm.prank(minter);
        cards.mintBatch(items);
        vm.assertEq(digest(), singles);
    }

    function testFuzz_WhenStampsAreMintedInABatch(uint256[8] calldata seeds) external {
        uint256[] memory items = stampItems(seeds);
        uint256 before = vm.snapshotState();
        uint256 refusedForCap;
        for (uint256 i; i < 8; ++i) {
            vm.prank(minter);
            try stamps.mint(address(uint160(items[i])), uint8(items[i] >> 160)) {}
            catch (bytes memory why) {
                if (bytes4(why) != bytes4(keccak256("LoyaltyStamps_Refused(address,uint256,uint256)"))) ++refusedForCap;
            }
        }
        bytes32 singles = digest();
        vm.revertToState(before);
        vm.prank(minter);
        try stamps.mintBatch(items) {
            vm.assertEq(refusedForCap, 0);
            vm.assertEq(digest(), singles);
        } catch {
            vm.assertGt(refusedForCap, 0, "a batch reverts only for what a skip is no answer to");
        }
    }

    function testFuzz_WhenItemsArePacked(uint160 to, uint8 tier, uint40 expires, uint48 dirt, uint8 kind) external {
        vm.assume(to != 0);
        tier = uint8(bound(tier, 1, 3));
        expires = expires == 0 ? 0 : uint40(bound(expires, block.timestamp + 1, type(uint40).max));
        uint256 item = cardItem(address(to), tier, expires);
        if (dirt != 0) {
            uint256 dirty = item | uint256(dirt) << 208;
            refuse(M.LoyaltyMembership_DirtyBits.selector, dirty);
            vm.prank(minter);
            cards.mintBatch(list(dirty));
        }
        if (wordOf(address(to)) != 0) return;
        vm.prank(minter);
        cards.mintBatch(list(item));
        M.Member memory member = cards.membershipOf(address(to));
        vm.assertEq(member.tier, tier);
        vm.assertEq(member.expiresAt, expires);
        vm.assertEq(member.joinedAt, block.timestamp);

        // And on, with the items of the manager.
        uint256 wanted = tier % 3 + 1;
        vm.prank(manager);
        cards.setTierBatch(list(tierItem(address(to), wanted)));
        vm.assertEq(cards.membershipOf(address(to)).tier, wanted);
        if (expires != 0 && expires < type(uint40).max) {
            uint256 later = bound(uint256(expires) + 1 + uint256(kind) * 1 days, 0, type(uint40).max);
            if (later <= expires) later = uint256(expires) + 1;
            vm.prank(manager);
            cards.renewBatch(list(renewItem(address(to), later, expires)));
            vm.assertEq(cards.membershipOf(address(to)).expiresAt, later);
            vm.assertEq(cards.membershipOf(address(to)).tier, wanted);
        }
    }

    function testFuzz_WhenABatchIsCutInTwo(uint256[8] calldata seeds, uint256 where) external {
        uint256[] memory items = cardItems(seeds);
        where = bound(where, 0, 8);
        uint256 before = vm.snapshotState();
        vm.prank(minter);
        cards.mintBatch(items);
        bytes32 whole = digest();
        vm.revertToState(before);
        uint256[] memory head = new uint256[](where);
        uint256[] memory tail = new uint256[](8 - where);
        for (uint256 i; i < 8; ++i) {
            if (i < where) head[i] = items[i];
            else tail[i - where] = items[i];
        }
        vm.startPrank(minter);
        cards.mintBatch(head);
        cards.mintBatch(tail);
        vm.stopPrank();
        vm.assertEq(digest(), whole);
    }
}
