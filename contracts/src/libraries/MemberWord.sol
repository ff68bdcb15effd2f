// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Skip} from "./Skip.sol";

/// @dev Everything the membership knows of one wallet; layout in ILoyaltyMembership.wordsOf. Once written it never
/// returns to zero: a flag, a serial, a nonce or movedAt stays.
type MemberWord is uint256;

using MemberWords for MemberWord global;

/// @title Reading and writing the word of a wallet
library MemberWords {
    uint256 internal constant LEFT = 1;
    uint256 internal constant REVOKED = 2;
    uint256 internal constant MOVED = 4;
    uint256 internal constant VOIDED = 8;

    /// @dev What a gate is told of a wallet that has moved away: more than any tier.
    uint256 internal constant MOVED_STANDING = 256;

    uint256 private constant _EXPIRES_AT = 40;
    uint256 private constant _TIER = 80;
    uint256 private constant _SERIAL = 88;
    uint256 private constant _MOVED_AT = 152;
    uint256 private constant _NONCE = 192;
    uint256 private constant _FLAGS = 216;

    /// @dev joinedAt, expiresAt and tier.
    uint256 private constant _CARD_MASK = (1 << _SERIAL) - 1;
    /// @dev A card, or a flag that stands against one.
    uint256 private constant _REFUSING = type(uint40).max | (LEFT | REVOKED | MOVED) << _FLAGS;
    uint256 private constant _SERIAL_MASK = uint256(type(uint64).max) << _SERIAL;

    // ----------------------------------------------------------------------------------------------------------- reads

    function joinedAt(MemberWord word) internal pure returns (uint256) {
        return uint40(MemberWord.unwrap(word));
    }

    function expiresAt(MemberWord word) internal pure returns (uint256) {
        return uint40(MemberWord.unwrap(word) >> _EXPIRES_AT);
    }

    function tier(MemberWord word) internal pure returns (uint256) {
        return uint8(MemberWord.unwrap(word) >> _TIER);
    }

    function serial(MemberWord word) internal pure returns (uint256) {
        return uint64(MemberWord.unwrap(word) >> _SERIAL);
    }

    function movedAt(MemberWord word) internal pure returns (uint256) {
        return uint40(MemberWord.unwrap(word) >> _MOVED_AT);
    }

    function nonce(MemberWord word) internal pure returns (uint256) {
        return uint24(MemberWord.unwrap(word) >> _NONCE);
    }

    function flags(MemberWord word) internal pure returns (uint256) {
        return uint8(MemberWord.unwrap(word) >> _FLAGS);
    }

    function has(MemberWord word, uint256 flag) internal pure returns (bool) {
        return flags(word) & flag != 0;
    }

    /// @notice Whether there is a card.
    function isHeld(MemberWord word) internal pure returns (bool) {
        return joinedAt(word) != 0;
    }

    /// @notice Whether there is a card that has not expired.
    function isActive(MemberWord word) internal view returns (bool) {
        uint256 end = expiresAt(word);
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        return isHeld(word) && (end == 0 || block.timestamp < end);
    }

    /// @notice Serial of the card; 0 = there is no card, though the wallet may keep a number.
    function cardSerial(MemberWord word) internal pure returns (uint256) {
        return isHeld(word) ? serial(word) : 0;
    }

    /// @notice Why this wallet has no card and gets none by a plain mint; NONE = it was never a member.
    /// @dev LEFT, REVOKED and MOVED exclude each other: each act that sets one of them takes the others away.
    function absence(MemberWord word) internal pure returns (uint256) {
        uint256 set = flags(word);
        if (set & REVOKED != 0) return Skip.REVOKED;
        if (set & MOVED != 0) return Skip.MOVED;
        if (set & LEFT != 0) return Skip.LEFT;
        return Skip.NONE;
    }

    /// @notice Why a plain mint to this wallet is refused; NONE = it is not.
    function refusal(MemberWord word) internal pure returns (uint256) {
        if (MemberWord.unwrap(word) & _REFUSING == 0) return Skip.NONE;
        return isHeld(word) ? Skip.ALREADY_HELD : absence(word);
    }

    /// @notice Tier and serial as the MemberSet event tells them: they are neighbours in the word.
    function announced(MemberWord word) internal pure returns (uint256) {
        return uint72(MemberWord.unwrap(word) >> _TIER);
    }

    // ---------------------------------------------------------------------------------------------------------- writes

    /// @notice As `withCard` for a word that refuses nothing: it has neither card nor number yet.
    function withFirstCard(MemberWord word, uint256 joinedAt_, uint256 expiresAt_, uint256 tier_, uint256 serial_)
        internal
        pure
        returns (MemberWord)
    {
        return MemberWord.wrap(
            MemberWord.unwrap(word) | joinedAt_ | expiresAt_ << _EXPIRES_AT | tier_ << _TIER | serial_ << _SERIAL
        );
    }

    /// @notice Puts a card and its number into the word. The values must fit their fields.
    function withCard(MemberWord word, uint256 joinedAt_, uint256 expiresAt_, uint256 tier_, uint256 serial_)
        internal
        pure
        returns (MemberWord)
    {
        return MemberWord.wrap(
            MemberWord.unwrap(word) & ~(_CARD_MASK | _SERIAL_MASK) | joinedAt_ | expiresAt_ << _EXPIRES_AT | tier_
                << _TIER | serial_ << _SERIAL
        );
    }

    /// @notice Takes the card away and leaves the number.
    function withoutCard(MemberWord word) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) & ~_CARD_MASK);
    }

    /// @notice Puts a number into a word that has none.
    function withSerial(MemberWord word, uint256 serial_) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) | serial_ << _SERIAL);
    }

    function withoutSerial(MemberWord word) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) & ~_SERIAL_MASK);
    }

    function withExpiresAt(MemberWord word, uint256 expiresAt_) internal pure returns (MemberWord) {
        return MemberWord.wrap(
            MemberWord.unwrap(word) & ~(uint256(type(uint40).max) << _EXPIRES_AT) | expiresAt_ << _EXPIRES_AT
        );
    }

    function withTier(MemberWord word, uint256 tier_) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) & ~(uint256(type(uint8).max) << _TIER) | tier_ << _TIER);
    }

    function withMovedAt(MemberWord word, uint256 movedAt_) internal pure returns (MemberWord) {
        return
            MemberWord.wrap(MemberWord.unwrap(word) & ~(uint256(type(uint40).max) << _MOVED_AT) | movedAt_ << _MOVED_AT);
    }

    function withFlag(MemberWord word, uint256 flag) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) | flag << _FLAGS);
    }

    function withoutFlags(MemberWord word, uint256 set) internal pure returns (MemberWord) {
        return MemberWord.wrap(MemberWord.unwrap(word) & ~(set << _FLAGS));
    }

    /// @notice Makes everything the wallet signed so far worthless. Reverts where the field is full.
    function withNextNonce(MemberWord word) internal pure returns (MemberWord) {
        uint24 next = uint24(nonce(word)) + 1;
        return
            MemberWord.wrap(MemberWord.unwrap(word) & ~(uint256(type(uint24).max) << _NONCE) | uint256(next) << _NONCE);
    }
}
