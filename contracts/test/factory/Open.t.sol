// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Cards, Stamps} from "../support/Standards.sol";
import {ILoyaltyFactory as F} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract OpenTest is ProgramTest {
    function tea() internal view returns (F.Program memory p) {
        p = program();
        p.salt = "tea";
    }

    function opening() internal view returns (M.Opening memory o) {
        o.owner = stranger;
        o.stamps = address(stamps);
        o.cap = 1;
        o.tiers = new string[](1);
        o.tiers[0] = "Mine";
    }

    function test_WhenAnyoneOpensAProgram() external {
        F.Program memory p = tea();
        (address membership, address firstSeason) = factory.predict(stranger, p);
        vm.expectEmit(address(factory));
        emit F.ProgramOpened(stranger, "tea", membership, firstSeason);
        vm.prank(stranger);
        (address a, address b) = factory.open(p);
        vm.assertEq(a, membership);
        vm.assertEq(b, firstSeason);
        vm.assertEq(factory.programOf(stranger, "tea"), membership);
        vm.assertEq(factory.programOf(opener, "tea"), address(0));

        Cards c = Cards(a);
        Stamps s = Stamps(b);
        vm.assertEq(c.owner(), owner);
        vm.assertEq(c.rolesOf(minter), MINTER);
        vm.assertEq(c.rolesOf(signer), SIGNER);
        vm.assertEq(c.rolesOf(manager), MANAGER);
        vm.assertEq(c.rolesOf(guardian), GUARDIAN);
        vm.assertEq(c.rolesOf(stranger), 0, "the opener gets no power");
        vm.assertEq(c.rolesOf(address(factory)), 0, "nor does the factory");
        vm.assertEq(c.cap(), 1000);
        vm.assertEq(c.tierNames().length, 3);
        vm.assertEq(c.tierNames()[2], "Gold");
        vm.assertEq(c.seasons(), 1);
        vm.assertEq(c.stampsOfSeason(0), b);
        vm.assertFalse(c.paused());
        vm.assertFalse(c.metadataFrozen());
        vm.assertEq(s.membership(), a);
        vm.assertEq(s.season(), 0);
        vm.assertEq(s.owner(), owner);
        vm.assertEq(s.typeOf(OPENING_NIGHT).cap, 3);
        (uint256 limit,) = s.quotaOf(MINT);
        vm.assertEq(limit, 200);
    }

    function test_RevertWhen_TheSameOpenerOpensTheSameSaltAgain() external {
        F.Program memory p = program();
        vm.expectRevert(abi.encodeWithSelector(F.LoyaltyFactory_AlreadyOpen.selector, address(cards)));
        vm.prank(opener);
        factory.open(p);
        p.name = "Another";
        p.recoveryDelay = 30 days;
        p.owner = stranger;
        vm.expectRevert(abi.encodeWithSelector(F.LoyaltyFactory_AlreadyOpen.selector, address(cards)));
        vm.prank(opener);
        factory.open(p);
        vm.assertEq(factory.programOf(opener, "coffee"), address(cards));
    }

    function test_WhenAnotherOpenerUsesTheSameSalt() external {
        vm.prank(stranger);
        (address membership,) = factory.open(program());
        vm.assertNotEq(membership, address(cards), "other address");
        vm.assertEq(factory.programOf(opener, "coffee"), address(cards));
        vm.assertEq(factory.programOf(stranger, "coffee"), membership);
    }

    function test_WhenOnlyInitialStateDiffers() external view {
        F.Program memory p = tea();
        (address a, address b) = factory.predict(opener, p);
        p.owner = stranger;
        p.cap = 1;
        p.cardQuotas.mint = 1;
        p.tiers[0] = "Other";
        p.baseURI = "ipfs://x/";
        delete p.types;
        delete p.grants;
        (address c, address d) = factory.predict(opener, p);
        vm.assertEq(a, c);
        vm.assertEq(b, d);
    }

    function test_WhenAFixedTermDiffers() external view {
        (address base,) = factory.predict(opener, tea());
        F.Program[7] memory p = [tea(), tea(), tea(), tea(), tea(), tea(), tea()];
        p[0].name = "Bean & Cp";
        p[1].symbol = "BEAM";
        p[2].recoveryDelay += 1;
        p[3].moveCooldown += 1;
        p[4].background += 1;
        p[5].ink += 1;
        p[6].salt = "teb";
        for (uint256 i; i < p.length; ++i) {
            (address other,) = factory.predict(opener, p[i]);
            vm.assertNotEq(other, base, "another address");
        }
        // Nor does a letter that moves from the name to the symbol give the same.
        F.Program memory q = tea();
        q.name = "Bean & CoB";
        q.symbol = "EAN";
        (address moved,) = factory.predict(opener, q);
        vm.assertNotEq(moved, base, "another address");
    }

    function test_WhenAnAddressWasPredictedByAnother() external {
        F.Program memory p = tea();
        (address ours,) = factory.predict(opener, p);
        vm.prank(stranger);
        (address theirs,) = factory.open(p);
        vm.assertNotEq(theirs, ours, "not taken");
        vm.prank(opener);
        (address membership,) = factory.open(p);
        vm.assertEq(membership, ours);
    }

    function test_RevertWhen_TheRecoveryDelayIsTooShort() external {
        F.Program memory p = tea();
        p.recoveryDelay = 3 days - 1;
        refuse(F.LoyaltyFactory_DelayTooShort.selector, 3 days - 1, 3 days);
        factory.open(p);
        p.recoveryDelay = 0;
        refuse(F.LoyaltyFactory_DelayTooShort.selector, 0, 3 days);
        factory.open(p);
    }

    function test_RevertWhen_TheNameOrSymbolIsEmptyOrTooLong() external {
        string[2] memory bad = ["", string(new bytes(256))];
        for (uint256 i; i < bad.length; ++i) {
            F.Program memory p = tea();
            p.name = bad[i];
            refuse(F.LoyaltyFactory_BadName.selector);
            factory.open(p);
            p = tea();
            p.symbol = bad[i];
            refuse(F.LoyaltyFactory_BadName.selector);
            factory.open(p);
        }
    }

    function test_RevertWhen_ThereIsNoOwner() external {
        F.Program memory p = tea();
        p.owner = address(0);
        refuse(M.LoyaltyMembership_ZeroAddress.selector);
        factory.open(p);
        vm.assertEq(factory.programOf(address(this), "tea"), address(0), "nothing is left behind");
    }

    function test_RevertWhen_ThereIsNoTier() external {
        F.Program memory p = tea();
        p.tiers = new string[](0);
        vm.expectPartialRevert(M.LoyaltyMembership_BadTierName.selector);
        factory.open(p);
    }

    function test_RevertWhen_AGrantIsToNobodyOrOfNoKnownRole() external {
        F.Program memory p = tea();
        p.grants[0].account = address(0);
        vm.expectRevert();
        factory.open(p);
        p = tea();
        p.grants[0].roles = 16;
        vm.expectRevert();
        factory.open(p);
    }

    function test_RevertWhen_AContractIsInitialisedAgain() external {
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        address[4] memory callers = [stranger, owner, opener, address(factory)];
        for (uint256 i; i < callers.length; ++i) {
            vm.startPrank(callers[i]);
            refuse(M.LoyaltyMembership_AlreadyInitialized.selector);
            cards.initialize(opening());
            refuse(S.LoyaltyStamps_AlreadyInitialized.selector);
            stamps.initialize(quotas, types, "");
            vm.stopPrank();
        }
        vm.assertEq(cards.owner(), owner);
    }

    function test_RevertWhen_AnImplementationIsInitialised() external {
        (address a, address b) = factory.implementations();
        vm.assertEq(a, cardsCode);
        vm.assertEq(b, stampsCode);
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        address[3] memory callers = [stranger, address(factory), address(0)];
        for (uint256 i; i < callers.length; ++i) {
            vm.startPrank(callers[i]);
            vm.expectRevert();
            Cards(a).initialize(opening());
            vm.expectRevert();
            Stamps(b).initialize(quotas, types, "");
            vm.stopPrank();
        }
        // Its owner is nobody who could sign.
        vm.assertTrue(Cards(a).owner() == address(0) || uint160(Cards(a).owner()) < 256);
        vm.expectRevert();
        vm.prank(stranger);
        Cards(a).pause();
        vm.expectRevert();
        vm.prank(stranger);
        Cards(a).grantRoles(stranger, MINTER);
        vm.expectRevert();
        vm.prank(stranger);
        Cards(a).linkSeason(stranger);
        vm.expectRevert();
        vm.prank(stranger);
        Stamps(b).mint(stranger, 1);
    }

    function test_RevertWhen_TheCodeThatAMembershipBorrowsIsCalledDirectly() external {
        // The implementation's constructor put it there with its first creation.
        Cards office = Cards(vm.computeCreateAddress(cardsCode, 1));
        vm.assertGt(address(office).code.length, 0, "there is such code");
        bytes[10] memory tries = [
            abi.encodeCall(M.initialize, (opening())),
            abi.encodeCall(M.linkSeason, (stranger)),
            abi.encodeCall(office.grantRoles, (stranger, 15)),
            abi.encodeCall(M.pause, ()),
            abi.encodeCall(M.unpause, ()),
            abi.encodeCall(M.setCap, (1)),
            abi.encodeCall(M.setBaseURI, ("ipfs://x/")),
            abi.encodeCall(M.raiseVoucherEpoch, ()),
            abi.encodeCall(M.readmit, (alice, 1, YEAR)),
            abi.encodeCall(office.completeOwnershipHandover, (stranger))
        ];
        vm.startPrank(stranger);
        office.requestOwnershipHandover();
        for (uint256 i; i < tries.length; ++i) {
            (bool done,) = address(office).call(tries[i]);
            vm.assertFalse(done, vm.toString(i));
        }
        vm.stopPrank();
        vm.assertTrue(uint160(office.owner()) < 256, "nobody owns it");
        // Nor does a membership take what it does not know.
        (bool known,) = address(cards).call(abi.encodeWithSignature("upgradeToAndCall(address,bytes)", stranger, ""));
        vm.assertFalse(known);
    }

    function test_WhenSomeoneClonesAnImplementationByHand() external {
        // The code of a real program's clone, with all its terms, put elsewhere: same factory, same key.
        address copy = named("copy");
        vm.etch(copy, address(cards).code);
        vm.prank(stranger);
        vm.expectRevert();
        Cards(copy).initialize(opening());
        S.StampQuotas memory quotas;
        S.TypeBlock[] memory types;
        refuse(F.LoyaltyFactory_NotOurs.selector, copy);
        factory.openSeason(copy, quotas, types, "");

        // Nor can a copy of a stamp contract be opened, so that it could hold types and stamps in the program's name.
        address stampsCopy = named("stamps copy");
        vm.etch(stampsCopy, address(stamps).code);
        address[4] memory callers = [stranger, opener, owner, address(cards)];
        for (uint256 i; i < callers.length; ++i) {
            refuse(S.LoyaltyStamps_NotAllowed.selector, callers[i]);
            vm.prank(callers[i]);
            Stamps(stampsCopy).initialize(quotas, types, "");
        }
        refuse(S.LoyaltyStamps_UnknownType.selector, COFFEE);
        vm.prank(minter);
        Stamps(stampsCopy).mint(alice, COFFEE);
        vm.assertEq(cards.seasons(), 1);
        vm.assertEq(cards.stampsOfSeason(0), address(stamps));
        vm.prank(stranger);
        vm.expectRevert();
        Stamps(stampsCopy).moveAll(alice, stranger);
    }

    function test_WhenTheFixedTermsAreRead() external view {
        (address by, uint256 delay, uint256 cooldown, uint24 background, uint24 ink) = cards.fixedTerms();
        vm.assertEq(by, address(factory));
        vm.assertEq(delay, RECOVERY_DELAY);
        vm.assertEq(cooldown, COOLDOWN);
        vm.assertEq(background, 0x1b2a41);
        vm.assertEq(ink, 0xf4f1ea);
    }

    /// @dev Terms survive the way through the clone's code whatever they are.
    function testFuzz_Terms(uint32 delay, uint32 cooldown, uint24 background, uint24 ink, uint8 nameLength) external {
        F.Program memory p = tea();
        p.recoveryDelay = uint32(bound(delay, 3 days, type(uint32).max));
        p.moveCooldown = uint32(bound(cooldown, 0, 365 days));
        p.background = background;
        p.ink = ink;
        bytes memory name = new bytes(bound(nameLength, 1, 64));
        for (uint256 i; i < name.length; ++i) {
            name[i] = bytes1(uint8(97 + i % 26));
        }
        p.name = string(name);
        p.symbol = "S";
        (Cards c,) = open(p);
        (address by, uint256 d, uint256 m, uint24 b, uint24 k) = c.fixedTerms();
        vm.assertEq(by, address(factory));
        vm.assertEq(d, p.recoveryDelay);
        vm.assertEq(m, p.moveCooldown);
        vm.assertEq(b, background);
        vm.assertEq(k, ink);
        vm.assertEq(c.name(), p.name);
        vm.assertEq(c.symbol(), "S");
    }

    function test_WhenURIsAreGiven() external {
        F.Program memory p = tea();
        p.baseURI = "ipfs://cards/";
        p.contractURI = "ipfs://collection";
        p.stampsBaseURI = "ipfs://stamps/";
        (Cards c, Stamps s) = open(p);
        vm.assertEq(c.baseURI(), "ipfs://cards/");
        vm.assertEq(c.contractURI(), "ipfs://collection");
        vm.assertEq(s.baseURI(), "ipfs://stamps/");
    }

    function test_RevertWhen_TheFactoryIsGivenAnImplementationWithoutCode() external {
        address[2][2] memory bad = [[stranger, stampsCode], [cardsCode, address(0)]];
        for (uint256 i; i < bad.length; ++i) {
            // Caught by hand, for a cheatcode that deploys tells its own error.
            try this.deployFactory(bad[i][0], bad[i][1]) {
                vm.assertTrue(false, "deployed");
            } catch {}
        }
    }

    function deployFactory(address a, address b) external {
        vm.deployCode("LoyaltyFactory.sol:LoyaltyFactory", abi.encode(a, b));
    }

    function test_RevertWhen_AnyoneButTheFactoryLinksASeason() external {
        address[4] memory callers = [owner, opener, guardian, stranger];
        for (uint256 i; i < callers.length; ++i) {
            refuse(M.LoyaltyMembership_NotAllowed.selector, callers[i]);
            vm.prank(callers[i]);
            cards.linkSeason(stranger);
        }
        vm.assertEq(cards.seasons(), 1);
    }

    function test_RevertWhen_TheCoolDownIsTooLong() external {
        F.Program memory p = tea();
        p.moveCooldown = 365 days + 1;
        refuse(F.LoyaltyFactory_CooldownTooLong.selector, 365 days + 1, 365 days);
        factory.open(p);
        p.moveCooldown = type(uint32).max;
        refuse(F.LoyaltyFactory_CooldownTooLong.selector, type(uint32).max, 365 days);
        factory.open(p);
        p.moveCooldown = 365 days;
        (Cards c,) = open(p);
        (,, uint256 cooldown,,) = c.fixedTerms();
        vm.assertEq(cooldown, 365 days);
    }

    function test_RevertWhen_ThereAreMoreThan250Tiers() external {
        F.Program memory p = tea();
        p.tiers = tierNames(257);
        refuse(M.LoyaltyMembership_BadTierName.selector, 250);
        factory.open(p);
        p.tiers = tierNames(251);
        refuse(M.LoyaltyMembership_BadTierName.selector, 250);
        factory.open(p);
        p.tiers = tierNames(250);
        (Cards c,) = open(p);
        vm.assertEq(c.tierNames().length, 250);
        vm.assertFalse(c.paused());
        vm.prank(minter);
        c.mint(alice, 250, YEAR);
        vm.assertEq(c.membershipOf(alice).tier, 250);
    }
}
