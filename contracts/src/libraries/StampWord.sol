// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Skip} from "./Skip.sol";

/// @dev Everything a season knows of one wallet; layout in ILoyaltyStamps.wordsOf. Type t is bit t - 1.
type StampWord is uint256;

using StampWords for StampWord global;

/// @title Reading and writing the stamps of a wallet
library StampWords {
    uint256 internal constant TYPES = 120;

    uint256 private constant _CLAIMED = 120;
    uint256 private constant _MOVED = 1 << 240;
    uint256 private constant _MASK = (1 << 120) - 1;

    function held(StampWord word) internal pure returns (uint256) {
        return StampWord.unwrap(word) & _MASK;
    }

    function claimed(StampWord word) internal pure returns (uint256) {
        return StampWord.unwrap(word) >> _CLAIMED & _MASK;
    }

    function isMoved(StampWord word) internal pure returns (bool) {
        return StampWord.unwrap(word) & _MOVED != 0;
    }

    function holds(StampWord word, uint256 stampType) internal pure returns (bool) {
        return StampWord.unwrap(word) >> (stampType - 1) & 1 != 0;
    }

    /// @notice Why a mint of this type is refused; NONE = it is not.
    function refusal(StampWord word, uint256 stampType) internal pure returns (uint256) {
        uint256 raw = StampWord.unwrap(word);
        uint256 both = _bothBits(stampType);
        if (raw & (both | _MOVED) == 0) return Skip.NONE;
        if (raw & _MOVED != 0) return Skip.MOVED;
        return raw & both & _MASK != 0 ? Skip.ALREADY_HELD : Skip.EVER_CLAIMED;
    }

    function withStamp(StampWord word, uint256 stampType) internal pure returns (StampWord) {
        return StampWord.wrap(StampWord.unwrap(word) | _bothBits(stampType));
    }

    /// @notice The stamp is gone; that the wallet once got it stays.
    function withoutStamp(StampWord word, uint256 stampType) internal pure returns (StampWord) {
        return StampWord.wrap(StampWord.unwrap(word) & ~(1 << (stampType - 1)));
    }

    /// @notice Forgets that the wallet ever got it.
    function withoutClaim(StampWord word, uint256 stampType) internal pure returns (StampWord) {
        return StampWord.wrap(StampWord.unwrap(word) & ~(1 << (stampType - 1 + _CLAIMED)));
    }

    /// @notice What stays behind after a move: nothing held, all that was claimed, and the mark.
    function movedAway(StampWord word) internal pure returns (StampWord) {
        return StampWord.wrap(StampWord.unwrap(word) & ~_MASK | _MOVED);
    }

    /// @notice Takes in what `from` held and this wallet never had. What `from` ever claimed counts for this one too.
    /// @return joined This word afterwards.
    /// @return moved Types that arrive.
    /// @return dropped Types that this wallet once had, so that they end.
    function takeIn(StampWord word, StampWord from)
        internal
        pure
        returns (StampWord joined, uint256 moved, uint256 dropped)
    {
        uint256 known = claimed(word);
        moved = held(from) & ~known;
        dropped = held(from) & known;
        joined = StampWord.wrap(StampWord.unwrap(word) | moved | claimed(from) << _CLAIMED);
    }

    /// @dev The held and the claimed bit of a type.
    function _bothBits(uint256 stampType) private pure returns (uint256) {
        unchecked {
            // Types are 1-120.
            return (1 | 1 << _CLAIMED) << (stampType - 1);
        }
    }
}
