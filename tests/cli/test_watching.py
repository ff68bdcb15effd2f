"""A worker as a process of its own: it shows how it is, writes its log as asked, and ends in good order."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import requests
from prometheus_client.parser import text_string_to_metric_families

from nftloyalty.app import deploying
from nftloyalty.devchain import DevChainServer
from tests.app.build import PASSWORD, app_of, make_keys, program_of, program_text, settings_of
from tests.cli.processes import MAIN, PATIENCE_SECONDS, started


def test_a_worker_shows_its_health_and_numbers(tmp_path: Path) -> None:
    text = program_text()
    (tmp_path / "program.toml").write_text(text)
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path / "home", chain.url))
        make_keys(app)
        deploying.deploy(app, program_of(text))
        app.close()
        environment = {
            "NFTLOYALTY_HOME": str(tmp_path / "home"),
            "NFTLOYALTY_RPC_URL": chain.url,
            "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
            "NFTLOYALTY_LOG_FORMAT": "json",
        }
        with started(tmp_path, "worker", "--metrics-port", "0", **environment) as server:
            url = server.wait_for(r"(http://\S+)/metrics")
            with requests.Session() as session:
                alive = session.get(f"{url}/healthz", headers={"X-Request-Id": "probe-1"}, timeout=30)
                assert alive.json() == {"status": "ok"}
                numbers = session.get(f"{url}/metrics", timeout=30).text
                assert session.get(f"{url}/readyz", timeout=30).status_code in (200, 503)
                assert session.get(f"{url}/v1/claims/int_1", timeout=30).status_code == 404
            status, seconds = server.end(signal.SIGTERM)
            said = server.said
    samples = {sample.name for family in text_string_to_metric_families(numbers) for sample in family.samples}
    assert {"nftloyalty_build_info", "nftloyalty_database_up", "nftloyalty_index_lease_seconds"} <= samples
    assert (status, "Stopped." in said) == (0, True)
    assert seconds < 10
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    probe = next(line for line in lines if line.get("request_id") == "probe-1")
    assert (probe["route"], probe["status"]) == ("/healthz", 200)
    assert PASSWORD not in said


def test_a_port_that_is_taken_is_told_before_any_password(tmp_path: Path) -> None:
    (tmp_path / "program.toml").write_text(program_text())
    with DevChainServer() as chain:
        port = chain.url.rpartition(":")[2]
        refused = subprocess.run(
            [sys.executable, "-c", MAIN, "--home", "home", "worker", "--metrics-port", port],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
    assert refused.returncode == 2
    assert f"--metrics-port: port {port} on 127.0.0.1 is taken" in refused.stderr
    assert re.search(rf"nftloyalty worker --metrics-port {int(port) + 1}", refused.stderr)
