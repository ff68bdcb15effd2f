// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title ERC-4906, metadata update events (id 0x49064906, which is not computed from functions: it has none)
interface IERC4906 {
    event MetadataUpdate(uint256 _tokenId);
    /// @notice From 0 to type(uint256).max = everything there is.
    event BatchMetadataUpdate(uint256 _fromTokenId, uint256 _toTokenId);
}
