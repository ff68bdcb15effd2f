// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Consents} from "../support/Consents.sol";
import {Stamps} from "../support/Standards.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

contract VoidVoucherOfStampTest is ProgramTest {
    function void(address to, uint8 stampType) internal {
        vm.prank(manager);
        stamps.voidVoucher(to, stampType);
    }

    function claim(S.StampVoucher memory v) internal {
        stamps.claim(v, signer, signStamp(v));
    }

    function refuseClaim(S.StampVoucher memory v, bytes memory why) internal {
        bytes memory signature = signStamp(v);
        vm.expectRevert(why);
        stamps.claim(v, signer, signature);
    }

    /// @dev What a voided voucher is refused with.
    function used(address to, uint256 stampType) internal pure returns (bytes memory) {
        return abi.encodeWithSelector(S.LoyaltyStamps_VoucherUsed.selector, stampId(to, stampType));
    }

    function test_RevertWhen_TheCallerHasNoPowerOverVouchers() external {
        address[4] memory others = [minter, signer, stranger, alice];
        for (uint256 i; i < others.length; ++i) {
            refuse(S.LoyaltyStamps_NotAllowed.selector, others[i]);
            vm.prank(others[i]);
            stamps.voidVoucher(alice, COFFEE);
        }
        address[3] memory voiders = [owner, manager, guardian];
        for (uint256 i; i < voiders.length; ++i) {
            vm.prank(voiders[i]);
            stamps.voidVoucher(alice, uint8(1 + i));
            refuseClaim(stampVoucher(alice, uint8(1 + i)), used(alice, 1 + i));
        }
    }

    function test_WhenTheStampWasNeverGiven() external {
        S.StampVoucher memory v = stampVoucher(alice, COFFEE);
        vm.expectEmit(address(stamps));
        emit S.VoucherVoided(alice, COFFEE);
        void(alice, COFFEE);
        refuseClaim(v, used(alice, COFFEE));
        vm.assertEq(stamps.balanceOf(alice), 0);
        vm.assertFalse(everHad(alice, COFFEE));
        (uint256 limit, uint256 acts) = stamps.quotaOf(MANAGE);
        vm.assertEq(acts, 0, "outside the quota");
        vm.assertEq(limit, 60);
    }

    function test_WhenTheStampWasNeverGiven_OthersKeepTheirs() external {
        Stamps spring = openSeason();
        void(alice, 2);
        void(alice, 4);
        refuseClaim(stampVoucher(alice, 2), used(alice, 2));
        claim(stampVoucher(alice, 1));
        claim(stampVoucher(alice, 3));
        claim(stampVoucher(bob, 2));
        S.StampVoucher memory v = stampVoucher(alice, 2);
        spring.claim(v, signer, signed(signer, spring.digestOf(Consents.hash(v))));
        (uint256 held,,) = spring.stampsOf(alice);
        vm.assertEq(held, 2);
        vm.assertFalse(has(alice, 2));
    }

    function test_WhenAVoucherWasVoided() external {
        void(alice, COFFEE);
        void(bob, COFFEE);
        giveStamp(alice, COFFEE);
        vm.assertTrue(has(alice, COFFEE));
        S.BearerStampVoucher memory v = bearerStamp(0, COFFEE);
        stamps.claimBearer(v, signer, signStamp(v), agree(v, bob, claimKey), bob, agree(v, bob, bob));
        vm.assertTrue(has(bob, COFFEE));
        // It stays voided when the stamp is gone again.
        vm.prank(manager);
        stamps.revokeStamp(alice, COFFEE, true, "");
        refuseClaim(stampVoucher(alice, COFFEE), used(alice, COFFEE));
    }

    function test_RevertWhen_TheWalletHasOrHadTheStamp() external {
        giveStamp(alice, COFFEE);
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, ALREADY_HELD);
        void(alice, COFFEE);
        vm.prank(alice);
        stamps.burn(alice, COFFEE, 0, "");
        refuse(S.LoyaltyStamps_Refused.selector, alice, COFFEE, EVER_CLAIMED);
        void(alice, COFFEE);
        void(alice, 2);
    }

    function test_WhenItIsSentTwice() external {
        void(alice, COFFEE);
        vm.recordLogs();
        void(alice, COFFEE);
        vm.assertEq(vm.getRecordedLogs().length, 0);
        refuseClaim(stampVoucher(alice, COFFEE), used(alice, COFFEE));
    }

    function test_RevertWhen_TheWalletIsZeroOrTheTypeUnknown() external {
        refuse(S.LoyaltyStamps_ZeroAddress.selector);
        void(address(0), COFFEE);
        uint8[4] memory unknown = [0, UNDEFINED, 121, 255];
        for (uint256 i; i < unknown.length; ++i) {
            refuse(S.LoyaltyStamps_UnknownType.selector, unknown[i]);
            void(alice, unknown[i]);
        }
    }

    function test_WhenTheWalletMovesAway() external {
        giveStamp(alice, OPENING_NIGHT);
        void(alice, COFFEE);
        migrate(alice, bob);
        refuseClaim(stampVoucher(alice, COFFEE), used(alice, COFFEE));
        refuseClaim(
            stampVoucher(alice, 2), abi.encodeWithSelector(S.LoyaltyStamps_Refused.selector, alice, 2, MOVED)
        );
        refuse(S.LoyaltyStamps_Refused.selector, alice, 2, MOVED);
        void(alice, 2);
        claim(stampVoucher(bob, COFFEE));
        vm.assertTrue(has(bob, COFFEE));
    }

    function test_WhenAVoidedWalletTakesInAnothersStamps() external {
        void(bob, COFFEE);
        giveStamp(alice, OPENING_NIGHT);
        migrate(alice, bob);
        refuseClaim(stampVoucher(bob, COFFEE), used(bob, COFFEE));
        claim(stampVoucher(bob, 2));
    }

    function test_WhenTheProgramIsPaused() external {
        pause();
        void(alice, COFFEE);
        vm.prank(owner);
        cards.unpause();
        refuseClaim(stampVoucher(alice, COFFEE), used(alice, COFFEE));
    }
}
