// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibClone} from "solady/utils/LibClone.sol";

/// @title What can never change in a program, carried in the code of its clones
/// @dev Written by the factory, read by the clone itself. A membership carries: factory 20 bytes, program key 32,
/// recovery delay 4, cool-down 4, background 3, ink 3, length of the name 1, name, symbol. A stamp contract: membership
/// 20, season 1.
library ProgramTerms {
    uint256 private constant _KEY = 20;
    uint256 private constant _DELAY = 52;
    uint256 private constant _NAME_LENGTH = 66;
    uint256 private constant _NAME = 67;

    function packMembership(
        bytes32 key,
        uint32 recoveryDelay_,
        uint32 moveCooldown_,
        uint24 background,
        uint24 ink,
        string memory name_,
        string memory symbol_
    ) internal view returns (bytes memory) {
        return abi.encodePacked(
            address(this),
            key,
            recoveryDelay_,
            moveCooldown_,
            background,
            ink,
            uint8(bytes(name_).length),
            name_,
            symbol_
        );
    }

    function packStamps(address membership_, uint8 season_) internal pure returns (bytes memory) {
        return abi.encodePacked(membership_, season_);
    }

    // ------------------------------------------------------------------------------------------------- of a membership

    function factory() internal view returns (address) {
        return address(bytes20(_read(address(this), 0, 20)));
    }

    /// @notice The key under which the factory keeps `clone`, if it is a clone of ours; else anything.
    function keyOf(address clone) internal view returns (bytes32) {
        // Shorter code has no terms, and reading them would run out of gas.
        if (clone.code.length < 0x2d + _NAME) return 0;
        return bytes32(_read(clone, _KEY, _DELAY));
    }

    function recoveryDelay() internal view returns (uint256) {
        return uint32(bytes4(_read(address(this), _DELAY, _DELAY + 4)));
    }

    function moveCooldown() internal view returns (uint256) {
        return uint32(bytes4(_read(address(this), _DELAY + 4, _DELAY + 8)));
    }

    function look() internal view returns (uint24 background, uint24 ink) {
        uint48 both = uint48(bytes6(_read(address(this), _DELAY + 8, _NAME_LENGTH)));
        return (uint24(both >> 24), uint24(both));
    }

    function name() internal view returns (string memory) {
        return string(_read(address(this), _NAME, _endOfName()));
    }

    function symbol() internal view returns (string memory) {
        return string(_read(address(this), _endOfName(), type(uint256).max));
    }

    function _endOfName() private view returns (uint256) {
        return _NAME + uint8(bytes1(_read(address(this), _NAME_LENGTH, _NAME)));
    }

    // --------------------------------------------------------------------------------------------- of a stamp contract

    function membership() internal view returns (address) {
        return address(bytes20(_read(address(this), 0, 20)));
    }

    function season() internal view returns (uint256) {
        return uint8(bytes1(_read(address(this), 20, 21)));
    }

    function _read(address clone, uint256 start, uint256 end) private view returns (bytes memory) {
        return LibClone.argsOnClone(clone, start, end);
    }
}
