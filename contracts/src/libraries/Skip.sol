// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Why a batch leaves an item out
library Skip {
    uint256 internal constant NONE = 0;
    uint256 internal constant ALREADY_HELD = 1;
    uint256 internal constant EVER_CLAIMED = 2;
    uint256 internal constant LEFT = 3;
    uint256 internal constant REVOKED = 4;
    uint256 internal constant MOVED = 5;
    uint256 internal constant NOT_ACTIVE = 6;
    uint256 internal constant BELOW_TIER = 7;
    uint256 internal constant DONE = 8;
    uint256 internal constant CONFLICT = 9;
    uint256 internal constant NOT_HELD = 10;
}
