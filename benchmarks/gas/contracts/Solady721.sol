// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {OwnableRoles} from "solady/src/auth/OwnableRoles.sol";
import {ERC721} from "solady/src/tokens/ERC721.sol";
import {LibString} from "solady/src/utils/LibString.sol";

/// @title A brand's own card on Solady: ids in sequence, minted by whoever has the role
contract Solady721 is ERC721, OwnableRoles {
    string private _name;
    string private _symbol;
    uint256 private _issued;

    constructor(string memory name_, string memory symbol_, address owner_, address minter) {
        _name = name_;
        _symbol = symbol_;
        _initializeOwner(owner_);
        _grantRoles(minter, _ROLE_0);
    }

    function name() public view override returns (string memory) {
        return _name;
    }

    function symbol() public view override returns (string memory) {
        return _symbol;
    }

    function tokenURI(uint256 id) public view override returns (string memory) {
        if (!_exists(id)) revert TokenDoesNotExist();
        return LibString.toString(id);
    }

    function mint(address to) external onlyRoles(_ROLE_0) {
        _mint(to, ++_issued);
    }

    function mintBatch(address[] calldata to) external onlyRoles(_ROLE_0) {
        uint256 id = _issued;
        for (uint256 i; i < to.length; ++i) {
            _mint(to[i], ++id);
        }
        _issued = id;
    }

    function burn(uint256 id) external {
        _burn(msg.sender, id);
    }
}
