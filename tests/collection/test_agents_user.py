"""An agent whose unit has User=: its tasks have its user, so what is root's is done with no more than its rights."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

from tests.lib.collection import PLUGINS, run_module
from tests.lib.generations import Generations
from tests.lib.shim import install

from .test_adopt import systemctl  # noqa: F401 (fixtures)

agents_user = import_module(f"{PLUGINS}.module_utils._agents_user")
installation = import_module(f"{PLUGINS}.module_utils._shim_installation")
identity = import_module(f"{PLUGINS}.module_utils._agent_identity")
installation = import_module(f"{PLUGINS}.module_utils._shim_installation")
preflight = import_module(f"{PLUGINS}.modules.agent_preflight_info")
probe = import_module(f"{PLUGINS}.module_utils._probe_container")
launch = import_module(f"{PLUGINS}.module_utils._agent_launch")
service = import_module(f"{PLUGINS}.module_utils._agent_service")
uninstall = import_module(f"{PLUGINS}.module_utils._shim_uninstall")

USER = pwd.getpwnam("games")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not root: nobody else could be it")


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ('{"agent_user": "games"}', USER),
        (f'{{"agent_user": "{USER.pw_uid}"}}', USER),
        ('{"agent_user": "root"}', None),
        ('{"agent_user": "0"}', None),
        ("{}", None),
        ("[]", None),
        ("no JSON", None),
        (None, None),
    ],
)
def test_who_the_agent_is(text, account):
    assert agents_user.configured(text) == account


@pytest.mark.parametrize("name", ["nix-da", "99999999999999999999", "4294967294"])
def test_an_account_that_the_host_does_not_have(name):
    with pytest.raises(agents_user.NoAccount, match=f"agent_user: this host has no account '{name}'"):
        agents_user.account(name)


def test_the_unit_makes_a_directory_for_the_records():
    roots = service.drop_in_text("/opt/mesos-shim")
    theirs = service.drop_in_text("/opt/mesos-shim", USER)
    assert "RuntimeDirectory" not in roots
    assert theirs == f"{roots}RuntimeDirectory=mesos-shim-{USER.pw_uid}\nRuntimeDirectoryPreserve=yes\n"
    assert service.is_ours(theirs) and service.prefix_of(theirs) == "/opt/mesos-shim"


@needs_root
def test_the_agents_group_may_read_its_flags(tmp_path):
    """Those with a secret too, and nobody else; root owns them, so that no task can change them."""
    host = Generations(tmp_path)
    done = host(flags={"master": "zk://u:secret@h/mesos", "gc_delay": "1days"}, config={"agent_user": "games"})
    assert "failed" not in done, done
    for name, mode in (("master", 0o640), ("gc_delay", 0o644), ("", 0o755)):
        found = (host.flags_dir / name).stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (0, USER.pw_gid, mode), name
    # By the configuration that is there, where a call leaves it alone.
    assert not host(flags={"master": "zk://u:secret@h/mesos", "gc_delay": "1days"})["changed"]
    said = host(flags={}, config={"agent_user": "nix-da"})["msg"]
    assert "mesos_shim_config.agent_user: this host has no account 'nix-da'" in said


@needs_root
def test_no_group_is_left_with_a_secret_that_is_the_agents_no_more(tmp_path):
    """What of that user's runs on would read the next secret too."""
    host, secret = Generations(tmp_path), {"master": "zk://u:secret@h/mesos"}
    host(flags=secret, config={"agent_user": "games"})
    done = host(flags=secret, config={})
    assert "flags" in done["actions"], done
    found = (host.flags_dir / "master").stat()
    assert (found.st_gid, found.st_mode & 0o777, host.flags_dir.stat().st_gid) == (os.getegid(), 0o640, os.getegid())
    assert not host(flags=secret, config={})["changed"]
    # A group that was there before is an operator's own.
    os.chown(host.flags_dir, 0, 77)
    assert host(flags=secret, config={})["changed"]
    assert (host.flags_dir / "master").stat().st_gid == 77


@pytest.mark.parametrize(
    ("name", "gid"),
    [(None, USER.pw_gid), ("", USER.pw_gid), ("daemon", grp.getgrnam("daemon").gr_gid), ("77", 77)],
)
def test_the_group_is_the_units(name, gid):
    """systemd.exec(5), Group=: in place of the account's own."""
    found = {} if name is None else {"Group": name}
    assert agents_user.group(USER, found) == gid
    assert agents_user.group(None, found) is None


def test_a_group_that_the_host_does_not_have():
    with pytest.raises(agents_user.NoAccount, match=r"the unit a\.service has Group=nix-da: this host has no"):
        agents_user.group(USER, {"Id": "a.service", "Group": "nix-da"})


@pytest.mark.parametrize(
    ("drop_in", "own", "place"),
    [
        (True, "", None),  # the drop-in has systemd make it
        (False, f"other mesos-shim-{USER.pw_uid}", None),
        (False, "other", "/var/tmp"),
    ],
)
def test_where_the_records_must_be_writable(drop_in, own, place):
    params = {"drop_in": drop_in, "state_dir": "/run/mesos-shim"}
    found = {"RuntimeDirectory": own}
    assert list(preflight.records_of(params, found, USER)) == ([place] if place else [])
    assert list(preflight.records_of(params, found, None)) == ["/run/mesos-shim"]


@pytest.mark.parametrize(
    ("private", "own", "drop_in", "refused"),
    [("yes", "", False, True), ("no", "", False, False), ("yes", "own", False, False), ("yes", "", True, False)],
)
def test_records_in_a_private_tmp_are_nobodys_to_see(private, own, drop_in, refused):
    name = f"mesos-shim-{USER.pw_uid}"
    shown = {"LoadState": "loaded", "User": "games", "PrivateTmp": private, "RuntimeDirectory": own and name}

    class Shown:
        unit = "a.service"

    params = {"drop_in": drop_in, "state_dir": "/run/mesos-shim", "prefix": "/opt/mesos-shim", "python": None}
    problems, _warnings = preflight.of_unit(params, Shown(), {"KillMode": "process", **shown}, USER)
    assert [f"has PrivateTmp={private}:" in item and name in item for item in problems] == [True] * refused


@needs_root
def test_rights_are_lent_and_come_back(public_dir):
    (public_dir / "roots").write_text("")
    (public_dir / "roots").chmod(0o600)
    before = os.getresuid(), os.getresgid(), os.getgroups()
    with pytest.raises(PermissionError), agents_user.rights_of(USER.pw_uid, USER.pw_gid):
        (public_dir / "roots").read_text()
    assert (os.getresuid(), os.getresgid(), os.getgroups()) == before
    with agents_user.rights_of(0, 0):
        assert (public_dir / "roots").read_text() == ""


@needs_root
@pytest.mark.parametrize("is_link", [False, True])
def test_the_agents_link_is_renamed_with_its_owners_rights(public_dir, is_link):
    """A task may have put a link to a directory of root's in the place of meta/slaves."""
    work_dir, roots = public_dir / "work", public_dir / "roots"
    for path in (roots, work_dir / "meta"):
        path.mkdir(parents=True)
    if is_link:
        (work_dir / "meta/slaves").symlink_to(roots)
        (roots / "latest").symlink_to("kept")
    else:
        (work_dir / "meta/slaves").mkdir()
        (work_dir / "meta/slaves/latest").symlink_to("S0")
    for path in (work_dir, *work_dir.rglob("*")):
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)
    old, new = (str(work_dir / "meta/slaves" / name) for name in ("latest", "latest.generation-1"))
    if is_link:
        with pytest.raises(PermissionError):
            identity._rename(old, new)
        assert os.readlink(roots / "latest") == "kept"
    else:
        identity._rename(old, new)
        assert os.readlink(new) == "S0"


@needs_root
def test_a_work_dir_that_its_owner_can_replace(public_dir):
    """Its parent is the agent's user's as well (StateDirectory=), so a link may have taken its place meanwhile."""
    theirs, anybodys, roots = public_dir / "theirs", public_dir / "anybodys", public_dir / "roots"
    for path in (theirs, anybodys / "meta", roots):
        path.mkdir(parents=True)
    (roots / "latest").symlink_to("kept")
    (anybodys / "meta/slaves").symlink_to(roots)
    (theirs / "work").symlink_to(anybodys)
    for path in (theirs, theirs / "work", anybodys / "meta", anybodys / "meta/slaves"):
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)
    anybodys.chmod(0o1777)  # root's, as /tmp is
    place = theirs / "work/meta/slaves"
    with pytest.raises(PermissionError):
        identity._rename(str(place / "latest"), str(place / "latest.generation-1"))
    assert os.readlink(roots / "latest") == "kept"


def test_the_agent_launches_the_probe_as_its_own_user_alone(monkeypatch):
    seen = []

    def probe(api, helper, row, volumes, work_dir, user, own):
        seen.append((user and user.pw_name, own))

    class Api:
        timeout = 1

    monkeypatch.setattr(launch, "_probe", probe)
    launch.run(Api(), "/helper", (1, 11), [], "/work", USER)
    assert seen == [(None, USER.pw_uid)]
    seen.clear()
    launch.run(Api(), "/helper", (1, 11), [], "/work")
    assert seen == [(None, os.geteuid())] + [("nobody", 0)] * (os.geteuid() == 0)


def test_a_link_in_the_place_of_the_probes_sandbox(public_dir):
    """Its user may have made it: what it leads to is neither read nor removed."""
    roots = public_dir / "roots"
    roots.mkdir()
    (roots / "report").write_text("container 1 0 given\n")
    (public_dir / "sandbox").symlink_to(roots)
    assert probe.report(str(roots)) == {"container": ["1 0 given"]}
    assert probe.report(str(public_dir / "sandbox")) is None
    launch._clear_away(None, "id", None, str(public_dir / "sandbox"))
    assert (roots / "report").exists()


@needs_root
def test_what_a_task_puts_among_a_rehearsals_records(public_dir, monkeypatch):
    """The directory of those is the agent's user's: root looks at none of them, and removes no more than can be."""
    place, roots, base = (public_dir / name for name in ("place", "roots", "base"))
    install(place, name="copy")
    for path in (place / "state", roots, base):
        path.mkdir()
    (roots / "kept.json").touch()
    (place / "state/containers").symlink_to(roots)
    for path in (place / "state", place / "state/containers"):
        os.chown(path, USER.pw_uid, USER.pw_gid, follow_symlinks=False)
    config = {"private_directories": {"/tmp": {"base": str(base)}}}
    (place / "config.json").write_text(json.dumps(dict(config, state_dir=str(place / "state"))))

    class Host:
        releases = str(public_dir)

        def run_command(self, words):
            subprocess.run(words, check=False, capture_output=True)

    installation.Installation._clear_rehearsal(Host(), str(place), json.dumps(dict(config, agent_user=USER.pw_name)))
    assert (roots / "kept.json").exists()

    def too_deep(path, ignore_errors=False):
        raise RecursionError

    monkeypatch.setattr(installation, "_REHEARSAL", "place")
    with monkeypatch.context() as patch:
        patch.setattr(installation.shutil, "rmtree", too_deep)
        installation.Installation._clear_leftovers(Host())
    installation.Installation._clear_leftovers(Host())
    assert not place.exists() and (roots / "kept.json").exists()


@needs_root
@pytest.mark.parametrize("back", [False, True])
def test_the_records_go_with_the_shim(tmp_path, monkeypatch, back):
    """Of a generation that was taken back as well: its unit had made the directory."""
    monkeypatch.setattr(agents_user, "STATE_DIR", str(tmp_path / "run-%d"))
    host = Generations(tmp_path)
    host(flags={"gc_delay": "1days"}, config={"agent_user": "games"})
    if back:
        assert host("restored")["generation"] == 0
    (tmp_path / f"run-{USER.pw_uid}/containers").mkdir(parents=True)
    done = host("absent")
    assert done["changed"], done
    assert sorted(path.name for path in tmp_path.iterdir()) == []


@needs_root
def test_what_a_former_user_has_left_is_looked_at_as_that_user(tmp_path):
    """An agent that is root's by now: what runs on is told of, and what has ended stops no uninstallation."""
    user, host = pwd.getpwnam("news"), Generations(tmp_path)
    install(host.prefix)
    for config in ({"agent_user": user.pw_name}, {}):
        assert host(flags={"gc_delay": "1days"}, config=config)["changed"]
    state = Path(agents_user.STATE_DIR % user.pw_uid)
    process = subprocess.Popen(["sleep", "60"], user=user.pw_uid)
    try:
        (state / "containers").mkdir(parents=True)
        (state / "containers/theirs.json").write_text(json.dumps(record(process.pid, user.pw_uid)))
        for path in (state, *state.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid)
            path.chmod(0o700)
        assert "1 containers that the shim started still run (theirs)" in host("absent")["msg"]
        process.kill()
        process.wait()
        done = host("absent")
        assert done.get("changed") and not state.exists(), done
    finally:
        process.kill()
        process.wait()
        subprocess.run(["rm", "-rf", state], check=True)


def record(pid, uid):
    """A record of that process, as a launch writes it."""
    started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    process = {"pid": pid, "start_time": started, "boot_id": boot, "uid": uid}
    return {"version": 1, "container_id": "theirs", "mode": "enforced", "isolation": [], "sandbox": "/tmp", **process}


def test_what_lies_among_the_records_is_removed_without_following(public_dir):
    state, roots = public_dir / "state", public_dir / "roots"
    roots.mkdir()
    (roots / "kept").touch()
    state.mkdir()
    (state / "containers").symlink_to(roots)
    uninstall._remove_records(str(state))
    assert not state.exists() and (roots / "kept").exists()
    deep = state / "containers"
    fd = os.open(public_dir, os.O_RDONLY)
    deep.mkdir(parents=True)
    try:
        inner = os.open(deep, os.O_RDONLY)
        for _ in range(1500):  # deeper than a recursion goes
            os.mkdir("d", dir_fd=inner)
            inner, outer = os.open("d", os.O_RDONLY, dir_fd=inner), inner
            os.close(outer)
        os.close(inner)
        uninstall._remove_records(str(state))
        assert state.exists()
    finally:
        os.close(fd)
        subprocess.run(["rm", "-rf", state], check=True)


@pytest.mark.parametrize(
    ("shown", "name"),
    [
        ({"User": "games"}, "games"),
        ({"User": "5"}, "5"),
        ({"User": ""}, None),
        ({"User": "root"}, None),
        ({"User": "0"}, None),
        ({"User": "games", "DynamicUser": "yes"}, None),
    ],
)
def test_the_unit_says_who_the_agent_is(tmp_path, systemctl, shown, name):  # noqa: F811
    """The configuration says it for root's ps and usage; what mesos_shim_config says goes before."""
    systemctl(**{"User": "", "DynamicUser": "no", **shown})

    def run_command(words, **_options):
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    found = service.Service(run_command, "mesos-slave").show(agents_user.PROPERTIES)
    assert agents_user.of_unit(found) == name
    planner = installation.Installation(run_command, True, str(tmp_path), "python3", None, unit="mesos-slave")
    assert json.loads(planner.config_text({})) == ({"agent_user": name} if name else {})
    assert json.loads(planner.config_text({"agent_user": "daemon"})) == {"agent_user": "daemon"}
    planner.unit = None
    assert json.loads(planner.config_text({})) == {}


def test_preflight_says_what_it_means(tmp_path, systemctl):  # noqa: F811
    """That the tasks have the agent's user is so without the shim; it is said once for each unit that says it."""
    systemctl(User="games", Group="", KillMode="process", LoadState="loaded")
    common = {"flags": {"switch_user": False}, "prefix": str(tmp_path / "opt"), "service": "mesos-slave"}
    common.update(path=str(tmp_path / "flags"), environment_files=[], compare=True)
    said = "runs its agent as games, and so do all its tasks, which can change the agent's files; agent_user in"
    found = run_module("agent_preflight_info", True, **common)
    assert said in found["_warnings"], found
    assert not [line for line in found.get("problems", []) if "User=" in line]
    named = run_module("agent_preflight_info", True, agent_user="games", **common)
    assert said not in named["_warnings"], named
    other = run_module("agent_preflight_info", True, agent_user="daemon", **common)
    assert "has User=games: mesos_shim_config has agent_user: daemon; leave it out there" in other["msg"]
    roots = run_module("agent_preflight_info", True, agent_user="root", **common)
    assert "has User=games: mesos_shim_config has agent_user: root; leave it out there" in roots["msg"]
