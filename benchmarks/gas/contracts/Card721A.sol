// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ERC721A} from "erc721a/contracts/ERC721A.sol";

/// @title A brand's own card on ERC721A, which counts the ids itself
contract Card721A is ERC721A, AccessControl {
    bytes32 private constant _MINTER = keccak256("MINTER");

    constructor(string memory name_, string memory symbol_, address owner_, address minter)
        ERC721A(name_, symbol_)
    {
        _grantRole(DEFAULT_ADMIN_ROLE, owner_);
        _grantRole(_MINTER, minter);
    }

    function supportsInterface(bytes4 id) public view override(ERC721A, AccessControl) returns (bool) {
        return ERC721A.supportsInterface(id) || AccessControl.supportsInterface(id);
    }

    function mint(address to) external onlyRole(_MINTER) {
        _mint(to, 1);
    }

    function mintBatch(address[] calldata to) external onlyRole(_MINTER) {
        for (uint256 i; i < to.length; ++i) {
            _mint(to[i], 1);
        }
    }

    function burn(uint256 id) external {
        _burn(id, true);
    }

    function _startTokenId() internal pure override returns (uint256) {
        return 1;
    }
}
