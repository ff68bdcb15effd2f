// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title A contract wallet that signs (ERC-1271) with one key
contract SigningWallet {
    address private immutable _key;

    constructor(address key) {
        _key = key;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (signature.length != 65) return 0xffffffff;
        address signer = ecrecover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
        return signer == _key && signer != address(0) ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}

/// @title A contract without receiver and without signatures
contract MuteWallet {
    uint256 public nothing;
}

/// @title A contract that refuses tokens, calls and signatures as loudly as it can
contract RefusingWallet {
    error No();

    function onERC721Received(address, address, uint256, bytes calldata) external pure returns (bytes4) {
        revert No();
    }

    fallback() external {
        revert No();
    }
}

/// @title Answers ERC-1271 with a word that is nearly the magic one
contract NearlySigningWallet {
    function isValidSignature(bytes32, bytes calldata) external pure returns (bytes32) {
        // The magic value needs 28 zero bytes behind it.
        return 0x1626ba7e00000000000000000000000000000000000000000000000000000001;
    }
}
