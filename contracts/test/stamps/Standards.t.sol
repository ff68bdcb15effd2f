// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {IERC165, IERC721, IERC721Metadata, IERC5192, IERC7858} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract StampsStandardsTest is ProgramTest {
    function test_WhenAskedForInterfaceIds() external view {
        bytes4[5] memory ids = [
            type(IERC165).interfaceId,
            type(IERC721).interfaceId,
            type(IERC721Metadata).interfaceId,
            type(IERC5192).interfaceId,
            bytes4(0x49064906)
        ];
        for (uint256 i; i < ids.length; ++i) {
            vm.assertTrue(stamps.supportsInterface(ids[i]), vm.toString(bytes32(ids[i])));
        }
        vm.assertFalse(stamps.supportsInterface(0xffffffff));
        vm.assertFalse(stamps.supportsInterface(type(IERC7858).interfaceId), "stamps do not expire");
    }

    function test_WhenThereIsAStamp() external {
        giveStamp(alice, COFFEE);
        uint256 token = stampId(alice, COFFEE);
        vm.assertEq(stamps.ownerOf(token), alice);
        vm.assertEq(stamps.balanceOf(alice), 1);
        vm.assertEq(stamps.getApproved(token), address(0));
        vm.assertFalse(stamps.isApprovedForAll(alice, bob));
        vm.assertTrue(stamps.locked(token));
        vm.assertTrue(bytes(stamps.tokenURI(token)).length > 30);
        vm.assertTrue(bytes(stamps.contractURI()).length > 30);
        vm.assertEq(stamps.symbol(), "BEAN");
        vm.assertTrue(vm.contains(stamps.name(), "Bean & Co"));
    }

    function refuseReads(uint256 token) internal view {
        bytes4[4] memory reads = [
            IERC721.ownerOf.selector, IERC721.getApproved.selector, IERC721Metadata.tokenURI.selector, IERC5192.locked.selector
        ];
        for (uint256 i; i < reads.length; ++i) {
            (bool done,) = address(stamps).staticcall(abi.encodeWithSelector(reads[i], token));
            vm.assertFalse(done, vm.toString(bytes32(reads[i])));
        }
    }

    function test_RevertWhen_ThereIsNoStamp() external {
        refuseReads(stampId(alice, COFFEE));
        refuseReads(id(alice));
        refuseReads(0);
        giveStamp(alice, 1);
        giveStamp(alice, 2);
        giveStamp(alice, 3);
        vm.startPrank(alice);
        stamps.burn(alice, 1, 0, "");
        stamps.redeem(alice, 2, "order", 0, "");
        vm.stopPrank();
        refuseReads(stampId(alice, 1));
        refuseReads(stampId(alice, 2));
        migrate(alice, bob);
        refuseReads(stampId(alice, 3));
        // The flag of a wallet that moved away is no stamp.
        refuseReads(stampId(alice, 241));
        refuseReads(stampId(alice, 121));
    }

    function test_RevertWhen_AnIdIsLongerThanTypeAndAddress() external {
        giveStamp(alice, COFFEE);
        for (uint256 bit = 167; bit < 256; ++bit) {
            refuseReads(stampId(alice, COFFEE) | 1 << bit);
        }
    }

    function test_RevertWhen_ATransferOrApprovalIsTried() external {
        giveStamp(alice, COFFEE);
        uint256 token = stampId(alice, COFFEE);
        address[4] memory callers = [alice, owner, minter, stranger];
        for (uint256 i; i < callers.length; ++i) {
            vm.startPrank(callers[i]);
            refuse(S.LoyaltyStamps_Soulbound.selector, token);
            stamps.transferFrom(alice, bob, token);
            refuse(S.LoyaltyStamps_Soulbound.selector, token);
            stamps.safeTransferFrom(alice, bob, token);
            refuse(S.LoyaltyStamps_Soulbound.selector, token);
            stamps.safeTransferFrom(alice, bob, token, "data");
            refuse(S.LoyaltyStamps_Soulbound.selector, token);
            stamps.approve(bob, token);
            vm.expectRevert();
            stamps.setApprovalForAll(bob, true);
            vm.stopPrank();
        }
        vm.assertEq(stamps.ownerOf(token), alice);
    }

    function test_RevertWhen_TheBalanceOfTheZeroAddressIsAsked() external {
        vm.expectRevert();
        stamps.balanceOf(address(0));
    }

    function test_WhenTheBaseURIIsSet() external {
        giveStamp(alice, 5);
        vm.expectEmit(address(stamps));
        emit BatchMetadataUpdate(0, type(uint256).max);
        vm.prank(owner);
        stamps.setBaseURI("ipfs://stamps/");
        vm.assertEq(stamps.tokenURI(stampId(alice, 5)), "ipfs://stamps/5");
        vm.prank(owner);
        stamps.setContractURI("ar://stamps");
        vm.assertEq(stamps.contractURI(), "ar://stamps");
    }

    function test_WhenMetadataAreFrozen() external {
        vm.startPrank(owner);
        stamps.setBaseURI("ar://stamps/");
        stamps.freezeMetadata();
        vm.assertTrue(stamps.metadataFrozen());
        refuse(S.LoyaltyStamps_MetadataFrozen.selector);
        stamps.setBaseURI("");
        refuse(S.LoyaltyStamps_MetadataFrozen.selector);
        stamps.setContractURI("");
        refuse(S.LoyaltyStamps_MetadataFrozen.selector);
        stamps.freezeMetadata();
        vm.stopPrank();
        vm.assertFalse(cards.metadataFrozen(), "each contract by itself");
        giveStamp(alice, COFFEE); // minting goes on
        (uint256 limit, uint256 used) = stamps.quotaOf(MINT);
        vm.assertEq(limit, 200);
        vm.assertEq(used, 1);
    }

    function test_RevertWhen_TheBaseURIIsNotPermanent() external {
        vm.startPrank(owner);
        stamps.setBaseURI("https://stamps.example/");
        vm.expectRevert(abi.encodeWithSelector(S.LoyaltyStamps_NotPermanent.selector, "https://stamps.example/"));
        stamps.freezeMetadata();
        stamps.setBaseURI("");
        stamps.setContractURI("https://stamps.example");
        vm.expectRevert(abi.encodeWithSelector(S.LoyaltyStamps_NotPermanent.selector, "https://stamps.example"));
        stamps.freezeMetadata();
        vm.stopPrank();
    }

    function test_WhenADigestIsAsked() external view {
        (, string memory name, string memory version, uint256 chainId, address verifying,,) = stamps.eip712Domain();
        vm.assertEq(verifying, address(stamps));
        vm.assertEq(chainId, block.chainid);
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256(bytes(name)),
                keccak256(bytes(version)),
                block.chainid,
                address(stamps)
            )
        );
        bytes32 what = Consents.burnStamp(alice, 1, 2);
        vm.assertEq(stamps.digestOf(what), keccak256(abi.encodePacked(hex"1901", domain, what)));
    }

    function test_RevertWhen_AnyoneButTheMembershipMovesStamps() external {
        giveStamp(alice, COFFEE);
        address[6] memory callers = [alice, owner, minter, manager, guardian, address(factory)];
        for (uint256 i; i < callers.length; ++i) {
            refuse(S.LoyaltyStamps_NotAllowed.selector, callers[i]);
            vm.prank(callers[i]);
            stamps.moveAll(alice, bob);
        }
    }
}
