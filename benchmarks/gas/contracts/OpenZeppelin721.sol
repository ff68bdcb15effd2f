// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

/// @title A brand's own card on OpenZeppelin: ids in sequence, minted by whoever has the role
contract OpenZeppelin721 is ERC721, AccessControl {
    bytes32 private constant _MINTER = keccak256("MINTER");

    uint256 private _issued;

    constructor(string memory name_, string memory symbol_, address owner_, address minter)
        ERC721(name_, symbol_)
    {
        _grantRole(DEFAULT_ADMIN_ROLE, owner_);
        _grantRole(_MINTER, minter);
    }

    function supportsInterface(bytes4 id) public view override(ERC721, AccessControl) returns (bool) {
        return super.supportsInterface(id);
    }

    function mint(address to) external onlyRole(_MINTER) {
        _mint(to, ++_issued);
    }

    function mintBatch(address[] calldata to) external onlyRole(_MINTER) {
        uint256 id = _issued;
        for (uint256 i; i < to.length; ++i) {
            _mint(to[i], ++id);
        }
        _issued = id;
    }

    function burn(uint256 id) external {
        _update(address(0), id, msg.sender);
    }
}
