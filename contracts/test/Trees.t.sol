// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {Test, Vm} from "./support/Test.sol";

/// @title Trees and tests say the same
/// @dev Every branch `when ...` or `given ...` of a tree has a test in the file of the same name beside it, called after
/// it: "when the caller is no minter" is test_RevertWhen_TheCallerIsNoMinter or test_WhenTheCallerIsNoMinter.
contract TreesTest is Test {
    function test_EveryBranchHasItsTest() external {
        Vm.DirEntry[] memory entries = vm.readDir("test", 3);
        uint256 branches;
        for (uint256 i; i < entries.length; ++i) {
            string memory path = entries[i].path;
            if (entries[i].isDir || !endsWith(path, ".tree")) continue;
            string memory tests = vm.readFile(vm.replace(path, ".tree", ".t.sol"));
            string[] memory lines = vm.split(vm.readFile(path), "\n");
            for (uint256 j; j < lines.length; ++j) {
                string memory words = condition(lines[j]);
                if (bytes(words).length == 0) continue;
                ++branches;
                string memory name = camelCase(words);
                bool found = vm.contains(tests, string.concat("_When", name, "("))
                    || vm.contains(tests, string.concat("_RevertWhen_", name, "("))
                    || vm.contains(tests, string.concat("_Given", name, "("))
                    || vm.contains(tests, string.concat("_RevertGiven_", name, "("));
                vm.assertTrue(found, string.concat(path, ": no test for '", words, "' (", name, ")"));
            }
        }
        vm.assertGt(branches, 200, "the trees were found");
    }

    /// @return What follows "when" or "given" in a line; empty = it is no branch.
    function condition(string memory line) internal pure returns (string memory) {
        string[2] memory starts = ["when ", "given "];
        bytes memory text = bytes(line);
        for (uint256 k; k < 2; ++k) {
            bytes memory start = bytes(starts[k]);
            // A branch stands behind its line of the tree: three characters of three bytes and a blank.
            uint256 skip = 10;
            if (text.length <= skip + start.length) continue;
            bool same = true;
            for (uint256 i; i < start.length; ++i) {
                if (text[skip + i] != start[i]) same = false;
            }
            if (same) return slice(text, skip + start.length);
        }
        return "";
    }

    /// @dev Words with capitals, without what a name cannot hold.
    function camelCase(string memory words) internal pure returns (string memory) {
        bytes memory text = bytes(words);
        bytes memory name = new bytes(text.length);
        uint256 size;
        bool first = true;
        for (uint256 i; i < text.length; ++i) {
            bytes1 c = text[i];
            bool letter = (c >= "a" && c <= "z") || (c >= "A" && c <= "Z") || (c >= "0" && c <= "9");
            if (!letter) {
                if (c == " " || c == "-") first = true;
                continue;
            }
            if (first && c >= "a" && c <= "z") c = bytes1(uint8(c) - 32);
            first = false;
            name[size++] = c;
        }
        assembly ("memory-safe") {
            mstore(name, size)
        }
        return string(name);
    }

    function slice(bytes memory text, uint256 from) internal pure returns (string memory) {
        bytes memory part = new bytes(text.length - from);
        for (uint256 i; i < part.length; ++i) {
            part[i] = text[from + i];
        }
        return string(part);
    }

    function endsWith(string memory text, string memory end) internal pure returns (bool) {
        bytes memory a = bytes(text);
        bytes memory b = bytes(end);
        if (a.length < b.length) return false;
        for (uint256 i; i < b.length; ++i) {
            if (a[a.length - b.length + i] != b[i]) return false;
        }
        return true;
    }
}
