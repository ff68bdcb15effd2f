// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OwnableRoles} from "solady/auth/OwnableRoles.sol";
import {EIP712} from "solady/utils/EIP712.sol";

import {IERC721} from "./interfaces/IERC721.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IERC7858} from "./interfaces/IERC7858.sol";
import {ILoyaltyMembership} from "./interfaces/ILoyaltyMembership.sol";
import {CardCounters, CardCountersLib} from "./libraries/CardCounters.sol";
import {Consent} from "./libraries/Consent.sol";
import {MemberWord} from "./libraries/MemberWord.sol";
import {Powers} from "./libraries/Powers.sol";
import {ProgramTerms} from "./libraries/ProgramTerms.sol";

/// @title What both halves of a membership contract share: the storage, the powers, and how a card comes to life
/// @dev The code is in two contracts because one would exceed what may be deployed (EIP-170). LoyaltyMembership is the
/// face: it does the frequent acts and all reads itself, and lets LoyaltyOffice do the rarer acts on its storage. Both
/// inherit this contract and declare no storage of their own, so they agree on its layout.
abstract contract MembershipBase is OwnableRoles, EIP712 {
    // ----------------------------------------------------------------------------------------------------------- types

    /// @dev Two slots. `to` zero = there is none. `pausedBefore` = seconds the program had been paused in its life when
    /// this was proposed.
    struct Proposal {
        address to;
        uint64 serial;
        uint24 nonce;
        address proposer;
        uint40 readyAt;
        uint40 pausedBefore;
    }

    /// @dev A struct only so that a reference to it can be handed on, and its place is computed once per mint.
    struct Record {
        MemberWord word;
    }

    /// @dev `since` = 0 while not paused; `total` = seconds of all pauses that have ended.
    struct PauseClock {
        uint40 since;
        uint40 total;
    }

    uint256 internal constant _RECOVERY_WINDOW = 14 days;

    // Layout of `_program`, from the lowest bit: stamps of season 0, the manager's quota row (day, used, limit), number
    // of seasons.
    uint256 internal constant _MANAGE_ROW = 160;
    uint256 internal constant _SEASONS = 232;

    // --------------------------------------------------------------------------------------------------------- storage

    // Some of these are written by one half only, which looks to slither as if the other never did.
    // slither-disable-start uninitialized-state,constable-states
    mapping(address wallet => Record) internal _members;
    CardCounters internal _counters;
    uint256 internal _program;
    PauseClock internal _pauses;
    mapping(uint256 season => address stamps) internal _laterSeasons;
    mapping(uint256 word => uint256 mask) internal _bearers;
    mapping(address from => Proposal) internal _proposals;
    mapping(address account => uint256 timestamp) internal _lostPowerAt;
    string internal _tierNames;
    string internal _baseURI;
    string internal _contractURI;

    // slither-disable-end uninitialized-state,constable-states

    // -------------------------------------------------------------------------------------------- reads that both need

    /// @dev Season 0 is the first; zero = there is no such season.
    function _stampsOf(uint256 season) internal view returns (address) {
        return season == 0 ? address(uint160(_program)) : _laterSeasons[season];
    }

    function _seasonCount() internal view returns (uint256) {
        return uint8(_program >> _SEASONS);
    }

    // ---------------------------------------------------------------------------------------- how a card comes to life

    /// @dev What is asked of a card whoever gets it.
    function _checkCard(uint256 highest, address to, uint256 tier, uint256 expiresAt) internal view {
        if (to == address(0)) revert ILoyaltyMembership.LoyaltyMembership_ZeroAddress();
        unchecked {
            // On purpose 0 - 1 is the largest number: tier 0 is above all tiers, expiry 0 is after all times.
            if (tier - 1 >= highest) revert ILoyaltyMembership.LoyaltyMembership_BadTier(tier, highest);
            // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
            if (expiresAt - 1 < block.timestamp) {
                revert ILoyaltyMembership.LoyaltyMembership_PastExpiry(to, expiresAt);
            }
        }
    }

    /// @dev Writes a word with a card and tells of it: the one place a card comes to life.
    function _issue(Record storage record, address to, MemberWord word) internal {
        record.word = word;
        uint256 tokenId = uint160(to);
        emit IERC721.Transfer(address(0), to, tokenId);
        emit IERC5192.Locked(tokenId);
        emit IERC7858.TokenExpiryUpdated(tokenId, word.joinedAt(), word.expiresAt());
        emit ILoyaltyMembership.MemberSet(tokenId, word.announced());
    }

    /// @dev Counts cards that came to life and member numbers given out, against the cap and the day's quota.
    function _count(CardCounters counters, uint256 kind, uint256 cards, uint256 numbers) internal {
        unchecked {
            // No overflow: fields of 32 bits, and counts of what one transaction did. Numbers are bounded like cards,
            // for they have a field of 32 bits too.
            if (counters.living() + cards > counters.cap() || counters.issued() + numbers > type(uint32).max) {
                revert ILoyaltyMembership.LoyaltyMembership_CapReached(counters.cap());
            }
        }
        (CardCounters spent, bool fits) = counters.spend(kind, cards, block.timestamp / 1 days);
        if (!fits) {
            revert ILoyaltyMembership.LoyaltyMembership_QuotaExceeded(kind, counters.limitOf(kind));
        }
        _counters = spent.withMore(cards, numbers);
    }

    // -------------------------------------------------------------------------------------------------------- recovery

    /// @dev Whether nothing has cancelled it: the holder has not acted, the card is the same, and the proposer has had
    /// the power ever since.
    function _stands(address from, Proposal storage proposal) internal view returns (bool) {
        MemberWord word = _members[from].word;
        return proposal.to != address(0) && proposal.nonce == word.nonce() && proposal.serial == word.cardSerial()
            && _mayStillPropose(proposal);
    }

    function _mayStillPropose(Proposal storage proposal) internal view returns (bool) {
        address proposer = proposal.proposer;
        uint256 proposedAt = proposal.readyAt - ProgramTerms.recoveryDelay();
        return (proposer == owner() || hasAnyRole(proposer, Powers.GUARDIAN)) && _lostPowerAt[proposer] < proposedAt;
    }

    /// @dev Last second at which it can be executed. Each second of pause since the proposal adds one; a proposal that
    /// has ended stays so, for during a pause the end comes no nearer to the present.
    function _endOf(Proposal storage proposal) internal view returns (uint256) {
        return proposal.readyAt + _RECOVERY_WINDOW + _pausedSeconds() - proposal.pausedBefore;
    }

    /// @dev Seconds the program has been paused in its life.
    function _pausedSeconds() internal view returns (uint256) {
        uint256 since = _pauses.since;
        return since > 0 ? _pauses.total + (block.timestamp - since) : _pauses.total;
    }

    // ------------------------------------------------------------------------------------------------- who and whether

    function _onlyRoles(uint256 roles) internal view {
        if (rolesOf(msg.sender) & roles == 0) {
            revert ILoyaltyMembership.LoyaltyMembership_NotAllowed(msg.sender);
        }
    }

    function _onlyOwnerOr(uint256 roles) internal view {
        if (msg.sender != owner() && !hasAnyRole(msg.sender, roles)) {
            revert ILoyaltyMembership.LoyaltyMembership_NotAllowed(msg.sender);
        }
    }

    function _notPaused() internal view returns (CardCounters counters) {
        counters = _counters;
        if (counters.has(CardCountersLib.PAUSED)) revert ILoyaltyMembership.LoyaltyMembership_Paused();
    }

    function _checkConsent(address signer, bytes32 digest, bytes calldata signature) internal view {
        if (!Consent.given(signer, digest, signature)) {
            revert ILoyaltyMembership.LoyaltyMembership_NoConsent(signer);
        }
    }

    /// @dev A holder who calls needs no deadline; a signature does.
    function _checkHolder(address holder, uint256 deadline, bytes32 structHash, bytes calldata signature)
        internal
        view
    {
        if (msg.sender == holder) return;
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (block.timestamp > deadline) revert ILoyaltyMembership.LoyaltyMembership_Expired(deadline);
        _checkConsent(holder, _hashTypedData(structHash), signature);
    }

    // -------------------------------------------------------------------------------- what the inherited code asks for

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("LoyaltyMembership", "1");
    }

    function _guardInitializeOwner() internal pure override returns (bool) {
        return true;
    }

    function _ownershipHandoverValidFor() internal pure override returns (uint64) {
        return 14 days;
    }

    /// @dev Remembers who lost a guardian's power, for that ends what they proposed.
    function _updateRoles(address user, uint256 roles, bool on) internal override {
        if (!on && hasAnyRole(user, roles & Powers.GUARDIAN)) _lostPowerAt[user] = block.timestamp;
        super._updateRoles(user, roles, on);
    }

    /// @dev As `_updateRoles`, for the power that comes with ownership.
    function _setOwner(address newOwner) internal override {
        _lostPowerAt[owner()] = block.timestamp;
        super._setOwner(newOwner);
    }
}
