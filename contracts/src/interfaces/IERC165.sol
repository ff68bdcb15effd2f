// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title ERC-165, standard interface detection
interface IERC165 {
    /// @return Whether the contract implements the interface with this id; false for 0xffffffff.
    function supportsInterface(bytes4 interfaceId) external view returns (bool);
}
