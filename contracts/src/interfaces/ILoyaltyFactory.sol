// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ILoyaltyMembership} from "./ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "./ILoyaltyStamps.sol";

/// @title Opens loyalty programs
/// @notice One transaction creates, initialises and links the membership and the stamp contract of a program. Both are
/// minimal clones (ERC-1167) whose unchangeable terms are part of their code.
interface ILoyaltyFactory {
    /// @notice `salt` to `moveCooldown` decide, with the caller, the addresses and can never change. The rest is
    /// initial state.
    /// @param recoveryDelay Seconds, at least 3 days.
    /// @param moveCooldown Seconds between two moves that the holder agrees to, at most 365 days.
    /// @param background Colour of the drawn card, 0xRRGGBB.
    struct Program {
        bytes32 salt;
        string name;
        string symbol;
        uint24 background;
        uint24 ink;
        uint32 recoveryDelay;
        uint32 moveCooldown;
        address owner;
        uint32 cap;
        ILoyaltyMembership.Quotas cardQuotas;
        ILoyaltyStamps.StampQuotas stampQuotas;
        ILoyaltyMembership.Grant[] grants;
        string[] tiers;
        ILoyaltyStamps.TypeBlock[] types;
        string baseURI;
        string contractURI;
        string stampsBaseURI;
    }

    error LoyaltyFactory_AlreadyOpen(address membership);
    error LoyaltyFactory_BadName();
    error LoyaltyFactory_DelayTooShort(uint256 given, uint256 least);
    error LoyaltyFactory_CooldownTooLong(uint256 given, uint256 most);
    error LoyaltyFactory_NotOurs(address membership);
    error LoyaltyFactory_NotOwner(address caller);
    error LoyaltyFactory_NoCode(address implementation);

    event ProgramOpened(address indexed opener, bytes32 indexed salt, address membership, address stamps);
    event SeasonOpened(address indexed membership, uint256 indexed season, address stamps);

    /// @notice Opens a program for the caller. The same salt again reverts, whatever the rest says.
    function open(Program calldata program) external returns (address membership, address stamps);

    /// @notice Opens a further season of stamps. Only the program's owner.
    function openSeason(
        address membership,
        ILoyaltyStamps.StampQuotas calldata quotas,
        ILoyaltyStamps.TypeBlock[] calldata types,
        string calldata stampsBaseURI
    ) external returns (address stamps);

    /// @return membership The program's membership contract; zero = not open.
    function programOf(address opener, bytes32 salt) external view returns (address membership);

    /// @notice Addresses that `open` would give.
    function predict(address opener, Program calldata program)
        external
        view
        returns (address membership, address stamps);

    function implementations() external view returns (address membership, address stamps);
}
