// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibString} from "solady/utils/LibString.sol";

/// @title Names of the tiers, kept as one text so that a program with short names pays one slot for all
library TierNames {
    uint256 internal constant MOST = 250;
    /// @dev A line feed; names hold no control characters.
    bytes1 private constant _SEPARATOR = 0x0a;

    /// @notice Index of the first name that is empty or holds a control character; names.length = all are good.
    function firstBad(string[] calldata names) internal pure returns (uint256) {
        for (uint256 i; i < names.length; ++i) {
            bytes calldata name = bytes(names[i]);
            if (name.length == 0) return i;
            for (uint256 j; j < name.length; ++j) {
                if (name[j] < 0x20) return i;
            }
        }
        return names.length;
    }

    function join(string[] calldata names) internal pure returns (string memory joined) {
        for (uint256 i; i < names.length; ++i) {
            joined = i == 0 ? names[i] : string.concat(joined, string(abi.encodePacked(_SEPARATOR)), names[i]);
        }
    }

    function split(string memory joined) internal pure returns (string[] memory) {
        return LibString.split(joined, string(abi.encodePacked(_SEPARATOR)));
    }

    /// @notice Whether `joined` keeps all names of `before` and at most adds further ones.
    function keeps(string memory joined, string memory before) internal pure returns (bool) {
        uint256 length = bytes(before).length;
        if (!LibString.startsWith(joined, before)) return false;
        return bytes(joined).length == length || bytes(joined)[length] == _SEPARATOR;
    }
}
