// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OwnableRoles} from "solady/src/auth/OwnableRoles.sol";
import {ERC1155} from "solady/src/tokens/ERC1155.sol";

/// @title A brand's own stamps on Solady: one id a type, with a cap, minted by whoever has the role
contract Solady1155 is ERC1155, OwnableRoles {
    struct Kind {
        uint128 cap;
        uint128 minted;
    }

    string private _uri;
    mapping(uint256 id => Kind) private _kinds;

    error CapReached(uint256 id);

    constructor(string memory uri_, address owner_, address minter) {
        _uri = uri_;
        _initializeOwner(owner_);
        _grantRoles(minter, _ROLE_0);
    }

    function uri(uint256) public view override returns (string memory) {
        return _uri;
    }

    function setCap(uint256 id, uint128 cap) external onlyOwner {
        _kinds[id].cap = cap;
    }

    function mint(address to, uint256 id) external onlyRoles(_ROLE_0) {
        _count(id, 1);
        _mint(to, id, 1, "");
    }

    function mintBatch(address[] calldata to, uint256 id) external onlyRoles(_ROLE_0) {
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
