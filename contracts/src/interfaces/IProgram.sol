// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {IERC721Metadata} from "./IERC721Metadata.sol";
import {ILoyaltyMembership} from "./ILoyaltyMembership.sol";

/// @title A program's membership contract as its stamp contracts see it
interface IProgram is ILoyaltyMembership, IERC721Metadata {}
