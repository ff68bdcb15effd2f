// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {
    IERC165, IERC721, IERC721Metadata, IERC5192, IERC5643Views, IERC7858, Stamps
} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";

contract StandardsTest is ProgramTest {
    function test_WhenAskedForInterfaceIds() external view {
        vm.assertEq(bytes32(type(IERC721).interfaceId), bytes32(bytes4(0x80ac58cd)));
        vm.assertEq(bytes32(type(IERC7858).interfaceId), bytes32(bytes4(0x3ebdfa31)));
        bytes4[6] memory ids = [
            type(IERC165).interfaceId,
            type(IERC721).interfaceId,
            type(IERC721Metadata).interfaceId,
            type(IERC5192).interfaceId,
            bytes4(0x49064906),
            type(IERC7858).interfaceId
        ];
        for (uint256 i; i < ids.length; ++i) {
            vm.assertTrue(cards.supportsInterface(ids[i]), vm.toString(bytes32(ids[i])));
        }
        bytes4[5] memory others = [
            bytes4(0xffffffff),
            bytes4(0),
            bytes4(0x8c65f84d), // ERC-5643: its views are here, its payable renewal is not
            bytes4(0x780e9d63), // enumerable
            bytes4(0x2a55205a) // royalties
        ];
        for (uint256 i; i < others.length; ++i) {
            vm.assertFalse(cards.supportsInterface(others[i]), vm.toString(bytes32(others[i])));
        }
    }

    function test_WhenThereIsACard() external {
        mintCard(alice);
        uint256 token = id(alice);
        vm.assertEq(cards.name(), "Bean & Co");
        vm.assertEq(cards.symbol(), "BEAN");
        vm.assertEq(cards.balanceOf(alice), 1);
        vm.assertEq(cards.ownerOf(token), alice);
        vm.assertEq(cards.getApproved(token), address(0));
        vm.assertFalse(cards.isApprovedForAll(alice, stranger));
        vm.assertGt(bytes(cards.tokenURI(token)).length, 0, "tokenURI");
        vm.assertTrue(cards.locked(token));
        vm.assertEq(cards.expiryType(), 1, "by time");
        vm.assertEq(cards.startTime(token), START);
        vm.assertEq(cards.endTime(token), YEAR);
        vm.assertFalse(cards.isTokenExpired(token));
        vm.assertEq(cards.expiresAt(token), YEAR);
        vm.assertTrue(cards.isRenewable(token));
    }

    /// @dev All reads of one token, by selector.
    function tokenReads() internal pure returns (bytes4[] memory reads) {
        reads = new bytes4[](9);
        reads[0] = IERC721.ownerOf.selector;
        reads[1] = IERC721.getApproved.selector;
        reads[2] = IERC721Metadata.tokenURI.selector;
        reads[3] = IERC5192.locked.selector;
        reads[4] = IERC7858.startTime.selector;
        reads[5] = IERC7858.endTime.selector;
        reads[6] = IERC7858.isTokenExpired.selector;
        reads[7] = IERC5643Views.expiresAt.selector;
        reads[8] = IERC5643Views.isRenewable.selector;
    }

    function refuseReads(uint256 token) internal view {
        bytes4[] memory reads = tokenReads();
        for (uint256 i; i < reads.length; ++i) {
            (bool done,) = address(cards).staticcall(abi.encodeWithSelector(reads[i], token));
            vm.assertFalse(done, vm.toString(bytes32(reads[i])));
        }
    }

    function test_RevertWhen_ThereIsNoCard() external {
        refuseReads(id(stranger));
        refuseReads(0);
        mintCard(alice);
        burnCard(alice);
        refuseReads(id(alice));
        mintCard(bob);
        revoke(bob);
        refuseReads(id(bob));
        mintCard(carol);
        migrate(carol, stranger);
        refuseReads(id(carol));
        address voided = named("voided");
        vm.prank(manager);
        cards.voidVoucher(voided);
        refuseReads(id(voided));
        refuse(M.LoyaltyMembership_NotFound.selector, id(alice));
        cards.ownerOf(id(alice));
        // The error that ERC-7858 asks for, from ERC-6093.
        bytes memory nonexistent = abi.encodeWithSignature("ERC721NonexistentToken(uint256)", id(alice));
        vm.expectRevert(nonexistent);
        cards.startTime(id(alice));
        vm.expectRevert(nonexistent);
        cards.endTime(id(alice));
        vm.expectRevert(nonexistent);
        cards.isTokenExpired(id(alice));
    }

    function testFuzz_RevertWhen_AnIdIsLongerThanAnAddress(uint96 high) external {
        vm.assume(high != 0);
        mintCard(alice);
        refuseReads(uint256(high) << 160 | id(alice));
    }

    function test_RevertWhen_AnIdIsLongerThanAnAddress() external {
        mintCard(alice);
        for (uint256 bit = 160; bit < 256; ++bit) {
            refuseReads(1 << bit | id(alice));
        }
    }

    function test_RevertWhen_ATransferOrApprovalIsTried() external {
        mintCard(alice);
        uint256 token = id(alice);
        address[5] memory callers = [alice, owner, minter, manager, stranger];
        for (uint256 i; i < callers.length; ++i) {
            vm.startPrank(callers[i]);
            refuse(M.LoyaltyMembership_Soulbound.selector, token);
            cards.transferFrom(alice, bob, token);
            refuse(M.LoyaltyMembership_Soulbound.selector, token);
            cards.safeTransferFrom(alice, bob, token);
            refuse(M.LoyaltyMembership_Soulbound.selector, token);
            cards.safeTransferFrom(alice, bob, token, "data");
            refuse(M.LoyaltyMembership_Soulbound.selector, token);
            cards.approve(bob, token);
            vm.expectRevert();
            cards.setApprovalForAll(bob, true);
            vm.stopPrank();
        }
        vm.assertEq(cards.ownerOf(token), alice);
        vm.assertEq(cards.balanceOf(bob), 0);
    }

    function test_RevertWhen_TheBalanceOfTheZeroAddressIsAsked() external {
        vm.expectRevert();
        cards.balanceOf(address(0));
    }

    function test_WhenTheCardExpires() external {
        mintCard(alice);
        vm.warp(YEAR - 1);
        vm.assertTrue(cards.isActive(alice), "last second");
        vm.assertFalse(cards.isTokenExpired(id(alice)));
        vm.assertTrue(cards.membershipOf(alice).active);
        vm.assertEq(cards.standingsOf(list(id(alice)))[0], 1);
        vm.warp(YEAR);
        vm.assertFalse(cards.isActive(alice), "first second after");
        vm.assertTrue(cards.isTokenExpired(id(alice)));
        vm.assertFalse(cards.membershipOf(alice).active);
        vm.assertEq(cards.standingsOf(list(id(alice)))[0], 0);
        vm.assertEq(cards.balanceOf(alice), 1, "expired cards are counted");
        vm.assertEq(cards.ownerOf(id(alice)), alice);
        vm.assertEq(cards.totalSupply(), 1);
    }

    function test_WhenTheCardIsForLife() external {
        mintCard(alice, 1, FOR_LIFE);
        vm.warp(type(uint40).max);
        vm.assertTrue(cards.isActive(alice));
        vm.assertFalse(cards.isTokenExpired(id(alice)));
        vm.assertEq(cards.expiresAt(id(alice)), 0);
        vm.assertFalse(cards.isRenewable(id(alice)));
    }

    function test_WhenManyWalletsAreRead() external {
        mintCard(alice, 3, FOR_LIFE);
        mintCard(bob);
        vm.warp(YEAR);
        address[] memory wallets = list(alice, bob, stranger);
        bool[] memory active = cards.areActive(wallets);
        uint256[] memory words = cards.wordsOf(wallets);
        for (uint256 i; i < 3; ++i) {
            vm.assertEq(active[i], cards.isActive(wallets[i]));
            M.Member memory member = cards.membershipOf(wallets[i]);
            vm.assertEq(uint40(words[i]), member.joinedAt, "joinedAt");
            vm.assertEq(uint40(words[i] >> 40), member.expiresAt, "expiresAt");
            vm.assertEq(uint8(words[i] >> 80), member.tier, "tier");
            vm.assertEq(uint64(words[i] >> 88), member.serial, "serial");
            vm.assertEq(uint40(words[i] >> 152), member.movedAt, "movedAt");
            vm.assertEq(uint24(words[i] >> 192), member.nonce, "nonce");
            vm.assertEq(uint8(words[i] >> 216), member.flags, "flags");
        }
        vm.assertTrue(active[0]);
        vm.assertFalse(active[1]);
        vm.assertEq(words[2], 0);
        vm.assertEq(cards.areActive(new address[](0)).length, 0);
    }

    function test_WhenStandingsAreAsked() external {
        mintCard(alice, 3, FOR_LIFE);
        mintCard(bob, 2, YEAR);
        vm.warp(YEAR);
        // Any higher bits, such as the stamp type of a token id, are ignored.
        uint256[] memory tiers = cards.standingsOf(list(stampId(alice, 120), id(bob), id(stranger)));
        vm.assertEq(tiers[0], 3);
        vm.assertEq(tiers[1], 0);
        vm.assertEq(tiers[2], 0);
        migrate(alice, carol);
        tiers = cards.standingsOf(list(id(alice), id(carol)));
        vm.assertEq(tiers[0], 256, "no tier, but a word of its own for a wallet that moved away");
        vm.assertEq(tiers[1], 3);
    }

    function test_WhenHoldingsAreAsked() external {
        Stamps spring = openSeason();
        mintCard(alice);
        giveStamp(alice, COFFEE);
        vm.prank(minter);
        spring.mint(alice, 2);
        (uint256 card, uint256[] memory held) = cards.holdingsOf(alice);
        vm.assertEq(card, wordOf(alice));
        vm.assertEq(held.length, 2);
        vm.assertEq(held[0], stamps.wordsOf(list(alice))[0]);
        vm.assertEq(held[1], spring.wordsOf(list(alice))[0]);
        vm.assertEq(held[1], 2 | 2 << 120);
    }

    function test_WhenADigestIsAsked() external view {
        (bytes1 fields, string memory name, string memory version, uint256 chainId, address verifying,,) =
            cards.eip712Domain();
        vm.assertEq(uint8(fields), 0x0f, "name, version, chain, contract");
        vm.assertEq(verifying, address(cards));
        vm.assertEq(chainId, block.chainid);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                block.chainid,
                address(cards)
            )
        );
        bytes32 what = Consents.burn(alice, 1, 2);
        vm.assertEq(cards.digestOf(what), keccak256(abi.encodePacked(hex"1901", domain, what)));
    }

    function test_WhenContractMetadataAreAsked() external view {
        vm.assertTrue(bytes(cards.contractURI()).length > 30);
    }
}
