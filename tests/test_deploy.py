"""The files in deploy/ fit the package: settings and commands that exist, files that are there, nothing open to others.

No container engine runs here. What an engine or systemd would refuse of their own grammar is not found.
"""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from nftloyalty.cli.main import app
from nftloyalty.config import SETTINGS

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
KNOWN = {setting.name for setting in SETTINGS} | {"NFTLOYALTY_PROGRAM"}


def read_yaml(text: str) -> dict[str, Any]:
    """The part of YAML that compose.yaml is written in: mappings and lists by indentation, JSON lists, plain words."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    def indent(line: str) -> int:
        return len(line) - len(line.lstrip())

    def scalar(word: str) -> Any:
        return json.loads(word) if word[0] in '["' else word

    def block(at: int, depth: int) -> tuple[Any, int]:
        found: Any = [] if lines[at].lstrip().startswith("- ") else {}
        while at < len(lines) and indent(lines[at]) == depth:
            line = lines[at].strip()
            at += 1
            if isinstance(found, list):
                assert line.startswith("- "), line
                found.append(scalar(line[2:]))
                continue
            key, colon, rest = line.partition(":")
            assert colon, line
            assert key not in found, f"{key} stands there twice"
            if rest:
                found[key] = scalar(rest.strip())
            elif at < len(lines) and indent(lines[at]) > depth:
                found[key], at = block(at, indent(lines[at]))
            else:
                found[key] = None
        assert at == len(lines) or indent(lines[at]) < depth, lines[at]
        return found, at

    return dict(block(0, 0)[0])


COMPOSE = read_yaml((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
OURS: Mapping[str, Any] = {name: each for name, each in COMPOSE["services"].items() if each["image"] == "nftloyalty"}


def read_unit(path: Path) -> dict[str, list[str]]:
    """All values of each key, whatever its section."""
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            key, equals, value = line.partition("=")
            assert equals, line
            found.setdefault(key, []).append(value)
    return found


def check_command(words: list[str]) -> None:
    """Raises unless the command exists and takes these arguments."""
    command: Any = typer.main.get_command(app)
    with command.make_context("nftloyalty", list(words)) as ctx:
        rest: list[str] = [*ctx._protected_args, *ctx.args]
    assert rest[0] in command.commands, f"there is no command {rest[0]}"
    command.commands[rest[0]].make_context(rest[0], rest[1:]).close()


def test_what_is_read_here_is_read_rightly() -> None:
    text = '# no\na:\n  b: c: d\n  e:\n    - "1:2"\n    - f:g\n\n  h: ["i", "j"]\nk:\n  l:\n'
    assert read_yaml(text) == {"a": {"b": "c: d", "e": ["1:2", "f:g"], "h": ["i", "j"]}, "k": {"l": None}}
    with pytest.raises(AssertionError):
        read_yaml("a:\n    b: c\n  d: e\n")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KNOWN:
        monkeypatch.delenv(name, raising=False)


# -------------------------------------------------------------------------------------------------------------- compose


def test_compose_runs_database_worker_and_web() -> None:
    assert set(OURS) == {"worker", "web"}
    assert {"postgres"} < set(COMPOSE["services"])


@pytest.mark.parametrize("service", OURS)
def test_a_service_names_settings_and_commands_that_exist(service: str) -> None:
    assert set(OURS[service]["environment"]) <= KNOWN
    check_command(OURS[service]["command"])


def test_worker_and_web_have_the_same_settings() -> None:
    password = {"NFTLOYALTY_KEY_PASSWORD_FILE": "/run/secrets/key_password"}
    assert OURS["worker"]["environment"] == OURS["web"]["environment"] | password
    assert "secrets" not in OURS["web"]
    assert OURS["worker"]["volumes"] == OURS["web"]["volumes"]


def test_what_a_service_uses_is_declared() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source == "./program.toml"
        for name in service.get("depends_on", {}):
            assert name in services
            if service["depends_on"][name]["condition"] == "service_healthy":
                assert "healthcheck" in services[name]


def test_passwords_come_from_files_that_git_leaves_out() -> None:
    ignored = (DEPLOY / ".gitignore").read_text(encoding="utf-8").split()
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert {"secrets/", ".env", "program.toml"} <= set(ignored)
    for name, service in COMPOSE["services"].items():
        for setting, value in service.get("environment", {}).items():
            if setting.endswith("PASSWORD_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"], name
            assert not setting.endswith("PASSWORD"), f"{name}: {setting} is readable by whoever may inspect containers"


def test_nothing_is_open_to_other_machines() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert set(ports) == {"door"}
    assert all(port.startswith("127.0.0.1:") for port in ports["door"])
    assert not any(service.get("network_mode") == "host" for service in COMPOSE["services"].values())


@pytest.mark.parametrize("service", OURS)
def test_a_service_has_no_more_rights_than_it_needs(service: str) -> None:
    assert OURS[service]["read_only"] == "true"
    assert OURS[service]["cap_drop"] == ["ALL"]
    assert OURS[service]["security_opt"] == ["no-new-privileges:true"]


def test_no_image_comes_from_a_server_by_name() -> None:
    for service in COMPOSE["services"].values():
        assert re.fullmatch(r"[a-z]+(:\d+)?", service["image"])


# ----------------------------------------------------------------------------------------------------------- Dockerfile


def instructions() -> list[list[str]]:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_image_is_made_from_files_that_are_there() -> None:
    copied = {
        source
        for word, *rest in instructions()
        if word == "COPY" and not rest[0].startswith("--from")
        for source in rest[:-1]
    }
    assert {"pyproject.toml", "constraints.txt", "nftloyalty"} <= copied
    assert all((ROOT / source).exists() for source in copied)
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert {line[1:] for line in ignore if line.startswith("!")} == copied
    assert "*" in ignore
    # What the package is built from besides.
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'^readme = "(.+)"|^license-files = \["(.+)"\]', project, re.MULTILINE)
    assert {name for pair in named for name in pair if name} <= copied


def test_the_image_runs_the_command_as_nobody_special() -> None:
    last = {word: rest for word, *rest in instructions()}
    assert last["USER"] == ["nftloyalty"]
    assert last["ENTRYPOINT"] == ['["nftloyalty"]']
    home = next(word.partition("=")[2] for word in last["ENV"] if word.startswith("NFTLOYALTY_HOME="))
    assert last["VOLUME"] == last["WORKDIR"] == [home]
    assert all(f"home:{home}" in service["volumes"] for service in OURS.values())
    assert {name for word in last["ENV"] if (name := word.partition("=")[0]).startswith("NFTLOYALTY")} <= KNOWN
    images = [rest[0] for word, *rest in instructions() if word == "FROM"]
    assert len(set(images)) == 1
    assert re.fullmatch(r"python:3\.1[123]-slim", images[0])


# -------------------------------------------------------------------------------------------------------------- systemd


def test_there_is_a_unit_for_each_service() -> None:
    assert [path.stem for path in UNITS] == ["nftloyalty-web", "nftloyalty-worker"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_names_settings_and_commands_that_exist(path: Path) -> None:
    unit = read_unit(path)
    assert {value.partition("=")[0] for value in unit["Environment"]} <= KNOWN
    (start,) = unit["ExecStart"]
    program, *words = shlex.split(start)
    assert program == "/opt/nftloyalty/bin/nftloyalty"
    check_command(words)
    # What sends nothing has no business with the password.
    assert ("LoadCredential" in unit) == (words[0] == "worker")
    for credential in unit.get("LoadCredential", []):
        assert f"NFTLOYALTY_KEY_PASSWORD_FILE=%d/{credential.partition(':')[0]}" in unit["Environment"]
    assert f"NFTLOYALTY_HOME=/var/lib/{unit['StateDirectory'][0]}" in unit["Environment"]


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit_is_shut_in(path: Path) -> None:
    unit = read_unit(path)
    assert unit["User"] == ["nftloyalty"]
    assert unit["ProtectSystem"] == ["strict"]
    assert unit["CapabilityBoundingSet"] == [""]
    assert unit["LimitCORE"] == ["0"]
    for option in ("NoNewPrivileges", "PrivateDevices", "PrivateTmp", "ProtectHome", "ProtectKernelTunables"):
        assert unit[option] == ["yes"], option


def test_the_units_differ_in_what_they_run_only() -> None:
    first, second = (read_unit(path) for path in UNITS)
    assert {key for key in first | second if first.get(key) != second.get(key)} == {
        "Description",
        "ExecStart",
        "Environment",
        "LoadCredential",
    }
