// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Draws cards and stamps as JSON and SVG, on chain
/// @notice Stateless and without an owner, so what it draws outlives the brand's servers. Every text is escaped for
/// JSON and for SVG. All returned strings are `data:` URIs.
interface ILoyaltyRenderer {
    /// @param program The program's name.
    /// @param tierName The name of the card's tier.
    /// @param serial The human member number.
    /// @param joinedAt Unix seconds.
    /// @param expiresAt Unix seconds, first second that is no longer active; 0 = for life. The last valid day is drawn.
    /// @param background Colour as 0xRRGGBB.
    /// @param ink Colour of the text as 0xRRGGBB.
    struct Card {
        string program;
        string tierName;
        uint256 serial;
        uint256 joinedAt;
        uint256 expiresAt;
        uint24 background;
        uint24 ink;
    }

    /// @param program The program's name.
    /// @param label The name of the stamp type or of its stamp card.
    /// @param position Place of this stamp on its stamp card, from 1.
    /// @param size Number of stamps on the stamp card; 1 = a stamp of its own.
    struct Stamp {
        string program;
        string label;
        uint256 position;
        uint256 size;
        uint24 background;
        uint24 ink;
    }

    /// @notice Token metadata of a membership card, with tier, member number and dates as attributes.
    function card(Card calldata view_) external pure returns (string memory);

    /// @notice Token metadata of a stamp.
    function stamp(Stamp calldata view_) external pure returns (string memory);

    /// @notice Contract-level metadata (ERC-7572) with name and symbol.
    function collection(string calldata name, string calldata symbol) external pure returns (string memory);
}
