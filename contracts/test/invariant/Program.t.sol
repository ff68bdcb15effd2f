// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test} from "../support/Test.sol";
import {ProgramHandler} from "./ProgramHandler.sol";

/// @title What holds of a program whatever happens to it
/// @dev The laws are written where they are checked, in ProgramHandler: those of a single call in `attempt`, `inspect`,
/// `afterMove` and `send`, those of every state in `check`.
contract ProgramInvariantTest is Test {
    /// @dev Calls after which every act must have succeeded at least once.
    uint256 internal constant ENOUGH = 6000;

    ProgramHandler internal handler;

    function setUp() external {
        handler = new ProgramHandler();
        handler.setUp();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(handler);
    }

    function targetSelectors() external view returns (FuzzSelector[] memory targets) {
        bytes4[] memory s = new bytes4[](27);
        s[0] = handler.mint.selector;
        s[1] = handler.mintBatch.selector;
        s[2] = handler.claim.selector;
        s[3] = handler.claimBearer.selector;
        s[4] = handler.sendAgain.selector;
        s[5] = handler.renewBatch.selector;
        s[6] = handler.setTierBatch.selector;
        s[7] = handler.revoke.selector;
        s[8] = handler.readmit.selector;
        s[9] = handler.burn.selector;
        s[10] = handler.migrateCard.selector;
        s[11] = handler.merge.selector;
        s[12] = handler.migrateStamps.selector;
        s[13] = handler.proposeRecovery.selector;
        s[14] = handler.executeRecovery.selector;
        s[15] = handler.vetoRecovery.selector;
        s[16] = handler.mintStamp.selector;
        s[17] = handler.mintStampBatch.selector;
        s[18] = handler.claimStamp.selector;
        s[19] = handler.claimStampBearer.selector;
        s[20] = handler.redeem.selector;
        s[21] = handler.burnStamp.selector;
        s[22] = handler.revokeStamp.selector;
        s[23] = handler.pauseForAWhile.selector;
        s[24] = handler.setLimits.selector;
        s[25] = handler.voidVouchers.selector;
        s[26] = handler.passTime.selector;
        targets = new FuzzSelector[](2);
        targets[0] = FuzzSelector({addr: address(handler), selectors: s});
        s = new bytes4[](1);
        s[0] = handler.attack.selector;
        targets[1] = FuzzSelector({addr: address(handler), selectors: s});
    }

    function invariant_TheLawsHold() external {
        handler.check();
        vm.assertEq(handler.broken(), "", "broken law");
    }

    /// @dev A campaign in which nothing works proves nothing: over its runs every act must have succeeded. Each run starts
    /// from a fresh state, so the sums are kept in the environment of the process.
    function afterInvariant() external {
        handler.checkAllWallets();
        vm.assertEq(handler.broken(), "", "broken law");
        uint256 calls = add("calls", handler.calls());
        string[25] memory must = [
            "mint",
            "mintBatch",
            "claim",
            "claimBearer",
            "renewBatch",
            "setTierBatch",
            "revoke",
            "revokeWhoLeft",
            "readmit",
            "burn",
            "migrateCard",
            "merge",
            "migrateStamps",
            "proposeRecovery",
            "executeRecovery",
            "recoverRevoked",
            "vetoRecovery",
            "mintStamp",
            "mintStampBatch",
            "claimStamp",
            "claimStampBearer",
            "redeem",
            "burnStamp",
            "revokeStamp",
            "voidStampVoucher"
        ];
        // These two are tried all along and mostly, or always, must not succeed.
        uint256 replays = add("replays", handler.tries("sendAgain"));
        uint256 attacks = add("attacks", handler.tries("attack"));
        if (calls >= ENOUGH) vm.assertTrue(replays != 0 && attacks != 0, "nothing was replayed or attacked");
        for (uint256 i; i < must.length; ++i) {
            uint256 sum = add(must[i], handler.successes(bytes32(bytes(must[i]))));
            if (calls >= ENOUGH) vm.assertGt(sum, 0, string.concat("never succeeded: ", must[i]));
        }
    }

    /// @return sum What all runs so far have added under this name.
    function add(string memory name, uint256 amount) internal returns (uint256 sum) {
        name = string.concat("PROGRAM_INVARIANT_", name);
        sum = vm.envOr(name, uint256(0)) + amount;
        vm.setEnv(name, vm.toString(sum));
    }
}
