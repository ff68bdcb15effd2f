// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ILoyaltyMembership} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps} from "../../src/interfaces/ILoyaltyStamps.sol";

/// @title Struct hashes of everything that is signed, written from the interfaces' texts
library Consents {
    function hash(ILoyaltyMembership.CardVoucher memory v) internal pure returns (bytes32) {
        bytes32 t = keccak256("CardVoucher(address to,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)");
        return keccak256(abi.encode(t, v.to, v.tier, v.expiresAt, v.epoch, v.deadline));
    }

    function hash(ILoyaltyMembership.BearerCardVoucher memory v) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "BearerCardVoucher(address claimKey,uint32 index,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)"
        );
        return keccak256(abi.encode(t, v.claimKey, v.index, v.tier, v.expiresAt, v.epoch, v.deadline));
    }

    function hash(ILoyaltyStamps.StampVoucher memory v) internal pure returns (bytes32) {
        bytes32 t = keccak256("StampVoucher(address to,uint8 stampType,uint24 epoch,uint40 deadline)");
        return keccak256(abi.encode(t, v.to, v.stampType, v.epoch, v.deadline));
    }

    function hash(ILoyaltyStamps.BearerStampVoucher memory v) internal pure returns (bytes32) {
        bytes32 t =
            keccak256("BearerStampVoucher(address claimKey,uint32 index,uint8 stampType,uint24 epoch,uint40 deadline)");
        return keccak256(abi.encode(t, v.claimKey, v.index, v.stampType, v.epoch, v.deadline));
    }

    function hash(ILoyaltyMembership.Move memory m) internal pure returns (bytes32) {
        bytes32 t =
            keccak256("Migrate(address from,address to,uint64 serial,uint64 replaces,uint24 nonce,uint40 deadline)");
        return keccak256(abi.encode(t, m.from, m.to, m.serial, m.replaces, m.nonce, m.deadline));
    }

    function claim(ILoyaltyMembership.BearerCardVoucher memory v, address claimer) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "Claim(BearerCardVoucher voucher,address claimer)BearerCardVoucher(address claimKey,uint32 index,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)"
        );
        return keccak256(abi.encode(t, hash(v), claimer));
    }

    function claim(ILoyaltyStamps.BearerStampVoucher memory v, address claimer) internal pure returns (bytes32) {
        bytes32 t = keccak256(
            "Claim(BearerStampVoucher voucher,address claimer)BearerStampVoucher(address claimKey,uint32 index,uint8 stampType,uint24 epoch,uint40 deadline)"
        );
        return keccak256(abi.encode(t, hash(v), claimer));
    }

    function burn(address holder, uint256 nonce, uint256 deadline) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(keccak256("Burn(address holder,uint24 nonce,uint40 deadline)"), holder, nonce, deadline)
        );
    }

    function veto(address holder, uint256 nonce, uint256 deadline) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(keccak256("Veto(address holder,uint24 nonce,uint40 deadline)"), holder, nonce, deadline)
        );
    }

    function redeem(address holder, uint256 stampType, bytes32 orderRef, uint256 deadline)
        internal
        pure
        returns (bytes32)
    {
        bytes32 t = keccak256("Redeem(address holder,uint8 stampType,bytes32 orderRef,uint40 deadline)");
        return keccak256(abi.encode(t, holder, stampType, orderRef, deadline));
    }

    function burnStamp(address holder, uint256 stampType, uint256 deadline) internal pure returns (bytes32) {
        bytes32 t = keccak256("BurnStamp(address holder,uint8 stampType,uint40 deadline)");
        return keccak256(abi.encode(t, holder, stampType, deadline));
    }
}
