"""What the timers that clear away and report are refused; tests/hosts/test_timers.py has them on a real host."""

from __future__ import annotations

import os

import pytest

from tests.lib.collection import run_module


@pytest.fixture
def units(tmp_path, monkeypatch):
    """A host that systemd runs, as far as the module looks before it calls systemctl."""
    import importlib

    module = importlib.import_module("ansible_collections.mesos.containerizer.plugins.module_utils._shim_timers")
    monkeypatch.setattr(module, "BOOTED", str(tmp_path))
    monkeypatch.setattr(module, "UNITS", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others have no timers")
@pytest.mark.parametrize(
    ("mode", "owner", "why"),
    [(0o755, 1, "belongs to uid 1"), (0o775, 0, "mode 0775"), (None, 0, "No such file"), (-1, 0, "not a directory")],
)
def test_root_writes_metrics_only_where_nobody_else_may(units, tmp_path, mode, owner, why):
    place = tmp_path / "textfiles"
    if mode == -1:
        place.symlink_to("/var/tmp")
    elif mode is not None:
        place.mkdir()
        place.chmod(mode)
        os.chown(place, owner, 0)
    done = run_module("shim_timers", metrics_dir=str(place))
    assert done["failed"] and f"metrics_dir {place}: " in done["msg"] and why in done["msg"]
    assert not list(units.glob("mesos-shim*"))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others have no timers")
def test_each_installation_of_a_host_has_timers_of_its_own(units, tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text("#!/bin/sh\necho UnitFileState=enabled; echo ActiveState=active\n")
    (tmp_path / "bin/systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    gc = {"": "/opt/mesos-shim", "@srv-a": "/srv/a", "@srv-a_2db": "/srv/a-b"}
    # As an earlier release named that of /srv/a.
    for kind in ("service", "timer"):
        text = "# Written by mesos.containerizer for /srv/a; do not edit.\n"
        (units / f"mesos-shim-gc.{kind}").write_text(text)
    for prefix in ("/srv/a", "/srv/a-b", "/opt/mesos-shim"):
        assert run_module("shim_timers", prefix=prefix)["changed"]
        assert (units / "mesos-shim-gc.timer").exists() == (prefix == "/opt/mesos-shim")
    wanted = sorted(f"mesos-shim-gc{name}.{kind}" for name in gc for kind in ("service", "timer"))
    assert sorted(path.name for path in units.glob("mesos-shim*")) == wanted
    for name, prefix in gc.items():
        assert f"ExecStart={prefix}/bin/mesos-shim gc\n" in (units / f"mesos-shim-gc{name}.service").read_text()
        assert not run_module("shim_timers", prefix=prefix)["changed"]
    assert run_module("shim_timers", prefix="/srv/a", gc=False)["changed"]
    assert sorted(path.name for path in units.glob("mesos-shim*")) == [n for n in wanted if "@srv-a." not in n]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: others have no timers")
@pytest.mark.parametrize("path", ["/srv/a b", "/srv/$(id)", "/srv/'x", "/srv/%n", "/srv/a\nb"])
def test_a_path_that_a_shell_or_systemd_would_read_is_refused(units, path):
    for words in ({"prefix": path}, {"metrics_dir": path}):
        done = run_module("shim_timers", **words)
        assert done["failed"] and "may have letters, digits" in done["msg"]
    assert not list(units.glob("mesos-shim*"))


def test_without_systemd_there_are_none_and_metrics_are_refused(units, tmp_path, monkeypatch):
    import importlib

    module = importlib.import_module("ansible_collections.mesos.containerizer.plugins.module_utils._shim_timers")
    monkeypatch.setattr(module, "BOOTED", str(tmp_path / "absent"))
    done = run_module("shim_timers")
    assert (done["changed"], done["supported"], done["units"]) == (False, False, [])
    done = run_module("shim_timers", metrics_dir="/var/tmp")
    assert done["failed"] and "metrics_dir /var/tmp: " in done["msg"]
