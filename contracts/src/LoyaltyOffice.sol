// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IERC721} from "./interfaces/IERC721.sol";
import {IERC4906} from "./interfaces/IERC4906.sol";
import {ILoyaltyMembership} from "./interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "./interfaces/ILoyaltyStamps.sol";
import {MembershipBase} from "./MembershipBase.sol";
import {CardCounters, CardCountersLib} from "./libraries/CardCounters.sol";
import {DailyQuota} from "./libraries/DailyQuota.sol";
import {MemberWord, MemberWords} from "./libraries/MemberWord.sol";
import {Permanence} from "./libraries/Permanence.sol";
import {Powers} from "./libraries/Powers.sol";
import {ProgramTerms} from "./libraries/ProgramTerms.sol";
import {Skip} from "./libraries/Skip.sol";
import {TierNames} from "./libraries/TierNames.sol";

/// @title The rarer acts of a membership contract
/// @dev Code without a state of its own: LoyaltyMembership runs it on a program's storage. Called directly it finds
/// itself owned by nobody and opened by nobody.
contract LoyaltyOffice is MembershipBase {
    // ----------------------------------------------------------------------------------------------------------- types

    bytes32 private constant _VETO = keccak256("Veto(address holder,uint24 nonce,uint40 deadline)");
    bytes32 private constant _MIGRATE =
        keccak256("Migrate(address from,address to,uint64 serial,uint64 replaces,uint24 nonce,uint40 deadline)");

    uint256 private constant _MOST_SEASONS = 8;

    // --------------------------------------------------------------------------------------------------------- opening

    constructor() {
        _initializeOwner(address(1));
    }

    /// @dev See ILoyaltyMembership.
    function initialize(ILoyaltyMembership.Opening calldata opening) external {
        // check
        if (owner() != address(0)) revert ILoyaltyMembership.LoyaltyMembership_AlreadyInitialized();
        if (msg.sender != ProgramTerms.factory()) {
            revert ILoyaltyMembership.LoyaltyMembership_NotAllowed(msg.sender);
        }
        if (opening.owner == address(0) || opening.stamps == address(0)) {
            revert ILoyaltyMembership.LoyaltyMembership_ZeroAddress();
        }
        // effect
        _initializeOwner(opening.owner);
        _counters = CardCounters.wrap(0).withCap(opening.cap).withLimit(Powers.MINT, opening.quotas.mint)
            .withLimit(Powers.CLAIM, opening.quotas.claim);
        _program = DailyQuota.withLimit(
            uint256(uint160(opening.stamps)) | 1 << _SEASONS, _MANAGE_ROW, 0, opening.quotas.manage
        );
        emit ILoyaltyMembership.CapSet(opening.cap);
        emit ILoyaltyMembership.QuotaSet(Powers.MINT, opening.quotas.mint);
        emit ILoyaltyMembership.QuotaSet(Powers.CLAIM, opening.quotas.claim);
        emit ILoyaltyMembership.QuotaSet(Powers.MANAGE, opening.quotas.manage);
        emit ILoyaltyMembership.SeasonLinked(0, opening.stamps);
        _setTiers(opening.tiers);
        for (uint256 i; i < opening.grants.length; ++i) {
            ILoyaltyMembership.Grant calldata grant = opening.grants[i];
            if (grant.account == address(0)) revert ILoyaltyMembership.LoyaltyMembership_ZeroAddress();
            if (grant.roles & ~Powers.ALL_ROLES != 0) {
                revert ILoyaltyMembership.LoyaltyMembership_DirtyBits(grant.roles);
            }
            _grantRoles(grant.account, grant.roles);
        }
        if (bytes(opening.baseURI).length != 0) _setBaseURI(opening.baseURI);
        if (bytes(opening.contractURI).length != 0) _setContractURI(opening.contractURI);
    }

    /// @dev See ILoyaltyMembership.
    function linkSeason(address stamps) external returns (uint256 season) {
        if (msg.sender != ProgramTerms.factory()) {
            revert ILoyaltyMembership.LoyaltyMembership_NotAllowed(msg.sender);
        }
        season = _seasonCount();
        if (season == _MOST_SEASONS) {
            revert ILoyaltyMembership.LoyaltyMembership_TooManySeasons(_MOST_SEASONS);
        }
        _laterSeasons[season] = stamps;
        _program += 1 << _SEASONS;
        emit ILoyaltyMembership.SeasonLinked(season, stamps);
    }

    // ------------------------------------------------------------------------------------------------- MINTER, MANAGER

    /// @dev See ILoyaltyMembership.
    function readmit(address to, uint8 tier, uint40 expiresAt_) external {
        // check
        _onlyRoles(Powers.MINTER | Powers.MANAGER);
        CardCounters counters = _notPaused();
        _checkCard(counters.highestTier(), to, tier, expiresAt_);
        MemberWord word = _members[to].word;
        if (!word.has(MemberWords.LEFT | MemberWords.REVOKED)) {
            uint256 code = word.refusal();
            revert ILoyaltyMembership.LoyaltyMembership_Refused(to, code == Skip.NONE ? Skip.NOT_HELD : code);
        }
        // effect
        emit ILoyaltyMembership.Readmitted(uint160(to), msg.sender);
        _issue(
            _members[to],
            to,
            word.withCard(block.timestamp, expiresAt_, tier, word.serial())
                .withoutFlags(MemberWords.LEFT | MemberWords.REVOKED)
        );
        _count(counters, Powers.MINT, 1, 0);
    }

    // -------------------------------------------------------------------------------------------------------- vouchers

    /// @dev See ILoyaltyMembership.
    function voidVoucher(address to) external {
        _onlyOwnerOr(Powers.MANAGER | Powers.GUARDIAN);
        if (to == address(0)) revert ILoyaltyMembership.LoyaltyMembership_ZeroAddress();
        MemberWord word = _members[to].word;
        uint256 code = word.refusal();
        if (code != Skip.NONE) revert ILoyaltyMembership.LoyaltyMembership_Refused(to, code);
        if (word.has(MemberWords.VOIDED)) return;
        _members[to].word = word.withFlag(MemberWords.VOIDED);
        emit ILoyaltyMembership.VoucherVoided(to);
    }

    /// @dev See ILoyaltyMembership.
    function voidBearer(uint256 word, uint256 mask) external {
        _onlyOwnerOr(Powers.MANAGER | Powers.GUARDIAN);
        _bearers[word] |= mask;
        emit ILoyaltyMembership.BearerVoided(word, mask);
    }

    /// @dev See ILoyaltyMembership.
    function raiseVoucherEpoch() external {
        _onlyOwnerOr(Powers.GUARDIAN);
        CardCounters counters = _counters.withNextEpoch();
        _counters = counters;
        emit ILoyaltyMembership.VoucherEpochRaised(counters.epoch());
    }

    // ---------------------------------------------------------------------------------------------------------- holder

    /// @dev See ILoyaltyMembership.
    function migrate(ILoyaltyMembership.Move calldata move, bytes calldata fromSignature, bytes calldata toSignature)
        external
    {
        // check
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (block.timestamp > move.deadline) {
            revert ILoyaltyMembership.LoyaltyMembership_Expired(move.deadline);
        }
        MemberWord source = _checkMove(move, false);
        // A member moves once in a while, and so does not trade. Who lost a wallet twice is not made to wait.
        if (source.movedAt() != 0) {
            uint256 until = source.movedAt() + ProgramTerms.moveCooldown();
            // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
            if (block.timestamp < until) {
                revert ILoyaltyMembership.LoyaltyMembership_CoolingDown(move.from, until);
            }
        }
        bytes32 digest = _hashTypedData(
            keccak256(abi.encode(_MIGRATE, move.from, move.to, move.serial, move.replaces, move.nonce, move.deadline))
        );
        _checkConsent(move.from, digest, fromSignature);
        _checkConsent(move.to, digest, toSignature);
        // effect and interaction
        _move(move.from, move.to, false);
    }

    /// @dev See ILoyaltyMembership.
    function vetoRecovery(address holder, uint40 deadline, bytes calldata signature) external {
        // check
        Proposal storage proposal = _proposals[holder];
        MemberWord word = _members[holder].word;
        if (proposal.to == address(0) || proposal.nonce != word.nonce()) {
            revert ILoyaltyMembership.LoyaltyMembership_NoRecovery(holder);
        }
        bool byPower = signature.length == 0
            && (msg.sender == owner() || (msg.sender == proposal.proposer && _mayStillPropose(proposal)));
        if (!byPower) {
            // Who was revoked has no say: the key may be a thief's, who would veto for ever.
            if (word.has(MemberWords.REVOKED)) {
                revert ILoyaltyMembership.LoyaltyMembership_Refused(holder, Skip.REVOKED);
            }
            _checkHolder(holder, deadline, keccak256(abi.encode(_VETO, holder, word.nonce(), deadline)), signature);
        }
        // effect
        delete _proposals[holder];
        // The next nonce is for the holder's signature, that it serve once. Others leave what the holder signed alone.
        if (!byPower) _members[holder].word = word.withNextNonce();
        emit ILoyaltyMembership.RecoveryVetoed(holder, byPower ? msg.sender : holder);
    }

    // ------------------------------------------------------------------------------------------------- GUARDIAN, owner

    /// @dev See ILoyaltyMembership.
    function proposeRecovery(address from, address to, string calldata reason) external {
        // check
        _onlyOwnerOr(Powers.GUARDIAN);
        MemberWord word = _members[from].word;
        ILoyaltyMembership.Move memory move = ILoyaltyMembership.Move({
            from: from, to: to, serial: uint64(word.cardSerial()), replaces: 0, nonce: uint24(word.nonce()), deadline: 0
        });
        _checkTarget(move, true);
        if (!_hasNumber(word) && !_holdsStamps(from)) {
            revert ILoyaltyMembership.LoyaltyMembership_NothingToMove(from);
        }
        Proposal storage pending = _proposals[from];
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (_stands(from, pending) && block.timestamp <= _endOf(pending)) {
            revert ILoyaltyMembership.LoyaltyMembership_RecoveryPending(from);
        }
        // effect
        uint256 readyAt = block.timestamp + ProgramTerms.recoveryDelay();
        _proposals[from] = Proposal({
            to: to,
            serial: move.serial,
            nonce: move.nonce,
            proposer: msg.sender,
            readyAt: uint40(readyAt),
            pausedBefore: uint40(_pausedSeconds())
        });
        emit ILoyaltyMembership.RecoveryProposed(from, to, move.serial, readyAt, msg.sender, reason);
    }

    /// @dev See ILoyaltyMembership.
    function executeRecovery(address from) external {
        // check
        _notPaused();
        Proposal storage proposal = _proposals[from];
        if (proposal.to == address(0)) revert ILoyaltyMembership.LoyaltyMembership_NoRecovery(from);
        if (!_mayStillPropose(proposal)) {
            revert ILoyaltyMembership.LoyaltyMembership_NotAllowed(proposal.proposer);
        }
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (block.timestamp < proposal.readyAt) {
            revert ILoyaltyMembership.LoyaltyMembership_RecoveryNotReady(proposal.readyAt);
        }
        uint256 end = _endOf(proposal);
        if (block.timestamp > end) revert ILoyaltyMembership.LoyaltyMembership_RecoveryEnded(end);
        _checkMove(
            ILoyaltyMembership.Move({
                from: from, to: proposal.to, serial: proposal.serial, replaces: 0, nonce: proposal.nonce, deadline: 0
            }),
            true
        );
        // effect and interaction
        address to = proposal.to;
        delete _proposals[from];
        _move(from, to, true);
    }

    /// @dev See ILoyaltyMembership.
    function pause() external {
        _onlyOwnerOr(Powers.GUARDIAN);
        CardCounters counters = _notPaused();
        _counters = counters.withFlag(CardCountersLib.PAUSED);
        _pauses.since = uint40(block.timestamp);
        emit ILoyaltyMembership.Paused(msg.sender);
    }

    /// @dev See ILoyaltyMembership.
    function setQuota(uint256 kind, uint24 limit) external {
        // check
        _onlyOwnerOr(Powers.GUARDIAN);
        if (kind > Powers.MANAGE) revert ILoyaltyMembership.LoyaltyMembership_QuotaKind(kind);
        uint256 program = _program;
        CardCounters counters = _counters;
        uint256 current = kind == Powers.MANAGE ? DailyQuota.limitOf(program, _MANAGE_ROW, 0) : counters.limitOf(kind);
        if (limit > current && msg.sender != owner()) {
            revert ILoyaltyMembership.LoyaltyMembership_QuotaOnlyLower(kind, current, limit);
        }
        // effect
        if (kind == Powers.MANAGE) _program = DailyQuota.withLimit(program, _MANAGE_ROW, 0, limit);
        else _counters = counters.withLimit(kind, limit);
        emit ILoyaltyMembership.QuotaSet(kind, limit);
    }

    // ----------------------------------------------------------------------------------------------------------- owner

    /// @dev See ILoyaltyMembership.
    function unpause() external {
        _onlyOwner();
        CardCounters counters = _counters;
        if (!counters.has(CardCountersLib.PAUSED)) {
            revert ILoyaltyMembership.LoyaltyMembership_NotPaused();
        }
        _counters = counters.withoutFlag(CardCountersLib.PAUSED);
        _pauses = PauseClock({since: 0, total: uint40(_pausedSeconds())});
        emit ILoyaltyMembership.Unpaused(msg.sender);
    }

    /// @dev See ILoyaltyMembership.
    function setCap(uint32 cap_) external {
        _onlyOwner();
        CardCounters counters = _counters;
        if (cap_ < counters.living()) {
            revert ILoyaltyMembership.LoyaltyMembership_CapBelowSupply(cap_, counters.living());
        }
        _counters = counters.withCap(cap_);
        emit ILoyaltyMembership.CapSet(cap_);
    }

    /// @dev See ILoyaltyMembership.
    function setTiers(string[] calldata names) external {
        _onlyOwner();
        _setTiers(names);
        emit IERC4906.BatchMetadataUpdate(0, type(uint256).max);
    }

    /// @dev See ILoyaltyMembership.
    function setBaseURI(string calldata uri) external {
        _onlyOwner();
        _notFrozen();
        _setBaseURI(uri);
        emit IERC4906.BatchMetadataUpdate(0, type(uint256).max);
    }

    /// @dev See ILoyaltyMembership.
    function setContractURI(string calldata uri) external {
        _onlyOwner();
        _notFrozen();
        _setContractURI(uri);
    }

    /// @dev See ILoyaltyMembership.
    function freezeMetadata() external {
        _onlyOwner();
        _notFrozen();
        if (!Permanence.isPermanent(_baseURI)) revert ILoyaltyMembership.LoyaltyMembership_NotPermanent(_baseURI);
        if (!Permanence.isPermanent(_contractURI)) {
            revert ILoyaltyMembership.LoyaltyMembership_NotPermanent(_contractURI);
        }
        _counters = _counters.withFlag(CardCountersLib.FROZEN);
        emit ILoyaltyMembership.MetadataFrozen();
    }

    // --------------------------------------------------------------------------------------------- internals: the move

    /// @dev What is asked already when a recovery is proposed: that neither wallet stands against it.
    function _checkTarget(ILoyaltyMembership.Move memory move, bool byRecovery)
        private
        view
        returns (MemberWord source)
    {
        if (move.from == address(0) || move.to == address(0)) {
            revert ILoyaltyMembership.LoyaltyMembership_ZeroAddress();
        }
        if (move.from == move.to) revert ILoyaltyMembership.LoyaltyMembership_SameWallet(move.from);
        source = _members[move.from].word;
        MemberWord target = _members[move.to].word;
        if (source.has(MemberWords.REVOKED) && !byRecovery) {
            revert ILoyaltyMembership.LoyaltyMembership_Refused(move.from, Skip.REVOKED);
        }
        if (target.has(MemberWords.REVOKED)) {
            revert ILoyaltyMembership.LoyaltyMembership_Refused(move.to, Skip.REVOKED);
        }
        if (target.has(MemberWords.MOVED)) {
            revert ILoyaltyMembership.LoyaltyMembership_Refused(move.to, Skip.MOVED);
        }
        // In a recovery the target is not asked, so who left stays out.
        if (target.has(MemberWords.LEFT) && byRecovery) {
            revert ILoyaltyMembership.LoyaltyMembership_Refused(move.to, Skip.LEFT);
        }
        // Nor is it asked whether it takes the revocation, so it must have nothing to lose by it: else one revoked wallet
        // would be a way to the stamps of others, who could then neither veto nor move them.
        if (source.has(MemberWords.REVOKED) && _holdsStamps(move.to)) {
            revert ILoyaltyMembership.LoyaltyMembership_Refused(move.to, Skip.ALREADY_HELD);
        }
        if (target.cardSerial() != move.replaces) {
            revert ILoyaltyMembership.LoyaltyMembership_WrongSerial(move.to, move.replaces, target.cardSerial());
        }
        // Stamps alone don't replace a card.
        if (!source.isHeld() && target.isHeld()) {
            revert ILoyaltyMembership.LoyaltyMembership_Refused(move.to, Skip.ALREADY_HELD);
        }
    }

    function _checkMove(ILoyaltyMembership.Move memory move, bool byRecovery) private view returns (MemberWord source) {
        source = _checkTarget(move, byRecovery);
        if (source.nonce() != move.nonce) {
            revert ILoyaltyMembership.LoyaltyMembership_WrongNonce(move.from, move.nonce, source.nonce());
        }
        if (source.cardSerial() != move.serial) {
            revert ILoyaltyMembership.LoyaltyMembership_WrongSerial(move.from, move.serial, source.cardSerial());
        }
    }

    /// @dev Whether there is a member number to carry: that of a card, or one kept through a revocation. Who left keeps
    /// a number too, but it ends when their stamps move.
    function _hasNumber(MemberWord word) private pure returns (bool) {
        return word.isHeld() || word.has(MemberWords.REVOKED);
    }

    /// @dev Moves what may move; `_checkMove` has been asked.
    function _move(address from, address to, bool byRecovery) private {
        MemberWord source = _members[from].word;
        MemberWord target = _members[to].word;
        // effect
        _members[from].word = source.withoutCard().withoutSerial().withoutFlags(MemberWords.LEFT | MemberWords.REVOKED)
            .withFlag(MemberWords.MOVED).withNextNonce();
        bool replaced = target.isHeld();
        target = target.withMovedAt(block.timestamp).withNextNonce();
        emit ILoyaltyMembership.Migrated(from, to, source.cardSerial());
        if (byRecovery) {
            emit ILoyaltyMembership.RecoveryExecuted(from, to, _hasNumber(source) ? source.serial() : 0);
        }
        if (replaced) {
            _counters = _counters.withOneLess();
            emit IERC721.Transfer(to, address(0), uint160(to));
        }
        if (source.isHeld()) {
            emit IERC721.Transfer(from, address(0), uint160(from));
            // A target that had left is a member again. The number it once had ends here, for it gets the moved one.
            _issue(
                _members[to],
                to,
                target.withCard(source.joinedAt(), source.expiresAt(), source.tier(), source.serial())
                    .withoutFlags(MemberWords.LEFT)
            );
        } else if (source.has(MemberWords.REVOKED)) {
            // The revocation goes along with the number: a readmission of the target brings the card back.
            _members[to].word = target.withSerial(source.serial()).withFlag(MemberWords.REVOKED);
        } else {
            // Stamps alone make no member: a target that had left stays so, or its old vouchers would live again.
            _members[to].word = target;
        }
        // interaction: with the stamp contracts of this program only, which call nobody.
        uint256 touched = 0;
        uint256 count = _seasonCount();
        for (uint256 i; i < count; ++i) {
            // slither-disable-next-line calls-loop (at most 8 contracts of ours)
            (uint256 moved, uint256 dropped) = ILoyaltyStamps(_stampsOf(i)).moveAll(from, to);
            touched |= moved | dropped;
        }
        if (!_hasNumber(source) && touched == 0) {
            revert ILoyaltyMembership.LoyaltyMembership_NothingToMove(from);
        }
    }

    function _holdsStamps(address wallet) private view returns (bool) {
        uint256 count = _seasonCount();
        for (uint256 i; i < count; ++i) {
            // slither-disable-next-line calls-loop,unused-return (at most 8 contracts of ours; held is what matters)
            (uint256 held,,) = ILoyaltyStamps(_stampsOf(i)).stampsOf(wallet);
            if (held != 0) return true;
        }
        return false;
    }

    // ----------------------------------------------------------------------------------------- internals: the settings

    function _setTiers(string[] calldata names) private {
        // check
        uint256 bad = TierNames.firstBad(names);
        if (names.length == 0 || bad < names.length) {
            revert ILoyaltyMembership.LoyaltyMembership_BadTierName(bad);
        }
        if (names.length > TierNames.MOST) {
            revert ILoyaltyMembership.LoyaltyMembership_BadTierName(TierNames.MOST);
        }
        CardCounters counters = _counters;
        // slither-disable-next-line timestamp (not a time: the counters' word holds one, too)
        if (names.length < counters.highestTier()) {
            revert ILoyaltyMembership.LoyaltyMembership_BadTier(names.length, counters.highestTier());
        }
        string memory joined = TierNames.join(names);
        // A drawn card shows its tier's name: freezing it freezes the name.
        if (counters.has(CardCountersLib.FROZEN) && !TierNames.keeps(joined, _tierNames)) {
            revert ILoyaltyMembership.LoyaltyMembership_MetadataFrozen();
        }
        // effect
        _tierNames = joined;
        _counters = counters.withHighestTier(names.length);
        emit ILoyaltyMembership.TiersSet(names);
    }

    function _setBaseURI(string calldata uri) private {
        _baseURI = uri;
        emit ILoyaltyMembership.BaseURISet(uri);
    }

    function _setContractURI(string calldata uri) private {
        _contractURI = uri;
        emit ILoyaltyMembership.ContractURIUpdated();
    }

    function _onlyOwner() private view {
        if (msg.sender != owner()) revert ILoyaltyMembership.LoyaltyMembership_NotAllowed(msg.sender);
    }

    function _notFrozen() private view {
        if (_counters.has(CardCountersLib.FROZEN)) {
            revert ILoyaltyMembership.LoyaltyMembership_MetadataFrozen();
        }
    }
}
