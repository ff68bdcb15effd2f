// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ILoyaltyMembership} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "../../src/interfaces/ILoyaltyStamps.sol";

// The standards as their documents write them, so that the interface ids are computed from the texts and not from us.
// Events are kept apart (StandardEvents), for an event may be declared only once in a family of interfaces.

interface IERC165 {
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
}

interface IERC721 {
    function balanceOf(address owner) external view returns (uint256);
    function ownerOf(uint256 tokenId) external view returns (address);
    function safeTransferFrom(address from, address to, uint256 tokenId, bytes calldata data) external payable;
    function safeTransferFrom(address from, address to, uint256 tokenId) external payable;
    function transferFrom(address from, address to, uint256 tokenId) external payable;
    function approve(address approved, uint256 tokenId) external payable;
    function setApprovalForAll(address operator, bool approved) external;
    function getApproved(uint256 tokenId) external view returns (address);
    function isApprovedForAll(address owner, address operator) external view returns (bool);
}

interface IERC721Metadata {
    function name() external view returns (string memory);
    function symbol() external view returns (string memory);
    function tokenURI(uint256 tokenId) external view returns (string memory);
}

interface IERC5192 {
    function locked(uint256 tokenId) external view returns (bool);
}

interface IERC7858 {
    function expiryType() external view returns (uint8);
    function isTokenExpired(uint256 tokenId) external view returns (bool);
    function startTime(uint256 tokenId) external view returns (uint256);
    function endTime(uint256 tokenId) external view returns (uint256);
}

/// @dev The views of ERC-5643; the rest of it is not offered and its id not announced.
interface IERC5643Views {
    function expiresAt(uint256 tokenId) external view returns (uint64);
    function isRenewable(uint256 tokenId) external view returns (bool);
}

/// @dev What Solady's OwnableRoles gives.
interface IOwnableRoles {
    function owner() external view returns (address);
    function transferOwnership(address newOwner) external payable;
    function renounceOwnership() external payable;
    function requestOwnershipHandover() external payable;
    function cancelOwnershipHandover() external payable;
    function completeOwnershipHandover(address pendingOwner) external payable;
    function ownershipHandoverExpiresAt(address pendingOwner) external view returns (uint256);
    function grantRoles(address user, uint256 roles) external payable;
    function revokeRoles(address user, uint256 roles) external payable;
    function renounceRoles(uint256 roles) external payable;
    function rolesOf(address user) external view returns (uint256);
    function hasAnyRole(address user, uint256 roles) external view returns (bool);
    function hasAllRoles(address user, uint256 roles) external view returns (bool);
}

interface IEIP712 {
    function eip712Domain()
        external
        view
        returns (
            bytes1 fields,
            string memory name,
            string memory version,
            uint256 chainId,
            address verifyingContract,
            bytes32 salt,
            uint256[] memory extensions
        );
}

interface StandardEvents {
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);
    event Locked(uint256 tokenId);
    event MetadataUpdate(uint256 _tokenId);
    event BatchMetadataUpdate(uint256 _fromTokenId, uint256 _toTokenId);
    event TokenExpiryUpdated(uint256 indexed tokenId, uint256 indexed startTime, uint256 indexed endTime);
    event OwnershipTransferred(address indexed oldOwner, address indexed newOwner);
}

/// @title The whole face of a membership contract
interface Cards is
    ILoyaltyMembership,
    IERC165,
    IERC721,
    IERC721Metadata,
    IERC5192,
    IERC7858,
    IERC5643Views,
    IOwnableRoles,
    IEIP712
{}

/// @title The whole face of a stamp contract
interface Stamps is ILoyaltyStamps, IERC165, IERC721, IERC721Metadata, IERC5192, IEIP712 {}
