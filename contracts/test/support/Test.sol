// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

/// @title forge's cheatcodes, as far as these tests use them
/// @dev The published test library is not on the package registry under its makers' name, so the few lines we need are
/// our own. Signatures as in forge's reference.
interface Vm {
    struct Log {
        bytes32[] topics;
        bytes data;
        address emitter;
    }

    struct DirEntry {
        string errorMessage;
        string path;
        uint64 depth;
        bool isDir;
        bool isSymlink;
    }

    // The chain.
    function warp(uint256 timestamp) external;
    function roll(uint256 number) external;
    function chainId(uint256 id) external;
    function etch(address account, bytes calldata code) external;
    function deal(address account, uint256 wei_) external;
    function snapshotState() external returns (uint256 id);
    function revertToState(uint256 id) external returns (bool);
    function load(address account, bytes32 slot) external view returns (bytes32);
    function store(address account, bytes32 slot, bytes32 value) external;
    function computeCreateAddress(address deployer, uint256 nonce) external pure returns (address);
    function getBlockTimestamp() external view returns (uint256);
    function deployCode(string calldata artifact) external returns (address);
    function deployCode(string calldata artifact, bytes calldata arguments) external returns (address);

    // Who calls.
    function prank(address caller) external;
    function startPrank(address caller) external;
    function stopPrank() external;

    // What must happen.
    function assume(bool condition) external pure;
    function expectRevert() external;
    function expectRevert(bytes4 selector) external;
    function expectRevert(bytes calldata data) external;
    function expectPartialRevert(bytes4 selector) external;
    function expectEmit() external;
    function expectEmit(address emitter) external;
    function expectEmit(bool topic1, bool topic2, bool topic3, bool data, address emitter) external;
    function recordLogs() external;
    function getRecordedLogs() external returns (Log[] memory);
    function record() external;
    function accesses(address account) external view returns (bytes32[] memory reads, bytes32[] memory writes);
    function label(address account, string calldata name) external;

    // Keys.
    function addr(uint256 key) external pure returns (address);
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function signCompact(uint256 key, bytes32 digest) external pure returns (bytes32 r, bytes32 vs);

    // Text.
    function toString(uint256 value) external pure returns (string memory);
    function toString(address value) external pure returns (string memory);
    function toString(bytes32 value) external pure returns (string memory);
    function split(string calldata text, string calldata by) external pure returns (string[] memory);
    function trim(string calldata text) external pure returns (string memory);
    function replace(string calldata text, string calldata from, string calldata to) external pure returns (string memory);
    function indexOf(string calldata text, string calldata part) external pure returns (uint256);
    function contains(string calldata text, string calldata part) external returns (bool);
    function parseJsonString(string calldata json, string calldata key) external pure returns (string memory);
    function parseJsonUint(string calldata json, string calldata key) external pure returns (uint256);
    function parseJsonKeys(string calldata json, string calldata key) external pure returns (string[] memory);
    function keyExistsJson(string calldata json, string calldata key) external view returns (bool);
    function setEnv(string calldata name, string calldata value) external;
    function envOr(string calldata name, uint256 otherwise) external view returns (uint256);
    function readFile(string calldata path) external view returns (string memory);
    function readDir(string calldata path, uint64 depth) external view returns (DirEntry[] memory);

    // Assertions: a failing one reverts.
    function assertTrue(bool condition) external pure;
    function assertTrue(bool condition, string calldata why) external pure;
    function assertFalse(bool condition) external pure;
    function assertFalse(bool condition, string calldata why) external pure;
    function assertEq(bool left, bool right) external pure;
    function assertEq(bool left, bool right, string calldata why) external pure;
    function assertEq(uint256 left, uint256 right) external pure;
    function assertEq(uint256 left, uint256 right, string calldata why) external pure;
    function assertEq(address left, address right) external pure;
    function assertEq(address left, address right, string calldata why) external pure;
    function assertEq(bytes32 left, bytes32 right) external pure;
    function assertEq(bytes32 left, bytes32 right, string calldata why) external pure;
    function assertEq(string calldata left, string calldata right) external pure;
    function assertEq(string calldata left, string calldata right, string calldata why) external pure;
    function assertEq(bytes calldata left, bytes calldata right) external pure;
    function assertEq(bytes calldata left, bytes calldata right, string calldata why) external pure;
    function assertEq(uint256[] calldata left, uint256[] calldata right) external pure;
    function assertEq(bool[] calldata left, bool[] calldata right) external pure;
    function assertNotEq(uint256 left, uint256 right, string calldata why) external pure;
    function assertNotEq(address left, address right, string calldata why) external pure;
    function assertNotEq(bytes32 left, bytes32 right, string calldata why) external pure;
    function assertLt(uint256 left, uint256 right, string calldata why) external pure;
    function assertLe(uint256 left, uint256 right, string calldata why) external pure;
    function assertGt(uint256 left, uint256 right, string calldata why) external pure;
    function assertGe(uint256 left, uint256 right, string calldata why) external pure;
}

/// @title Base of all tests
abstract contract Test {
    /// @notice What forge asks an invariant test for: one target and the functions it may call there.
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    /// @dev The address every cheatcode is called at.
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    // forge looks for this on contracts whose functions are tests.
    bool public constant IS_TEST = true;

    /// @notice `value` brought into [least, most], evenly, both ends included.
    function bound(uint256 value, uint256 least, uint256 most) internal pure returns (uint256) {
        require(least <= most, "bound: empty range");
        if (value >= least && value <= most) return value;
        uint256 size = most - least + 1;
        return size == 0 ? value : least + value % size;
    }

    /// @notice A key made from a name, and its address, which traces show under that name.
    function keyOf(string memory name) internal returns (uint256 key, address account) {
        // Below the order of secp256k1 and never zero.
        key = (uint256(keccak256(bytes(name))) >> 1) | 1;
        account = vm.addr(key);
        vm.label(account, name);
    }
}
