// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Ownable} from "solady/auth/Ownable.sol";
import {EIP712} from "solady/utils/EIP712.sol";
import {LibBit} from "solady/utils/LibBit.sol";
import {LibString} from "solady/utils/LibString.sol";

import {IERC165} from "./interfaces/IERC165.sol";
import {IERC721} from "./interfaces/IERC721.sol";
import {IERC721Metadata} from "./interfaces/IERC721Metadata.sol";
import {IERC4906} from "./interfaces/IERC4906.sol";
import {IERC5192} from "./interfaces/IERC5192.sol";
import {ILoyaltyRenderer} from "./interfaces/ILoyaltyRenderer.sol";
import {ILoyaltyStamps} from "./interfaces/ILoyaltyStamps.sol";
import {IProgram} from "./interfaces/IProgram.sol";
import {Consent} from "./libraries/Consent.sol";
import {DailyQuota} from "./libraries/DailyQuota.sol";
import {MemberWords} from "./libraries/MemberWord.sol";
import {Permanence} from "./libraries/Permanence.sol";
import {Powers} from "./libraries/Powers.sol";
import {ProgramTerms} from "./libraries/ProgramTerms.sol";
import {Skip} from "./libraries/Skip.sol";
import {StampTypeWord, StampTypeWords} from "./libraries/StampTypeWord.sol";
import {StampWord, StampWords} from "./libraries/StampWord.sol";
import {TierNames} from "./libraries/TierNames.sol";

/// @title The stamps of one season of a loyalty program
contract LoyaltyStamps is ILoyaltyStamps, IERC721Metadata, IERC4906, IERC5192, EIP712 {
    // ----------------------------------------------------------------------------------------------------------- types

    /// @dev A struct only so that a reference to it can be handed on, and its place is computed once per mint.
    struct Record {
        StampWord word;
    }

    /// @dev The answer of the membership about one account.
    struct Standing {
        uint256 roles;
        bool isOwner;
        bool isPaused;
        uint256 epoch;
    }

    /// @dev A batch on its way. `info` is the word of `stampType`, of which `fresh` stamps were minted since it was
    /// read. `standings` are the membership's answers once it was `asked`.
    struct Batch {
        IProgram program;
        uint256 stampType;
        StampTypeWord info;
        uint256 fresh;
        uint256 minted;
        bool asked;
        uint256[] standings;
    }

    bytes32 private constant _STAMP_VOUCHER =
        keccak256("StampVoucher(address to,uint8 stampType,uint24 epoch,uint40 deadline)");
    bytes32 private constant _BEARER_STAMP_VOUCHER =
        keccak256("BearerStampVoucher(address claimKey,uint32 index,uint8 stampType,uint24 epoch,uint40 deadline)");
    bytes32 private constant _CLAIM = keccak256(
        "Claim(BearerStampVoucher voucher,address claimer)"
        "BearerStampVoucher(address claimKey,uint32 index,uint8 stampType,uint24 epoch,uint40 deadline)"
    );
    bytes32 private constant _REDEEM =
        keccak256("Redeem(address holder,uint8 stampType,bytes32 orderRef,uint40 deadline)");
    bytes32 private constant _BURN_STAMP = keccak256("BurnStamp(address holder,uint8 stampType,uint40 deadline)");

    // Layout of `_counters`, from the lowest bit: quota row 168 (day, mint, claim, manage), flags 8.
    uint256 private constant _QUOTAS = 0;
    uint256 private constant _KINDS = 3;
    uint256 private constant _OPENED = 1 << 168;
    uint256 private constant _FROZEN = 1 << 169;

    ILoyaltyRenderer private immutable _renderer;

    // --------------------------------------------------------------------------------------------------------- storage

    mapping(address wallet => Record) private _wallets;
    mapping(uint256 stampType => StampTypeWord) private _types;
    uint256 private _counters;
    mapping(uint256 blockFirst => string) private _names;
    mapping(uint256 tokenId => bytes32 orderRef) private _orders;
    mapping(uint256 word => uint256 mask) private _bearers;
    /// @dev Types, as bits, of which addressed vouchers are refused: those that were voided, and those that a revocation
    /// allowed the wallet again, for an addressed voucher may have been used before.
    mapping(address wallet => uint256 types) private _voided;
    string private _baseURI;
    string private _contractURI;

    // --------------------------------------------------------------------------------------------------------- opening

    /// @dev The code that clones point to can't be opened.
    constructor(ILoyaltyRenderer renderer) {
        _renderer = renderer;
        _counters = _OPENED;
    }

    /// @inheritdoc ILoyaltyStamps
    function initialize(StampQuotas calldata quotas, TypeBlock[] calldata types, string calldata baseURI_) external {
        if (_counters & _OPENED != 0) revert LoyaltyStamps_AlreadyInitialized();
        // Else anyone could open a copy that names somebody's program as its own.
        // slither-disable-next-line unused-return (only this one is asked for)
        (address factory,,,,) = _program().fixedTerms();
        if (msg.sender != factory) revert LoyaltyStamps_NotAllowed(msg.sender);
        uint256 counters = DailyQuota.withLimit(_OPENED, _QUOTAS, Powers.MINT, quotas.mint);
        counters = DailyQuota.withLimit(counters, _QUOTAS, Powers.CLAIM, quotas.claim);
        _counters = DailyQuota.withLimit(counters, _QUOTAS, Powers.MANAGE, quotas.manage);
        emit QuotaSet(Powers.MINT, quotas.mint);
        emit QuotaSet(Powers.CLAIM, quotas.claim);
        emit QuotaSet(Powers.MANAGE, quotas.manage);
        _defineTypes(types);
        if (bytes(baseURI_).length != 0) _setBaseURI(baseURI_);
    }

    // ----------------------------------------------------------------------------------------------------------- reads

    /// @inheritdoc ILoyaltyStamps
    function membership() external view returns (address) {
        return ProgramTerms.membership();
    }

    /// @inheritdoc ILoyaltyStamps
    function season() external view returns (uint256) {
        return ProgramTerms.season();
    }

    /// @inheritdoc ILoyaltyStamps
    function owner() external view returns (address) {
        return Ownable(address(_program())).owner();
    }

    /// @inheritdoc ILoyaltyStamps
    function stampsOf(address holder) external view returns (uint256 held, uint256 claimed, bool moved) {
        StampWord word = _wallets[holder].word;
        return (word.held(), word.claimed(), word.isMoved());
    }

    /// @inheritdoc ILoyaltyStamps
    function wordsOf(address[] calldata holders) external view returns (uint256[] memory words) {
        words = new uint256[](holders.length);
        for (uint256 i; i < holders.length; ++i) {
            words[i] = StampWord.unwrap(_wallets[holders[i]].word);
        }
    }

    /// @inheritdoc ILoyaltyStamps
    function holdsAll(address holder, uint256 mask) external view returns (bool) {
        return _wallets[holder].word.held() & mask == mask;
    }

    /// @inheritdoc ILoyaltyStamps
    function typeOf(uint256 stampType) external view returns (TypeInfo memory) {
        StampTypeWord info = _known(stampType);
        return TypeInfo({
            cap: uint32(info.cap()),
            minted: uint32(info.minted()),
            opens: uint40(info.opens()),
            closes: uint40(info.closes()),
            flags: uint8(info.flags()),
            minTier: uint8(info.minTier()),
            blockFirst: uint8(info.blockFirst()),
            blockSize: uint8(info.blockSize()),
            name: _names[info.blockFirst()]
        });
    }

    /// @inheritdoc ILoyaltyStamps
    function quotaOf(uint256 kind) external view returns (uint256 limit, uint256 used) {
        if (kind > Powers.MANAGE) revert LoyaltyStamps_QuotaKind(kind);
        uint256 counters = _counters;
        return
            (
                DailyQuota.limitOf(counters, _QUOTAS, kind),
                DailyQuota.usedOf(counters, _QUOTAS, kind, DailyQuota.today())
            );
    }

    /// @inheritdoc ILoyaltyStamps
    function redeemedFor(uint256 tokenId) external view returns (bytes32 orderRef) {
        return _orders[tokenId];
    }

    /// @inheritdoc ILoyaltyStamps
    function bearerWord(uint256 word) external view returns (uint256 mask) {
        return _bearers[word];
    }

    /// @inheritdoc ILoyaltyStamps
    function baseURI() external view returns (string memory) {
        return _baseURI;
    }

    /// @inheritdoc ILoyaltyStamps
    function contractURI() external view returns (string memory) {
        string memory uri = _contractURI;
        if (bytes(uri).length != 0) return uri;
        return _renderer.collection(name(), symbol());
    }

    /// @inheritdoc ILoyaltyStamps
    function metadataFrozen() external view returns (bool) {
        return _counters & _FROZEN != 0;
    }

    /// @inheritdoc ILoyaltyStamps
    function digestOf(bytes32 structHash) external view returns (bytes32) {
        return _hashTypedData(structHash);
    }

    /// @inheritdoc IERC721
    function balanceOf(address holder) external view returns (uint256) {
        if (holder == address(0)) revert LoyaltyStamps_ZeroAddress();
        return LibBit.popCount(_wallets[holder].word.held());
    }

    /// @inheritdoc IERC721
    function ownerOf(uint256 tokenId) external view returns (address) {
        return _existing(tokenId);
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

    /// @notice The program's name followed by what this collection is.
    function name() public view returns (string memory) {
        uint256 number = ProgramTerms.season();
        string memory own = string.concat(_program().name(), " stamps");
        return number == 0 ? own : string.concat(own, " ", LibString.toString(number + 1));
    }

    /// @notice The program's symbol.
    function symbol() public view returns (string memory) {
        return _program().symbol();
    }

    /// @inheritdoc IERC721Metadata
    function tokenURI(uint256 tokenId) external view returns (string memory) {
        _existing(tokenId);
        uint256 stampType = tokenId >> 160;
        string memory base = _baseURI;
        if (bytes(base).length != 0) return string.concat(base, LibString.toString(stampType));
        StampTypeWord info = _types[stampType];
        IProgram program = _program();
        // slither-disable-next-line unused-return (only the look is asked for)
        (,,, uint24 background, uint24 ink) = program.fixedTerms();
        return _renderer.stamp(
            ILoyaltyRenderer.Stamp({
                program: program.name(),
                label: _names[info.blockFirst()],
                position: stampType - info.blockFirst() + 1,
                size: info.blockSize(),
                background: background,
                ink: ink
            })
        );
    }

    /// @inheritdoc IERC165
    function supportsInterface(bytes4 interfaceId) external pure returns (bool) {
        return interfaceId == type(IERC165).interfaceId || interfaceId == 0x80ac58cd // ERC-721
            || interfaceId == 0x5b5e139f // ERC-721 metadata
            || interfaceId == 0x49064906 // ERC-4906
            || interfaceId == type(IERC5192).interfaceId;
    }

    // ---------------------------------------------------------------------------------- what a soulbound token refuses

    /// @inheritdoc IERC721
    function transferFrom(address, address, uint256 tokenId) external pure {
        revert LoyaltyStamps_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function safeTransferFrom(address, address, uint256 tokenId) external pure {
        revert LoyaltyStamps_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function safeTransferFrom(address, address, uint256 tokenId, bytes calldata) external pure {
        revert LoyaltyStamps_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function approve(address, uint256 tokenId) external pure {
        revert LoyaltyStamps_Soulbound(tokenId);
    }

    /// @inheritdoc IERC721
    function setApprovalForAll(address, bool) external pure {
        revert LoyaltyStamps_Soulbound(0);
    }

    // ---------------------------------------------------------------------------------------------------------- MINTER

    /// @inheritdoc ILoyaltyStamps
    function mint(address to, uint8 stampType) external {
        IProgram program = _program();
        Standing memory caller = _standingOf(program, msg.sender);
        if (caller.roles & Powers.MINTER == 0) revert LoyaltyStamps_NotAllowed(msg.sender);
        if (caller.isPaused) revert LoyaltyStamps_Paused();
        _mintOne(program, Powers.MINT, to, stampType);
    }

    /// @inheritdoc ILoyaltyStamps
    function mintBatch(uint256[] calldata items) external {
        // slither-disable-next-line uninitialized-local (memory starts as zeros, which is what is meant)
        Batch memory batch;
        batch.program = _program();
        Standing memory caller = _standingOf(batch.program, msg.sender);
        if (caller.roles & Powers.MINTER == 0) revert LoyaltyStamps_NotAllowed(msg.sender);
        if (caller.isPaused) revert LoyaltyStamps_Paused();
        for (uint256 i; i < items.length; ++i) {
            uint256 item = items[i];
            if (item >> 160 != batch.stampType || i == 0) _turnTo(batch, item, items);
            uint256 standing = batch.asked ? batch.standings[i] : 0;
            uint256 code = _tryMint(batch.info, item, standing);
            unchecked {
                // No overflow: at most items.length.
                if (code == Skip.NONE) ++batch.fresh;
                else emit Skipped(item, code);
            }
        }
        _settle(batch);
        if (batch.minted != 0) _count(Powers.MINT, batch.minted);
    }

    // -------------------------------------------------------------------------------------------------------- vouchers

    /// @inheritdoc ILoyaltyStamps
    function claim(StampVoucher calldata voucher, address signer, bytes calldata signature) external {
        bytes32 structHash =
            keccak256(abi.encode(_STAMP_VOUCHER, voucher.to, voucher.stampType, voucher.epoch, voucher.deadline));
        IProgram program = _program();
        _checkVoucher(program, voucher.epoch, voucher.deadline, signer, structHash, signature);
        if (_voided[voucher.to] >> voucher.stampType & 1 != 0) {
            revert LoyaltyStamps_VoucherUsed(_idOf(voucher.to, voucher.stampType));
        }
        _mintOne(program, Powers.CLAIM, voucher.to, voucher.stampType);
    }

    /// @inheritdoc ILoyaltyStamps
    function claimBearer(
        BearerStampVoucher calldata voucher,
        address signer,
        bytes calldata signature,
        bytes calldata keySignature,
        address claimer,
        bytes calldata consent
    ) external {
        // check
        IProgram program = _program();
        bytes32 structHash = _hashBearer(voucher);
        _checkVoucher(program, voucher.epoch, voucher.deadline, signer, structHash, signature);
        bytes32 digest = _hashTypedData(keccak256(abi.encode(_CLAIM, structHash, claimer)));
        if (!Consent.signedBy(voucher.claimKey, digest, keySignature)) {
            revert LoyaltyStamps_NoConsent(voucher.claimKey);
        }
        _checkConsent(claimer, digest, consent);
        // effect
        _spendBearer(voucher.index, claimer);
        _mintOne(program, Powers.CLAIM, claimer, voucher.stampType);
    }

    /// @inheritdoc ILoyaltyStamps
    function voidVoucher(address to, uint8 stampType) external {
        // check
        _onlyOwnerOr(Powers.MANAGER | Powers.GUARDIAN);
        if (to == address(0)) revert LoyaltyStamps_ZeroAddress();
        _known(stampType);
        uint256 code = _wallets[to].word.refusal(stampType);
        if (code != Skip.NONE) revert LoyaltyStamps_Refused(to, stampType, code);
        uint256 types = _voided[to];
        if (types >> stampType & 1 != 0) return;
        // effect
        _voided[to] = types | 1 << stampType;
        emit VoucherVoided(to, stampType);
    }

    /// @inheritdoc ILoyaltyStamps
    function voidBearer(uint256 word, uint256 mask) external {
        _onlyOwnerOr(Powers.MANAGER | Powers.GUARDIAN);
        _bearers[word] |= mask;
        emit BearerVoided(word, mask);
    }

    // ---------------------------------------------------------------------------------------------------------- holder

    /// @inheritdoc ILoyaltyStamps
    function redeem(address holder, uint8 stampType, bytes32 orderRef, uint40 deadline, bytes calldata signature)
        external
    {
        // check
        if (orderRef == 0) revert LoyaltyStamps_ZeroOrderRef();
        StampTypeWord info = _known(stampType);
        uint256 tokenId = _idOf(holder, stampType);
        bytes32 before = _orders[tokenId];
        if (before == orderRef) return;
        if (before != 0) revert LoyaltyStamps_RedeemedOtherwise(tokenId, before);
        _existing(tokenId);
        if (!info.has(StampTypeWords.REDEEMABLE)) revert LoyaltyStamps_NotRedeemable(stampType);
        _checkHolder(holder, deadline, keccak256(abi.encode(_REDEEM, holder, stampType, orderRef, deadline)), signature);
        // effect
        _orders[tokenId] = orderRef;
        _burn(holder, stampType);
        emit Redeemed(tokenId, orderRef);
    }

    /// @inheritdoc ILoyaltyStamps
    function burn(address holder, uint8 stampType, uint40 deadline, bytes calldata signature) external {
        _existing(_idOf(holder, stampType));
        _checkHolder(holder, deadline, keccak256(abi.encode(_BURN_STAMP, holder, stampType, deadline)), signature);
        _burn(holder, stampType);
    }

    // --------------------------------------------------------------------------------------------------------- MANAGER

    /// @inheritdoc ILoyaltyStamps
    function revokeStamp(address holder, uint8 stampType, bool mayReturn, string calldata reason) external {
        // check
        if (_standingOf(_program(), msg.sender).roles & Powers.MANAGER == 0) {
            revert LoyaltyStamps_NotAllowed(msg.sender);
        }
        uint256 tokenId = _idOf(holder, stampType);
        _existing(tokenId);
        // effect
        _count(Powers.MANAGE, 1);
        _burn(holder, stampType);
        if (mayReturn) {
            _wallets[holder].word = _wallets[holder].word.withoutClaim(stampType);
            _voided[holder] |= 1 << stampType;
        }
        emit StampRevoked(tokenId, msg.sender, mayReturn, reason);
    }

    // ------------------------------------------------------------------------------------------------------ membership

    /// @inheritdoc ILoyaltyStamps
    function moveAll(address from, address to) external returns (uint256 moved, uint256 dropped) {
        // check
        if (msg.sender != ProgramTerms.membership()) revert LoyaltyStamps_NotAllowed(msg.sender);
        // effect
        StampWord source = _wallets[from].word;
        StampWord target;
        (target, moved, dropped) = _wallets[to].word.takeIn(source);
        _wallets[from].word = source.movedAway();
        _wallets[to].word = target;
        for (uint256 left = moved | dropped; left != 0; left &= left - 1) {
            uint256 stampType = LibBit.ffs(left) + 1;
            emit Transfer(from, address(0), _idOf(from, stampType));
            if (moved >> (stampType - 1) & 1 != 0) {
                emit Transfer(address(0), to, _idOf(to, stampType));
                emit Locked(_idOf(to, stampType));
            }
        }
    }

    // ------------------------------------------------------------------------------------------------- GUARDIAN, owner

    /// @inheritdoc ILoyaltyStamps
    function setQuota(uint256 kind, uint24 limit) external {
        // check
        Standing memory caller = _onlyOwnerOr(Powers.GUARDIAN);
        if (kind > Powers.MANAGE) revert LoyaltyStamps_QuotaKind(kind);
        uint256 counters = _counters;
        uint256 current = DailyQuota.limitOf(counters, _QUOTAS, kind);
        if (limit > current && !caller.isOwner) revert LoyaltyStamps_QuotaOnlyLower(kind, current, limit);
        // effect
        _counters = DailyQuota.withLimit(counters, _QUOTAS, kind, limit);
        emit QuotaSet(kind, limit);
    }

    /// @inheritdoc ILoyaltyStamps
    function defineTypes(TypeBlock[] calldata types) external {
        // A copy that the factory did not open stays empty, even if the owner is led to it.
        if (_counters & _OPENED == 0) revert LoyaltyStamps_NotAllowed(msg.sender);
        _onlyOwner();
        _defineTypes(types);
    }

    /// @inheritdoc ILoyaltyStamps
    function setType(uint8 stampType, uint32 cap, uint40 opens, uint40 closes, uint8 flags, uint8 minTier) external {
        // check
        _onlyOwner();
        StampTypeWord info = _known(stampType);
        uint256 set = _checkedFlags(opens, closes, flags, minTier);
        if (cap < info.minted()) revert LoyaltyStamps_CapBelowMinted(stampType, cap, info.minted());
        if (info.minted() != 0 && (set != info.flags() || minTier != info.minTier())) {
            revert LoyaltyStamps_TermsFixed(stampType);
        }
        // effect
        _types[stampType] = info.withTerms(cap, opens, closes, set, minTier);
        emit TypeSet(stampType, cap, opens, closes, set, minTier);
    }

    /// @inheritdoc ILoyaltyStamps
    function setBaseURI(string calldata uri) external {
        _onlyOwner();
        _notFrozen();
        _setBaseURI(uri);
        emit BatchMetadataUpdate(0, type(uint256).max);
    }

    /// @inheritdoc ILoyaltyStamps
    function setContractURI(string calldata uri) external {
        _onlyOwner();
        _notFrozen();
        _contractURI = uri;
        emit ContractURIUpdated();
    }

    /// @inheritdoc ILoyaltyStamps
    function freezeMetadata() external {
        _onlyOwner();
        _notFrozen();
        if (!Permanence.isPermanent(_baseURI)) revert LoyaltyStamps_NotPermanent(_baseURI);
        if (!Permanence.isPermanent(_contractURI)) revert LoyaltyStamps_NotPermanent(_contractURI);
        _counters |= _FROZEN;
        emit MetadataFrozen();
    }

    // --------------------------------------------------------------------------------------------- internals: the mint

    /// @dev Mint and claim of one stamp.
    function _mintOne(IProgram program, uint256 kind, address to, uint256 stampType) private {
        StampTypeWord info = _openType(stampType);
        uint256 standing = 0;
        if (_mustAsk(info)) {
            uint256[] memory wallets = new uint256[](1);
            wallets[0] = uint160(to);
            standing = program.standingsOf(wallets)[0];
        }
        uint256 code = _tryMint(info, _idOf(to, stampType), standing);
        if (code != Skip.NONE) revert LoyaltyStamps_Refused(to, stampType, code);
        _store(stampType, info, 1);
        _count(kind, 1);
    }

    /// @dev The one way a stamp comes to life, but for a move.
    /// @param info Of the token's type.
    /// @param standing What the membership says of the wallet, if it had to be asked; else 0.
    /// @return code NONE if the wallet got it, else why not. What no wallet could get reverts.
    function _tryMint(StampTypeWord info, uint256 tokenId, uint256 standing) private returns (uint256 code) {
        address to = address(uint160(tokenId));
        if (to == address(0)) revert LoyaltyStamps_ZeroAddress();
        Record storage record = _wallets[to];
        StampWord word = record.word;
        code = word.refusal(tokenId >> 160);
        if (code != Skip.NONE) return code;
        if (standing == MemberWords.MOVED_STANDING) return Skip.MOVED;
        if (info.has(StampTypeWords.GATED)) {
            if (standing == 0) return Skip.NOT_ACTIVE;
            if (standing < info.minTier()) return Skip.BELOW_TIER;
        }
        record.word = word.withStamp(tokenId >> 160);
        emit Transfer(address(0), to, tokenId);
        emit Locked(tokenId);
    }

    /// @dev Ends the run of one type in a batch and begins that of the item's. The first type that must ask does so for
    /// the whole batch; the question is a static call to our own program.
    function _turnTo(Batch memory batch, uint256 item, uint256[] calldata items) private {
        if (item >> 168 != 0) revert LoyaltyStamps_DirtyBits(item);
        _settle(batch);
        batch.stampType = item >> 160;
        batch.info = _openType(batch.stampType);
        if (!batch.asked && _mustAsk(batch.info)) {
            batch.asked = true;
            // slither-disable-next-line calls-loop (at most once a batch)
            batch.standings = batch.program.standingsOf(items);
        }
    }

    /// @dev A gated type asks for the wallets' cards. A later season asks for all, because wallets may have moved away
    /// before it was opened, of which the first season was told by the move itself.
    function _mustAsk(StampTypeWord info) private view returns (bool) {
        return info.has(StampTypeWords.GATED) || ProgramTerms.season() != 0;
    }

    function _settle(Batch memory batch) private {
        if (batch.fresh == 0) return;
        _store(batch.stampType, batch.info, batch.fresh);
        batch.minted += batch.fresh;
        batch.fresh = 0;
    }

    /// @dev Counts stamps of a type, against its cap.
    function _store(uint256 stampType, StampTypeWord info, uint256 fresh) private {
        if (info.minted() + fresh > info.cap()) revert LoyaltyStamps_CapReached(stampType, info.cap());
        _types[stampType] = info.withMore(fresh);
    }

    /// @dev Counts acts against the day's quota.
    function _count(uint256 kind, uint256 acts) private {
        (uint256 spent, bool fits) = DailyQuota.spend(_counters, _QUOTAS, _KINDS, kind, acts, DailyQuota.today());
        if (!fits) revert LoyaltyStamps_QuotaExceeded(kind, DailyQuota.limitOf(spent, _QUOTAS, kind));
        _counters = spent;
    }

    /// @dev Takes a stamp that is held; that it was claimed stays.
    function _burn(address holder, uint256 stampType) private {
        _wallets[holder].word = _wallets[holder].word.withoutStamp(stampType);
        emit Transfer(holder, address(0), _idOf(holder, stampType));
    }

    // -------------------------------------------------------------------------------------- internals: who and whether

    function _program() private view returns (IProgram) {
        return IProgram(ProgramTerms.membership());
    }

    function _standingOf(IProgram program, address account) private view returns (Standing memory standing) {
        (standing.roles, standing.isOwner, standing.isPaused, standing.epoch) = program.powersOf(account);
    }

    function _onlyOwnerOr(uint256 roles) private view returns (Standing memory caller) {
        caller = _standingOf(_program(), msg.sender);
        if (!caller.isOwner && caller.roles & roles == 0) revert LoyaltyStamps_NotAllowed(msg.sender);
    }

    function _onlyOwner() private view {
        if (!_standingOf(_program(), msg.sender).isOwner) revert LoyaltyStamps_NotAllowed(msg.sender);
    }

    function _notFrozen() private view {
        if (_counters & _FROZEN != 0) revert LoyaltyStamps_MetadataFrozen();
    }

    function _idOf(address holder, uint256 stampType) private pure returns (uint256) {
        return stampType << 160 | uint160(holder);
    }

    function _known(uint256 stampType) private view returns (StampTypeWord info) {
        info = _types[stampType];
        if (!info.exists()) revert LoyaltyStamps_UnknownType(stampType);
    }

    function _openType(uint256 stampType) private view returns (StampTypeWord info) {
        info = _known(stampType);
        if (!info.isOpen()) revert LoyaltyStamps_NotOpen(stampType, info.opens(), info.closes());
    }

    /// @dev The holder of a living stamp. Only ids of 168 bits with a type in use name one.
    function _existing(uint256 tokenId) private view returns (address holder) {
        holder = address(uint160(tokenId));
        uint256 stampType = tokenId >> 160;
        if (stampType == 0 || stampType > StampWords.TYPES || !_wallets[holder].word.holds(stampType)) {
            revert LoyaltyStamps_NotFound(tokenId);
        }
    }

    function _checkConsent(address signer, bytes32 digest, bytes calldata signature) private view {
        if (!Consent.given(signer, digest, signature)) revert LoyaltyStamps_NoConsent(signer);
    }

    /// @dev A holder who calls needs no deadline; a signature does.
    function _checkHolder(address holder, uint256 deadline, bytes32 structHash, bytes calldata signature) private view {
        if (msg.sender == holder) return;
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (block.timestamp > deadline) revert LoyaltyStamps_Expired(deadline);
        _checkConsent(holder, _hashTypedData(structHash), signature);
    }

    /// @dev Sets the bit of a bearer voucher, once.
    function _spendBearer(uint256 index, address claimer) private {
        uint256 mask = _bearers[index >> 8];
        uint256 bit = 1 << (index & 0xff);
        if (mask & bit != 0) revert LoyaltyStamps_VoucherUsed(index);
        _bearers[index >> 8] = mask | bit;
        emit BearerClaimed(index, claimer);
    }

    /// @dev Role, pause and epoch are those of the moment the claim lands, not of the signing.
    function _checkVoucher(
        IProgram program,
        uint256 epoch,
        uint256 deadline,
        address signer,
        bytes32 structHash,
        bytes calldata signature
    ) private view {
        // slither-disable-next-line timestamp (terms run for days: a block producer's seconds decide nothing)
        if (block.timestamp > deadline) revert LoyaltyStamps_Expired(deadline);
        Standing memory standing = _standingOf(program, signer);
        if (standing.isPaused) revert LoyaltyStamps_Paused();
        if (epoch != standing.epoch) revert LoyaltyStamps_WrongEpoch(epoch, standing.epoch);
        if (standing.roles & Powers.SIGNER == 0) revert LoyaltyStamps_NotSigner(signer);
        _checkConsent(signer, _hashTypedData(structHash), signature);
    }

    function _hashBearer(BearerStampVoucher calldata voucher) private pure returns (bytes32) {
        return keccak256(
            abi.encode(
                _BEARER_STAMP_VOUCHER,
                voucher.claimKey,
                voucher.index,
                voucher.stampType,
                voucher.epoch,
                voucher.deadline
            )
        );
    }

    // -------------------------------------------------------------------------------------------- internals: the types

    function _defineTypes(TypeBlock[] calldata types) private {
        for (uint256 i; i < types.length; ++i) {
            TypeBlock calldata given = types[i];
            uint256 first = given.first;
            uint256 count = given.count;
            if (first == 0 || count == 0 || first + count - 1 > StampWords.TYPES) {
                revert LoyaltyStamps_BadTypeBlock(first, count);
            }
            StampTypeWord info = StampTypeWords.pack(
                given.cap,
                given.opens,
                given.closes,
                _checkedFlags(given.opens, given.closes, given.flags, given.minTier),
                given.minTier,
                first,
                count
            );
            for (uint256 stampType = first; stampType < first + count; ++stampType) {
                if (_types[stampType].exists()) revert LoyaltyStamps_TypeTaken(stampType);
                _types[stampType] = info;
            }
            _names[first] = given.name;
            _tellOfTypes(info, given.name);
        }
    }

    function _tellOfTypes(StampTypeWord info, string calldata label) private {
        emit TypesDefined(
            info.blockFirst(),
            info.blockSize(),
            info.cap(),
            info.opens(),
            info.closes(),
            info.flags(),
            info.minTier(),
            label
        );
    }

    /// @return set The flags with what a lowest tier implies.
    function _checkedFlags(uint256 opens, uint256 closes, uint256 flags, uint256 minTier)
        private
        pure
        returns (uint256 set)
    {
        if (closes != 0 && closes <= opens) revert LoyaltyStamps_BadWindow(opens, closes);
        if (flags & ~(StampTypeWords.GATED | StampTypeWords.REDEEMABLE) != 0) {
            revert LoyaltyStamps_BadFlags(flags);
        }
        if (minTier > TierNames.MOST) revert LoyaltyStamps_BadTier(minTier, TierNames.MOST);
        return minTier == 0 ? flags : flags | StampTypeWords.GATED;
    }

    function _setBaseURI(string calldata uri) private {
        _baseURI = uri;
        emit BaseURISet(uri);
    }

    // -------------------------------------------------------------------------------- what the inherited code asks for

    function _domainNameAndVersion() internal pure override returns (string memory, string memory) {
        return ("LoyaltyStamps", "1");
    }
}
