// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {SignatureCheckerLib} from "solady/utils/SignatureCheckerLib.sol";

/// @title The one rule of what counts as somebody's consent
/// @dev Signatures are never keys of storage, so that a second form of the same signature gains nothing. Still only one
/// form of an elliptic curve signature is taken: 65 bytes, s in the lower half (EIP-2).
library Consent {
    /// @dev Half of the order of secp256k1.
    uint256 private constant _HIGHEST_S = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice Whether `signer` agrees to `digest`: it is the caller, or its key signed, or its code says so
    /// (ERC-1271).
    /// @dev The key comes before the code, so that an account with delegated code (EIP-7702) may sign either way. The
    /// question to the code is a static call: it can't change anything.
    function given(address signer, bytes32 digest, bytes calldata signature) internal view returns (bool) {
        if (msg.sender == signer) return true;
        if (signedBy(signer, digest, signature)) return true;
        return
            signer.code.length != 0 && SignatureCheckerLib.isValidERC1271SignatureNowCalldata(signer, digest, signature);
    }

    /// @notice Whether the key of `signer` itself signed `digest`.
    function signedBy(address signer, bytes32 digest, bytes calldata signature) internal pure returns (bool) {
        if (signature.length != 65) return false;
        bytes32 s = bytes32(signature[32:64]);
        if (uint256(s) > _HIGHEST_S) return false;
        address found = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), s);
        // A failed recovery answers zero, which must not pass as the zero address' consent.
        return found == signer && found != address(0);
    }
}
