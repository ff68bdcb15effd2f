"""The files in deploy/ fit the package: settings and commands that exist, files that are there, nothing open to others
but the door.

No container engine and no Caddy run here. What they or systemd would refuse of their own grammar is not found. That the
commands do what the operator's guide says of them is tested in test_deployed.py.
"""

import json
import re
import shlex
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import typer

from nftloyalty.cli.main import app
from nftloyalty.config import SETTINGS, from_environment
from nftloyalty.devchain.server import loopback_address
from nftloyalty.web.access import PUBLIC
from nftloyalty.web.app import LARGEST_BODY_BYTES
from nftloyalty.web.mints import LARGEST_BATCH_BYTES
from nftloyalty.web.patience import BODY_SECONDS, HEAD_SECONDS
from nftloyalty.web.server import server_of

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))
GUIDE = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
KNOWN = {setting.name for setting in SETTINGS} | {"NFTLOYALTY_PROGRAM"}


def read_yaml(text: str) -> dict[str, Any]:
    """The part of YAML that compose.yaml is written in: mappings and lists by indentation, JSON, plain words."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]

    def indent(line: str) -> int:
        return len(line) - len(line.lstrip())

    def scalar(word: str) -> Any:
        return json.loads(word) if word[0] in '[{"' else word

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
DOOR: Mapping[str, Any] = COMPOSE["services"]["door"]
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
    rest, name = list(words), "nftloyalty"
    while hasattr(command, "commands"):
        with command.make_context(name, rest) as ctx:
            rest = [*ctx._protected_args, *ctx.args]
        assert rest[0] in command.commands, f"there is no command {rest[0]}"
        command, name, rest = command.commands[rest[0]], rest[0], rest[1:]
    command.make_context(name, rest).close()


def in_guide(before: str) -> list[list[str]]:
    """The arguments of the lines of the operator's guide that begin with these words."""
    return [shlex.split(line) for line in re.findall(rf"^ {{4}}{re.escape(before)} (.+)$", GUIDE, re.MULTILINE)]


def test_what_is_read_here_is_read_rightly() -> None:
    text = '# no\na:\n  b: c: d\n  e:\n    - "1:2"\n    - f:g\n    - {"m": "n"}\n\n  h: ["i", "j"]\nk:\n  l:\n'
    assert read_yaml(text) == {"a": {"b": "c: d", "e": ["1:2", "f:g", {"m": "n"}], "h": ["i", "j"]}, "k": {"l": None}}
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
    own = {
        "worker": {"NFTLOYALTY_KEY_PASSWORD_FILE": "/run/secrets/key_password"},
        "web": {"NFTLOYALTY_TRUSTED_PROXIES": DOOR["networks"]["default"]["ipv4_address"]},
    }
    shared = {name: dict(service["environment"].items() - own[name].items()) for name, service in OURS.items()}
    assert shared["worker"] == shared["web"]
    assert all(own[name].items() <= service["environment"].items() for name, service in OURS.items())
    assert {service["env_file"] for service in OURS.values()} == {".env"}
    assert "secrets" not in OURS["web"]
    # Keys, and what seals the secrets of webhooks: the worker opens what was sealed for the web server.
    assert OURS["worker"]["volumes"] == OURS["web"]["volumes"]
    assert not any("SEAL" in name for service in OURS.values() for name in service["environment"])


def test_what_a_service_uses_is_declared() -> None:
    services = COMPOSE["services"]
    for service in services.values():
        for secret in service.get("secrets", []):
            assert secret in COMPOSE["secrets"]
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or source in ("./program.toml", "./Caddyfile")
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


def test_nothing_is_open_to_other_machines_but_the_door() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert set(ports) == {"door", "web"}
    assert all(port.startswith("127.0.0.1:") for port in ports["web"])
    assert not any("network_mode" in service for service in COMPOSE["services"].values())


def test_the_web_server_is_reached_where_the_door_looks_for_it() -> None:
    command = OURS["web"]["command"]
    port = command[command.index("--port") + 1]
    # Beyond loopback it starts only with API keys; on loopback the door would not find it.
    assert loopback_address(command[command.index("--host") + 1]) is None
    assert DOOR["environment"]["LOYALTY_WEB"] == f"web:{port}"
    assert OURS["web"]["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert f"http://127.0.0.1:{port}/" in OURS["web"]["healthcheck"]["test"][-1]


def test_no_other_container_gets_the_doors_address() -> None:
    (network,) = COMPOSE["networks"]["default"]["ipam"]["config"]
    given, door = ip_network(network["ip_range"]), ip_address(DOOR["networks"]["default"]["ipv4_address"])
    assert given.subnet_of(ip_network(network["subnet"]))  # type: ignore[arg-type]
    assert door in ip_network(network["subnet"])
    assert door not in given
    assert door != ip_address(network["gateway"])


@pytest.mark.parametrize("service", OURS)
def test_health_is_asked_of_a_path_and_port_that_the_service_answers_at(service: str) -> None:
    command, asked = OURS[service]["command"], OURS[service]["healthcheck"]["test"]
    assert asked[:3] == ["CMD", "python", "-c"]
    compile(asked[3], service, "exec")
    (port, path) = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", asked[3])[0]
    assert command[command.index({"web": "--port", "worker": "--metrics-port"}[service]) + 1] == port
    assert path in PUBLIC


@pytest.mark.parametrize("service", [*OURS, "door"])
def test_a_service_has_no_more_rights_than_it_needs(service: str) -> None:
    found = COMPOSE["services"][service]
    assert found["read_only"] == "true"
    assert found["cap_drop"] == ["ALL"]
    assert found.get("cap_add") == (["NET_BIND_SERVICE"] if service == "door" else None)
    assert found["security_opt"] == ["no-new-privileges:true"]


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


# ----------------------------------------------------------------------------------------------------------------- door


CADDY = (DEPLOY / "Caddyfile").read_text(encoding="utf-8")


def told(directive: str) -> list[str]:
    """What follows a directive of the Caddyfile that stands there once."""
    (found,) = re.findall(rf"^\s*{re.escape(directive)} (.+?)(?: {{)?$", CADDY, re.MULTILINE)
    return str(found).split()


def seconds(directive: str) -> int:
    (length,) = told(directive)
    return int(length[:-1]) * {"s": 1, "m": 60}[length[-1]]


def test_the_door_leads_to_the_api_and_to_nothing_that_is_for_operators() -> None:
    paths = told("@api path")
    assert paths[0] == "/v1/*"
    assert set(paths[1:]) == PUBLIC - {"/readyz"}
    # Caddy replaces X-Forwarded-For unless it is told to believe what comes in, or to send something else.
    assert "trusted_proxies" not in CADDY
    assert not re.search(r"^\s*header_(up|down)", CADDY, re.MULTILINE)


def test_the_door_takes_what_the_server_takes_and_waits_longer_than_it_does() -> None:
    sizes = dict(re.findall(r"request_body @(\w+) {\s+max_size (\w+)\s", CADDY))
    assert sizes == {"batch": f"{LARGEST_BATCH_BYTES // 1024**2}MiB", "other": f"{LARGEST_BODY_BYTES // 1024}KiB"}
    assert told("@batch path") == ["/v1/batches"] == told("@other not path")
    assert seconds("read_header") >= HEAD_SECONDS
    assert seconds("read_body") >= HEAD_SECONDS + BODY_SECONDS
    longest = next(float(setting.default) for setting in SETTINGS if setting.name == "NFTLOYALTY_RPC_TIMEOUT")
    assert seconds("response_header_timeout") > longest
    # The server's own end of a connection that is idle.
    assert seconds("keepalive") < server_of(lambda: None).config.timeout_keep_alive


def test_the_door_is_told_where_everything_is() -> None:
    names = set(re.findall(r"\{\$(\w+)", CADDY))
    assert names == set(DOOR["environment"])
    assert "./Caddyfile:/etc/caddy/Caddyfile:ro" in DOOR["volumes"]
    (host, port) = re.findall(r"\{\$LOYALTY_WEB:(.+):(\d+)\}", CADDY)[0]
    (start,) = read_unit(DEPLOY / "nftloyalty-web.service")["ExecStart"]
    assert (host, f"--port {port}" in start, "--host" in start) == ("127.0.0.1", True, False)
    assert CADDY.count("{") == CADDY.count("}")
    variables = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert variables == set(re.findall(r"^ {4}echo (\w+)=.* >>? \.env$", GUIDE, re.MULTILINE))


# ---------------------------------------------------------------------------------------------------------------- guide


def test_the_commands_of_the_guide_exist_and_take_these_arguments() -> None:
    of_containers = [
        words[words.index("worker") + 1 :] for words in in_guide("docker compose run --rm") if "worker" in words
    ]
    of_units = in_guide("loyalty")
    assert {words[0] for words in of_containers} == {"keys", "deploy", "api-keys", "backup"}
    assert {words[0] for words in of_units} == {"api-keys"}
    for words in (*of_containers, *of_units):
        check_command(words)


def test_the_guide_names_the_folders_and_files_that_deploy_names() -> None:
    unit = read_unit(DEPLOY / "nftloyalty-web.service")
    for setting in unit["Environment"]:
        assert f"--setenv={setting}" in GUIDE
    assert f"--property=EnvironmentFile={unit['EnvironmentFile'][0]}" in GUIDE
    assert f"--uid={unit['User'][0]}" in GUIDE
    assert unit["ExecStart"][0].split()[0] in GUIDE
    home = next(target for volume in OURS["worker"]["volumes"] if (target := volume.removeprefix("home:")) != volume)
    settings = from_environment({"NFTLOYALTY_HOME": home})
    copied = {words[0].removeprefix("worker:") for words in in_guide("docker compose cp")}
    assert copied == {str(settings.keys_folder), str(settings.seal_key_file)}


def test_settings_that_an_operator_sets_are_named_where_it_is_told_how_to_run() -> None:
    section = GUIDE[GUIDE.index("## Running it as a service") : GUIDE.index("## Upgrades")]
    named = set(re.findall(r"NFTLOYALTY_\w+", section))
    assert named <= KNOWN
    assert named >= {
        "NFTLOYALTY_TRUSTED_PROXIES",
        "NFTLOYALTY_RATE_PER_ADDRESS",
        "NFTLOYALTY_RATE_PER_KEY",
        "NFTLOYALTY_WEBHOOK_NETWORKS",
        "NFTLOYALTY_SEAL_KEY_FILE",
    }
