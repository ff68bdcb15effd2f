// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title ERC-7858, tokens that expire (id 0x3ebdfa31)
interface IERC7858 {
    // slither-disable-next-line naming-convention (the standard names it so)
    enum EXPIRY_TYPE {
        BLOCKS_BASED,
        TIME_BASED
    }

    /// @notice The standard asks for this error of ERC-6093 where a token does not exist.
    error ERC721NonexistentToken(uint256 tokenId);

    /// @notice Emitted with each mint and each change.
    /// @param endTime 0 = the token has no end.
    event TokenExpiryUpdated(uint256 indexed tokenId, uint256 indexed startTime, uint256 indexed endTime);

    function expiryType() external view returns (EXPIRY_TYPE);
    function isTokenExpired(uint256 tokenId) external view returns (bool);
    /// @return Unix seconds.
    function startTime(uint256 tokenId) external view returns (uint256);
    /// @return Unix seconds, first second at which the token is expired; 0 = no end.
    function endTime(uint256 tokenId) external view returns (uint256);
}
