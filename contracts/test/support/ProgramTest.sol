// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test, Vm} from "./Test.sol";
import {Cards, Stamps, StandardEvents} from "./Standards.sol";
import {Consents} from "./Consents.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "../../src/interfaces/ILoyaltyStamps.sol";

/// @title An open program, its people, and builders with defaults
/// @dev The contracts are deployed by artifact name, so a change in src does not recompile the tests.
abstract contract ProgramTest is Test, StandardEvents {
    uint256 internal constant MINTER = 1;
    uint256 internal constant SIGNER = 2;
    uint256 internal constant MANAGER = 4;
    uint256 internal constant GUARDIAN = 8;

    uint256 internal constant ALREADY_HELD = 1;
    uint256 internal constant EVER_CLAIMED = 2;
    uint256 internal constant LEFT = 3;
    uint256 internal constant REVOKED = 4;
    uint256 internal constant MOVED = 5;
    uint256 internal constant NOT_ACTIVE = 6;
    uint256 internal constant BELOW_TIER = 7;
    uint256 internal constant DONE = 8;
    uint256 internal constant CONFLICT = 9;
    uint256 internal constant NOT_HELD = 10;

    uint8 internal constant FLAG_LEFT = 1;
    uint8 internal constant FLAG_REVOKED = 2;
    uint8 internal constant FLAG_MOVED = 4;
    uint8 internal constant FLAG_VOIDED = 8;

    uint256 internal constant MINT = 0;
    uint256 internal constant CLAIM = 1;
    uint256 internal constant MANAGE = 2;

    // Stamp types of the default program: 1-5 are a stamp card.
    uint8 internal constant COFFEE = 1; // redeemable, as all of the card
    uint8 internal constant OPENING_NIGHT = 6; // at most 3
    uint8 internal constant MEMBERS_ONLY = 7;
    uint8 internal constant SILVER_TASTING = 8; // from tier 2
    uint8 internal constant ADVENT = 9; // open from ADVENT_OPENS until ADVENT_CLOSES
    uint8 internal constant UNDEFINED = 10;

    uint32 internal constant NO_CAP = type(uint32).max;
    uint40 internal constant FOR_LIFE = 0;

    /// @dev 10:00 UTC of some day.
    uint40 internal constant START = 20_800 days + 10 hours;
    uint40 internal constant YEAR = START + 365 days;
    uint40 internal constant ADVENT_OPENS = START + 30 days;
    uint40 internal constant ADVENT_CLOSES = START + 54 days;
    uint32 internal constant RECOVERY_DELAY = 3 days;
    uint32 internal constant COOLDOWN = 30 days;

    ILoyaltyFactory internal factory;
    Cards internal cards;
    Stamps internal stamps;
    address internal cardsCode;
    address internal stampsCode;
    address internal renderer;

    address internal opener;
    address internal owner;
    address internal minter;
    address internal signer;
    address internal manager;
    address internal guardian;
    address internal stranger;
    address internal relayer;
    address internal alice;
    address internal bob;
    address internal carol;
    address internal claimKey;

    mapping(address account => uint256) internal keys;

    function setUp() public virtual {
        vm.warp(START);
        opener = named("opener");
        owner = named("owner");
        minter = named("minter");
        signer = named("signer");
        manager = named("manager");
        guardian = named("guardian");
        stranger = named("stranger");
        relayer = named("relayer");
        alice = named("alice");
        bob = named("bob");
        carol = named("carol");
        claimKey = named("claimKey");

        renderer = vm.deployCode("LoyaltyRenderer.sol:LoyaltyRenderer");
        cardsCode = vm.deployCode("LoyaltyMembership.sol:LoyaltyMembership", abi.encode(renderer));
        stampsCode = vm.deployCode("LoyaltyStamps.sol:LoyaltyStamps", abi.encode(renderer));
        factory = ILoyaltyFactory(vm.deployCode("LoyaltyFactory.sol:LoyaltyFactory", abi.encode(cardsCode, stampsCode)));
        (cards, stamps) = open(program());
    }

    // -------------------------------------------------------------------------------------------------------- people

    function named(string memory name) internal returns (address account) {
        uint256 key;
        (key, account) = keyOf(name);
        keys[account] = key;
    }

    // ------------------------------------------------------------------------------------------------------- opening

    function program() internal view virtual returns (ILoyaltyFactory.Program memory p) {
        p.salt = "coffee";
        p.name = "Bean & Co";
        p.symbol = "BEAN";
        p.background = 0x1b2a41;
        p.ink = 0xf4f1ea;
        p.recoveryDelay = RECOVERY_DELAY;
        p.moveCooldown = COOLDOWN;
        p.owner = owner;
        p.cap = 1000;
        p.cardQuotas = ILoyaltyMembership.Quotas({mint: 100, claim: 50, manage: 60});
        p.stampQuotas = ILoyaltyStamps.StampQuotas({mint: 200, claim: 50, manage: 60});
        p.grants = new ILoyaltyMembership.Grant[](4);
        p.grants[0] = ILoyaltyMembership.Grant(minter, uint8(MINTER));
        p.grants[1] = ILoyaltyMembership.Grant(signer, uint8(SIGNER));
        p.grants[2] = ILoyaltyMembership.Grant(manager, uint8(MANAGER));
        p.grants[3] = ILoyaltyMembership.Grant(guardian, uint8(GUARDIAN));
        p.tiers = new string[](3);
        p.tiers[0] = "Basic";
        p.tiers[1] = "Silver";
        p.tiers[2] = "Gold";
        p.types = new ILoyaltyStamps.TypeBlock[](5);
        p.types[0] = ILoyaltyStamps.TypeBlock(COFFEE, 5, NO_CAP, 0, 0, 2, 0, "Five coffees");
        p.types[1] = ILoyaltyStamps.TypeBlock(OPENING_NIGHT, 1, 3, 0, 0, 0, 0, "Opening night");
        p.types[2] = ILoyaltyStamps.TypeBlock(MEMBERS_ONLY, 1, NO_CAP, 0, 0, 1, 0, "Members only");
        p.types[3] = ILoyaltyStamps.TypeBlock(SILVER_TASTING, 1, NO_CAP, 0, 0, 1, 2, "Silver tasting");
        p.types[4] = ILoyaltyStamps.TypeBlock(ADVENT, 1, NO_CAP, ADVENT_OPENS, ADVENT_CLOSES, 0, 0, "Advent");
    }

    function open(ILoyaltyFactory.Program memory p) internal returns (Cards, Stamps) {
        vm.prank(opener);
        (address membership, address firstSeason) = factory.open(p);
        return (Cards(membership), Stamps(firstSeason));
    }

    /// @notice A second season with one stamp card of three at types 1-3.
    function openSeason() internal returns (Stamps) {
        ILoyaltyStamps.TypeBlock[] memory types = new ILoyaltyStamps.TypeBlock[](1);
        types[0] = ILoyaltyStamps.TypeBlock(1, 3, NO_CAP, 0, 0, 2, 0, "Spring");
        vm.prank(owner);
        return Stamps(
            factory.openSeason(address(cards), ILoyaltyStamps.StampQuotas({mint: 50, claim: 20, manage: 20}), types, "")
        );
    }

    /// @notice So many names of tiers, all different.
    function tierNames(uint256 number) internal pure returns (string[] memory names) {
        names = new string[](number);
        for (uint256 i; i < number; ++i) {
            names[i] = vm.toString(i + 1);
        }
    }

    // --------------------------------------------------------------------------------------------------------- items

    function id(address holder) internal pure returns (uint256) {
        return uint160(holder);
    }

    function stampId(address holder, uint256 stampType) internal pure returns (uint256) {
        return stampType << 160 | uint160(holder);
    }

    function cardItem(address to, uint256 tier, uint256 expiresAt) internal pure returns (uint256) {
        return uint160(to) | tier << 160 | expiresAt << 168;
    }

    function renewItem(address holder, uint256 wanted, uint256 expected) internal pure returns (uint256) {
        return uint160(holder) | wanted << 160 | expected << 200;
    }

    function tierItem(address holder, uint256 tier) internal pure returns (uint256) {
        return uint160(holder) | tier << 160;
    }

    function list(uint256 a) internal pure returns (uint256[] memory items) {
        items = new uint256[](1);
        items[0] = a;
    }

    function list(uint256 a, uint256 b) internal pure returns (uint256[] memory items) {
        items = new uint256[](2);
        (items[0], items[1]) = (a, b);
    }

    function list(uint256 a, uint256 b, uint256 c) internal pure returns (uint256[] memory items) {
        items = new uint256[](3);
        (items[0], items[1], items[2]) = (a, b, c);
    }

    function list(address a) internal pure returns (address[] memory accounts) {
        accounts = new address[](1);
        accounts[0] = a;
    }

    function list(address a, address b) internal pure returns (address[] memory accounts) {
        accounts = new address[](2);
        (accounts[0], accounts[1]) = (a, b);
    }

    function list(address a, address b, address c) internal pure returns (address[] memory accounts) {
        accounts = new address[](3);
        (accounts[0], accounts[1], accounts[2]) = (a, b, c);
    }

    // ---------------------------------------------------------------------------------------------------------- acts

    /// @notice A card of the lowest tier for a year.
    function mintCard(address to) internal {
        mintCard(to, 1, YEAR);
    }

    function mintCard(address to, uint8 tier, uint40 expiresAt) internal {
        vm.prank(minter);
        cards.mint(to, tier, expiresAt);
    }

    function giveStamp(address to, uint8 stampType) internal {
        vm.prank(minter);
        stamps.mint(to, stampType);
    }

    function burnCard(address holder) internal {
        vm.prank(holder);
        cards.burn(holder, uint40(block.timestamp), "");
    }

    function revoke(address holder) internal {
        vm.prank(manager);
        cards.revoke(holder, "shared the card");
    }

    function pause() internal {
        vm.prank(guardian);
        cards.pause();
    }

    /// @notice A move of everything `from` has, agreed by both, sent in by a third party.
    function migrate(address from, address to) internal {
        ILoyaltyMembership.Move memory m = moveOf(from, to);
        bytes memory a = consent(m, from);
        bytes memory b = consent(m, to);
        vm.prank(relayer);
        cards.migrate(m, a, b);
    }

    function propose(address from, address to) internal {
        vm.prank(guardian);
        cards.proposeRecovery(from, to, "lost phone");
    }

    // ------------------------------------------------------------------------------------------------------ vouchers

    function cardVoucher(address to) internal view returns (ILoyaltyMembership.CardVoucher memory) {
        return ILoyaltyMembership.CardVoucher({
            to: to,
            tier: 1,
            expiresAt: YEAR,
            epoch: uint24(cards.voucherEpoch()),
            deadline: uint40(block.timestamp + 7 days)
        });
    }

    function bearerCard(uint32 index) internal view returns (ILoyaltyMembership.BearerCardVoucher memory) {
        return ILoyaltyMembership.BearerCardVoucher({
            claimKey: claimKey,
            index: index,
            tier: 1,
            expiresAt: YEAR,
            epoch: uint24(cards.voucherEpoch()),
            deadline: uint40(block.timestamp + 7 days)
        });
    }

    function stampVoucher(address to, uint8 stampType) internal view returns (ILoyaltyStamps.StampVoucher memory) {
        return ILoyaltyStamps.StampVoucher({
            to: to,
            stampType: stampType,
            epoch: uint24(cards.voucherEpoch()),
            deadline: uint40(block.timestamp + 7 days)
        });
    }

    function bearerStamp(uint32 index, uint8 stampType)
        internal
        view
        returns (ILoyaltyStamps.BearerStampVoucher memory)
    {
        return ILoyaltyStamps.BearerStampVoucher({
            claimKey: claimKey,
            index: index,
            stampType: stampType,
            epoch: uint24(cards.voucherEpoch()),
            deadline: uint40(block.timestamp + 7 days)
        });
    }

    /// @notice The move that the wallets' present state allows, valid for a week.
    function moveOf(address from, address to) internal view returns (ILoyaltyMembership.Move memory) {
        ILoyaltyMembership.Member memory a = cards.membershipOf(from);
        ILoyaltyMembership.Member memory b = cards.membershipOf(to);
        return ILoyaltyMembership.Move({
            from: from,
            to: to,
            serial: a.joinedAt == 0 ? 0 : a.serial,
            replaces: b.joinedAt == 0 ? 0 : b.serial,
            nonce: a.nonce,
            deadline: uint40(block.timestamp + 7 days)
        });
    }

    // ---------------------------------------------------------------------------------------------------- signatures

    function signed(address by, bytes32 digest) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(keys[by], digest);
        return abi.encodePacked(r, s, v);
    }

    /// @dev The same signature with s mirrored: what a contract without a low-s check takes as a second one.
    function mirrored(bytes memory signature) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = parts(signature);
        uint256 order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        return abi.encodePacked(r, order - uint256(s), v == 27 ? uint8(28) : uint8(27));
    }

    /// @dev The 64-byte form (EIP-2098) of a signature.
    function compact(bytes memory signature) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = parts(signature);
        return abi.encodePacked(r, uint256(s) | uint256(v - 27) << 255);
    }

    function parts(bytes memory signature) internal pure returns (bytes32 r, bytes32 s, uint8 v) {
        require(signature.length == 65, "parts: not 65 bytes");
        assembly ("memory-safe") {
            r := mload(add(signature, 32))
            s := mload(add(signature, 64))
            v := byte(0, mload(add(signature, 96)))
        }
    }

    function consent(ILoyaltyMembership.Move memory m, address by) internal view returns (bytes memory) {
        return signed(by, cards.digestOf(Consents.hash(m)));
    }

    function signCard(ILoyaltyMembership.CardVoucher memory v) internal view returns (bytes memory) {
        return signed(signer, cards.digestOf(Consents.hash(v)));
    }

    function signCard(ILoyaltyMembership.BearerCardVoucher memory v) internal view returns (bytes memory) {
        return signed(signer, cards.digestOf(Consents.hash(v)));
    }

    function signStamp(ILoyaltyStamps.StampVoucher memory v) internal view returns (bytes memory) {
        return signed(signer, stamps.digestOf(Consents.hash(v)));
    }

    function signStamp(ILoyaltyStamps.BearerStampVoucher memory v) internal view returns (bytes memory) {
        return signed(signer, stamps.digestOf(Consents.hash(v)));
    }

    /// @notice `by` agrees that `claimer` gets what the bearer voucher promises.
    function agree(ILoyaltyMembership.BearerCardVoucher memory v, address claimer, address by)
        internal
        view
        returns (bytes memory)
    {
        return signed(by, cards.digestOf(Consents.claim(v, claimer)));
    }

    function agree(ILoyaltyStamps.BearerStampVoucher memory v, address claimer, address by)
        internal
        view
        returns (bytes memory)
    {
        return signed(by, stamps.digestOf(Consents.claim(v, claimer)));
    }

    // ----------------------------------------------------------------------------------------------- what must happen

    function refuse(bytes4 selector) internal {
        vm.expectRevert(abi.encodeWithSelector(selector));
    }

    function refuse(bytes4 selector, uint256 a) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a));
    }

    function refuse(bytes4 selector, address a) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a));
    }

    function refuse(bytes4 selector, uint256 a, uint256 b) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a, b));
    }

    function refuse(bytes4 selector, address a, uint256 b) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a, b));
    }

    function refuse(bytes4 selector, uint256 a, uint256 b, uint256 c) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a, b, c));
    }

    function refuse(bytes4 selector, address a, uint256 b, uint256 c) internal {
        vm.expectRevert(abi.encodeWithSelector(selector, a, b, c));
    }

    /// @dev `data` is what a call reverted with; true if it is this error, whatever its values.
    function isError(bytes memory data, bytes4 selector) internal pure returns (bool) {
        return data.length >= 4 && bytes4(data) == selector;
    }

    /// @notice The words of one wallet in all contracts, as one value: equal before and after = nothing changed.
    function stateOf(address wallet) internal view returns (bytes32) {
        (uint256 card, uint256[] memory held) = cards.holdingsOf(wallet);
        return keccak256(abi.encode(card, held, cards.totalSupply(), cards.issued()));
    }

    function wordOf(address wallet) internal view returns (uint256) {
        return cards.wordsOf(list(wallet))[0];
    }

    function has(address wallet, uint256 stampType) internal view returns (bool) {
        (uint256 held,,) = stamps.stampsOf(wallet);
        return held >> (stampType - 1) & 1 == 1;
    }

    function everHad(address wallet, uint256 stampType) internal view returns (bool) {
        (, uint256 claimed,) = stamps.stampsOf(wallet);
        return claimed >> (stampType - 1) & 1 == 1;
    }

    /// @notice How often the recorded logs hold this event of this contract.
    function count(Vm.Log[] memory logs, address emitter, bytes32 topic0) internal pure returns (uint256 n) {
        for (uint256 i; i < logs.length; ++i) {
            if (logs[i].emitter == emitter && logs[i].topics.length > 0 && logs[i].topics[0] == topic0) ++n;
        }
    }
}
