// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Text that strangers wrote, made fit to be drawn
library Glyphs {
    /// @notice The text with ASCII control characters, and those that turn the direction of what follows, as blanks, and
    /// each byte that is no well-formed UTF-8 (RFC 3629), or that XML 1.0 forbids, as a question mark. Has the length of
    /// the input.
    function cleaned(string memory text) internal pure returns (string memory) {
        bytes memory source = bytes(text);
        bytes memory result = new bytes(source.length);
        uint256 i;
        while (i < source.length) {
            uint256 size = _sizeAt(source, i);
            if (size == 0) {
                result[i++] = "?";
            } else if (size == 1) {
                result[i] = uint8(source[i]) < 0x20 || source[i] == 0x7f ? bytes1(" ") : source[i];
                ++i;
            } else {
                bool turns = _turns(source, i);
                for (uint256 end = i + size; i < end; ++i) {
                    result[i] = turns ? bytes1(" ") : source[i];
                }
            }
        }
        return string(result);
    }

    /// @notice At most `most` hundredths of an em of cleaned text; what is too long ends in an ellipsis.
    function shortened(string memory text, uint256 most) internal pure returns (string memory) {
        bytes memory source = bytes(text);
        uint256 width = 0;
        uint256 fits = 0;
        for (uint256 i; i < source.length; i += _lengthOf(source[i])) {
            // Room for the ellipsis.
            if (width + 100 <= most) fits = i;
            width += _widthOf(source[i]);
        }
        if (width <= most) return text;
        bytes memory head = new bytes(fits);
        for (uint256 i; i < fits; ++i) {
            head[i] = source[i];
        }
        return string.concat(string(head), unicode"…");
    }

    /// @notice Estimated width of cleaned text in hundredths of an em.
    function widthOf(string memory text) internal pure returns (uint256 width) {
        bytes memory source = bytes(text);
        for (uint256 i; i < source.length; i += _lengthOf(source[i])) {
            width += _widthOf(source[i]);
        }
    }

    /// @dev Width of the character that begins with this byte, in a bold sans-serif face.
    function _widthOf(bytes1 lead) private pure returns (uint256) {
        if (lead >= 0xe0) return 100; // from U+0800: Chinese and other wide scripts
        if (lead >= 0x80) return 62;
        if (lead == "W" || lead == "M" || lead == "m" || lead == "w" || lead == "@" || lead == "%") return 92;
        if (lead >= "A" && lead <= "Z") return 72;
        if (lead == " " || lead == "i" || lead == "j" || lead == "l" || lead == "t" || lead == "f") return 34;
        return 58;
    }

    /// @dev Bytes of the character that begins with this byte, in well-formed text.
    function _lengthOf(bytes1 lead) private pure returns (uint256) {
        if (lead < 0x80) return 1;
        if (lead < 0xe0) return 2;
        return lead < 0xf0 ? 3 : 4;
    }

    /// @dev Whether the well-formed character at `i` embeds, overrides or isolates a direction (U+202A-U+202E,
    /// U+2066-U+2069): it would turn around what we write behind the text.
    function _turns(bytes memory text, uint256 i) private pure returns (bool) {
        if (text[i] != 0xe2) return false;
        bytes1 third = text[i + 2];
        if (text[i + 1] == 0x80) return third >= 0xaa && third <= 0xae;
        return text[i + 1] == 0x81 && third >= 0xa6 && third <= 0xa9;
    }

    /// @dev Bytes of the character at `i`; 0 = there is no well-formed one.
    function _sizeAt(bytes memory text, uint256 i) private pure returns (uint256 size) {
        bytes1 lead = text[i];
        if (lead < 0x80) return 1;
        if (lead < 0xc2 || lead > 0xf4) return 0;
        size = _lengthOf(lead);
        if (i + size > text.length) return 0;
        for (uint256 j = i + 1; j < i + size; ++j) {
            if (text[j] & 0xc0 != 0x80) return 0;
        }
        bytes1 second = text[i + 1];
        // Overlong forms, surrogates, and what lies above U+10FFFF.
        if (lead == 0xe0 && second < 0xa0) return 0;
        if (lead == 0xed && second > 0x9f) return 0;
        if (lead == 0xf0 && second < 0x90) return 0;
        if (lead == 0xf4 && second > 0x8f) return 0;
        // U+FFFE and U+FFFF are no characters in XML.
        if (lead == 0xef && second == 0xbf && text[i + 2] >= 0xbe) return 0;
    }
}
