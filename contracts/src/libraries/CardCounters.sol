// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {DailyQuota} from "./DailyQuota.sol";

/// @dev All that a mint reads and writes beside the wallet's word, in one word. From the lowest bit: issued 32, living
/// 32, cap 32, quota row 120 (day, mint, claim), voucher epoch 24, highest tier 8, flags 8.
type CardCounters is uint256;

using CardCountersLib for CardCounters global;

/// @title Reading and writing the word that counts cards
library CardCountersLib {
    uint256 internal constant PAUSED = 1;
    uint256 internal constant FROZEN = 2;

    uint256 private constant _LIVING = 32;
    uint256 private constant _CAP = 64;
    uint256 private constant _QUOTAS = 96;
    uint256 private constant _KINDS = 2;
    uint256 private constant _EPOCH = 216;
    uint256 private constant _HIGHEST_TIER = 240;
    uint256 private constant _FLAGS = 248;

    uint256 private constant _MASK32 = type(uint32).max;

    // ----------------------------------------------------------------------------------------------------------- reads

    /// @notice Member numbers given out so far.
    function issued(CardCounters word) internal pure returns (uint256) {
        return uint32(CardCounters.unwrap(word));
    }

    function living(CardCounters word) internal pure returns (uint256) {
        return uint32(CardCounters.unwrap(word) >> _LIVING);
    }

    function cap(CardCounters word) internal pure returns (uint256) {
        return uint32(CardCounters.unwrap(word) >> _CAP);
    }

    function epoch(CardCounters word) internal pure returns (uint256) {
        return uint24(CardCounters.unwrap(word) >> _EPOCH);
    }

    function highestTier(CardCounters word) internal pure returns (uint256) {
        return uint8(CardCounters.unwrap(word) >> _HIGHEST_TIER);
    }

    function has(CardCounters word, uint256 flag) internal pure returns (bool) {
        return CardCounters.unwrap(word) >> _FLAGS & flag != 0;
    }

    /// @param kind 0 mint, 1 claim.
    function limitOf(CardCounters word, uint256 kind) internal pure returns (uint256) {
        return DailyQuota.limitOf(CardCounters.unwrap(word), _QUOTAS, kind);
    }

    function usedOf(CardCounters word, uint256 kind, uint256 day) internal pure returns (uint256) {
        return DailyQuota.usedOf(CardCounters.unwrap(word), _QUOTAS, kind, day);
    }

    // ---------------------------------------------------------------------------------------------------------- writes

    /// @notice Adds cards and new member numbers. The sums must fit 32 bits.
    function withMore(CardCounters word, uint256 cards, uint256 numbers) internal pure returns (CardCounters) {
        unchecked {
            // No overflow and no carry between fields, by what the caller has checked.
            return CardCounters.wrap(CardCounters.unwrap(word) + (cards << _LIVING) + numbers);
        }
    }

    /// @notice Takes one living card away. There must be one.
    function withOneLess(CardCounters word) internal pure returns (CardCounters) {
        return CardCounters.wrap(CardCounters.unwrap(word) - (1 << _LIVING));
    }

    function withCap(CardCounters word, uint256 cap_) internal pure returns (CardCounters) {
        return CardCounters.wrap(CardCounters.unwrap(word) & ~(_MASK32 << _CAP) | cap_ << _CAP);
    }

    function withLimit(CardCounters word, uint256 kind, uint256 limit) internal pure returns (CardCounters) {
        return CardCounters.wrap(DailyQuota.withLimit(CardCounters.unwrap(word), _QUOTAS, kind, limit));
    }

    function spend(CardCounters word, uint256 kind, uint256 amount, uint256 day)
        internal
        pure
        returns (CardCounters, bool)
    {
        (uint256 spent, bool fits) = DailyQuota.spend(CardCounters.unwrap(word), _QUOTAS, _KINDS, kind, amount, day);
        return (CardCounters.wrap(spent), fits);
    }

    /// @notice Reverts where the field is full.
    function withNextEpoch(CardCounters word) internal pure returns (CardCounters) {
        uint24 next = uint24(epoch(word)) + 1;
        return
            CardCounters.wrap(
                CardCounters.unwrap(word) & ~(uint256(type(uint24).max) << _EPOCH) | uint256(next) << _EPOCH
            );
    }

    function withHighestTier(CardCounters word, uint256 tier) internal pure returns (CardCounters) {
        return CardCounters.wrap(
            CardCounters.unwrap(word) & ~(uint256(type(uint8).max) << _HIGHEST_TIER) | uint256(uint8(tier))
                << _HIGHEST_TIER
        );
    }

    function withFlag(CardCounters word, uint256 flag) internal pure returns (CardCounters) {
        return CardCounters.wrap(CardCounters.unwrap(word) | flag << _FLAGS);
    }

    function withoutFlag(CardCounters word, uint256 flag) internal pure returns (CardCounters) {
        return CardCounters.wrap(CardCounters.unwrap(word) & ~(flag << _FLAGS));
    }
}
