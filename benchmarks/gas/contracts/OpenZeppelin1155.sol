// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC1155} from "@openzeppelin/contracts/token/ERC1155/ERC1155.sol";

/// @title A brand's own stamps on OpenZeppelin: one id a type, with a cap, minted by whoever has the role
contract OpenZeppelin1155 is ERC1155, AccessControl {
    struct Kind {
        uint128 cap;
        uint128 minted;
    }

    bytes32 private constant _MINTER = keccak256("MINTER");

    mapping(uint256 id => Kind) private _kinds;

    error CapReached(uint256 id);

    constructor(string memory uri_, address owner_, address minter) ERC1155(uri_) {
        _grantRole(DEFAULT_ADMIN_ROLE, owner_);
        _grantRole(_MINTER, minter);
    }

    function supportsInterface(bytes4 id) public view override(ERC1155, AccessControl) returns (bool) {
        return super.supportsInterface(id);
    }

    function setCap(uint256 id, uint128 cap) external onlyRole(DEFAULT_ADMIN_ROLE) {
        _kinds[id].cap = cap;
    }

    function mint(address to, uint256 id) external onlyRole(_MINTER) {
        _count(id, 1);
        _mint(to, id, 1, "");
    }

    function mintBatch(address[] calldata to, uint256 id) external onlyRole(_MINTER) {
        _count(id, to.length);
        for (uint256 i; i < to.length; ++i) {
            _mint(to[i], id, 1, "");
        }
    }

    function burn(uint256 id) external {
        _burn(msg.sender, id, 1);
    }

    function _count(uint256 id, uint256 more) private {
        Kind memory kind = _kinds[id];
        uint256 minted = kind.minted + more;
        if (minted > kind.cap) revert CapReached(id);
        _kinds[id].minted = uint128(minted);
    }
}
