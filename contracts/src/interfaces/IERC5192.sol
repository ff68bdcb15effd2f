// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title ERC-5192, minimal soulbound tokens (id 0xb45a3c0e)
interface IERC5192 {
    /// @notice Emitted with each mint: indexers follow the events and don't ask each token.
    event Locked(uint256 tokenId);
    /// @notice Part of the standard; never emitted here.
    event Unlocked(uint256 tokenId);

    /// @return Always true; reverts for a token that does not exist.
    function locked(uint256 tokenId) external view returns (bool);
}
