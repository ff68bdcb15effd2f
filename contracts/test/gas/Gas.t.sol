// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "../../src/interfaces/ILoyaltyStamps.sol";
import {ProgramTest} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";

/// @dev The cheatcodes that record gas, beside those of the tests' base.
interface GasVm {
    function snapshotGasLastCall(string calldata group, string calldata name) external returns (uint256 gas);
    function snapshotValue(string calldata group, string calldata name, uint256 value) external;
    function lastCallGas() external view returns (Gas memory);

    struct Gas {
        uint64 gasLimit;
        uint64 gasTotalUsed;
        uint64 gasMemoryUsed;
        int64 gasRefunded;
        uint64 gasRemaining;
    }
}

/// @title What each act of a program costs, by sentence, kept in snapshots/
/// @notice Each measured call is a transaction of its own (isolate), so the figure is a receipt's gasUsed: 21,000 to
/// begin with, calldata, clone, quotas and all events included. Counters are warm in the sense of the day: somebody was
/// minted to today already. `FORGE_SNAPSHOT_CHECK=true forge test` compares with the committed figures.
contract GasTest is ProgramTest {
    GasVm private constant gasVm = GasVm(address(vm));

    uint256 private constant BATCH = 100;

    /// @dev What one transaction may use (EIP-7825).
    uint256 private constant MOST_OF_A_TRANSACTION = 16_777_216;
    /// @dev For what is only recorded.
    uint256 private constant NO_AIM = MOST_OF_A_TRANSACTION;

    address private seed;

    function setUp() public override {
        super.setUp();
        ILoyaltyFactory.Program memory p = program();
        p.salt = "gas";
        p.cap = NO_CAP;
        p.cardQuotas = ILoyaltyMembership.Quotas({mint: 10_000, claim: 10_000, manage: 10_000});
        p.stampQuotas = ILoyaltyStamps.StampQuotas({mint: 10_000, claim: 10_000, manage: 10_000});
        (cards, stamps) = open(p);
        // Every counter that the day keeps is written once before anything is measured.
        seed = named("seed");
        mintCard(seed);
        for (uint8 stampType = 1; stampType <= 8; ++stampType) {
            if (stampType != SILVER_TASTING) giveStamp(seed, stampType);
        }
        mintCard(named("seed2"), 2, YEAR);
        giveStamp(named("seed2"), SILVER_TASTING);
        cards.claim(cardVoucher(named("seed3")), signer, signCard(cardVoucher(named("seed3"))));
        stamps.claim(stampVoucher(named("seed3"), COFFEE), signer, signStamp(stampVoucher(named("seed3"), COFFEE)));
        vm.prank(manager);
        cards.setTierBatch(list(tierItem(seed, 2)));
    }

    // --------------------------------------------------------------------------------------------------------- opening

    /// forge-config: default.isolate = true
    function test_OpenAProgram() external {
        ILoyaltyFactory.Program memory p;
        p.salt = "the next one";
        p.name = "Coffee and Cake Club";
        p.symbol = "CAKE";
        p.background = 0x1b2a41;
        p.ink = 0xf4f1ea;
        p.recoveryDelay = 3 days;
        p.moveCooldown = 30 days;
        p.owner = owner;
        p.cap = NO_CAP;
        p.cardQuotas = ILoyaltyMembership.Quotas({mint: 1000, claim: 1000, manage: 100});
        p.stampQuotas = ILoyaltyStamps.StampQuotas({mint: 1000, claim: 1000, manage: 100});
        p.grants = new ILoyaltyMembership.Grant[](1);
        p.grants[0] = ILoyaltyMembership.Grant(minter, uint8(MINTER));
        p.tiers = program().tiers;
        vm.prank(opener);
        factory.open(p);
        record("open a program", 400_000);
    }

    // ----------------------------------------------------------------------------------------------------------- cards

    /// forge-config: default.isolate = true
    function test_MintACard() external {
        vm.prank(minter);
        cards.mint(alice, 2, YEAR);
        record("mint a card", 62_000);
    }

    /// forge-config: default.isolate = true
    function test_MintAHundredCards() external {
        uint256[] memory items = cardItems();
        vm.prank(minter);
        cards.mintBatch(items);
        recordEach("mint 100 cards, each", 30_000);
    }

    /// forge-config: default.isolate = true
    function test_ClaimAnAddressedCard() external {
        ILoyaltyMembership.CardVoucher memory v = cardVoucher(alice);
        bytes memory signature = signCard(v);
        vm.prank(relayer);
        cards.claim(v, signer, signature);
        record("claim an addressed card", 73_000);
    }

    /// forge-config: default.isolate = true
    function test_ClaimABearerCard() external {
        claimBearerCard(0, bob);
        ILoyaltyMembership.BearerCardVoucher memory v = bearerCard(1);
        bytes memory signature = signCard(v);
        bytes memory keySignature = agree(v, alice, claimKey);
        bytes memory agreed = agree(v, alice, alice);
        vm.prank(relayer);
        cards.claimBearer(v, signer, signature, keySignature, alice, agreed);
        record("claim a bearer card", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_RenewAHundredCards() external {
        uint256[] memory items = cardItems();
        vm.prank(minter);
        cards.mintBatch(items);
        for (uint256 i; i < BATCH; ++i) {
            items[i] = renewItem(member(i), YEAR + 365 days, YEAR);
        }
        vm.prank(manager);
        cards.renewBatch(items);
        recordEach("renew 100 cards, each", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_SetTheTierOfAHundredCards() external {
        uint256[] memory items = cardItems();
        vm.prank(minter);
        cards.mintBatch(items);
        for (uint256 i; i < BATCH; ++i) {
            items[i] = tierItem(member(i), 3);
        }
        vm.prank(manager);
        cards.setTierBatch(items);
        recordEach("set the tier of 100 cards, each", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_BurnACard() external {
        mintCard(alice);
        vm.prank(alice);
        cards.burn(alice, 0, "");
        record("burn a card", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_RevokeACard() external {
        mintCard(alice);
        vm.prank(manager);
        cards.revoke(alice, "shared the card");
        record("revoke a card", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_MoveACardWithFiveStamps() external {
        mintCard(alice);
        for (uint8 stampType = 1; stampType <= 5; ++stampType) {
            giveStamp(alice, stampType);
        }
        ILoyaltyMembership.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        vm.prank(relayer);
        cards.migrate(m, a, b);
        record("move a card with 5 stamps", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_MoveAsMuchAsThereCanBe() external {
        giveEverything(alice);
        ILoyaltyMembership.Move memory m = moveOf(alice, bob);
        bytes memory a = consent(m, alice);
        bytes memory b = consent(m, bob);
        vm.prank(relayer);
        cards.migrate(m, a, b);
        record("move a card with 960 stamps of 8 seasons", MOST_OF_A_TRANSACTION);
        vm.assertEq(Stamps(cards.stampsOfSeason(0)).balanceOf(bob), 120);
        vm.assertEq(Stamps(cards.stampsOfSeason(7)).balanceOf(bob), 120);
        vm.assertEq(cards.balanceOf(bob), 1);
    }

    /// @dev A card and 120 stamps of each of eight seasons, in a program of their own.
    function giveEverything(address to) private {
        ILoyaltyFactory.Program memory p = program();
        p.salt = "everything";
        p.stampQuotas = ILoyaltyStamps.StampQuotas({mint: 10_000, claim: 10_000, manage: 10_000});
        p.types = new ILoyaltyStamps.TypeBlock[](1);
        p.types[0] = ILoyaltyStamps.TypeBlock(1, 120, NO_CAP, 0, 0, 2, 0, "All there are");
        (cards, stamps) = open(p);
        mintCard(to);
        uint256[] memory items = new uint256[](120);
        for (uint256 i; i < 120; ++i) {
            items[i] = stampId(to, i + 1);
        }
        for (uint256 season; season < 8; ++season) {
            if (season != 0) {
                vm.prank(owner);
                stamps = Stamps(factory.openSeason(address(cards), p.stampQuotas, p.types, ""));
            }
            vm.prank(minter);
            stamps.mintBatch(items);
        }
    }

    // ---------------------------------------------------------------------------------------------------------- stamps

    /// forge-config: default.isolate = true
    function test_MintAFirstStamp() external {
        vm.prank(minter);
        stamps.mint(alice, COFFEE);
        record("mint a first stamp", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_MintAFurtherStamp() external {
        giveStamp(alice, COFFEE);
        vm.prank(minter);
        stamps.mint(alice, COFFEE + 1);
        record("mint a further stamp", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_MintAHundredFirstStamps() external {
        uint256[] memory items = stampItems(COFFEE);
        vm.prank(minter);
        stamps.mintBatch(items);
        recordEach("mint 100 first stamps, each", 27_500);
    }

    /// forge-config: default.isolate = true
    function test_MintAHundredFurtherStamps() external {
        uint256[] memory items = stampItems(COFFEE);
        vm.prank(minter);
        stamps.mintBatch(items);
        items = stampItems(COFFEE + 1);
        vm.prank(minter);
        stamps.mintBatch(items);
        recordEach("mint 100 further stamps, each", 10_000);
    }

    /// forge-config: default.isolate = true
    function test_MintAHundredFurtherStampsOfAGatedType() external {
        uint256[] memory items = cardItems();
        vm.prank(minter);
        cards.mintBatch(items);
        items = stampItems(COFFEE);
        vm.prank(minter);
        stamps.mintBatch(items);
        items = stampItems(MEMBERS_ONLY);
        vm.prank(minter);
        stamps.mintBatch(items);
        recordEach("mint 100 further stamps of a gated type, each", 13_000);
    }

    /// forge-config: default.isolate = true
    function test_ClaimAnAddressedStamp() external {
        ILoyaltyStamps.StampVoucher memory v = stampVoucher(alice, COFFEE);
        bytes memory signature = signStamp(v);
        vm.prank(relayer);
        stamps.claim(v, signer, signature);
        record("claim an addressed stamp", NO_AIM);
    }

    /// forge-config: default.isolate = true
    function test_RedeemAStamp() external {
        giveStamp(alice, COFFEE);
        bytes memory agreed = redeemConsent(alice, COFFEE, "order 1");
        vm.prank(relayer);
        stamps.redeem(alice, COFFEE, "order 1", uint40(block.timestamp + 7 days), agreed);
        record("redeem a stamp", NO_AIM);
    }

    // --------------------------------------------------------------------------------------------------------- numbers

    /// @dev Records the last call under a sentence. The aim holds whatever the snapshot says.
    function record(string memory sentence, uint256 aim) private {
        uint256 used = gasVm.snapshotGasLastCall("gas", sentence);
        vm.assertLe(used, aim, sentence);
        vm.assertGt(used, 21_000, "not measured as a transaction");
    }

    function recordEach(string memory sentence, uint256 aim) private {
        uint256 each = gasVm.lastCallGas().gasTotalUsed / BATCH;
        gasVm.snapshotValue("gas", sentence, each);
        vm.assertLe(each, aim, sentence);
    }

    // ---------------------------------------------------------------------------------------------------------- people

    /// @dev Addresses as they are: twenty bytes without a zero among them, nearly.
    function member(uint256 i) private pure returns (address) {
        return address(uint160(uint256(keccak256(abi.encode("member", i)))));
    }

    function cardItems() private pure returns (uint256[] memory items) {
        items = new uint256[](BATCH);
        for (uint256 i; i < BATCH; ++i) {
            items[i] = cardItem(member(i), 1 + i % 3, YEAR);
        }
    }

    function stampItems(uint256 stampType) private pure returns (uint256[] memory items) {
        items = new uint256[](BATCH);
        for (uint256 i; i < BATCH; ++i) {
            items[i] = stampId(member(i), stampType);
        }
    }

    function claimBearerCard(uint32 index, address claimer) private {
        ILoyaltyMembership.BearerCardVoucher memory v = bearerCard(index);
        cards.claimBearer(v, signer, signCard(v), agree(v, claimer, claimKey), claimer, agree(v, claimer, claimer));
    }

    function redeemConsent(address holder, uint256 stampType, bytes32 orderRef) private view returns (bytes memory) {
        bytes32 typeHash = keccak256("Redeem(address holder,uint8 stampType,bytes32 orderRef,uint40 deadline)");
        return signed(
            holder,
            stamps.digestOf(keccak256(abi.encode(typeHash, holder, stampType, orderRef, block.timestamp + 7 days)))
        );
    }
}
