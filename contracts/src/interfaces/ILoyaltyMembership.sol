// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title The membership cards of one loyalty program, and the seat of its powers
/// @notice A soulbound ERC-721 with at most one card per wallet. The token id is `uint160(holder)`; everything known of
/// a wallet lives in one storage word. Owner, roles, pause and voucher epoch live here for the whole program: the
/// program's stamp contracts ask this one (`powersOf`), so one transaction stops or hands over everything.
/// @dev Roles (Solady OwnableRoles bits): MINTER 1, SIGNER 2, MANAGER 4, GUARDIAN 8.
/// Skip codes: 1 AlreadyHeld, 2 EverClaimed, 3 Left, 4 Revoked, 5 Moved, 6 NotActive, 7 BelowTier, 8 Done, 9 Conflict,
/// 10 NotHeld.
interface ILoyaltyMembership {
    // ----------------------------------------------------------------------------------------------------------- types

    /// @param roles Bit set, see the contract's note.
    struct Grant {
        address account;
        uint8 roles;
    }

    /// @notice Limits per UTC day; within any 24 hours at most twice as much can happen.
    struct Quotas {
        uint24 mint;
        uint24 claim;
        uint24 manage;
    }

    /// @notice Initial state; everything in it can be changed later by the owner.
    /// @param cap Most living cards; type(uint32).max = as good as none.
    /// @param tiers Names, lowest first; tier numbers start at 1.
    struct Opening {
        address owner;
        address stamps;
        uint32 cap;
        Quotas quotas;
        Grant[] grants;
        string[] tiers;
        string baseURI;
        string contractURI;
    }

    /// @param joinedAt Unix seconds; 0 = there is no card.
    /// @param expiresAt Unix seconds, first second that is no longer active; 0 = for life.
    /// @param serial The member number, kept through leaving, revocation and moving. Where a wallet that left moves its
    /// stamps, no card carries the number along: it ends.
    /// @param movedAt Unix seconds of the last move to this wallet; 0 = never moved.
    /// @param nonce Number of the next consent of this wallet.
    /// @param flags 1 LEFT, 2 REVOKED, 4 MOVED (away), 8 VOIDED (addressed vouchers are refused).
    struct Member {
        uint40 joinedAt;
        uint40 expiresAt;
        uint8 tier;
        uint64 serial;
        uint40 movedAt;
        uint24 nonce;
        uint8 flags;
        bool active;
    }

    /// @param to Zero = nothing is proposed, or what was proposed is cancelled.
    /// @param serial Of the card that moves; 0 = there is none: `from` was revoked, or has stamps only.
    /// @param readyAt Unix seconds from which anyone may execute it.
    /// @param endsAt Unix seconds, last second at which it can be executed: each second of pause since the proposal
    /// adds one.
    struct Recovery {
        address to;
        address proposer;
        uint64 serial;
        uint24 nonce;
        uint40 readyAt;
        uint40 endsAt;
    }

    /// @notice A promise of one card to one wallet, signed by a SIGNER.
    /// @param deadline Unix seconds, last second at which it is valid.
    struct CardVoucher {
        address to;
        uint8 tier;
        uint40 expiresAt;
        uint24 epoch;
        uint40 deadline;
    }

    /// @notice A promise of one card to whoever holds the claim key, signed by a SIGNER.
    /// @param index Its bit in the program's bitmap; allocated in sequence, usable in any order, once.
    struct BearerCardVoucher {
        address claimKey;
        uint32 index;
        uint8 tier;
        uint40 expiresAt;
        uint24 epoch;
        uint40 deadline;
    }

    /// @notice Signed by both wallets of a move.
    /// @param serial Serial of the card at `from`; 0 = `from` has stamps only.
    /// @param replaces Serial of the card at `to`, which is burned (the merge of two members); 0 = `to` has none.
    /// @param nonce The nonce of `from`.
    struct Move {
        address from;
        address to;
        uint64 serial;
        uint64 replaces;
        uint24 nonce;
        uint40 deadline;
    }

    // ---------------------------------------------------------------------------------------------------------- errors

    error LoyaltyMembership_AlreadyInitialized();
    error LoyaltyMembership_ZeroAddress();
    error LoyaltyMembership_Disabled();
    error LoyaltyMembership_Soulbound(uint256 tokenId);
    error LoyaltyMembership_NotFound(uint256 tokenId);
    error LoyaltyMembership_NotAllowed(address caller);
    error LoyaltyMembership_Paused();
    error LoyaltyMembership_NotPaused();
    error LoyaltyMembership_DirtyBits(uint256 item);
    error LoyaltyMembership_BadTier(uint256 tier, uint256 highest);
    error LoyaltyMembership_BadTierName(uint256 index);
    error LoyaltyMembership_PastExpiry(address to, uint256 expiresAt);
    error LoyaltyMembership_NotRenewable(address holder);
    error LoyaltyMembership_ExpiryNotLater(address holder, uint256 current, uint256 wanted);
    error LoyaltyMembership_CapReached(uint256 cap);
    error LoyaltyMembership_CapBelowSupply(uint256 cap, uint256 supply);
    error LoyaltyMembership_QuotaExceeded(uint256 kind, uint256 limit);
    error LoyaltyMembership_QuotaKind(uint256 kind);
    error LoyaltyMembership_QuotaOnlyLower(uint256 kind, uint256 current, uint256 wanted);
    /// @notice A single mint, claim, renewal or tier change would have been skipped in a batch with this code.
    error LoyaltyMembership_Refused(address to, uint256 code);
    error LoyaltyMembership_Expired(uint256 deadline);
    error LoyaltyMembership_WrongEpoch(uint256 given, uint256 current);
    error LoyaltyMembership_NoConsent(address signer);
    error LoyaltyMembership_NotSigner(address signer);
    /// @param index Of a bearer voucher in its bitmap; for an addressed one the token id.
    error LoyaltyMembership_VoucherUsed(uint256 index);
    error LoyaltyMembership_WrongSerial(address wallet, uint256 given, uint256 current);
    error LoyaltyMembership_WrongNonce(address wallet, uint256 given, uint256 current);
    error LoyaltyMembership_SameWallet(address wallet);
    error LoyaltyMembership_CoolingDown(address wallet, uint256 until);
    error LoyaltyMembership_NothingToMove(address from);
    error LoyaltyMembership_NoRecovery(address from);
    error LoyaltyMembership_RecoveryNotReady(uint256 readyAt);
    error LoyaltyMembership_RecoveryEnded(uint256 endedAt);
    error LoyaltyMembership_RecoveryPending(address from);
    error LoyaltyMembership_MetadataFrozen();
    error LoyaltyMembership_NotPermanent(string uri);
    error LoyaltyMembership_TooManySeasons(uint256 most);

    // ---------------------------------------------------------------------------------------------------------- events

    /// @notice Tier and member number of a card; `data` = tier | serial << 8.
    event MemberSet(uint256 indexed tokenId, uint256 data);
    /// @notice A batch left this item out; the codes are in the contract's note.
    event Skipped(uint256 indexed tokenId, uint256 code);
    /// @notice The wallet is barred. A Transfer in front of it tells of the card that ended, if there was one.
    event CardRevoked(uint256 indexed tokenId, address indexed by, string reason);
    event Readmitted(uint256 indexed tokenId, address indexed by);
    /// @notice First of all that a move or a recovery tells.
    /// @param serial Of the card that moves; 0 = no card does.
    event Migrated(address indexed from, address indexed to, uint256 serial);
    /// @notice Right behind Migrated: it was a recovery, and the target did not agree.
    /// @param serial The member number that goes along; 0 = none. With Migrated's serial 0 it goes without a card: `from`
    /// was revoked, and now `to` is.
    event RecoveryExecuted(address indexed from, address indexed to, uint256 serial);
    event BearerClaimed(uint256 indexed index, address indexed claimer);
    event BearerVoided(uint256 indexed word, uint256 mask);
    event VoucherVoided(address indexed to);
    event VoucherEpochRaised(uint256 epoch);
    /// @param serial Of the card that is to move; 0 = there is none.
    event RecoveryProposed(
        address indexed from, address indexed to, uint256 serial, uint256 readyAt, address proposer, string reason
    );
    /// @param by The holder, also where somebody else sent it in; else the owner or the proposer.
    event RecoveryVetoed(address indexed from, address indexed by);
    event Paused(address indexed by);
    event Unpaused(address indexed by);
    event CapSet(uint256 cap);
    /// @param kind 0 mint, 1 claim, 2 manage.
    event QuotaSet(uint256 indexed kind, uint256 limit);
    event TiersSet(string[] names);
    event BaseURISet(string uri);
    event ContractURIUpdated();
    event MetadataFrozen();
    event SeasonLinked(uint256 indexed season, address indexed stamps);

    // --------------------------------------------------------------------------------------------------------- opening

    /// @notice Called once, by the factory, in the transaction that creates the clone.
    function initialize(Opening calldata opening) external;

    /// @notice Links a further stamp contract, at most 7 of them. Only the factory.
    /// @return season Its number, from 1 (the first one is season 0).
    function linkSeason(address stamps) external returns (uint256 season);

    // ----------------------------------------------------------------------------------------------------------- reads

    function isActive(address holder) external view returns (bool);
    function areActive(address[] calldata holders) external view returns (bool[] memory);
    function membershipOf(address holder) external view returns (Member memory);

    /// @notice The raw words of wallets, for bulk reads. Layout from the lowest bit: joinedAt 40, expiresAt 40, tier 8,
    /// serial 64, movedAt 40, nonce 24, flags 8.
    function wordsOf(address[] calldata holders) external view returns (uint256[] memory);

    /// @notice Everything one wallet holds in the program, read at one block.
    /// @return card Raw word as in `wordsOf`.
    /// @return stamps Raw words of all seasons in order, as in ILoyaltyStamps.wordsOf.
    function holdingsOf(address holder) external view returns (uint256 card, uint256[] memory stamps);

    /// @notice For gates: the tier of each item's wallet while its card is active; 256 if the wallet has moved away;
    /// else 0.
    /// @param items Wallets in the low 160 bits; higher bits are ignored.
    function standingsOf(uint256[] calldata items) external view returns (uint256[] memory);

    /// @notice For the program's stamp contracts: everything that decides whether an act is allowed.
    function powersOf(address account) external view returns (uint256 roles, bool isOwner, bool isPaused, uint256 epoch);

    function totalSupply() external view returns (uint256);
    /// @notice Member numbers given out so far; the next card gets `issued() + 1`.
    function issued() external view returns (uint256);
    function cap() external view returns (uint256);
    function paused() external view returns (bool);
    function voucherEpoch() external view returns (uint256);
    /// @return limit Per UTC day.
    /// @return used So far in the UTC day of the latest block.
    function quotaOf(uint256 kind) external view returns (uint256 limit, uint256 used);
    function tierNames() external view returns (string[] memory);
    function baseURI() external view returns (string memory);
    function contractURI() external view returns (string memory);
    function metadataFrozen() external view returns (bool);
    function stampsOfSeason(uint256 season) external view returns (address);
    function seasons() external view returns (uint256);
    function recoveryOf(address from) external view returns (Recovery memory);
    /// @return mask Bits of used and voided bearer vouchers, index = word * 256 + bit.
    function bearerWord(uint256 word) external view returns (uint256 mask);
    /// @notice What can never change after opening.
    /// @return factory The factory that opened the program.
    /// @return recoveryDelay Seconds between proposal and execution of a recovery.
    /// @return moveCooldown Seconds between two moves that the holder agrees to.
    /// @return background Colour of the drawn card, 0xRRGGBB.
    /// @return ink Colour of its text.
    function fixedTerms()
        external
        view
        returns (address factory, uint256 recoveryDelay, uint256 moveCooldown, uint24 background, uint24 ink);
    /// @notice EIP-712 digest, for wallets and services that want to compare before they sign.
    function digestOf(bytes32 structHash) external view returns (bytes32);

    // ---------------------------------------------------------------------------------------------------------- MINTER

    /// @notice Mints one card; reverts where a batch would skip.
    function mint(address to, uint8 tier, uint40 expiresAt) external;
    /// @param items address | tier << 160 | expiresAt << 168; the top 48 bits must be zero.
    function mintBatch(uint256[] calldata items) external;
    /// @notice Brings back a wallet that left or was revoked, or to which a revoked wallet was recovered, with its member
    /// number. Counts like a mint. MINTER or MANAGER.
    function readmit(address to, uint8 tier, uint40 expiresAt) external;

    // -------------------------------------------------------------------------------------------------------- vouchers

    /// @notice Mints the voucher's card. Anyone may send it in. A wallet that ever had a card is refused.
    function claim(CardVoucher calldata voucher, address signer, bytes calldata signature) external;

    /// @notice Mints a bearer voucher's card to `claimer`, who consents, with the claim key's agreement to this
    /// claimer.
    /// @param keySignature By the claim key, and
    /// @param consent by the claimer (empty if the claimer is the caller): both over Claim(BearerCardVoucher
    /// voucher,address claimer), so that a wallet shows what is promised.
    function claimBearer(
        BearerCardVoucher calldata voucher,
        address signer,
        bytes calldata signature,
        bytes calldata keySignature,
        address claimer,
        bytes calldata consent
    ) external;

    /// @notice Addressed vouchers to this untouched wallet die; a mint stays possible. MANAGER, GUARDIAN or owner.
    function voidVoucher(address to) external;
    /// @notice Marks bearer vouchers as used. MANAGER, GUARDIAN or owner.
    function voidBearer(uint256 word, uint256 mask) external;
    /// @notice All vouchers signed so far, for cards and stamps, die. GUARDIAN or owner.
    function raiseVoucherEpoch() external;

    // --------------------------------------------------------------------------------------------------------- MANAGER

    /// @param items address | newExpiry << 160 | expectedExpiry << 200. Current = new is skipped as Done; current ≠
    /// expected as Conflict; a wallet without a card with its reason. new must be later than now and than expected.
    function renewBatch(uint256[] calldata items) external;
    /// @param items address | tier << 160. Current = new is skipped as Done.
    function setTierBatch(uint256[] calldata items) external;
    /// @notice Takes the card, if it has not left by itself, and bars the wallet until it is readmitted. The member
    /// number and the stamps stay with the wallet. Reverts for a wallet that never had a card, moved away, or is revoked.
    function revoke(address holder, string calldata reason) external;

    // ---------------------------------------------------------------------------------------------------------- holder

    /// @notice The holder leaves. The stamps stay.
    /// @param deadline Of the signature; ignored where the holder calls.
    /// @param signature over Burn(address holder,uint24 nonce,uint40 deadline), or empty if the holder is the caller.
    function burn(address holder, uint40 deadline, bytes calldata signature) external;

    /// @notice Moves the card and the stamps of all seasons to another wallet of the same member. The target holds no
    /// card, or the one that `replaces` names; the source's card survives with its number, tier and dates. A target
    /// that had left is a member again, under the moved number; the number it once had is not used again. Where `from`
    /// has stamps only, a target that had left stays so, and one with a card is refused. A wallet that a card or stamps
    /// came to waits for the cool-down before it moves on; it may take in others.
    /// @param fromSignature and
    /// @param toSignature over Migrate(address from,address to,uint64 serial,uint64 replaces,uint24 nonce,uint40
    /// deadline); empty for the wallet that is the caller.
    function migrate(Move calldata move, bytes calldata fromSignature, bytes calldata toSignature) external;

    /// @notice Stops a proposed recovery. The holder, unless revoked; with an empty signature also the owner, and the
    /// proposer while it still may propose.
    /// @param deadline Of the signature; ignored where one of them calls.
    /// @param signature over Veto(address holder,uint24 nonce,uint40 deadline). Sent in, it serves once; unused, it stops
    /// the next proposal too.
    function vetoRecovery(address holder, uint40 deadline, bytes calldata signature) external;

    // ---------------------------------------------------------------------------------------------- GUARDIAN and owner

    /// @notice Starts the move of a lost or stolen wallet's card and stamps. GUARDIAN or owner. Cancelled by a burn, a
    /// move or a veto of the holder, by a revocation or readmission, and by the proposer's loss of the role, even if it
    /// is given again.
    /// @dev From a wallet that was revoked already, the holder can't veto. The target then gets the stamps, the member
    /// number and the revocation, but no card: only `readmit` of the target brings that back.
    function proposeRecovery(address from, address to, string calldata reason) external;
    /// @notice Anyone, within 14 days from `readyAt`, longer by the time the program was paused since the proposal. The
    /// rules of the target are those of `migrate` with `replaces` 0, and it must not have left, for it is not asked. No
    /// cool-down holds it back.
    function executeRecovery(address from) external;
    /// @notice Stops mint, claim, readmit, renew, tier change and the execution of recoveries, in all contracts of the
    /// program. GUARDIAN or owner.
    function pause() external;
    /// @notice Guardian and owner lower, the owner alone raises.
    function setQuota(uint256 kind, uint24 limit) external;

    // ----------------------------------------------------------------------------------------------------------- owner

    function unpause() external;
    /// @notice Not below the number of living cards.
    function setCap(uint32 cap_) external;
    /// @notice Renames tiers and adds higher ones; the number of tiers never shrinks. At most 250 names, none empty or
    /// with control characters. Once the metadata is frozen names stay and tiers can only be added.
    function setTiers(string[] calldata names) external;
    /// @notice Empty = drawn on chain; else tokenURI is the base followed by the decimal token id.
    function setBaseURI(string calldata uri) external;
    function setContractURI(string calldata uri) external;
    /// @notice For good. Refused unless base and contract URI are empty, ipfs:// or ar://.
    function freezeMetadata() external;
}
