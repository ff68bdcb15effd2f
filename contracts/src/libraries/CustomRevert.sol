// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Reverts with a custom error through one shared piece of code
/// @dev Measured need: with `revert Error(..)` at each of its 70 places the membership's code is 3 kB larger. The errors
/// stay declared in the interfaces, and tests compare their full data.
/// Proof for all four: the words are written from address 0, over the scratch space, the free memory pointer (0x40) and the
/// zero word (0x60), none of which is read again, for each ends in `revert`. The data is the selector and the words
/// as the ABI encodes integers and addresses.
library CustomRevert {
    function revertWith(bytes4 selector) internal pure {
        assembly ("memory-safe") {
            mstore(0x00, selector)
            revert(0x00, 0x04)
        }
    }

    function revertWith(bytes4 selector, uint256 a) internal pure {
        assembly ("memory-safe") {
            mstore(0x00, selector)
            mstore(0x04, a)
            revert(0x00, 0x24)
        }
    }

    function revertWith(bytes4 selector, uint256 a, uint256 b) internal pure {
        assembly ("memory-safe") {
            mstore(0x00, selector)
            mstore(0x04, a)
            mstore(0x24, b)
            revert(0x00, 0x44)
        }
    }

    function revertWith(bytes4 selector, uint256 a, uint256 b, uint256 c) internal pure {
        assembly ("memory-safe") {
            mstore(0x00, selector)
            mstore(0x04, a)
            mstore(0x24, b)
            mstore(0x44, c)
            revert(0x00, 0x64)
        }
    }

    function revertWith(bytes4 selector, address a) internal pure {
        revertWith(selector, uint160(a));
    }

    function revertWith(bytes4 selector, address a, uint256 b) internal pure {
        revertWith(selector, uint160(a), b);
    }

    function revertWith(bytes4 selector, address a, uint256 b, uint256 c) internal pure {
        revertWith(selector, uint160(a), b, c);
    }
}
