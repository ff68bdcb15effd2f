// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibString} from "solady/utils/LibString.sol";

import {IERC165} from "./interfaces/IERC165.sol";
import {IERC721} from "./interfaces/IERC721.sol";
import {IERC721Metadata} from "./interfaces/IERC721Metadata.sol";
import {IERC4906} from "./interfaces/IERC4906.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {IERC7858} from "./interfaces/IERC7858.sol";
import {ILoyaltyMembership} from "./interfaces/ILoyaltyMembership.sol";
import {ILoyaltyRenderer} from "./interfaces/ILoyaltyRenderer.sol";
import {ILoyaltyStamps} from "./interfaces/ILoyaltyStamps.sol";
import {IProgram} from "./interfaces/IProgram.sol";
import {LoyaltyOffice} from "./LoyaltyOffice.sol";
import {MembershipBase} from "./MembershipBase.sol";
import {CardCounters, CardCountersLib} from "./libraries/CardCounters.sol";
import {Consent} from "./libraries/Consent.sol";
import {DailyQuota} from "./libraries/DailyQuota.sol";
import {MemberWord, MemberWords} from "./libraries/MemberWord.sol";
import {Powers} from "./libraries/Powers.sol";
import {ProgramTerms} from "./libraries/ProgramTerms.sol";
import {Skip} from "./libraries/Skip.sol";
import {TierNames} from "./libraries/TierNames.sol";

/// @title The membership cards of one loyalty program, and the seat of its powers
contract LoyaltyMembership is IProgram, IERC4906, IERC5192, IERC7858, MembershipBase {
    // ----------------------------------------------------------------------------------------------------------- types

    bytes32 private constant _CARD_VOUCHER =
        keccak256("CardVoucher(address to,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)");
    bytes32 private constant _BEARER_CARD_VOUCHER = keccak256(
        "BearerCardVoucher(address claimKey,uint32 index,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)"
    );
    bytes32 private constant _CLAIM = keccak256(
        "Claim(BearerCardVoucher voucher,address claimer)"
        "BearerCardVoucher(address claimKey,uint32 index,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)"
    );
    bytes32 private constant _BURN = keccak256("Burn(address holder,uint24 nonce,uint40 deadline)");

    ILoyaltyRenderer private immutable _renderer;
    address private immutable _office;

    // --------------------------------------------------------------------------------------------------------- opening

    /// @dev The code that clones point to belongs to nobody and can't be opened. It brings its other half along, so
    /// that the two always fit.
    constructor(ILoyaltyRenderer renderer) {
        _renderer = renderer;
        _office = address(new LoyaltyOffice());
        _initializeOwner(address(1));
    }

    // ---------------------------------------------------------------------------------------------- reads of the cards

    /// @inheritdoc ILoyaltyMembership
    function isActive(address holder) external view returns (bool) {
        return _members[holder].word.isActive();
    }

    /// @inheritdoc ILoyaltyMembership
    function areActive(address[] calldata holders) external view returns (bool[] memory active) {
        active = new bool[](holders.length);
        for (uint256 i; i < holders.length; ++i) {
            active[i] = _members[holders[i]].word.isActive();
        }
    }

    /// @inheritdoc ILoyaltyMembership
    function membershipOf(address holder) external view returns (Member memory) {
        MemberWord word = _members[holder].word;
        return Member({
            joinedAt: uint40(word.joinedAt()),
            expiresAt: uint40(word.expiresAt()),
            tier: uint8(word.tier()),
            serial: uint64(word.serial()),
            movedAt: uint40(word.movedAt()),
            nonce: uint24(word.nonce()),
            flags: uint8(word.flags()),
            active: word.isActive()
        });
    }

    /// @inheritdoc ILoyaltyMembership
    function wordsOf(address[] calldata holders) external view returns (uint256[] memory words) {
        words = new uint256[](holders.length);
        for (uint256 i; i < holders.length; ++i) {
            words[i] = MemberWord.unwrap(_members[holders[i]].word);
        }
    }

    /// @inheritdoc ILoyaltyMembership
    function holdingsOf(address holder) external view returns (uint256 card, uint256[] memory stamps) {
        card = MemberWord.unwrap(_members[holder].word);
        address[] memory wallets = new address[](1);
        wallets[0] = holder;
        stamps = new uint256[](_seasonCount());
        for (uint256 i; i < stamps.length; ++i) {
            // slither-disable-next-line calls-loop (at most 8 contracts of ours)
            stamps[i] = ILoyaltyStamps(_stampsOf(i)).wordsOf(wallets)[0];
        }
    }

    /// @inheritdoc ILoyaltyMembership
    function standingsOf(uint256[] calldata items) external view returns (uint256[] memory tiers) {
        tiers = new uint256[](items.length);
        for (uint256 i; i < items.length; ++i) {
            MemberWord word = _members[address(uint160(items[i]))].word;
            if (word.isActive()) tiers[i] = word.tier();
            else if (word.has(MemberWords.MOVED)) tiers[i] = MemberWords.MOVED_STANDING;
        }
    }

    /// @inheritdoc IERC721
    function balanceOf(address holder) external view returns (uint256) {
        if (holder == address(0)) revert LoyaltyMembership_ZeroAddress();
        return _members[holder].word.isHeld() ? 1 : 0;
    }

    /// @inheritdoc IERC721
    function ownerOf(uint256 tokenId) external view returns (address) {
        _existing(tokenId);
        return address(uint160(tokenId));
    }

    /// @inheritdoc IERC721
    function getApproved(uint256 tokenId) external view returns (address) {
        _existing(tokenId);
        return address(0);
    }

    /// @inheritdoc IERC721
    function isApprovedForAll(address, address) external pure returns (bool) {
        return false;
    }

    /// @inheritdoc IERC5192
    function locked(uint256 tokenId) external view returns (bool) {
        _existing(tokenId);
        return true;
    }

    /// @inheritdoc IERC7858
    function expiryType() external pure returns (EXPIRY_TYPE) {
        return EXPIRY_TYPE.TIME_BASED;
    }

    /// @inheritdoc IERC7858
    function startTime(uint256 tokenId) external view returns (uint256) {
        return _expiring(tokenId).joinedAt();
    }

    /// @inheritdoc IERC7858
    function endTime(uint256 tokenId) external view returns (uint256) {
        return _expiring(tokenId).expiresAt();
    }

    /// @inheritdoc IERC7858
    function isTokenExpired(uint256 tokenId) external view returns (bool) {
        return !_expiring(tokenId).isActive();
    }

    /// @notice As in ERC-5643, whose other functions make no sense here.
    /// @return Unix seconds; 0 = for life.
    function expiresAt(uint256 tokenId) external view returns (uint64) {
        return uint64(_existing(tokenId).expiresAt());
    }

    /// @notice Whether a manager may prolong the card: all but cards for life, also after they expired.
    function isRenewable(uint256 tokenId) external view returns (bool) {
        return _existing(tokenId).expiresAt() != 0;
    }

    /// @inheritdoc IERC721Metadata
    function tokenURI(uint256 tokenId) external view returns (string memory) {
        MemberWord word = _existing(tokenId);
        string memory base = _baseURI;
        if (bytes(base).length != 0) return string.concat(base, LibString.toString(tokenId));
        (uint24 background, uint24 ink) = ProgramTerms.look();
        return _renderer.card(
            ILoyaltyRenderer.Card({
                program: ProgramTerms.name(),
                tierName: TierNames.split(_tierNames)[word.tier() - 1],
                serial: word.serial(),
                joinedAt: word.joinedAt(),
                expiresAt: word.expiresAt(),
                background: background,
                ink: ink
            })
        );
    }

    // -------------------------------------------------------------------------------------------- reads of the program

    /// @inheritdoc IERC721Metadata
    function name() external view returns (string memory) {
        return ProgramTerms.name();
    }

    /// @inheritdoc IERC721Metadata
    function symbol() external view returns (string memory) {
        return ProgramTerms.symbol();
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == 0x80ac58cd // ERC-721
            || interfaceId == 0x5b5e139f // ERC-721 metadata
            || interfaceId == 0x49064906 // ERC-4906
            || interfaceId == type(IERC5192).interfaceId || interfaceId == type(IERC7858).interfaceId;
    }

    /// @inheritdoc ILoyaltyMembership
    function powersOf(address account)
        external
        view
        returns (uint256 roles, bool isOwner, bool isPaused, uint256 epoch)
    {
        CardCounters counters = _counters;
        return (rolesOf(account), account == owner(), counters.has(CardCountersLib.PAUSED), counters.epoch());
    }

    /// @inheritdoc ILoyaltyMembership
    function totalSupply() external view returns (uint256) {
        return _counters.living();
    }

    /// @inheritdoc ILoyaltyMembership
    function issued() external view returns (uint256) {
        return _counters.issued();
    }

    /// @inheritdoc ILoyaltyMembership
    function cap() external view returns (uint256) {
        return _counters.cap();
    }

    /// @inheritdoc ILoyaltyMembership
    function paused() external view returns (bool) {
        return _counters.has(CardCountersLib.PAUSED);
    }

    /// @inheritdoc ILoyaltyMembership
    function voucherEpoch() external view returns (uint256) {
        return _counters.epoch();
    }

    /// @inheritdoc ILoyaltyMembership
    function quotaOf(uint256 kind) external view returns (uint256 limit, uint256 used) {
        uint256 day = DailyQuota.today();
        if (kind == Powers.MANAGE) {
            uint256 program = _program;
            return (DailyQuota.limitOf(program, _MANAGE_ROW, 0), DailyQuota.usedOf(program, _MANAGE_ROW, 0, day));
        }
        if (kind > Powers.MANAGE) revert LoyaltyMembership_QuotaKind(kind);
        CardCounters counters = _counters;
        return (counters.limitOf(kind), counters.usedOf(kind, day));
    }

    /// @inheritdoc ILoyaltyMembership
    function tierNames() external view returns (string[] memory) {
        return TierNames.split(_tierNames);
    }

    /// @inheritdoc ILoyaltyMembership
    function baseURI() external view returns (string memory) {
        return _baseURI;
    }

    /// @inheritdoc ILoyaltyMembership
    function contractURI() external view returns (string memory) {
        string memory uri = _contractURI;
        if (bytes(uri).length != 0) return uri;
        return _renderer.collection(ProgramTerms.name(), ProgramTerms.symbol());
    }

    /// @inheritdoc ILoyaltyMembership
    function metadataFrozen() external view returns (bool) {
        return _counters.has(CardCountersLib.FROZEN);
    }

    /// @inheritdoc ILoyaltyMembership
    function stampsOfSeason(uint256 season) external view returns (address) {
        return _stampsOf(season);
    }

    /// @inheritdoc ILoyaltyMembership
    function seasons() external view returns (uint256) {
        return _seasonCount();
    }

    /// @inheritdoc ILoyaltyMembership
    function recoveryOf(address from) external view returns (Recovery memory recovery) {
        Proposal storage proposal = _proposals[from];
        if (!_stands(from, proposal)) return recovery;
        return Recovery({
            to: proposal.to,
            proposer: proposal.proposer,
            serial: proposal.serial,
            nonce: proposal.nonce,
            readyAt: proposal.readyAt,
            endsAt: uint40(_endOf(proposal))
        });
    }

    /// @inheritdoc ILoyaltyMembership
    function bearerWord(uint256 word) external view returns (uint256 mask) {
        return _bearers[word];
    }

    /// @inheritdoc ILoyaltyMembership
    function fixedTerms()
        external
        view
        returns (address factory, uint256 recoveryDelay, uint256 moveCooldown, uint24 background, uint24 ink)
    {
        (background, ink) = ProgramTerms.look();
        return (ProgramTerms.factory(), ProgramTerms.recoveryDelay(), ProgramTerms.moveCooldown(), background, ink);
    }

    /// @inheritdoc ILoyaltyMembership
    function digestOf(bytes32 structHash) external view returns (bytes32) {
        return _hashTypedData(structHash);
    }

    // ---------------------------------------------------------------------------------- what a soulbound token refuses

    /// @inheritdoc IERC721
    function transferFrom(address, address, uint256 tokenId) external pure {
        revert LoyaltyMembership_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function safeTransferFrom(address, address, uint256 tokenId) external pure {
        revert LoyaltyMembership_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function safeTransferFrom(address, address, uint256 tokenId, bytes calldata) external pure {
        revert LoyaltyMembership_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function approve(address, uint256 tokenId) external pure {
        revert LoyaltyMembership_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function setApprovalForAll(address, bool) external pure {
        revert LoyaltyMembership_Soulbound(0);
    }

    /// @notice Refused: ownership passes in two steps (request by the new owner, completion by the old one).
    function transferOwnership(address) public payable override {
        revert LoyaltyMembership_Disabled();
    }

    /// @notice Refused: a program without an owner could never be unpaused.
    function renounceOwnership() public payable override {
        revert LoyaltyMembership_Disabled();
    }

    // ---------------------------------------------------------------------------------------------------------- MINTER

    /// @inheritdoc ILoyaltyMembership
    function mint(address to, uint8 tier, uint40 expiresAt_) external {
        _onlyRoles(Powers.MINTER);
        _mintOne(Powers.MINT, to, tier, expiresAt_);
    }

    /// @inheritdoc ILoyaltyMembership
    function mintBatch(uint256[] calldata items) external {
        _onlyRoles(Powers.MINTER);
        CardCounters counters = _notPaused();
        uint256 highest = counters.highestTier();
        uint256 serial = counters.issued();
        for (uint256 i; i < items.length; ++i) {
            uint256 item = items[i];
            if (item >> 208 != 0) revert LoyaltyMembership_DirtyBits(item);
            address to = address(uint160(item));
            unchecked {
                // No overflow: serial < 2^32 + items.length, and a transaction has room for few items.
                uint256 code = _tryMint(highest, to, uint8(item >> 160), item >> 168, serial + 1);
                if (code == Skip.NONE) ++serial;
                else emit Skipped(uint160(to), code);
            }
        }
        uint256 minted = serial - counters.issued();
        // slither-disable-next-line timestamp (not a time: the counters' word holds one, too)
        if (minted != 0) _count(counters, Powers.MINT, minted, minted);
    }

    // -------------------------------------------------------------------------------------------------------- vouchers

    /// @inheritdoc ILoyaltyMembership
    function claim(CardVoucher calldata voucher, address signer, bytes calldata signature) external {
        bytes32 structHash = keccak256(
            abi.encode(_CARD_VOUCHER, voucher.to, voucher.tier, voucher.expiresAt, voucher.epoch, voucher.deadline)
        );
        _checkVoucher(voucher.epoch, voucher.deadline, signer, structHash, signature);
        if (_members[voucher.to].word.has(MemberWords.VOIDED)) {
            revert LoyaltyMembership_VoucherUsed(uint160(voucher.to));
        }
        _mintOne(Powers.CLAIM, voucher.to, voucher.tier, voucher.expiresAt);
    }

    /// @inheritdoc ILoyaltyMembership
    function claimBearer(
        BearerCardVoucher calldata voucher,
        address signer,
        bytes calldata signature,
        bytes calldata keySignature,
        address claimer,
        bytes calldata consent
    ) external {
        // check
        bytes32 structHash = _hashBearer(voucher);
        _checkVoucher(voucher.epoch, voucher.deadline, signer, structHash, signature);
        bytes32 digest = _hashTypedData(keccak256(abi.encode(_CLAIM, structHash, claimer)));
        if (!Consent.signedBy(voucher.claimKey, digest, keySignature)) {
            revert LoyaltyMembership_NoConsent(voucher.claimKey);
        }
        _checkConsent(claimer, digest, consent);
        // effect
        _spendBearer(voucher.index, claimer);
        _mintOne(Powers.CLAIM, claimer, voucher.tier, voucher.expiresAt);
    }

    // --------------------------------------------------------------------------------------------------------- MANAGER

    /// @inheritdoc ILoyaltyMembership
    function renewBatch(uint256[] calldata items) external {
        _onlyRoles(Powers.MANAGER);
        _notPaused();
        uint256 changed = 0;
        for (uint256 i; i < items.length; ++i) {
            uint256 item = items[i];
            if (item >> 240 != 0) revert LoyaltyMembership_DirtyBits(item);
            address holder = address(uint160(item));
            uint256 code = _tryRenew(holder, uint40(item >> 160), item >> 200);
            if (code == Skip.NONE) ++changed;
            else emit Skipped(uint160(holder), code);
        }
        _countManaged(changed);
    }

    /// @inheritdoc ILoyaltyMembership
    function setTierBatch(uint256[] calldata items) external {
        _onlyRoles(Powers.MANAGER);
        uint256 highest = _notPaused().highestTier();
        uint256 changed = 0;
        for (uint256 i; i < items.length; ++i) {
            uint256 item = items[i];
            if (item >> 168 != 0) revert LoyaltyMembership_DirtyBits(item);
            address holder = address(uint160(item));
            uint256 tier = item >> 160;
            // slither-disable-next-line timestamp (not a time: the counters' word holds one, too)
            if (tier == 0 || tier > highest) revert LoyaltyMembership_BadTier(tier, highest);
            uint256 code = _trySetTier(holder, tier);
            if (code == Skip.NONE) ++changed;
            else emit Skipped(uint160(holder), code);
        }
        _countManaged(changed);
    }

    /// @inheritdoc ILoyaltyMembership
    function revoke(address holder, string calldata reason) external {
        // check
        _onlyRoles(Powers.MANAGER);
        MemberWord word = _members[holder].word;
        bool held = word.isHeld();
        // Leaving first is no way around it.
        if (!held && !word.has(MemberWords.LEFT)) revert LoyaltyMembership_NotFound(uint160(holder));
        // effect
        _countManaged(1);
        // The next nonce ends a proposed recovery and all that the holder signed, also for the time after a
        // readmission.
        _members[holder].word =
            word.withoutCard().withoutFlags(MemberWords.LEFT).withFlag(MemberWords.REVOKED).withNextNonce();
        if (held) {
            _counters = _counters.withOneLess();
            emit Transfer(holder, address(0), uint160(holder));
        }
        emit CardRevoked(uint160(holder), msg.sender, reason);
    }

    // ---------------------------------------------------------------------------------------------------------- holder

    /// @inheritdoc ILoyaltyMembership
    function burn(address holder, uint40 deadline, bytes calldata signature) external {
        // check
        MemberWord word = _existing(uint160(holder));
        _checkHolder(holder, deadline, keccak256(abi.encode(_BURN, holder, word.nonce(), deadline)), signature);
        // effect
        _counters = _counters.withOneLess();
        _members[holder].word = word.withoutCard().withFlag(MemberWords.LEFT).withNextNonce();
        emit Transfer(holder, address(0), uint160(holder));
    }

    // -------------------------------------------------------------------------------------------- what the office does

    /// @inheritdoc ILoyaltyMembership
    function initialize(Opening calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function linkSeason(address) external returns (uint256) {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function readmit(address, uint8, uint40) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function voidVoucher(address) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function voidBearer(uint256, uint256) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function raiseVoucherEpoch() external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function migrate(Move calldata, bytes calldata, bytes calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function vetoRecovery(address, uint40, bytes calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function proposeRecovery(address, address, string calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function executeRecovery(address) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function pause() external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function setQuota(uint256, uint24) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function unpause() external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function setCap(uint32) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function setTiers(string[] calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function setBaseURI(string calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function setContractURI(string calldata) external {
        _byOffice();
    }

    /// @inheritdoc ILoyaltyMembership
    function freezeMetadata() external {
        _byOffice();
    }

    /// @dev Runs the office's code on this contract's storage, for the same caller and with the same arguments, and
    /// ends the call with its answer or its error. Needs assembly to return another function's answer. Proof: the
    /// memory is used from zero, over all that Solidity keeps there, and never by Solidity again, for both ways out
    /// leave the call.
    // slither-disable-next-line assembly (proven above)
    function _byOffice() private {
        address office = _office;
        assembly {
            calldatacopy(0x00, 0x00, calldatasize())
            let done := delegatecall(gas(), office, 0x00, calldatasize(), 0x00, 0x00)
            returndatacopy(0x00, 0x00, returndatasize())
            if iszero(done) { revert(0x00, returndatasize()) }
            return(0x00, returndatasize())
        }
    }

    // --------------------------------------------------------------------------------------------- internals: the mint

    /// @dev Mint and claim of one card.
    function _mintOne(uint256 kind, address to, uint256 tier, uint256 expiresAt_) private {
        CardCounters counters = _notPaused();
        uint256 serial;
        unchecked {
            // No overflow: a field of 32 bits.
            serial = counters.issued() + 1;
        }
        uint256 code = _tryMint(counters.highestTier(), to, tier, expiresAt_, serial);
        if (code != Skip.NONE) revert LoyaltyMembership_Refused(to, code);
        _count(counters, kind, 1, 1);
    }

    /// @dev The one way a wallet gets its first card.
    /// @return code NONE if it got it, else why not. What no wallet could get reverts.
    function _tryMint(uint256 highest, address to, uint256 tier, uint256 expiresAt_, uint256 serial)
        private
        returns (uint256 code)
    {
        _checkCard(highest, to, tier, expiresAt_);
        Record storage record = _members[to];
        MemberWord word = record.word;
        code = word.refusal();
        if (code == Skip.NONE) _issue(record, to, word.withFirstCard(block.timestamp, expiresAt_, tier, serial));
    }

    // ----------------------------------------------------------------------------------- internals: the manager's acts

    function _tryRenew(address holder, uint256 wanted, uint256 expected) private returns (uint256 code) {
        MemberWord word;
        (word, code) = _managed(holder);
        if (code != Skip.NONE) return code;
        uint256 current = word.expiresAt();
        if (current == wanted) return Skip.DONE;
        if (current != expected) return Skip.CONFLICT;
        if (current == 0) revert LoyaltyMembership_NotRenewable(holder);
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (wanted <= current || wanted <= block.timestamp) {
            revert LoyaltyMembership_ExpiryNotLater(holder, current, wanted);
        }
        _members[holder].word = word.withExpiresAt(wanted);
        emit TokenExpiryUpdated(uint160(holder), word.joinedAt(), wanted);
        emit MetadataUpdate(uint160(holder));
    }

    function _trySetTier(address holder, uint256 tier) private returns (uint256 code) {
        MemberWord word;
        (word, code) = _managed(holder);
        if (code != Skip.NONE) return code;
        if (word.tier() == tier) return Skip.DONE;
        _members[holder].word = word.withTier(tier);
        emit MemberSet(uint160(holder), tier | word.serial() << 8);
        emit MetadataUpdate(uint160(holder));
    }

    /// @return word Of the holder, and
    /// @return code why there is no card to manage; NONE = there is one.
    function _managed(address holder) private view returns (MemberWord word, uint256 code) {
        if (holder == address(0)) revert LoyaltyMembership_ZeroAddress();
        word = _members[holder].word;
        if (!word.isHeld()) {
            code = word.absence();
            if (code == Skip.NONE) code = Skip.NOT_HELD;
        }
    }

    function _countManaged(uint256 acts) private {
        if (acts == 0) return;
        (uint256 spent, bool fits) = DailyQuota.spend(_program, _MANAGE_ROW, 1, 0, acts, DailyQuota.today());
        if (!fits) {
            revert LoyaltyMembership_QuotaExceeded(Powers.MANAGE, DailyQuota.limitOf(spent, _MANAGE_ROW, 0));
        }
        _program = spent;
    }

    // -------------------------------------------------------------------------------------- internals: who and whether

    /// @dev The word of a living card. Ids above 160 bits name no wallet.
    function _existing(uint256 tokenId) private view returns (MemberWord word) {
        word = _members[address(uint160(tokenId))].word;
        if (tokenId >> 160 != 0 || !word.isHeld()) revert LoyaltyMembership_NotFound(tokenId);
    }

    /// @dev As `_existing`, with the error that ERC-7858 names.
    function _expiring(uint256 tokenId) private view returns (MemberWord word) {
        word = _members[address(uint160(tokenId))].word;
        if (tokenId >> 160 != 0 || !word.isHeld()) revert ERC721NonexistentToken(tokenId);
    }

    /// @dev Sets the bit of a bearer voucher, once.
    function _spendBearer(uint256 index, address claimer) private {
        uint256 mask = _bearers[index >> 8];
        uint256 bit = 1 << (index & 0xff);
        if (mask & bit != 0) revert LoyaltyMembership_VoucherUsed(index);
        _bearers[index >> 8] = mask | bit;
        emit BearerClaimed(index, claimer);
    }

    /// @dev Role and epoch are those of the moment the claim lands, not of the signing.
    function _checkVoucher(
        uint256 epoch,
        uint256 deadline,
        address signer,
        bytes32 structHash,
        bytes calldata signature
    ) private view {
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (block.timestamp > deadline) {
            revert LoyaltyMembership_Expired(deadline);
        }
        uint256 current = _notPaused().epoch();
        if (epoch != current) revert LoyaltyMembership_WrongEpoch(epoch, current);
        if (!hasAnyRole(signer, Powers.SIGNER)) revert LoyaltyMembership_NotSigner(signer);
        _checkConsent(signer, _hashTypedData(structHash), signature);
    }

    function _hashBearer(BearerCardVoucher calldata voucher) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                _BEARER_CARD_VOUCHER,
                voucher.claimKey,
                voucher.index,
                voucher.tier,
                voucher.expiresAt,
                voucher.epoch,
                voucher.deadline
            )
        );
    }
}
