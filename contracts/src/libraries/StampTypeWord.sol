// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @dev The terms of one stamp type and how many were ever minted, in one word. From the lowest bit: cap 32, minted 32,
/// opens 40, closes 40, flags 8, minTier 8, blockFirst 8, blockSize 8. blockSize 0 = there is no such type.
type StampTypeWord is uint256;

using StampTypeWords for StampTypeWord global;

/// @title Reading and writing the word of a stamp type
library StampTypeWords {
    uint256 internal constant GATED = 1;
    uint256 internal constant REDEEMABLE = 2;

    uint256 private constant _MINTED = 32;
    uint256 private constant _OPENS = 64;
    uint256 private constant _CLOSES = 104;
    uint256 private constant _FLAGS = 144;
    uint256 private constant _MIN_TIER = 152;
    uint256 private constant _BLOCK_FIRST = 160;
    uint256 private constant _BLOCK_SIZE = 168;

    /// @notice The values must fit their fields.
    function pack(
        uint256 cap_,
        uint256 opens_,
        uint256 closes_,
        uint256 flags_,
        uint256 minTier_,
        uint256 blockFirst_,
        uint256 blockSize_
    ) internal pure returns (StampTypeWord) {
        return StampTypeWord.wrap(
            cap_ | opens_ << _OPENS | closes_ << _CLOSES | flags_ << _FLAGS | minTier_ << _MIN_TIER | blockFirst_
                << _BLOCK_FIRST | blockSize_ << _BLOCK_SIZE
        );
    }

    function cap(StampTypeWord word) internal pure returns (uint256) {
        return uint32(StampTypeWord.unwrap(word));
    }

    function minted(StampTypeWord word) internal pure returns (uint256) {
        return uint32(StampTypeWord.unwrap(word) >> _MINTED);
    }

    function opens(StampTypeWord word) internal pure returns (uint256) {
        return uint40(StampTypeWord.unwrap(word) >> _OPENS);
    }

    function closes(StampTypeWord word) internal pure returns (uint256) {
        return uint40(StampTypeWord.unwrap(word) >> _CLOSES);
    }

    function flags(StampTypeWord word) internal pure returns (uint256) {
        return uint8(StampTypeWord.unwrap(word) >> _FLAGS);
    }

    function minTier(StampTypeWord word) internal pure returns (uint256) {
        return uint8(StampTypeWord.unwrap(word) >> _MIN_TIER);
    }

    function blockFirst(StampTypeWord word) internal pure returns (uint256) {
        return uint8(StampTypeWord.unwrap(word) >> _BLOCK_FIRST);
    }

    function blockSize(StampTypeWord word) internal pure returns (uint256) {
        return uint8(StampTypeWord.unwrap(word) >> _BLOCK_SIZE);
    }

    function exists(StampTypeWord word) internal pure returns (bool) {
        return blockSize(word) != 0;
    }

    function has(StampTypeWord word, uint256 flag) internal pure returns (bool) {
        return flags(word) & flag != 0;
    }

    function isOpen(StampTypeWord word) internal view returns (bool) {
        uint256 end = closes(word);
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        return block.timestamp >= opens(word) && (end == 0 || block.timestamp < end);
    }

    /// @notice Counts stamps minted. The sum must not exceed the cap.
    function withMore(StampTypeWord word, uint256 stamps) internal pure returns (StampTypeWord) {
        return StampTypeWord.wrap(StampTypeWord.unwrap(word) + (stamps << _MINTED));
    }

    /// @notice Other terms for the same type: what was minted and its block stay.
    function withTerms(
        StampTypeWord word,
        uint256 cap_,
        uint256 opens_,
        uint256 closes_,
        uint256 flags_,
        uint256 minTier_
    ) internal pure returns (StampTypeWord) {
        return withMore(pack(cap_, opens_, closes_, flags_, minTier_, blockFirst(word), blockSize(word)), minted(word));
    }
}
