"""The alert rules and the dashboard, by the programs that read them: promtool, and Grafana's own classes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mesos_shim.commands import formats

from ..lib.records import used

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "collection/docs/monitoring"
RULES = MONITORING / "mesos-shim.rules.yml"
DASHBOARD = MONITORING / "dashboard.json"
PROMTOOL = ROOT / ".venv/bin/promtool"

# What node_exporter's textfile collector says of itself (collector/textfile.go).
NODE_EXPORTER = {"node_textfile_mtime_seconds", "node_textfile_scrape_error"}
# What Grafana puts in place of its variables before Prometheus sees the query.
VARIABLES = {"$__rate_interval": "1m", "$instance": ".*", "$framework": ".*"}


def promtool(*arguments: str, directory: Path) -> None:
    """Run promtool, and fail with what it says where it finds fault."""
    if not PROMTOOL.exists():
        pytest.skip("promtool is missing; .ci/bootstrap dev brings it where there is apt-get")
    command = [str(PROMTOOL), *arguments]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def dashboard() -> Any:
    return json.loads(DASHBOARD.read_text())


def queries() -> list[str]:
    """Every query of the dashboard as Prometheus gets it."""
    found = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    for name, value in VARIABLES.items():
        found = [query.replace(name, value) for query in found]
    return found


def rules() -> Any:
    return yaml.safe_load(RULES.read_text())["groups"][0]["rules"]


def test_the_alerts(tmp_path: Path) -> None:
    shutil.copy(RULES, tmp_path)
    shutil.copy(Path(__file__).with_name("mesos-shim.test.yml"), tmp_path)
    promtool("check", "rules", "--lint-fatal", RULES.name, directory=tmp_path)
    promtool("test", "rules", "mesos-shim.test.yml", directory=tmp_path)


def test_each_alert_is_tried() -> None:
    tried = yaml.safe_load(Path(__file__).with_name("mesos-shim.test.yml").read_text())["tests"]
    fired = {case["alertname"] for test in tried for case in test["alert_rule_test"] if "exp_alerts" in case}
    assert fired == {rule["alert"] for rule in rules()}


def test_every_metric_is_one_that_we_write() -> None:
    written = set(re.findall(r"^(mesos_container_\w+)\{", formats.openmetrics([used()]), re.MULTILINE))
    asked = [*queries(), *(rule["expr"] for rule in rules())]
    named = {name for query in asked for name in re.findall(r"\b(?:mesos|node)_\w+", query)}
    assert named <= written | NODE_EXPORTER


def test_the_queries_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [{"record": f"panel:query:{number}", "expr": query} for number, query in enumerate(queries())]
    group = {"groups": [{"name": "dashboard", "rules": recorded}]}
    (tmp_path / "queries.yml").write_text(yaml.safe_dump(group))
    promtool("check", "rules", "queries.yml", directory=tmp_path)
    assert "$" not in "".join(queries())


def lost(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Where something of ours is not in what Grafana's classes made of it."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            yield from lost(value, theirs[key], f"{where}/{key}") if key in theirs else [f"{where}/{key}"]
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, pair in enumerate(zip(ours, theirs)):
            yield from lost(*pair, f"{where}/{number}")
    elif ours != theirs:
        yield where


@pytest.mark.skipif(sys.version_info < (3, 11), reason="grafana-foundation-sdk needs Python 3.11")
def test_grafana_knows_every_key() -> None:
    from grafana_foundation_sdk.cog import plugins, runtime
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()

    def through(data: Any) -> Any:
        return json.loads(JSONEncoder().encode(Dashboard.from_json(data)))

    ours = dashboard()
    assert not list(lost(ours, through(ours)))
    for panel in ours["panels"]:
        assert runtime.panelcfg_config(panel["type"]) is not None, panel["type"]
    # The comparison finds a key that Grafana does not have, at the panel's top and in its options.
    ours["panels"][0]["heading2"] = "x"
    ours["panels"][0]["options"]["graphModus"] = "none"
    assert set(lost(ours, through(ours))) == {"/panels/0/heading2", "/panels/0/options/graphModus"}


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells
