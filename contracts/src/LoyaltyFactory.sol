// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {LibClone} from "solady/utils/LibClone.sol";

import {ILoyaltyFactory} from "./interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership} from "./interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "./interfaces/ILoyaltyStamps.sol";
import {ProgramTerms} from "./libraries/ProgramTerms.sol";

/// @title Opens loyalty programs
contract LoyaltyFactory is ILoyaltyFactory {
    // --------------------------------------------------------------------------------------------------------- storage

    uint256 private constant _LEAST_RECOVERY_DELAY = 3 days;
    uint256 private constant _LONGEST_COOLDOWN = 365 days;
    uint256 private constant _LONGEST_NAME = 64;
    uint256 private constant _LONGEST_SYMBOL = 16;

    address private immutable _membershipCode;
    address private immutable _stampsCode;

    mapping(bytes32 key => address membership) private _programs;

    // --------------------------------------------------------------------------------------------------------- opening

    constructor(address membershipCode, address stampsCode) {
        if (membershipCode.code.length == 0) revert LoyaltyFactory_NoCode(membershipCode);
        if (stampsCode.code.length == 0) revert LoyaltyFactory_NoCode(stampsCode);
        _membershipCode = membershipCode;
        _stampsCode = stampsCode;
    }

    // ----------------------------------------------------------------------------------------------------------- reads

    /// @inheritdoc ILoyaltyFactory
    function programOf(address opener, bytes32 salt) external view returns (address membership) {
        return _programs[_keyOf(opener, salt)];
    }

    /// @inheritdoc ILoyaltyFactory
    function predict(address opener, Program calldata program)
        external
        view
        returns (address membership, address stamps)
    {
        bytes32 key = _keyOf(opener, program.salt);
        membership = LibClone.predictDeterministicAddress(_membershipCode, _termsOf(key, program), key, address(this));
        stamps = LibClone.predictDeterministicAddress(
            _stampsCode, ProgramTerms.packStamps(membership, 0), _seasonSalt(membership, 0), address(this)
        );
    }

    /// @inheritdoc ILoyaltyFactory
    function implementations() external view returns (address membership, address stamps) {
        return (_membershipCode, _stampsCode);
    }

    // ---------------------------------------------------------------------------------------------------------- writes

    /// @inheritdoc ILoyaltyFactory
    function open(Program calldata program) external returns (address membership, address stamps) {
        // check
        bytes32 key = _keyOf(msg.sender, program.salt);
        if (_programs[key] != address(0)) revert LoyaltyFactory_AlreadyOpen(_programs[key]);
        uint256 nameLength = bytes(program.name).length;
        uint256 symbolLength = bytes(program.symbol).length;
        if (nameLength == 0 || nameLength > _LONGEST_NAME || symbolLength == 0 || symbolLength > _LONGEST_SYMBOL) {
            revert LoyaltyFactory_BadName();
        }
        if (program.recoveryDelay < _LEAST_RECOVERY_DELAY) {
            revert LoyaltyFactory_DelayTooShort(program.recoveryDelay, _LEAST_RECOVERY_DELAY);
        }
        if (program.moveCooldown > _LONGEST_COOLDOWN) {
            revert LoyaltyFactory_CooldownTooLong(program.moveCooldown, _LONGEST_COOLDOWN);
        }
        // effect
        membership = LibClone.cloneDeterministic(_membershipCode, _termsOf(key, program), key);
        stamps = _cloneStamps(membership, 0);
        _programs[key] = membership;
        emit ProgramOpened(msg.sender, program.salt, membership, stamps);
        // interaction: with the two clones just made, which call nobody but each other.
        ILoyaltyMembership(membership)
            .initialize(
                ILoyaltyMembership.Opening({
                owner: program.owner,
                stamps: stamps,
                cap: program.cap,
                quotas: program.cardQuotas,
                grants: program.grants,
                tiers: program.tiers,
                baseURI: program.baseURI,
                contractURI: program.contractURI
            })
            );
        ILoyaltyStamps(stamps).initialize(program.stampQuotas, program.types, program.stampsBaseURI);
    }

    /// @inheritdoc ILoyaltyFactory
    function openSeason(
        address membership,
        ILoyaltyStamps.StampQuotas calldata quotas,
        ILoyaltyStamps.TypeBlock[] calldata types,
        string calldata stampsBaseURI
    ) external returns (address stamps) {
        // check
        bytes32 key = ProgramTerms.keyOf(membership);
        if (membership == address(0) || _programs[key] != membership) revert LoyaltyFactory_NotOurs(membership);
        // slither-disable-next-line unused-return (only this one is asked for)
        (, bool isOwner,,) = ILoyaltyMembership(membership).powersOf(msg.sender);
        if (!isOwner) revert LoyaltyFactory_NotOwner(msg.sender);
        // effect
        uint256 season = ILoyaltyMembership(membership).seasons();
        stamps = _cloneStamps(membership, season);
        emit SeasonOpened(membership, season, stamps);
        // interaction: with clones of ours, which call nobody but each other. The membership refuses a ninth season.
        // slither-disable-next-line unused-return (it is the season read above)
        ILoyaltyMembership(membership).linkSeason(stamps);
        ILoyaltyStamps(stamps).initialize(quotas, types, stampsBaseURI);
    }

    // ------------------------------------------------------------------------------------------------------- internals

    /// @dev What a program is known by. It is also the salt of its membership's address, so nobody but the opener can
    /// take that address.
    function _keyOf(address opener, bytes32 salt) private pure returns (bytes32) {
        return keccak256(abi.encode(opener, salt));
    }

    function _seasonSalt(address membership, uint256 season) private pure returns (bytes32) {
        return keccak256(abi.encode(membership, season));
    }

    function _termsOf(bytes32 key, Program calldata program) private view returns (bytes memory) {
        return ProgramTerms.packMembership(
            key,
            program.recoveryDelay,
            program.moveCooldown,
            program.background,
            program.ink,
            program.name,
            program.symbol
        );
    }

    function _cloneStamps(address membership, uint256 season) private returns (address) {
        return LibClone.cloneDeterministic(
            _stampsCode, ProgramTerms.packStamps(membership, uint8(season)), _seasonSalt(membership, season)
        );
    }
}
