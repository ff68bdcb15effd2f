// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibString} from "solady/utils/LibString.sol";

/// @title Which addresses of metadata may be frozen
library Permanence {
    /// @notice Whether what `uri` shows can't change behind it: drawn on chain, or named by its content.
    function isPermanent(string memory uri) internal pure returns (bool) {
        return bytes(uri).length == 0 || LibString.startsWith(uri, "ipfs://") || LibString.startsWith(uri, "ar://");
    }
}
