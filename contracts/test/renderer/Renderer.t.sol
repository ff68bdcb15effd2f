// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest} from "../support/ProgramTest.sol";
import {Drawing} from "../support/Drawing.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyRenderer as R} from "../../src/interfaces/ILoyaltyRenderer.sol";

contract RendererTest is ProgramTest {
    string internal constant JSON = "data:application/json;base64,";
    string internal constant SVG = "data:image/svg+xml;base64,";
    string internal constant SPECIAL = unicode"<a href=\"x\" b='y'>&amp;</a> \\ \n\t{咖啡} ]]> <!-- é";

    R internal draw;

    function setUp() public override {
        super.setUp();
        draw = R(renderer);
    }

    function card(string memory name, string memory tier) internal pure returns (R.Card memory) {
        return R.Card(name, tier, 42, START, YEAR, 0x1b2a41, 0xf4f1ea);
    }

    /// @dev The JSON of a token, checked: it parses, has the parts every wallet shows, and its image is well-formed XML.
    function read(string memory uri) internal returns (string memory json, string memory svg) {
        json = Drawing.decoded(uri, JSON);
        vm.assertTrue(Drawing.isUtf8(json), "JSON is UTF-8");
        string[] memory keys = vm.parseJsonKeys(json, "$");
        vm.assertEq(keys.length, 4, "name, description, image, attributes");
        svg = Drawing.decoded(vm.parseJsonString(json, ".image"), SVG);
        vm.assertTrue(Drawing.isUtf8(svg), "SVG is UTF-8");
        vm.assertGt(Drawing.checkXml(svg), 0, "some text is drawn");
        vm.assertTrue(vm.contains(svg, 'xmlns="http://www.w3.org/2000/svg"'), "namespace");
        vm.assertFalse(vm.contains(svg, "<script"), "no script");
        vm.assertFalse(vm.contains(svg, 'href="'), "nothing is fetched");
        vm.assertTrue(bytes(vm.parseJsonString(json, ".name")).length != 0, "name");
        vm.assertTrue(bytes(vm.parseJsonString(json, ".description")).length != 0, "description");
    }

    /// @dev The value of an attribute, as text or number.
    function attribute(string memory json, string memory trait) internal returns (bool found, string memory path) {
        for (uint256 i; i < 8; ++i) {
            path = string.concat(".attributes[", vm.toString(i), "]");
            if (!vm.keyExistsJson(json, string.concat(path, ".trait_type"))) return (false, "");
            if (vm.contains(vm.parseJsonString(json, string.concat(path, ".trait_type")), trait)) return (true, path);
        }
    }

    function number(string memory json, string memory trait) internal returns (uint256) {
        (bool found, string memory path) = attribute(json, trait);
        vm.assertTrue(found, trait);
        return vm.parseJsonUint(json, string.concat(path, ".value"));
    }

    function text(string memory json, string memory trait) internal returns (string memory) {
        (bool found, string memory path) = attribute(json, trait);
        vm.assertTrue(found, trait);
        return vm.parseJsonString(json, string.concat(path, ".value"));
    }

    function test_WhenACardIsDrawn() external {
        (string memory json, string memory svg) = read(draw.card(card("Bean & Co", "Silver")));
        vm.assertTrue(vm.contains(vm.parseJsonString(json, ".name"), "Bean & Co"));
        vm.assertEq(text(json, "Tier"), "Silver");
        vm.assertEq(number(json, "Member number"), 42);
        vm.assertEq(number(json, "Member since"), START);
        vm.assertEq(number(json, "Valid until"), YEAR - 1);
        (, string memory path) = attribute(json, "Valid until");
        vm.assertEq(vm.parseJsonString(json, string.concat(path, ".display_type")), "date");
        vm.assertTrue(vm.contains(svg, "Bean &amp; Co"), "escaped once");
        vm.assertTrue(vm.contains(svg, "Silver"));
        vm.assertTrue(vm.contains(svg, "42"));
    }

    function test_WhenACardEndsAtMidnight() external {
        R.Card memory c = card("Bean", "Gold");
        c.expiresAt = 1893456000; // 2030-01-01 00:00:00 UTC, the first second that is no longer active
        (string memory json, string memory svg) = read(draw.card(c));
        vm.assertEq(number(json, "Valid until"), 1893455999);
        vm.assertTrue(vm.contains(svg, "2029-12-31"));
        vm.assertFalse(vm.contains(svg, "2030"));
    }

    function test_WhenACardIsForLife() external {
        R.Card memory c = card("Bean", "Gold");
        c.expiresAt = 0;
        (string memory json, string memory svg) = read(draw.card(c));
        vm.assertTrue(vm.contains(text(json, "Valid until"), "life"));
        vm.assertFalse(vm.contains(svg, "1970"));
    }

    function test_WhenAStampOfItsOwnIsDrawn() external {
        (string memory json, string memory svg) = read(draw.stamp(R.Stamp("Bean", "Opening night", 1, 1, 0, 0xffffff)));
        vm.assertTrue(vm.contains(vm.parseJsonString(json, ".name"), "Opening night"));
        vm.assertTrue(vm.contains(svg, "Opening night"));
    }

    function test_WhenAStampOfAStampCardIsDrawn() external {
        uint256[4] memory sizes = [uint256(2), 5, 11, 120];
        for (uint256 i; i < sizes.length; ++i) {
            for (uint256 position = 1; position <= sizes[i]; position += 1 + sizes[i] / 2) {
                (string memory json,) = read(draw.stamp(R.Stamp("Bean", "Coffees", position, sizes[i], 0, 0xffffff)));
                vm.assertEq(number(json, "Position"), position);
                vm.assertEq(number(json, "Size"), sizes[i]);
            }
        }
    }

    function test_WhenTheCollectionIsDrawn() external view {
        string memory json = Drawing.decoded(draw.collection(SPECIAL, "B\"N"), JSON);
        vm.assertEq(vm.parseJsonString(json, ".symbol"), "B\"N");
        vm.assertTrue(bytes(vm.parseJsonString(json, ".name")).length != 0);
    }

    function test_WhenATextHasCharactersSpecialToJSONOrXML() external {
        (string memory json, string memory svg) = read(draw.card(card(SPECIAL, SPECIAL)));
        // Line feed and tab become blanks; everything else comes back as it was.
        string memory expected = vm.replace(vm.replace(SPECIAL, "\n", " "), "\t", " ");
        vm.assertEq(text(json, "Tier"), expected);
        vm.assertFalse(vm.contains(svg, "<a"), "no element slips in");
        vm.assertFalse(vm.contains(svg, "<!--"), "no comment slips in");
        read(draw.stamp(R.Stamp(SPECIAL, SPECIAL, 1, 1, 0, 0)));
        read(draw.stamp(R.Stamp(SPECIAL, SPECIAL, 2, 5, 0, 0)));
    }

    /// @dev Any bytes at all, as an owner may have put them into a name.
    /// forge-config: default.fuzz.runs = 48
    /// forge-config: quick.fuzz.runs = 8
    function testFuzz_WhenATextIsArbitraryBytes(
        bytes calldata name,
        bytes calldata tier,
        uint64 serial,
        uint40 joinedAt,
        uint40 expiresAt,
        uint24 background,
        uint24 ink
    ) external {
        (string memory json,) =
            read(draw.card(R.Card(string(name), string(tier), serial, joinedAt, expiresAt, background, ink)));
        vm.assertEq(number(json, "Member number"), serial);
        vm.assertEq(number(json, "Member since"), joinedAt);
        read(draw.stamp(R.Stamp(string(name), string(tier), 1 + serial % 3, 3, background, ink)));
        string memory collection = Drawing.decoded(draw.collection(string(name), string(tier)), JSON);
        vm.assertTrue(Drawing.isUtf8(collection));
        vm.parseJsonString(collection, ".name");
        vm.parseJsonString(collection, ".symbol");
    }

    /// @dev Bytes that are nearly text: the characters that mean something to JSON, XML and UTF-8.
    /// forge-config: default.fuzz.runs = 48
    /// forge-config: quick.fuzz.runs = 8
    function testFuzz_WhenATextIsArbitraryBytes_NearlyText(uint256 seed, uint8 length) external {
        length %= 48;
        bytes memory alphabet = hex"000108090a0d1f20" hex"222627393c3e5c5d" hex"7b7f80bfc0c2dfe0" hex"edefbfbef0f4f5ff" hex"615a";
        bytes memory name = new bytes(length);
        for (uint256 i; i < length; ++i) {
            name[i] = alphabet[uint256(keccak256(abi.encode(seed, i))) % alphabet.length];
        }
        read(draw.card(card(string(name), string(name))));
    }

    function test_WhenATextIsArbitraryBytes() external {
        // Every byte there is, sixteen to a text.
        for (uint256 b; b < 256; b += 16) {
            bytes memory some = new bytes(16);
            for (uint256 i; i < 16; ++i) {
                some[i] = bytes1(uint8(b + i));
            }
            read(draw.card(card(string(some), string(some))));
        }
        bytes[8] memory broken =
            [bytes(hex"c080"), hex"e08080", hex"eda080", hex"f0808080", hex"f4908080", hex"efbfbe", hex"e282", hex"f09f98"];
        for (uint256 i; i < broken.length; ++i) {
            read(draw.card(card(string(broken[i]), string(broken[i]))));
        }
    }

    function test_WhenATextIsLong() external {
        bytes memory long = new bytes(2000);
        for (uint256 i; i < long.length; ++i) {
            long[i] = "W";
        }
        (string memory json,) = read(draw.card(card(string(long), string(long))));
        vm.assertEq(bytes(text(json, "Tier")).length, 2000, "the JSON keeps all");
        read(draw.card(card("", "")));
    }

    function test_WhenColoursAreGiven() external {
        R.Card memory c = card("Bean", "Gold");
        c.background = 0x00000a;
        c.ink = 0xffeedd;
        (, string memory svg) = read(draw.card(c));
        vm.assertTrue(vm.contains(svg, "#00000a"));
        vm.assertTrue(vm.contains(svg, "#ffeedd"));
    }

    function test_WhenAProgramsTokenIsRead() external {
        mintCard(alice, 2, YEAR);
        giveStamp(alice, 3);
        giveStamp(alice, OPENING_NIGHT);
        (string memory json,) = read(cards.tokenURI(id(alice)));
        vm.assertEq(text(json, "Tier"), "Silver");
        vm.assertEq(number(json, "Member number"), 1);
        vm.assertEq(number(json, "Valid until"), YEAR - 1);
        vm.assertEq(
            cards.tokenURI(id(alice)),
            draw.card(R.Card("Bean & Co", "Silver", 1, START, YEAR, 0x1b2a41, 0xf4f1ea)),
            "the program's look"
        );
        (json,) = read(stamps.tokenURI(stampId(alice, 3)));
        vm.assertEq(number(json, "Position"), 3);
        vm.assertEq(number(json, "Size"), 5);
        vm.assertEq(
            stamps.tokenURI(stampId(alice, OPENING_NIGHT)),
            draw.stamp(R.Stamp("Bean & Co", "Opening night", 1, 1, 0x1b2a41, 0xf4f1ea))
        );
        json = Drawing.decoded(cards.contractURI(), JSON);
        vm.assertEq(vm.parseJsonString(json, ".name"), "Bean & Co");
        vm.assertEq(vm.parseJsonString(json, ".symbol"), "BEAN");
        // After a change of tier the same token shows the new one.
        vm.prank(manager);
        cards.setTierBatch(list(tierItem(alice, 3)));
        (json,) = read(cards.tokenURI(id(alice)));
        vm.assertEq(text(json, "Tier"), "Gold");
    }

    function test_WhenATextTurnsTheDirection() external {
        // U+202A to U+202E and U+2066 to U+2069, and what stands on either side of them.
        bytes3[9] memory turning =
            [bytes3(0xe280aa), 0xe280ab, 0xe280ac, 0xe280ad, 0xe280ae, 0xe281a6, 0xe281a7, 0xe281a8, 0xe281a9];
        for (uint256 i; i < turning.length; ++i) {
            string memory tier = string(abi.encodePacked("Gold", turning[i], "dloG"));
            (string memory json, string memory svg) = read(draw.card(card("Bean", tier)));
            vm.assertEq(text(json, "Tier"), "Gold   dloG");
            vm.assertFalse(vm.contains(svg, string(abi.encodePacked(turning[i]))));
        }
        bytes3[5] memory others = [bytes3(0xe280a9), 0xe280af, 0xe281a5, 0xe281aa, 0xe282aa];
        for (uint256 i; i < others.length; ++i) {
            string memory tier = string(abi.encodePacked("Gold", others[i], "dloG"));
            (string memory json,) = read(draw.card(card("Bean", tier)));
            vm.assertEq(text(json, "Tier"), tier);
        }
        // A text that ends within such a character is no text.
        (string memory broken,) = read(draw.card(card("Bean", string(abi.encodePacked("Gold", bytes2(0xe280))))));
        vm.assertEq(text(broken, "Tier"), "Gold??");
    }
}
