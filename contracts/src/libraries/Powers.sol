// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Names of the bits and numbers that membership and stamps share
library Powers {
    // Roles, as OwnableRoles stores them.
    uint256 internal constant MINTER = 1;
    uint256 internal constant SIGNER = 2;
    uint256 internal constant MANAGER = 4;
    uint256 internal constant GUARDIAN = 8;
    uint256 internal constant ALL_ROLES = 15;

    // Kinds of daily quotas.
    uint256 internal constant MINT = 0;
    uint256 internal constant CLAIM = 1;
    uint256 internal constant MANAGE = 2;
}
