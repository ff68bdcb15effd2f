// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title The stamps of one season of a loyalty program
/// @notice A soulbound ERC-721 with 120 stamp types. The token id is `stampType << 160 | uint160(holder)`, so a wallet
/// holds at most one stamp of a type, also after burn, redeem and move. Everything a wallet holds lives in one word.
/// @dev Who may act is asked of the program's membership contract. Skip codes as in ILoyaltyMembership.
interface ILoyaltyStamps {
    // ----------------------------------------------------------------------------------------------------------- types

    /// @notice Defines `count` types in a row: a stamp card of `count` stamps, or one type if count = 1.
    /// @param first First type, 1-120.
    /// @param cap Most stamps ever minted, of each type; type(uint32).max = as good as none.
    /// @param opens Unix seconds; 0 = at once.
    /// @param closes Unix seconds, first second at which it is closed; 0 = never.
    /// @param flags 1 = only members with an active card, 2 = redeemable.
    /// @param minTier Lowest tier that may get it, at most 250; 0 = any (implies flag 1 when > 0).
    struct TypeBlock {
        uint8 first;
        uint8 count;
        uint32 cap;
        uint40 opens;
        uint40 closes;
        uint8 flags;
        uint8 minTier;
        string name;
    }

    /// @param minted Stamps ever minted of this type.
    struct TypeInfo {
        uint32 cap;
        uint32 minted;
        uint40 opens;
        uint40 closes;
        uint8 flags;
        uint8 minTier;
        uint8 blockFirst;
        uint8 blockSize;
        string name;
    }

    /// @notice Limits per UTC day of this season's stamps.
    struct StampQuotas {
        uint24 mint;
        uint24 claim;
        uint24 manage;
    }

    /// @notice A promise of one stamp to one wallet, signed by a SIGNER of the program.
    struct StampVoucher {
        address to;
        uint8 stampType;
        uint24 epoch;
        uint40 deadline;
    }

    /// @notice A promise of one stamp to whoever holds the claim key.
    struct BearerStampVoucher {
        address claimKey;
        uint32 index;
        uint8 stampType;
        uint24 epoch;
        uint40 deadline;
    }

    // ---------------------------------------------------------------------------------------------------------- errors

    error LoyaltyStamps_AlreadyInitialized();
    error LoyaltyStamps_ZeroAddress();
    error LoyaltyStamps_Soulbound(uint256 tokenId);
    error LoyaltyStamps_NotFound(uint256 tokenId);
    error LoyaltyStamps_NotAllowed(address caller);
    error LoyaltyStamps_Paused();
    error LoyaltyStamps_DirtyBits(uint256 item);
    error LoyaltyStamps_UnknownType(uint256 stampType);
    error LoyaltyStamps_TypeTaken(uint256 stampType);
    error LoyaltyStamps_BadTypeBlock(uint256 first, uint256 count);
    error LoyaltyStamps_BadWindow(uint256 opens, uint256 closes);
    error LoyaltyStamps_BadFlags(uint256 flags);
    error LoyaltyStamps_BadTier(uint256 tier, uint256 highest);
    error LoyaltyStamps_TermsFixed(uint256 stampType);
    error LoyaltyStamps_NotOpen(uint256 stampType, uint256 opens, uint256 closes);
    error LoyaltyStamps_CapReached(uint256 stampType, uint256 cap);
    error LoyaltyStamps_CapBelowMinted(uint256 stampType, uint256 cap, uint256 minted);
    error LoyaltyStamps_QuotaExceeded(uint256 kind, uint256 limit);
    error LoyaltyStamps_QuotaKind(uint256 kind);
    error LoyaltyStamps_QuotaOnlyLower(uint256 kind, uint256 current, uint256 wanted);
    /// @notice A single mint or claim would have been skipped in a batch with this code.
    error LoyaltyStamps_Refused(address to, uint256 stampType, uint256 code);
    error LoyaltyStamps_Expired(uint256 deadline);
    error LoyaltyStamps_WrongEpoch(uint256 given, uint256 current);
    error LoyaltyStamps_NoConsent(address signer);
    error LoyaltyStamps_NotSigner(address signer);
    /// @param index Of a bearer voucher in its bitmap; for an addressed one the token id.
    error LoyaltyStamps_VoucherUsed(uint256 index);
    error LoyaltyStamps_NotRedeemable(uint256 stampType);
    error LoyaltyStamps_ZeroOrderRef();
    error LoyaltyStamps_RedeemedOtherwise(uint256 tokenId, bytes32 orderRef);
    error LoyaltyStamps_MetadataFrozen();
    error LoyaltyStamps_NotPermanent(string uri);

    // ---------------------------------------------------------------------------------------------------------- events

    event Skipped(uint256 indexed tokenId, uint256 code);
    /// @notice Terms as in TypeSet, the same for each of `count` types from `first`.
    event TypesDefined(
        uint256 indexed first,
        uint256 count,
        uint256 cap,
        uint256 opens,
        uint256 closes,
        uint256 flags,
        uint256 minTier,
        string name
    );
    /// @param flags With flag 1 where `minTier` implies it.
    event TypeSet(
        uint256 indexed stampType, uint256 cap, uint256 opens, uint256 closes, uint256 flags, uint256 minTier
    );
    event Redeemed(uint256 indexed tokenId, bytes32 indexed orderRef);
    event StampRevoked(uint256 indexed tokenId, address indexed by, bool mayReturn, string reason);
    event BearerClaimed(uint256 indexed index, address indexed claimer);
    event VoucherVoided(address indexed to, uint256 indexed stampType);
    event BearerVoided(uint256 indexed word, uint256 mask);
    event QuotaSet(uint256 indexed kind, uint256 limit);
    event BaseURISet(string uri);
    event ContractURIUpdated();
    event MetadataFrozen();

    // --------------------------------------------------------------------------------------------------------- opening

    /// @notice Called once, by the factory, in the transaction that creates the clone.
    function initialize(StampQuotas calldata quotas, TypeBlock[] calldata types, string calldata baseURI_) external;

    // ----------------------------------------------------------------------------------------------------------- reads

    function membership() external view returns (address);
    function season() external view returns (uint256);
    /// @notice The program's owner.
    function owner() external view returns (address);
    /// @return held and
    /// @return claimed are bit sets, bit = stampType - 1; `claimed` never loses a bit except by a revocation that
    /// allows the stamp again.
    function stampsOf(address holder) external view returns (uint256 held, uint256 claimed, bool moved);
    /// @notice The raw words of wallets, for bulk reads. Layout from the lowest bit: held 120 bits, claimed 120 bits,
    /// flags 8 (1 = moved away).
    function wordsOf(address[] calldata holders) external view returns (uint256[] memory);
    function holdsAll(address holder, uint256 mask) external view returns (bool);
    function typeOf(uint256 stampType) external view returns (TypeInfo memory);
    function quotaOf(uint256 kind) external view returns (uint256 limit, uint256 used);
    /// @return orderRef The order this stamp was redeemed for; 0 = it was not.
    function redeemedFor(uint256 tokenId) external view returns (bytes32 orderRef);
    function bearerWord(uint256 word) external view returns (uint256 mask);
    function baseURI() external view returns (string memory);
    function contractURI() external view returns (string memory);
    function metadataFrozen() external view returns (bool);
    function digestOf(bytes32 structHash) external view returns (bytes32);

    // ---------------------------------------------------------------------------------------------------------- MINTER

    /// @notice Mints one stamp; reverts where a batch would skip.
    function mint(address to, uint8 stampType) external;
    /// @param items Token ids (stampType << 160 | address), best sorted by type: a run of one type is the cheapest.
    function mintBatch(uint256[] calldata items) external;

    // -------------------------------------------------------------------------------------------------------- vouchers

    /// @notice Mints the voucher's stamp. Anyone may send it in. A wallet that ever had a stamp of this type is refused,
    /// also where a revocation allowed the type again.
    function claim(StampVoucher calldata voucher, address signer, bytes calldata signature) external;
    /// @notice As LoyaltyMembership.claimBearer, over Claim(BearerStampVoucher voucher,address claimer).
    function claimBearer(
        BearerStampVoucher calldata voucher,
        address signer,
        bytes calldata signature,
        bytes calldata keySignature,
        address claimer,
        bytes calldata consent
    ) external;
    /// @notice Addressed vouchers of this type to this wallet die; a mint stays possible. MANAGER, GUARDIAN or owner.
    /// Reverts where the wallet has or had the stamp of this season or moved away from it, for then no voucher can land.
    function voidVoucher(address to, uint8 stampType) external;
    /// @notice Marks bearer vouchers as used. MANAGER, GUARDIAN or owner.
    function voidBearer(uint256 word, uint256 mask) external;

    // ---------------------------------------------------------------------------------------------------------- holder

    /// @notice Uses the stamp up for an order. Anyone may send it in with the holder's signature over
    /// Redeem(address holder,uint8 stampType,bytes32 orderRef,uint40 deadline). The same orderRef again is success.
    function redeem(address holder, uint8 stampType, bytes32 orderRef, uint40 deadline, bytes calldata signature)
        external;
    /// @notice Signature over BurnStamp(address holder,uint8 stampType,uint40 deadline).
    function burn(address holder, uint8 stampType, uint40 deadline, bytes calldata signature) external;

    // --------------------------------------------------------------------------------------------------------- MANAGER

    /// @param mayReturn Whether the wallet may get a stamp of this type again.
    function revokeStamp(address holder, uint8 stampType, bool mayReturn, string calldata reason) external;

    // ------------------------------------------------------------------------------------------------------ membership

    /// @notice Moves what `from` holds and `to` never had; burns the rest. Only the membership contract.
    function moveAll(address from, address to) external returns (uint256 moved, uint256 dropped);

    // ------------------------------------------------------------------------------------------------- GUARDIAN, owner

    /// @notice Guardian and owner lower, the owner alone raises.
    function setQuota(uint256 kind, uint24 limit) external;
    function defineTypes(TypeBlock[] calldata types) external;
    /// @notice Cap not below what was minted; flags and minTier only before the first mint.
    function setType(uint8 stampType, uint32 cap, uint40 opens, uint40 closes, uint8 flags, uint8 minTier) external;
    /// @notice Empty = drawn on chain; else tokenURI is the base followed by the stamp type.
    function setBaseURI(string calldata uri) external;
    function setContractURI(string calldata uri) external;
    function freezeMetadata() external;
}
