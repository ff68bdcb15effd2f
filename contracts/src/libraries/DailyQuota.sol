// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Limits per UTC day, packed into a word that is written anyway
/// @dev A row of quotas lies at bit `row` of a word: day uint24, then for each kind used uint24 and limit uint24. All
/// kinds of a row share the day. Days since 1970 fit 24 bits for 45,000 years.
library DailyQuota {
    uint256 private constant _FIELD = 0xffffff;
    /// @dev The `used` fields of three kinds and the day, relative to the row.
    uint256 private constant _USED = _FIELD << 24 | _FIELD << 72 | _FIELD << 120;

    function today() internal view returns (uint256) {
        return block.timestamp / 1 days;
    }

    function limitOf(uint256 word, uint256 row, uint256 kind) internal pure returns (uint256) {
        return word >> _shiftOf(row, kind) >> 24 & _FIELD;
    }

    /// @notice What was used of this kind on `day`.
    function usedOf(uint256 word, uint256 row, uint256 kind, uint256 day) internal pure returns (uint256) {
        return word >> row & _FIELD == day ? word >> _shiftOf(row, kind) & _FIELD : 0;
    }

    function withLimit(uint256 word, uint256 row, uint256 kind, uint256 limit) internal pure returns (uint256) {
        uint256 shift = _shiftOf(row, kind) + 24;
        return word & ~(_FIELD << shift) | (limit & _FIELD) << shift;
    }

    /// @notice Counts `amount` on `day`; a new day starts all `kinds` of the row at zero.
    /// @return The word, unchanged where it does not fit.
    /// @return Whether it fits under the limit.
    function spend(uint256 word, uint256 row, uint256 kinds, uint256 kind, uint256 amount, uint256 day)
        internal
        pure
        returns (uint256, bool)
    {
        uint256 started = word;
        if (word >> row & _FIELD != day) {
            uint256 usedFields = _USED & ((1 << (24 + 48 * kinds)) - 1);
            started = word & ~((usedFields | _FIELD) << row) | (day & _FIELD) << row;
        }
        uint256 shift = _shiftOf(row, kind);
        uint256 limit = started >> shift >> 24 & _FIELD;
        unchecked {
            // No overflow: `amount` counts what one transaction did, and the sum stays in its field because the limit,
            // as wide as the field, bounds it.
            if ((started >> shift & _FIELD) + amount > limit) return (word, false);
            return (started + (amount << shift), true);
        }
    }

    /// @dev Where the `used` field of a kind lies.
    function _shiftOf(uint256 row, uint256 kind) private pure returns (uint256) {
        unchecked {
            // No overflow: both are small constants of the calling contract.
            return row + 24 + 48 * kind;
        }
    }
}
