"""The timers that clear away and report, on a real host with systemd: they come, run, are mended and go."""

from __future__ import annotations

import pytest

from tests.lib.collection import play

GC, METRICS = "mesos-shim-gc", "mesos-shim-metrics"
UNITS = [f"{name}.{kind}" for name in (GC, METRICS) for kind in ("service", "timer")]
DIRECTORY = "/srv/textfiles"


@pytest.mark.hosts
def test_they_come_run_are_mended_and_go(hosts, clone, tmp_path):
    with hosts(1) as fleet:
        host = fleet["host-1"]
        inventory = str(fleet.inventory(tmp_path / "hosts.json", mesos_agent_service="", mesos_agent_flags={}))

        def site(*words, book="site"):
            done = play(book, "-i", inventory, *words, cwd=clone)
            assert done.code == 0, done.text
            return done.text

        def there():
            return sorted(name for name in UNITS if (host.root / "etc/systemd/system" / name).exists())

        site("--check")
        assert there() == []
        site()
        assert there() == [f"{GC}.service", f"{GC}.timer"]
        assert host.says(f"systemctl is-enabled {GC}.timer; systemctl is-active {GC}.timer").split() == [
            "enabled",
            "active",
        ]

        # What the timer does: a record of a process that has ended goes.
        host.ssh("/opt/mesos-shim/bin/mesos-shim run --container-id gone -- true")
        assert host.says("ls /run/mesos-shim/containers").split() == ["gone.json"]
        host.ssh(f"systemctl start {GC}.service")
        assert host.says("ls /run/mesos-shim/containers") == ""

        # Drift is said, and mended.
        host.ssh(f"systemctl stop {GC}.timer && rm /etc/systemd/system/{GC}.service && systemctl daemon-reload")
        done = play("verify", "-i", inventory, cwd=clone)
        assert done.code != 0
        assert f"unit {GC}.service" in done.text and f"{GC}.timer is not running" in done.text
        site()
        assert host.says(f"systemctl is-active {GC}.timer") == "active"
        assert "changed=0" in site()

        # Metrics on request: readable for node_exporter, and gone when no longer asked for.
        host.ssh(f"mkdir {DIRECTORY}")
        site("-e", f"mesos_shim_metrics_dir={DIRECTORY}")
        assert there() == sorted(UNITS)
        host.ssh(f"systemctl start {METRICS}.service")
        written = host.root / DIRECTORY.lstrip("/") / "mesos-shim.prom"
        assert written.read_text().endswith("# EOF\n")
        assert written.stat().st_mode & 0o777 == 0o644
        site()
        assert there() == [f"{GC}.service", f"{GC}.timer"]

        site(book="uninstall")
        assert there() == []
        assert host.says(f"systemctl list-timers --all --no-legend '{GC}*'") == ""
