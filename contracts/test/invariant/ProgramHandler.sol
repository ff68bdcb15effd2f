// SPDX-License-Identifier: MIT
pragma solidity ^0.8.30;

import {ProgramTest, Vm} from "../support/ProgramTest.sol";
import {Stamps} from "../support/Standards.sol";
import {Consents} from "../support/Consents.sol";
import {MuteWallet, SigningWallet} from "../support/Wallets.sol";
import {ILoyaltyFactory} from "../../src/interfaces/ILoyaltyFactory.sol";
import {ILoyaltyMembership as M} from "../../src/interfaces/ILoyaltyMembership.sol";
import {ILoyaltyStamps as S} from "../../src/interfaces/ILoyaltyStamps.sol";

/// @title Everybody who can do something to a program, doing it at random
/// @dev Each public function is one act. It looks for wallets the act can succeed with, most of the time, and catches the
/// revert of the call itself; nothing else here may revert. A broken law is kept in `broken`, for the invariant to tell.
contract ProgramHandler is ProgramTest {
    uint256 internal constant FEWEST = 32;
    uint256 internal constant MOST = 64;
    uint256 internal constant NO_KIND = 3;
    uint256 internal constant TYPES = 9;

    /// @dev A claim as it was sent in, to be sent in again.
    struct Sent {
        bytes32 voucher;
        address target;
        address recipient;
        bytes data;
    }

    /// @dev What a wallet can be looked for by.
    enum Want {
        ANY,
        MEMBER,
        LIMITED,
        UNTOUCHED,
        GONE,
        REVOKED,
        STAMPS_ONLY
    }

    Stamps public spring;
    address[] public wallets;
    string public broken;

    string[] private _acts;
    mapping(bytes32 act => uint256) public tries;
    mapping(bytes32 act => uint256) public successes;
    uint256 public calls;

    Sent[] private _sent;
    mapping(bytes32 voucher => uint256) private _landed;
    mapping(address target => mapping(uint256 kind => mapping(uint256 day => uint256))) private _used;
    mapping(address season => mapping(uint256 stampType => uint256)) public minted;
    /// @dev Whether this wallet, or one that moved to it, ever had a stamp of this type that may not return.
    mapping(address season => mapping(uint256 tokenId => bool)) private _given;
    mapping(address target => mapping(uint256 tokenId => bool)) private _voided;
    mapping(address wallet => uint256) private _nonce;
    mapping(address wallet => bool) private _touched;
    uint32 private _index;
    uint256 private _orders;

    function setUp() public override {
        super.setUp();
        spring = openSeason();
        for (uint256 i; i < FEWEST; ++i) {
            wallets.push(named(string.concat("wallet ", vm.toString(i))));
        }
        // One is a contract that signs with another key, one an account with delegated code that knows no signatures.
        address safe = address(new SigningWallet(wallets[0]));
        keys[safe] = keys[wallets[0]];
        wallets[0] = safe;
        vm.etch(wallets[1], abi.encodePacked(hex"ef0100", address(new MuteWallet())));
        // Limits that bind within a run.
        vm.startPrank(owner);
        cards.setCap(16);
        stamps.setType(COFFEE, 9, 0, 0, 2, 0);
        vm.stopPrank();
    }

    function program() internal view override returns (ILoyaltyFactory.Program memory p) {
        p = super.program();
        p.moveCooldown = 2 days;
        p.cardQuotas = M.Quotas({mint: 9, claim: 6, manage: 6});
        p.stampQuotas = S.StampQuotas({mint: 14, claim: 6, manage: 4});
    }

    // ------------------------------------------------------------------------------------------------- acts on cards

    function mint(uint256 seed) external {
        uint256 r = dice(seed);
        address to = find(r, Want.UNTOUCHED);
        attempt("mint", minter, address(cards), abi.encodeCall(M.mint, (to, tier(r), expiry(r))), MINT);
    }

    function mintBatch(uint256 seed) external {
        uint256 r = dice(seed);
        uint256[] memory items = new uint256[](1 + r % 5);
        for (uint256 i; i < items.length; ++i) {
            // Any wallets, so that there are duplicates, members and those who left.
            items[i] = cardItem(wallets[uint256(keccak256(abi.encode(r, i))) % wallets.length], tier(r >> i), expiry(r >> i));
        }
        attempt("mintBatch", minter, address(cards), abi.encodeCall(M.mintBatch, (items)), MINT);
    }

    function claim(uint256 seed) external {
        uint256 r = dice(seed);
        M.CardVoucher memory v = cardVoucher(find(r, Want.UNTOUCHED));
        v.tier = tier(r);
        v.deadline = uint40(block.timestamp + r % 3 days);
        bytes memory data = abi.encodeCall(M.claim, (v, signer, signCard(v)));
        send("claim", Sent(cards.digestOf(Consents.hash(v)), address(cards), v.to, data));
    }

    function claimBearer(uint256 seed) external {
        uint256 r = dice(seed);
        M.BearerCardVoucher memory v = bearerCard(_index++);
        v.tier = tier(r);
        address claimer = find(r, Want.UNTOUCHED);
        bytes memory data = abi.encodeCall(
            M.claimBearer,
            (v, signer, signCard(v), agree(v, claimer, claimKey), claimer, agree(v, claimer, claimer))
        );
        if (!send("claimBearer", Sent(cards.digestOf(Consents.hash(v)), address(cards), claimer, data))) return;
        address other = find(r, Want.UNTOUCHED);
        data = abi.encodeCall(
            M.claimBearer, (v, signer, signCard(v), agree(v, other, claimKey), other, agree(v, other, other))
        );
        (bool again,) = address(cards).call(data);
        law(!again, "a bearer voucher lands once, whoever claims");
    }

    /// @notice Somebody keeps a claim and sends it in again, or for the first time where it failed.
    function sendAgain(uint256 seed) external {
        if (_sent.length == 0) return;
        send("sendAgain", _sent[dice(seed) % _sent.length]);
    }

    function renewBatch(uint256 seed) external {
        uint256 r = dice(seed);
        uint256[] memory items = new uint256[](1 + r % 3);
        for (uint256 i; i < items.length; ++i) {
            address holder = find(r >> i, Want.LIMITED);
            uint40 current = cards.membershipOf(holder).expiresAt;
            // One in four expects what is not there.
            uint40 expected = r >> (8 + i) & 3 == 0 ? current + 1 : current;
            uint256 later = current > block.timestamp ? current : block.timestamp;
            items[i] = renewItem(holder, later + 1 + r % 90 days, expected);
        }
        attempt("renewBatch", manager, address(cards), abi.encodeCall(M.renewBatch, (items)), MANAGE);
    }

    function setTierBatch(uint256 seed) external {
        uint256 r = dice(seed);
        uint256[] memory items = new uint256[](1 + r % 3);
        for (uint256 i; i < items.length; ++i) {
            // The same tier for the same wallet: a batch that contradicts itself would change something each time.
            address holder = find(r >> i, Want.MEMBER);
            items[i] = tierItem(holder, 1 + uint256(keccak256(abi.encode(r, holder))) % 3);
        }
        attempt("setTierBatch", manager, address(cards), abi.encodeCall(M.setTierBatch, (items)), MANAGE);
    }

    function revoke(uint256 seed) external {
        uint256 r = dice(seed);
        address holder = find(r, r & 24 == 0 ? Want.GONE : Want.MEMBER);
        M.Member memory was = cards.membershipOf(holder);
        uint256 supply = cards.totalSupply();
        string memory act = was.joinedAt == 0 ? "revokeWhoLeft" : "revoke";
        bytes memory data = abi.encodeCall(M.revoke, (holder, "rule 3"));
        if (!attempt(act, manager, address(cards), data, MANAGE)) return;
        M.Member memory is_ = cards.membershipOf(holder);
        law(was.joinedAt != 0 || was.flags & FLAG_LEFT != 0, "only who had a card is revoked");
        law(is_.joinedAt == 0 && is_.flags & FLAG_REVOKED != 0, "who is revoked has no card");
        law(is_.serial == was.serial, "a revocation keeps the member number");
        law(cards.totalSupply() + (was.joinedAt == 0 ? 0 : 1) == supply, "a revocation ends the card there is");
    }

    function readmit(uint256 seed) external {
        uint256 r = dice(seed);
        address to = find(r, Want.GONE);
        uint64 serial = cards.membershipOf(to).serial;
        bytes memory data = abi.encodeCall(M.readmit, (to, 1, FOR_LIFE));
        if (attempt("readmit", r & 1 == 0 ? minter : manager, address(cards), data, MINT)) {
            law(cards.membershipOf(to).serial == serial, "a readmission keeps the member number");
        }
    }

    function burn(uint256 seed) external {
        uint256 r = dice(seed);
        address holder = find(r, Want.MEMBER);
        uint40 deadline = uint40(block.timestamp + 1);
        bytes memory data =
            abi.encodeCall(M.burn, (holder, deadline, signed(holder, cards.digestOf(
                Consents.burn(holder, cards.membershipOf(holder).nonce, deadline)))));
        attempt("burn", r & 1 == 0 ? holder : relayer, address(cards), data, NO_KIND);
    }

    // ------------------------------------------------------------------------------------------------------- moving

    function migrateCard(uint256 seed) external {
        uint256 r = dice(seed);
        move("migrateCard", find(r, Want.MEMBER), find(r >> 8, Want.UNTOUCHED));
    }

    function merge(uint256 seed) external {
        uint256 r = dice(seed);
        move("merge", find(r, Want.MEMBER), find(r >> 8, Want.MEMBER));
    }

    function migrateStamps(uint256 seed) external {
        uint256 r = dice(seed);
        address from = find(r, Want.STAMPS_ONLY);
        if (stamps.balanceOf(from) == 0) {
            attempt("mintStamp", minter, address(stamps), abi.encodeCall(S.mint, (from, stampType(r))), MINT);
        }
        move("migrateStamps", from, find(r >> 8, Want.UNTOUCHED));
    }

    function proposeRecovery(uint256 seed) external {
        uint256 r = dice(seed);
        address from = find(r, r & 8 == 0 ? Want.REVOKED : Want.MEMBER);
        address to = find(r >> 8, Want.UNTOUCHED);
        bytes memory data = abi.encodeCall(M.proposeRecovery, (from, to, "lost"));
        attempt("proposeRecovery", r & 1 == 0 ? guardian : owner, address(cards), data, NO_KIND);
    }

    function executeRecovery(uint256 seed) external {
        uint256 r = dice(seed);
        for (uint256 i; i < wallets.length; ++i) {
            address from = wallets[(r + i) % wallets.length];
            M.Recovery memory p = cards.recoveryOf(from);
            if (p.to == address(0) || p.endsAt < block.timestamp) continue;
            if (p.readyAt > block.timestamp && r & 3 != 0) {
                // One second too early it must fail.
                vm.warp(p.readyAt - 1);
                (bool early,) = address(cards).call(abi.encodeCall(M.executeRecovery, (from)));
                law(!early, "a recovery waits for its delay");
                vm.warp(p.readyAt);
            }
            Before memory was = before(from, p.to);
            bytes memory data = abi.encodeCall(M.executeRecovery, (from));
            string memory act = was.source.flags & FLAG_REVOKED != 0 ? "recoverRevoked" : "executeRecovery";
            if (attempt(act, stranger, address(cards), data, NO_KIND)) {
                law(was.target.joinedAt == 0 && was.target.flags & ~FLAG_VOIDED == 0, "a recovery needs a fresh wallet");
                law(
                    was.source.flags & FLAG_REVOKED == 0 || was.targetHeld[0] | was.targetHeld[1] == 0,
                    "a revocation goes to nobody who has something to lose"
                );
                afterMove(was);
            }
            return;
        }
    }

    function vetoRecovery(uint256 seed) external {
        uint256 r = dice(seed);
        for (uint256 i; i < wallets.length; ++i) {
            address holder = wallets[(r + i) % wallets.length];
            M.Recovery memory p = cards.recoveryOf(holder);
            if (p.to == address(0)) continue;
            uint40 deadline = uint40(block.timestamp + 1);
            bytes memory signature = signed(holder, cards.digestOf(Consents.veto(holder, p.nonce, deadline)));
            bool byPower = r & 12 == 0;
            bytes memory data = abi.encodeCall(M.vetoRecovery, (holder, deadline, byPower ? bytes("") : signature));
            address caller = byPower ? (r & 16 == 0 ? owner : p.proposer) : relayer;
            bool revoked = cards.membershipOf(holder).flags & FLAG_REVOKED != 0;
            bool done = attempt("vetoRecovery", caller, address(cards), data, NO_KIND);
            law(done == (byPower || !revoked), "holder, owner and proposer veto, but no holder who was revoked");
            law(!done || cards.recoveryOf(holder).to == address(0), "a veto ends a recovery");
            law(!done || cards.membershipOf(holder).nonce == p.nonce + (byPower ? 0 : 1), "only the holder's veto counts");
            return;
        }
    }

    // ------------------------------------------------------------------------------------------------ acts on stamps

    function mintStamp(uint256 seed) external {
        uint256 r = dice(seed);
        bytes memory data = abi.encodeCall(S.mint, (find(r, Want(r % 3)), stampType(r)));
        attempt("mintStamp", minter, address(season(r)), data, MINT);
    }

    function mintStampBatch(uint256 seed) external {
        uint256 r = dice(seed);
        uint256[] memory items = new uint256[](1 + r % 8);
        for (uint256 i; i < items.length; ++i) {
            uint256 q = uint256(keccak256(abi.encode(r, i)));
            items[i] = stampId(wallets[q % wallets.length], stampType(q >> 16));
        }
        attempt("mintStampBatch", minter, address(season(r)), abi.encodeCall(S.mintBatch, (items)), MINT);
    }

    function claimStamp(uint256 seed) external {
        uint256 r = dice(seed);
        Stamps where = season(r);
        S.StampVoucher memory v = stampVoucher(find(r, Want.ANY), stampType(r));
        bytes32 voucher = where.digestOf(Consents.hash(v));
        bytes memory data = abi.encodeCall(S.claim, (v, signer, signed(signer, voucher)));
        send("claimStamp", Sent(voucher, address(where), v.to, data));
    }

    function claimStampBearer(uint256 seed) external {
        uint256 r = dice(seed);
        Stamps where = season(r);
        S.BearerStampVoucher memory v = bearerStamp(_index++, stampType(r));
        address claimer = find(r, Want.ANY);
        bytes32 voucher = where.digestOf(Consents.hash(v));
        bytes32 agreement = where.digestOf(Consents.claim(v, claimer));
        bytes memory data = abi.encodeCall(
            S.claimBearer,
            (v, signer, signed(signer, voucher), signed(claimKey, agreement), claimer, signed(claimer, agreement))
        );
        if (!send("claimStampBearer", Sent(voucher, address(where), claimer, data))) return;
        address other = find(r >> 8, Want.UNTOUCHED);
        agreement = where.digestOf(Consents.claim(v, other));
        data = abi.encodeCall(
            S.claimBearer, (v, signer, signed(signer, voucher), signed(claimKey, agreement), other, signed(other, agreement))
        );
        (bool again,) = address(where).call(data);
        law(!again, "a bearer voucher lands once, whoever claims");
    }

    function redeem(uint256 seed) external {
        uint256 r = dice(seed);
        (Stamps where, address holder, uint8 t) = findStamp(r);
        if (holder == address(0)) return;
        uint40 deadline = uint40(block.timestamp + 1);
        bytes32 order = bytes32(++_orders);
        bytes memory signature = signed(holder, where.digestOf(Consents.redeem(holder, t, order, deadline)));
        bytes memory data = abi.encodeCall(S.redeem, (holder, t, order, deadline, signature));
        if (attempt("redeem", relayer, address(where), data, NO_KIND)) {
            law(where.redeemedFor(stampId(holder, t)) == order, "a stamp is redeemed for its order");
            bytes memory other = abi.encodeCall(S.redeem, (holder, t, bytes32(++_orders), deadline, ""));
            vm.prank(holder);
            (bool again,) = address(where).call(other);
            law(!again, "a stamp is redeemed for one order only");
        }
    }

    function burnStamp(uint256 seed) external {
        uint256 r = dice(seed);
        (Stamps where, address holder, uint8 t) = findStamp(r);
        if (holder == address(0)) return;
        uint40 deadline = uint40(block.timestamp + 1);
        bytes memory signature = signed(holder, where.digestOf(Consents.burnStamp(holder, t, deadline)));
        bytes memory data = abi.encodeCall(S.burn, (holder, t, deadline, signature));
        attempt("burnStamp", r & 1 == 0 ? holder : relayer, address(where), data, NO_KIND);
    }

    function revokeStamp(uint256 seed) external {
        uint256 r = dice(seed);
        (Stamps where, address holder, uint8 t) = findStamp(r);
        if (holder == address(0)) return;
        bool mayReturn = r & 1 == 0;
        bytes memory data = abi.encodeCall(S.revokeStamp, (holder, t, mayReturn, "till error"));
        if (attempt("revokeStamp", manager, address(where), data, MANAGE) && mayReturn) {
            _given[address(where)][stampId(holder, t)] = false;
        }
    }

    // ------------------------------------------------------------------------------------------- the house and time

    function pauseForAWhile(uint256 seed) external {
        uint256 r = dice(seed);
        if (!cards.paused()) {
            attempt("pause", r & 1 == 0 ? guardian : owner, address(cards), abi.encodeCall(M.pause, ()), NO_KIND);
        }
        if (r & 6 == 0) return; // one pause in four lasts
        vm.warp(block.timestamp + r % 1 hours);
        attempt("unpause", owner, address(cards), abi.encodeCall(M.unpause, ()), NO_KIND);
    }

    function setLimits(uint256 seed) external {
        uint256 r = dice(seed);
        uint256 kind = r % 3;
        address where = r & 8 == 0 ? address(cards) : address(season(r));
        uint24 limit = uint24(4 + (r >> 8) % 12);
        attempt("setQuota", owner, where, abi.encodeCall(M.setQuota, (kind, limit)), NO_KIND);
        attempt("setCap", owner, address(cards), abi.encodeCall(M.setCap, (uint32(10 + (r >> 16) % 16))), NO_KIND);
    }

    function voidVouchers(uint256 seed) external {
        uint256 r = dice(seed);
        if (r & 15 == 0) {
            attempt("raiseVoucherEpoch", guardian, address(cards), abi.encodeCall(M.raiseVoucherEpoch, ()), NO_KIND);
        }
        address to = find(r, Want.UNTOUCHED);
        if (attempt("voidVoucher", manager, address(cards), abi.encodeCall(M.voidVoucher, (to)), NO_KIND)) {
            _voided[address(cards)][id(to)] = true;
        }
        address where = address(season(r));
        to = find(r >> 8, Want.ANY);
        uint8 t = stampType(r);
        if (attempt("voidStampVoucher", guardian, where, abi.encodeCall(S.voidVoucher, (to, t)), NO_KIND)) {
            _voided[where][stampId(to, t)] = true;
        }
        bytes memory data = abi.encodeCall(M.voidBearer, (0, 1 << (r % 256)));
        attempt("voidBearer", manager, r & 1 == 0 ? address(cards) : address(stamps), data, NO_KIND);
    }

    function passTime(uint256 seed) external {
        uint256 r = dice(seed);
        ++tries["passTime"];
        ++successes["passTime"];
        vm.warp(block.timestamp + (r & 7 == 0 ? r % 20 days : r % 12 hours));
    }

    /// @notice Somebody without the right to it tries.
    function attack(uint256 seed) external {
        uint256 r = dice(seed);
        address victim = find(r, Want.MEMBER);
        address thief = find(r >> 8, Want.UNTOUCHED);
        if (thief == victim) return;
        M.Move memory m = moveOf(victim, thief);
        bytes memory own = consent(m, thief);
        (Stamps where, address holder, uint8 t) = findStamp(r);
        bytes[] memory data = new bytes[](9);
        address[] memory target = new address[](9);
        for (uint256 i; i < 9; ++i) {
            target[i] = address(cards);
        }
        data[0] = abi.encodeCall(M.migrate, (m, own, own));
        data[1] = abi.encodeCall(M.migrate, (m, "", own));
        data[2] = abi.encodeCall(M.burn, (victim, m.deadline, own));
        data[3] = abi.encodeCall(cards.transferFrom, (victim, thief, id(victim)));
        data[4] = abi.encodeCall(M.mint, (thief, 3, FOR_LIFE));
        data[5] = abi.encodeCall(cards.grantRoles, (thief, 15));
        data[6] = abi.encodeCall(S.moveAll, (victim, thief));
        target[6] = address(where);
        data[7] = abi.encodeCall(S.redeem, (holder, t, "stolen", m.deadline, own));
        target[7] = address(where);
        data[8] = redirected(thief);
        if (data[8].length == 0) data[8] = data[0];
        for (uint256 i; i < 9; ++i) {
            vm.prank(thief);
            (bool done,) = target[i].call(data[i]);
            law(!done || (i == 7 && holder == thief), "nobody does what is not his to do");
        }
        ++tries["attack"];
        ++successes["attack"];
    }

    // ---------------------------------------------------------------------------------------------- how acts are done

    struct Before {
        address from;
        address to;
        M.Member source;
        M.Member target;
        uint256[2] held;
        uint256[2] targetClaimed;
        uint256[2] targetHeld;
        uint256 supply;
    }

    function before(address from, address to) internal view returns (Before memory was) {
        was.from = from;
        was.to = to;
        was.source = cards.membershipOf(from);
        was.target = cards.membershipOf(to);
        was.supply = cards.totalSupply();
        (was.held[0],,) = stamps.stampsOf(from);
        (was.held[1],,) = spring.stampsOf(from);
        (was.targetHeld[0], was.targetClaimed[0],) = stamps.stampsOf(to);
        (was.targetHeld[1], was.targetClaimed[1],) = spring.stampsOf(to);
    }

    function move(string memory act, address from, address to) internal {
        Before memory was = before(from, to);
        M.Move memory m = moveOf(from, to);
        bytes memory data = abi.encodeCall(M.migrate, (m, consent(m, from), consent(m, to)));
        if (attempt(act, relayer, address(cards), data, NO_KIND)) afterMove(was);
    }

    /// @dev Card and stamps of all seasons have gone together, once, and nobody has gained by it.
    function afterMove(Before memory was) internal {
        M.Member memory source = cards.membershipOf(was.from);
        M.Member memory target = cards.membershipOf(was.to);
        law(source.joinedAt == 0 && source.serial == 0, "a move leaves neither card nor number");
        law(source.flags & ~FLAG_VOIDED == FLAG_MOVED, "who has moved away has neither left nor been revoked");
        if (was.source.joinedAt != 0) {
            law(
                target.serial == was.source.serial && target.tier == was.source.tier
                    && target.joinedAt == was.source.joinedAt && target.expiresAt == was.source.expiresAt,
                "a move carries the card as it is"
            );
        } else if (was.source.flags & FLAG_REVOKED != 0) {
            law(
                target.joinedAt == 0 && target.serial == was.source.serial
                    && target.flags & ~FLAG_VOIDED == FLAG_REVOKED,
                "a revoked number goes along with its revocation and without a card"
            );
        } else {
            law(
                (target.joinedAt == 0) == (was.target.joinedAt == 0) && target.serial == was.target.serial
                    && target.flags == was.target.flags,
                "stamps alone make no card"
            );
        }
        law(target.movedAt == block.timestamp, "a move starts the cool-down");
        uint256 gone = was.source.joinedAt != 0 && was.target.joinedAt != 0 ? 1 : 0;
        law(cards.totalSupply() == was.supply - gone, "a move makes no card");
        Stamps[2] memory both = [stamps, spring];
        for (uint256 i; i < 2; ++i) {
            (uint256 left,, bool moved) = both[i].stampsOf(was.from);
            (uint256 held,,) = both[i].stampsOf(was.to);
            law(left == 0 && moved, "all stamps go along");
            law(
                held == was.targetHeld[i] | (was.held[i] & ~was.targetClaimed[i]),
                "a move gives what the target never had, and no more"
            );
            for (uint256 t = 1; t <= TYPES; ++t) {
                if (_given[address(both[i])][stampId(was.from, t)]) _given[address(both[i])][stampId(was.to, t)] = true;
            }
        }
    }

    /// @dev Sends in a claim and keeps it, to be sent again.
    function send(string memory act, Sent memory s) internal returns (bool done) {
        // A claim that has landed may still be sent, but must never land again.
        bool used = _landed[s.voucher] != 0;
        done = attempt(act, relayer, s.target, s.data, CLAIM);
        if (done) {
            law(!used, "a voucher lands once");
            ++_landed[s.voucher];
            uint256 token = s.target == address(cards) ? id(s.recipient) : _lastMinted;
            law(address(uint160(token)) == s.recipient && token == _lastMinted, "a voucher lands with its recipient");
            bytes4 how = bytes4(s.data);
            bool addressed = how == M.claim.selector || how == S.claim.selector;
            law(!addressed || !_voided[s.target][token], "an addressed voucher that was voided never lands");
        }
        if (_sent.length < 64) _sent.push(s);
        else _sent[calls % 64] = s;
    }

    uint256 private _lastMinted;

    /// @notice The newest bearer card voucher for another claimer, with that claimer's consent; empty = there is none.
    function redirected(address thief) internal returns (bytes memory) {
        M.BearerCardVoucher memory v = bearerCard(_index++);
        return abi.encodeCall(
            M.claimBearer,
            (v, signer, signCard(v), agree(v, wallets[2] == thief ? wallets[3] : wallets[2], claimKey), thief, "")
        );
    }

    /// @dev One call. What it did is checked against the laws that hold for every call, and then it is sent once more.
    function attempt(string memory act, address caller, address target, bytes memory data, uint256 kind)
        internal
        returns (bool done)
    {
        bytes32 key = bytes32(bytes(act));
        if (tries[key]++ == 0) _acts.push(act);
        vm.recordLogs();
        vm.prank(caller);
        (done,) = target.call(data);
        Vm.Log[] memory logs = vm.getRecordedLogs();
        if (!done) return false;
        ++successes[key];
        uint256 happened = inspect(logs, target, kind);
        if (kind != NO_KIND) {
            uint256 today = block.timestamp / 1 days;
            _used[target][kind][today] += happened;
            (uint256 limit, uint256 used) = cardsOrStamps(target).quotaOf(kind);
            law(used == _used[target][kind][today], "a quota counts what happens");
            law(happened == 0 || used <= limit, "a quota is never exceeded");
        }
        if (key == "raiseVoucherEpoch") return true; // the one act that is meant to do something each time
        bytes32 state = digest();
        vm.recordLogs();
        vm.prank(caller);
        (bool again,) = target.call(data);
        logs = vm.getRecordedLogs();
        law(!again || digest() == state, "the same call again changes nothing");
        for (uint256 i; i < logs.length; ++i) {
            law(!again || logs[i].topics[0] != Transfer.selector, "the same call again moves nothing");
        }
    }

    function cardsOrStamps(address target) internal view returns (M) {
        // quotaOf has the same selector in both.
        return target == address(cards) ? M(address(cards)) : M(target);
    }

    /// @return happened How many acts of this kind the logs tell of.
    function inspect(Vm.Log[] memory logs, address target, uint256 kind) internal returns (uint256 happened) {
        bool moved;
        for (uint256 i; i < logs.length; ++i) {
            bytes32 topic = logs[i].topics[0];
            if (topic == M.Migrated.selector) {
                law(i == 0, "Migrated comes first");
                moved = true;
            } else if (topic == Transfer.selector) {
                address from = address(uint160(uint256(logs[i].topics[1])));
                address to = address(uint160(uint256(logs[i].topics[2])));
                uint256 token = uint256(logs[i].topics[3]);
                law(from == address(0) || to == address(0), "nothing is ever transferred");
                if (from == address(0)) {
                    law(address(uint160(token)) == to, "an id names its holder");
                    if (logs[i].emitter != address(cards)) {
                        law(!_given[logs[i].emitter][token], "one stamp of a type per wallet, ever");
                        _given[logs[i].emitter][token] = true;
                    }
                    if (!moved) {
                        law(logs[i].emitter == target, "only the contract called mints");
                        if (kind == MINT || kind == CLAIM) ++happened;
                        else law(false, "nothing but a mint, a claim or a move makes a token");
                        _lastMinted = token;
                        if (logs[i].emitter != address(cards)) ++minted[logs[i].emitter][token >> 160];
                    }
                }
            } else if (kind == MANAGE) {
                if (
                    topic == MetadataUpdate.selector || topic == M.CardRevoked.selector
                        || topic == S.StampRevoked.selector
                ) ++happened;
            }
        }
    }

    // ------------------------------------------------------------------------------------------------------- looking

    function dice(uint256 seed) internal returns (uint256) {
        return uint256(keccak256(abi.encode(seed, ++calls)));
    }

    function tier(uint256 r) internal pure returns (uint8) {
        return uint8(1 + (r >> 32) % 3);
    }

    function expiry(uint256 r) internal view returns (uint40) {
        return (r >> 40) & 3 == 0 ? FOR_LIFE : uint40(block.timestamp + 1 + (r >> 64) % 20 days);
    }

    function stampType(uint256 r) internal pure returns (uint8) {
        return uint8(1 + (r >> 48) % TYPES);
    }

    function season(uint256 r) internal view returns (Stamps) {
        return (r >> 56) & 3 == 0 ? spring : stamps;
    }

    /// @notice A wallet as wanted, if there is one, from a random start; one time in eight any wallet.
    function find(uint256 r, Want want) internal returns (address) {
        r = uint256(keccak256(abi.encode(r, want)));
        if (want == Want.ANY || r & 7 == 0) return wallets[(r >> 8) % wallets.length];
        uint256[] memory words = cards.wordsOf(wallets);
        for (uint256 i; i < wallets.length; ++i) {
            uint256 n = ((r >> 8) + i) % wallets.length;
            if (fits(words[n], wallets[n], want)) return wallets[n];
        }
        // Wallets that moved away never come back: somebody new has to come.
        if (want == Want.UNTOUCHED && wallets.length < MOST) {
            wallets.push(named(string.concat("wallet ", vm.toString(wallets.length))));
            return wallets[wallets.length - 1];
        }
        return wallets[(r >> 8) % wallets.length];
    }

    function fits(uint256 word, address wallet, Want want) internal view returns (bool) {
        bool held = uint40(word) != 0;
        uint8 flags = uint8(word >> 216);
        if (want == Want.MEMBER) return held;
        if (want == Want.LIMITED) return held && uint40(word >> 40) != 0;
        if (want == Want.UNTOUCHED) return !held && flags == 0;
        if (want == Want.GONE) return flags & (FLAG_LEFT | FLAG_REVOKED) != 0;
        if (want == Want.REVOKED) return flags & FLAG_REVOKED != 0;
        if (held || flags & FLAG_REVOKED != 0) return false;
        return stamps.balanceOf(wallet) != 0;
    }

    /// @notice A living stamp; holder zero = there is none.
    function findStamp(uint256 r) internal view returns (Stamps where, address holder, uint8 t) {
        where = season(r);
        uint256[] memory words = where.wordsOf(wallets);
        for (uint256 i; i < wallets.length; ++i) {
            uint256 n = (r + i) % wallets.length;
            uint256 held = uint120(words[n]);
            if (held == 0) continue;
            for (uint256 j; j < TYPES; ++j) {
                t = uint8(1 + ((r >> 16) + j) % TYPES);
                if (held >> (t - 1) & 1 != 0) return (where, wallets[n], t);
            }
        }
    }

    /// @notice Everything the contracts know of all wallets.
    function digest() internal view returns (bytes32) {
        return keccak256(
            abi.encode(
                cards.wordsOf(wallets),
                stamps.wordsOf(wallets),
                spring.wordsOf(wallets),
                cards.totalSupply(),
                cards.issued(),
                cards.bearerWord(0),
                stamps.bearerWord(0),
                spring.bearerWord(0),
                cards.voucherEpoch(),
                cards.paused()
            )
        );
    }

    function law(bool holds, string memory what) internal {
        if (!holds && bytes(broken).length == 0) broken = what;
    }

    // -------------------------------------------------------------------------------------------- laws of every state

    /// @notice Checks everything that must be so at any time. Called by the invariant, after every act.
    function check() external {
        uint256[] memory words = cards.wordsOf(wallets);
        uint256 living;
        for (uint256 i; i < wallets.length; ++i) {
            uint256 word = words[i];
            if (uint40(word) != 0) ++living;
            uint64 serial = uint64(word >> 88);
            uint8 flags = uint8(word >> 216);
            law(uint40(word) == 0 || serial != 0, "a card has a number");
            law(flags & (FLAG_LEFT | FLAG_REVOKED) == 0 || serial != 0, "who left or was revoked keeps the number");
            law(
                (flags & FLAG_LEFT) + (flags & FLAG_REVOKED) / 2 + (flags & FLAG_MOVED) / 4 + (uint40(word) == 0 ? 0 : 1)
                    <= 1,
                "a wallet is a member, has left, was revoked or has moved away"
            );
            law(serial <= cardsIssued(), "a number was given out");
            for (uint256 j; serial != 0 && j < i; ++j) {
                law(uint64(words[j] >> 88) != serial, "a member number is one wallet's");
            }
            law(!_touched[wallets[i]] || word != 0, "a word never returns to zero");
            if (word != 0) _touched[wallets[i]] = true;
            uint24 nonce = uint24(word >> 192);
            law(nonce >= _nonce[wallets[i]], "a nonce is never lowered");
            _nonce[wallets[i]] = nonce;
        }
        law(living == cards.totalSupply(), "the supply is the number of cards");
        law(living <= cards.cap(), "the living are within the cap");
        checkSeason(stamps);
        checkSeason(spring);
        checkWallet(wallets[calls % wallets.length]);
    }

    function cardsIssued() internal view returns (uint256) {
        return cards.issued();
    }

    function checkSeason(Stamps where) internal {
        uint256[] memory words = where.wordsOf(wallets);
        uint256 last = address(where) == address(stamps) ? TYPES : 3;
        uint256[] memory living = new uint256[](last + 1);
        for (uint256 i; i < wallets.length; ++i) {
            uint256 held = uint120(words[i]);
            law(held & ~(words[i] >> 120) == 0, "what is held was claimed");
            if (words[i] >> 240 & 1 != 0) law(held == 0, "a wallet that moved away holds no stamp");
            law(held >> last == 0, "only types that exist are held");
            for (uint256 t = 1; t <= last; ++t) {
                living[t] += held >> (t - 1) & 1;
            }
        }
        for (uint256 t = 1; t <= last; ++t) {
            S.TypeInfo memory info = where.typeOf(t);
            law(info.minted <= info.cap, "what was ever minted is within the cap");
            law(info.minted == minted[address(where)][t], "minted counts every mint and no move");
            law(living[t] <= info.minted, "no more live than were minted");
        }
    }

    /// @dev The ERC-721 face of one wallet: balance = tokens owned.
    function checkWallet(address wallet) internal {
        law(cards.balanceOf(wallet) == owned(address(cards), id(wallet), wallet), "balance of cards");
        Stamps[2] memory both = [stamps, spring];
        for (uint256 i; i < 2; ++i) {
            uint256 n;
            for (uint256 t = 1; t <= TYPES; ++t) {
                n += owned(address(both[i]), stampId(wallet, t), wallet);
            }
            law(both[i].balanceOf(wallet) == n, "balance of stamps");
        }
    }

    function owned(address where, uint256 token, address wallet) internal returns (uint256) {
        try Stamps(where).ownerOf(token) returns (address holder) {
            law(holder == wallet, "a token is its wallet's");
            return 1;
        } catch {
            return 0;
        }
    }

    function checkAllWallets() external {
        for (uint256 i; i < wallets.length; ++i) {
            checkWallet(wallets[i]);
        }
    }

    /// @notice Names of all acts that were tried.
    function acts() external view returns (string[] memory) {
        return _acts;
    }
}
