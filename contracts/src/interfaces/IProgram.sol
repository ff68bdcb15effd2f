// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IERC721Metadata} from "./IERC721Metadata.sol";
import {ILoyaltyMembership} from "./ILoyaltyMembership.sol";

/// @title What a stamp contract asks of its program's membership contract
interface IProgram is ILoyaltyMembership, IERC721Metadata {
    function owner() external view returns (address);
}
