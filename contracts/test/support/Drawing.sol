// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title Reading of what the renderer draws: base64, and whether a text is well-formed XML
/// @dev Written anew rather than taken from the library that the renderer encodes with.
library Drawing {
    error NotDrawn(string uri);
    error NotXml(string why, uint256 place);

    /// @notice The bytes behind a `data:` URI that begins with `prefix`.
    function decoded(string memory uri, string memory prefix) internal pure returns (string memory) {
        bytes memory all = bytes(uri);
        bytes memory head = bytes(prefix);
        if (all.length < head.length) revert NotDrawn(uri);
        for (uint256 i; i < head.length; ++i) {
            if (all[i] != head[i]) revert NotDrawn(uri);
        }
        uint256 length = all.length - head.length;
        if (length % 4 != 0) revert NotDrawn(uri);
        bytes memory result = new bytes(length / 4 * 3);
        uint256 size;
        for (uint256 i = head.length; i < all.length; i += 4) {
            uint256 bits;
            uint256 padding;
            for (uint256 j; j < 4; ++j) {
                bytes1 c = all[i + j];
                if (c == "=") {
                    if (i + 4 != all.length) revert NotDrawn(uri);
                    ++padding;
                    bits <<= 6;
                } else {
                    if (padding != 0) revert NotDrawn(uri);
                    bits = bits << 6 | sixBits(c);
                }
            }
            if (padding > 2) revert NotDrawn(uri);
            for (uint256 j; j < 3 - padding; ++j) {
                result[size++] = bytes1(uint8(bits >> (16 - 8 * j)));
            }
        }
        assembly ("memory-safe") {
            mstore(result, size)
        }
        return string(result);
    }

    function sixBits(bytes1 c) private pure returns (uint256) {
        uint8 v = uint8(c);
        if (v >= 65 && v <= 90) return v - 65;
        if (v >= 97 && v <= 122) return v - 71;
        if (v >= 48 && v <= 57) return v + 4;
        if (c == "+") return 62;
        if (c == "/") return 63;
        revert NotDrawn("not base64");
    }

    /// @notice Reverts unless `text` is one element with balanced children, quoted attributes, and no stray special
    /// character: as much of XML 1.0 as a drawing of ours may use.
    /// @return texts How many text nodes that are not empty it has.
    function checkXml(string memory text) internal pure returns (uint256 texts) {
        bytes memory s = bytes(text);
        bytes32[] memory open = new bytes32[](32);
        uint256 depth;
        uint256 i;
        bool any;
        while (i < s.length) {
            if (s[i] != "<") {
                if (depth == 0) revert NotXml("text outside", i);
                uint256 start = i;
                while (i < s.length && s[i] != "<") {
                    if (s[i] == "&") i = entity(s, i);
                    else if (uint8(s[i]) < 0x20 || s[i] == ">") revert NotXml("stray character", i);
                    else ++i;
                }
                if (i > start) ++texts;
                continue;
            }
            bool closing = i + 1 < s.length && s[i + 1] == "/";
            uint256 from = closing ? i + 2 : i + 1;
            uint256 to = from;
            while (to < s.length && isName(s[to])) ++to;
            if (to == from) revert NotXml("no name", i);
            bytes32 name = hash(s, from, to);
            if (closing) {
                if (to >= s.length || s[to] != ">") revert NotXml("bad end", i);
                if (depth == 0 || open[--depth] != name) revert NotXml("not balanced", i);
                i = to + 1;
                continue;
            }
            if (depth == 0 && any) revert NotXml("two roots", i);
            any = true;
            bool empty;
            (i, empty) = attributes(s, to);
            if (!empty) open[depth++] = name;
        }
        if (depth != 0 || !any) revert NotXml("not closed", i);
    }

    function attributes(bytes memory s, uint256 i) private pure returns (uint256, bool) {
        while (true) {
            if (i >= s.length) revert NotXml("no end of tag", i);
            if (s[i] == ">") return (i + 1, false);
            if (s[i] == "/") {
                if (i + 1 >= s.length || s[i + 1] != ">") revert NotXml("bad empty tag", i);
                return (i + 2, true);
            }
            if (s[i] != " ") revert NotXml("no blank before attribute", i);
            ++i;
            uint256 from = i;
            while (i < s.length && (isName(s[i]) || s[i] == ":")) ++i;
            if (i == from || i + 1 >= s.length || s[i] != "=" || s[i + 1] != '"') revert NotXml("bad attribute", i);
            i += 2;
            while (i < s.length && s[i] != '"') {
                if (s[i] == "<" || uint8(s[i]) < 0x20) revert NotXml("bad value", i);
                if (s[i] == "&") i = entity(s, i);
                else ++i;
            }
            ++i;
        }
        revert NotXml("unreachable", i);
    }

    /// @dev Only the five named ones and decimal or hexadecimal numbers.
    function entity(bytes memory s, uint256 i) private pure returns (uint256) {
        uint256 end = i + 1;
        while (end < s.length && s[end] != ";") {
            if (end - i > 6) revert NotXml("bare ampersand", i);
            ++end;
        }
        if (end >= s.length) revert NotXml("bare ampersand", i);
        bytes32 name = hash(s, i + 1, end);
        bool known = name == keccak256("amp") || name == keccak256("lt") || name == keccak256("gt")
            || name == keccak256("quot") || name == keccak256("apos");
        if (!known && s[i + 1] != "#") revert NotXml("unknown entity", i);
        return end + 1;
    }

    function isName(bytes1 c) private pure returns (bool) {
        return (c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || (c >= "0" && c <= "9") || c == "-";
    }

    function hash(bytes memory s, uint256 from, uint256 to) private pure returns (bytes32) {
        bytes memory part = new bytes(to - from);
        for (uint256 i = from; i < to; ++i) {
            part[i - from] = s[i];
        }
        return keccak256(part);
    }

    /// @notice Whether every byte belongs to a well-formed UTF-8 character (RFC 3629).
    function isUtf8(string memory text) internal pure returns (bool) {
        bytes memory s = bytes(text);
        uint256 i;
        while (i < s.length) {
            uint8 lead = uint8(s[i]);
            uint256 more;
            uint256 point;
            if (lead < 0x80) (more, point) = (0, lead);
            else if (lead >> 5 == 6) (more, point) = (1, lead & 0x1f);
            else if (lead >> 4 == 14) (more, point) = (2, lead & 0x0f);
            else if (lead >> 3 == 30) (more, point) = (3, lead & 0x07);
            else return false;
            if (i + more >= s.length) return false;
            for (uint256 j = 1; j <= more; ++j) {
                if (uint8(s[i + j]) >> 6 != 2) return false;
                point = point << 6 | uint8(s[i + j]) & 0x3f;
            }
            if (more == 1 && point < 0x80) return false;
            if (more == 2 && (point < 0x800 || (point >= 0xd800 && point < 0xe000))) return false;
            if (more == 3 && (point < 0x10000 || point > 0x10ffff)) return false;
            i += more + 1;
        }
        return true;
    }
}
