// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test, Vm} from "../support/Test.sol";

interface SizeVm {
    function getDeployedCode(string calldata artifact) external view returns (bytes memory);
    function getCode(string calldata artifact) external view returns (bytes memory);
}

/// @title No contract comes near the limit of what may be deployed (24,576 bytes, EIP-170)
contract SizeTest is Test {
    uint256 private constant MOST = 20_000;

    function test_EachContractIsSmallerThan20kB() external view {
        string[5] memory names =
            ["LoyaltyMembership", "LoyaltyOffice", "LoyaltyStamps", "LoyaltyFactory", "LoyaltyRenderer"];
        for (uint256 i; i < names.length; ++i) {
            string memory artifact = string.concat(names[i], ".sol:", names[i]);
            uint256 size = SizeVm(address(vm)).getDeployedCode(artifact).length;
            vm.assertGt(size, 1000, names[i]);
            vm.assertLt(size, MOST, names[i]);
            // The membership brings the office along: what is sent to deploy it is limited too (EIP-3860).
            vm.assertLt(SizeVm(address(vm)).getCode(artifact).length, 2 * MOST, names[i]);
        }
    }
}
