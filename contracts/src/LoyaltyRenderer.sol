// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Base64} from "solady/utils/Base64.sol";
import {DateTimeLib} from "solady/utils/DateTimeLib.sol";
import {LibString} from "solady/utils/LibString.sol";

import {ILoyaltyRenderer} from "./interfaces/ILoyaltyRenderer.sol";
import {Glyphs} from "./libraries/Glyphs.sol";

/// @title Draws cards and stamps as JSON and SVG, on chain
/// @dev The picture is 560 x 350 points. Text is always escaped where it is put in, and nowhere else.
contract LoyaltyRenderer is ILoyaltyRenderer {
    using LibString for uint256;

    // ----------------------------------------------------------------------------------------------------------- types

    /// @dev Widest text line, in points, and the smallest size of letters.
    uint256 private constant _LINE = 480;
    uint256 private constant _SMALLEST = 11;

    /// @dev Where the dots of a stamp card lie.
    uint256 private constant _DOTS_TOP = 178;
    uint256 private constant _DOTS_HEIGHT = 140;

    // ----------------------------------------------------------------------------------------------------------- reads

    /// @inheritdoc ILoyaltyRenderer
    function card(Card calldata view_) external pure returns (string memory) {
        string memory until = view_.expiresAt == 0
            ? _attribute("Valid until", '"for life"', "")
            : _attribute("Valid until", (view_.expiresAt - 1).toString(), "date");
        return _json(
            string.concat(
                _names(
                    string.concat(_jsonText(view_.program), " #", view_.serial.toString()),
                    string.concat("Membership card of ", _jsonText(view_.program), ". It stays with its holder.")
                ),
                _image(_cardSvg(view_)),
                ',"attributes":[',
                _attribute("Tier", string.concat('"', _jsonText(view_.tierName), '"'), ""),
                ",",
                _attribute("Member number", view_.serial.toString(), "number"),
                ",",
                _attribute("Member since", view_.joinedAt.toString(), "date"),
                ",",
                until,
                "]}"
            )
        );
    }

    /// @inheritdoc ILoyaltyRenderer
    function stamp(Stamp calldata view_) external pure returns (string memory) {
        string memory place = string.concat(
            view_.position.toString(), view_.size == 1 ? "" : " of ", view_.size == 1 ? "" : view_.size.toString()
        );
        return _json(
            string.concat(
                _names(
                    string.concat(_jsonText(view_.label), view_.size == 1 ? "" : string.concat(" ", place)),
                    string.concat("Stamp of ", _jsonText(view_.program), ". It stays with its holder.")
                ),
                _image(_stampSvg(view_, place)),
                ',"attributes":[',
                _attribute("Stamp", string.concat('"', _jsonText(view_.label), '"'), ""),
                ",",
                _attribute("Position", view_.position.toString(), "number"),
                ",",
                _attribute("Size of the stamp card", view_.size.toString(), "number"),
                "]}"
            )
        );
    }

    /// @inheritdoc ILoyaltyRenderer
    function collection(string calldata name, string calldata symbol) external pure returns (string memory) {
        return _json(string.concat('{"name":"', _jsonText(name), '","symbol":"', _jsonText(symbol), '"}'));
    }

    // ------------------------------------------------------------------------------------------------- internals: JSON

    function _names(string memory name, string memory description) private pure returns (string memory) {
        return string.concat('{"name":"', name, '","description":"', description, '"');
    }

    function _image(string memory svg) private pure returns (string memory) {
        return string.concat(',"image":"data:image/svg+xml;base64,', Base64.encode(bytes(svg)), '"');
    }

    /// @param value As it stands in JSON.
    /// @param display How markets show it; empty = as text.
    function _attribute(string memory trait, string memory value, string memory display)
        private
        pure
        returns (string memory)
    {
        return string.concat(
            "{",
            bytes(display).length == 0 ? "" : string.concat('"display_type":"', display, '",'),
            '"trait_type":"',
            trait,
            '","value":',
            value,
            "}"
        );
    }

    function _json(string memory json) private pure returns (string memory) {
        return string.concat("data:application/json;base64,", Base64.encode(bytes(json)));
    }

    function _jsonText(string calldata text) private pure returns (string memory) {
        return LibString.escapeJSON(Glyphs.cleaned(text));
    }

    // -------------------------------------------------------------------------------------------------- internals: SVG

    function _cardSvg(Card calldata view_) private pure returns (string memory) {
        return string.concat(
            _frame(view_.background, view_.ink),
            _line(78, 34, 700, view_.program),
            _line(186, 46, 300, view_.tierName),
            _fact(40, "MEMBER", string.concat("No. ", view_.serial.toString())),
            _fact(236, "SINCE", _date(view_.joinedAt)),
            _fact(396, "UNTIL", view_.expiresAt == 0 ? "for life" : _date(view_.expiresAt - 1)),
            "</g></svg>"
        );
    }

    function _stampSvg(Stamp calldata view_, string memory place) private pure returns (string memory) {
        return string.concat(
            _frame(view_.background, view_.ink),
            _line(70, 24, 400, view_.program),
            _line(128, 40, 700, view_.label),
            view_.size == 1 ? _seal() : string.concat(_dots(view_.position, view_.size), _corner(place)),
            "</g></svg>"
        );
    }

    /// @dev The empty card; leaves a group open in the colour of the text.
    function _frame(uint24 background, uint24 ink) private pure returns (string memory) {
        string memory colour = _colour(ink);
        return string.concat(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 560 350" ',
            'font-family="ui-sans-serif,Helvetica,Arial,sans-serif">',
            '<clipPath id="c"><rect width="560" height="350" rx="28"/></clipPath><g clip-path="url(#c)" fill="',
            colour,
            '"><rect width="560" height="350" fill="',
            _colour(background),
            '"/><circle cx="500" cy="20" r="190" opacity=".07"/><circle cx="560" cy="150" r="150" opacity=".07"/>',
            '<rect x="1.5" y="1.5" width="557" height="347" rx="26.5" fill="none" stroke="',
            colour,
            '" stroke-width="3" opacity=".25"/>'
        );
    }

    /// @dev One line of text. What is too wide is set smaller, and what is still too wide is cut; where it was set
    /// smaller its length is fixed, so that it ends inside the card whatever face the reader has.
    function _line(uint256 y, uint256 size, uint256 weight, string calldata given)
        private
        pure
        returns (string memory)
    {
        string memory text = Glyphs.shortened(Glyphs.cleaned(given), _LINE * 100 / _SMALLEST);
        uint256 width = Glyphs.widthOf(text);
        bool tight = width * size > _LINE * 100;
        if (tight) size = _LINE * 100 / width;
        return string.concat(
            '<text x="40" y="',
            y.toString(),
            '" font-size="',
            size.toString(),
            '" font-weight="',
            weight.toString(),
            tight ? string.concat('" textLength="', _LINE.toString(), '" lengthAdjust="spacingAndGlyphs">') : '">',
            LibString.escapeHTML(text),
            "</text>"
        );
    }

    /// @dev A small heading with a short value below it; both are our own text.
    function _fact(uint256 x, string memory heading, string memory value) private pure returns (string memory) {
        return string.concat(
            '<text x="',
            x.toString(),
            '" y="278" font-size="12" letter-spacing="2" opacity=".65">',
            heading,
            '</text><text x="',
            x.toString(),
            '" y="306" font-size="20">',
            value,
            "</text>"
        );
    }

    /// @dev The place of a stamp on its card, in the upper corner.
    function _corner(string memory place) private pure returns (string memory) {
        return string.concat('<text x="520" y="42" font-size="16" text-anchor="end" opacity=".75">', place, "</text>");
    }

    /// @dev A stamp of its own.
    function _seal() private pure returns (string memory) {
        return string.concat(
            '<circle cx="280" cy="242" r="70" opacity=".15"/><path d="M280 192l15.3 31 34.2 5-24.7 24.1 5.8 34.1',
            '-30.6-16.1-30.6 16.1 5.8-34.1-24.7-24.1 34.2-5z"/>'
        );
    }

    /// @dev The dots of a stamp card: full up to this stamp, the stamp itself ringed, the rest faint.
    // slither-disable-next-line divide-before-multiply (whole points are what is wanted)
    function _dots(uint256 position, uint256 size) private pure returns (string memory drawn) {
        uint256 columns = size <= 10 ? size : size <= 40 ? 10 : 20;
        uint256 rows = (size + columns - 1) / columns;
        uint256 cell = _LINE / columns < _DOTS_HEIGHT / rows ? _LINE / columns : _DOTS_HEIGHT / rows;
        for (uint256 i; i < size; ++i) {
            string memory dot = string.concat(
                '<circle cx="',
                (40 + (i % columns) * cell + cell / 2).toString(),
                '" cy="',
                (_DOTS_TOP + (i / columns) * cell + cell / 2).toString(),
                '" r="'
            );
            drawn = string.concat(drawn, dot, (cell * 32 / 100).toString(), i < position ? '"/>' : '" opacity=".2"/>');
            if (i + 1 == position) {
                drawn = string.concat(drawn, dot, (cell * 44 / 100).toString(), '" opacity=".35"/>');
            }
        }
    }

    function _colour(uint24 rgb) private pure returns (string memory) {
        return string.concat("#", LibString.toHexStringNoPrefix(rgb, 3));
    }

    /// @dev YYYY-MM-DD of a Unix time, UTC.
    function _date(uint256 timestamp) private pure returns (string memory) {
        (uint256 year, uint256 month, uint256 day) = DateTimeLib.timestampToDate(timestamp);
        return string.concat(
            year.toString(), month < 10 ? "-0" : "-", month.toString(), day < 10 ? "-0" : "-", day.toString()
        );
    }
}
