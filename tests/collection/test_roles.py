"""The roles and playbooks, run by ansible-playbook on this machine into directories of their own."""

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.lib.collection import clone_to, play, tree
from tests.lib.shim import CHECKOUT

pytestmark = pytest.mark.timeout(600)  # of a test: some are ten playbooks, and a busy machine takes twice as long


def installed(host):
    command = f"/usr/bin/python3 -ISB {host.prefix}/current/lib/mesos_shim/release.py status --prefix {host.prefix}"
    return json.loads(subprocess.run(command.split(), check=True, capture_output=True).stdout)


def test_site_converges_once_and_foresees_it(fleet, host):
    foreseen = fleet.site(host, "--check", "--diff")
    assert foreseen.code == 0 and foreseen.recap("changed") == 2, foreseen.text
    assert list(host.root.iterdir()) == []
    assert '"container_path": "/tmp"' in foreseen.text and "+isolation = " in foreseen.text

    first = fleet.site(host, "-vvv")
    assert first.code == 0 and first.recap("changed") == 2, first.text
    assert first.transport_calls() <= 8
    assert tree(host.root / "etc/mesos-slave") == {
        "isolation": "posix/cpu,posix/mem\n",
        "launcher_dir": f"{host.prefix}/launcher\n",
        "work_dir": f"{host.root}/work\n",
    }
    config = host.prefix / "etc/mesos-shim/config.json"
    assert json.loads(config.read_text()) == {
        "default_container_info": host.variables["mesos_agent_default_container_info"]
    }
    assert subprocess.run([host.prefix / "bin/mesos-shim", "validate", config], check=False).returncode == 0
    assert (host.prefix / "launcher/mesos-containerizer").resolve().parent.parent.parent == host.prefix / "releases"
    assert [name for name in os.listdir(host.prefix / "releases") if name.startswith(".")] == []

    before = tree(host.root)
    for arguments in ((), ("--check",)):
        again = fleet.site(host, "-vvv", *arguments)
        assert again.code == 0 and again.recap("changed") == 0, again.text
        assert again.transport_calls() <= 3
    assert tree(host.root) == before


BAD = {
    "misspelt": ({"mesos_agent_flags": {"isolatoin": "x"}}, "flag isolatoin is unknown; did you mean isolation?"),
    "twice": ({"mesos_agent_flags": {"attributes": "a:b"}, "mesos_agent_attributes": {"a": "b"}}, "keep one of them"),
    "interpreter": (
        {"ansible_python_interpreter": "/no/such/python3"},
        "ansible_python_interpreter is /no/such/python3; name",
    ),
    "drain": ({"mesos_agent_drain": True}, "mesos_agent_drain is True, and mesos_agent_master_url names no master"),
    "python": ({"mesos_shim_python": "/no/such/python"}, "mesos_shim_python /no/such/python cannot be executed"),
    "helpers": ({"mesos_shim_helpers_dir": "/no/such/dir"}, "helpers_dir /no/such/dir is not a directory"),
    "archive": ({"mesos_shim_archive": "/no/such/archive"}, "mesos_shim_archive /no/such/archive: [Errno 2]"),
    "digest": ({"mesos_shim_archive_sha256": "00"}, "mesos_shim_archive_sha256 is 00"),
    "keep": ({"mesos_shim_keep_releases": 0}, "keep_releases: 0 is too few"),
    "config": ({"mesos_shim_config": {"isolations": []}}, "isolations"),
    "inner": (
        {"mesos_shim_config": {"default_container_info": {"type": "DOCKER"}}, "mesos_agent_default_container_info": {}},
        "mesos_shim_config: default_container_info.type",
    ),
    "docker": ({"mesos_agent_default_container_info": {"type": "DOCKER"}}, "mesos_agent_default_container_info.type"),
}


def test_bad_input_is_refused_before_the_switch(fleet):
    hosts = {name: fleet.host(name) for name in BAD}
    done = fleet.site({hosts[name]: BAD[name][0] for name in BAD})
    for name, (_, says) in BAD.items():
        assert says in done.failure(hosts[name]), done.text
        assert not set(tree(hosts[name].root)) & {"opt/current", "opt/bin", "opt/etc", "etc"}


@pytest.mark.parametrize("arguments", [("--check",), ()])
def test_a_bad_container_info_is_refused_before_anything_is_there(fleet, host, arguments):
    bad = {"type": "MESOS", "volumes": [{"container_path": "/tmp", "host_path": "a/../b", "mode": "RW"}]}
    done = fleet.site(host, *arguments, mesos_agent_default_container_info=bad)
    blame = "the configuration is refused: mesos_agent_default_container_info.volumes[0].host_path: 'a/../b'"
    assert blame in done.failure(host), done.text
    assert list(host.root.iterdir()) == []


ALONE = """\
- hosts: mesos_agents
  gather_facts: false
  roles: [mesos.containerizer.mesos_agent]
"""


@pytest.mark.parametrize("arguments", [("--check",), ()])
def test_the_role_alone_writes_no_launcher_directory_that_is_not_there(fleet, host, arguments):
    (fleet.checkout / "playbooks/alone.yml").write_text(ALONE)
    refused = fleet.site(host, *arguments, playbook="alone")
    assert f"flag launcher_dir: {host.prefix}/launcher does not exist; install the shim" in refused.failure(host)
    assert tree(host.root) == {}
    own = {**host.variables["mesos_agent_flags"], "launcher_dir": None}
    assert fleet.site(host, *arguments, playbook="alone", mesos_agent_flags=own).code == 0
    assert fleet.site(host).code == 0
    assert fleet.site(host, *arguments, playbook="alone").code == 0


def test_a_refused_change_leaves_the_installation_as_it_was(fleet, host):
    assert fleet.site(host, mesos_agent_attributes={"rack": "a"}).code == 0
    host.has_run()
    before = tree(host.root)
    refused = fleet.site(host, mesos_agent_attributes={"rack": "b"}, mesos_shim_config={"hide_work_dir": True})
    assert "attributes (part of the agent's identity)" in refused.failure(host)
    refused = fleet.site(host, mesos_agent_attributes={"rack": "a"}, mesos_shim_config={"isolation": ["no/such"]})
    assert "no/such" in refused.failure(host)
    assert tree(host.root) == before
    named = {"mesos_agent_attributes": {"rack": "b"}, "mesos_agent_allow_incompatible": ["attributes"]}
    assert fleet.site(host, **named).code == 0
    assert (host.root / "etc/mesos-slave/attributes/rack").read_text() == "b\n"


def test_verify_lists_what_an_agent_would_not_recover_from(fleet, host):
    assert fleet.site(host, mesos_agent_attributes={"rack": "a", "zone": "z"}).code == 0
    host.has_run()
    (host.root / "etc/mesos-slave/attributes/rack").write_text("b\n")
    (host.root / "etc/mesos-slave/gc_delay").write_text("1days\n")
    before = tree(host.root)
    found = fleet.site(host, playbook="verify", mesos_agent_attributes={"rack": "a", "zone": "z"})
    assert found.code != 0 and '"drift: flag attributes; flag gc_delay"' in found.text, found.text
    assert tree(host.root) == before


def test_a_failed_gate_stops_the_waves_and_takes_its_host_back(fleet):
    """Also on a host that is not the first of its wave: the wave is finished, the next one does not start."""
    hosts = {name: fleet.host(name) for name in "abcd"}
    waves = {"mesos_agent_rollout_waves": [2, "100%"]}
    silent = {**waves, "mesos_agent_url": "http://127.0.0.1:9", "mesos_agent_gate_timeout": 0}
    done, ended = fleet.rollout({host: silent if name == "b" else waves for name, host in hosts.items()})
    assert done.code != 0
    states = {name: state for name, (state, _) in ended.items()}
    assert states == {"a": "done", "b": "failed", "c": "not started", "d": "not started"}, done.text
    assert "rolled back to generation 0" in done.failure(hosts["b"]) and "does not answer" in done.failure(hosts["b"])
    flags = {name: (host.root / "etc/mesos-slave").exists() for name, host in hosts.items()}
    assert flags == {"a": True, "b": False, "c": False, "d": False}
    again = fleet.site(dict.fromkeys(hosts.values(), waves), playbook="rollout")
    assert again.code == 0, again.text
    assert all((host.root / "etc/mesos-slave").exists() for host in hosts.values())


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"mesos_agent_gate_timeout": "soon"}, "mesos_agent_gate_timeout"),
        ({"mesos_agent_flag": {}}, "mesos_agent_flag: no such variable; did you mean mesos_agent_flags?"),
        ({"mesos_shim_keep_releases": "some"}, "mesos_shim_keep_releases"),
        ({"ansible_python_interpreter": "/no/such/python3"}, "ansible_python_interpreter is /no/such/python3"),
    ],
)
def test_a_host_whose_variables_are_wrong_is_refused_and_nothing_is_staged(fleet, wrong, says):
    hosts = {name: fleet.host(name) for name in "ab"}
    done, ended = fleet.rollout({hosts["a"]: {}, hosts["b"]: wrong})
    assert done.code != 0 and "2 hosts: 1 not started, 1 refused" in done.text, done.text
    assert ended["b"][0] == "refused" and says in ended["b"][1], ended
    assert "stopped by b" in ended["a"][1]
    assert tree(hosts["a"].root) == tree(hosts["b"].root) == {}


def test_two_prefixes_for_one_flags_directory_are_one_host_done_and_one_refused(fleet):
    """Two names of one machine: the preflight of both comes before the switch of either."""
    hosts = {fleet.host(name): {} for name in "ab"}
    first, second = hosts
    hosts[second] = {"mesos_agent_flags_dir": first.variables["mesos_agent_flags_dir"]}
    says = f"mesos_shim_prefix {second.prefix}: the installation in {first.prefix} manages the flags directory"
    done, ended = fleet.rollout(hosts)  # one after the other
    assert done.code != 0 and ended["a"][0] == "done", done.text
    assert ended["b"][0] == "failed" and says in ended["b"][1], done.text
    assert not (second.prefix / "current").exists() and not (second.prefix / "generations/state.json").exists()
    before = tree(first.root)
    done, ended = fleet.rollout(hosts)
    assert ended["b"][0] == "refused" and says in ended["b"][1], done.text
    verified = fleet.site({second: hosts[second]}, playbook="verify")
    assert verified.code != 0 and says in verified.failure(second), verified.text
    assert tree(first.root) == before
    assert fleet.site(first, playbook="uninstall").code == 0
    done, ended = fleet.rollout({second: hosts[second]})
    assert ended["b"][0] == "done", done.text


def test_every_host_that_is_refused_while_it_is_staged_keeps_its_reason(fleet):
    """Also one that is refused once the refusal of another is known, as in a fleet with more hosts than forks."""
    hosts = [fleet.host(name) for name in "abcdef"]
    done, ended = fleet.rollout({host: {"mesos_shim_archive": "/no/such"} for host in hosts}, "--forks", "2")
    assert done.code != 0 and "6 hosts: 6 refused" in done.text, done.text
    assert all("/no/such" in why for _, why in ended.values()), ended


def test_an_inventory_may_give_everything_as_text(fleet, host):
    """In INI form true stays text, and so does a map that has true in it."""
    given = {
        "mesos_agent_drain": "false",
        "mesos_agent_drop_in": "true",
        "mesos_agent_keep_generations": "2",
        "mesos_agent_attributes": json.dumps({"ssd": True}),
        "mesos_agent_flags": json.dumps({**host.variables["mesos_agent_flags"], "strict": True}),
        "mesos_agent_default_container_info": json.dumps(host.variables["mesos_agent_default_container_info"]),
        "mesos_shim_config": json.dumps({"hide_work_dir": True}),
    }
    done, ended = fleet.rollout({host: given})
    assert done.code == 0 and ended["host"][0] == "done", done.text
    assert {"?strict", "attributes/ssd", "isolation"} <= set(tree(host.root / "etc/mesos-slave"))
    assert json.loads((host.prefix / "etc/mesos-shim/config.json").read_text()) == {
        "default_container_info": host.variables["mesos_agent_default_container_info"],
        "hide_work_dir": True,
    }
    for wrong in ("mesos_agent_flags", "mesos_agent_attributes"):
        done, ended = fleet.rollout({host: {**given, wrong: "rack=r1"}})
        assert ended["host"][0] == "refused", done.text
        assert f"{wrong}: not a map of names and values" in ended["host"][1]


def test_a_rollout_goes_on_without_as_many_hosts_as_it_may_lose(fleet):
    """One host at a time between switch and gate; the second fails its gate, and one may."""
    hosts = {name: fleet.host(name) for name in "abcd"}
    pace = {"max_failures": 1, "in_flight": "1", "waves": [3, "100%"]}
    given = {f"mesos_agent_rollout_{name}": value for name, value in pace.items()}
    silent = {**given, "mesos_agent_url": "http://127.0.0.1:9", "mesos_agent_gate_timeout": 0}
    done, ended = fleet.rollout({host: silent if name == "b" else given for name, host in hosts.items()})
    assert {name: state for name, (state, _) in ended.items()} == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    assert done.code != 0 and "rolled back to generation 0" in ended["b"][1], done.text
    # A part for each host of the first wave, and one for the second.
    assert done.text.count("Switch flags, release and configuration together]") == 4, done.text


def test_rollouts_follow_each_other_in_one_run(fleet):
    (fleet.checkout / "playbooks/again.yml").write_text(
        "".join(f"- import_playbook: {name}.yml\n" for name in ("rollout", "rollout", "rollback"))
    )
    hosts = {fleet.host("a"): {}, fleet.host("b"): {}}
    done, ended = fleet.rollout(hosts, playbook="again")
    assert done.code == 0 and done.text.count("2 hosts: 2 unchanged") == 1, done.text
    assert done.text.count("2 hosts: 2 done") == 2 and {state for state, _ in ended.values()} == {"done"}, done.text


def test_a_rollback_without_an_id_takes_back_one_change_or_none(fleet):
    """After a rollout of some hosts only, one generation back would take an older change back on all others."""
    a, b, c = (fleet.host(name) for name in "abc")
    everywhere: dict = {a: {}, b: {}, c: {}}

    def delays():
        found = [host.root / "etc/mesos-slave/gc_delay" for host in (a, b, c)]
        return [path.read_text().strip() if path.exists() else None for path in found]

    def delayed(days, change, *hosts):
        given = {"mesos_agent_flags": {**a.variables["mesos_agent_flags"], "gc_delay": f"{days}days"}}
        done = fleet.rollout(dict.fromkeys(hosts, given), "-e", f"mesos_agent_rollout_change={change}")[0]
        assert done.code == 0, done.text

    delayed(1, "CHG-1", a, b, c)
    delayed(2, "CHG-2", a, b)
    done, ended = fleet.rollout(everywhere, playbook="rollback")
    refusal = "the hosts are in different changes, CHG-2 (a, b), CHG-1 (c); say which to take back"
    assert done.code != 0 and all(state == "refused" and refusal in why for state, why in ended.values()), done.text
    assert delays() == ["2days", "2days", "1days"]
    assert not [host for host in everywhere if (host.prefix / "generations/claim.json").exists()]

    done, ended = fleet.rollout(everywhere, "-e", "mesos_agent_rollback_change=CHG-2", playbook="rollback")
    assert done.code == 0 and [ended[name][0] for name in "abc"] == ["done", "done", "unchanged"], done.text
    said = done.text.index("takes back change CHG-2")
    assert '"a, b: 2 (' in done.text[:said] and said < done.text.index("mesos.containerizer.mesos_agent : Restore]")
    assert delays() == ["1days"] * 3

    # a and b are back already, so there is one change to take back: that of c.
    done, ended = fleet.rollout(everywhere, playbook="rollback")
    assert done.code == 0 and [ended[name][0] for name in "abc"] == ["unchanged", "unchanged", "done"], done.text
    assert delays() == ["1days", "1days", None]


def test_secrets_are_not_printed(fleet):
    good = {"master": "zk://u:hunter2@h/m", "docker_config": {"auths": {"h": {"auth": "sesame"}}}}
    hosts = {
        fleet.host("good"): {"mesos_agent_flags": good},
        fleet.host("bad"): {"mesos_agent_flags": {**good, "x": 1}},
    }
    done = fleet.site(hosts, "-vvv", "--diff")
    assert "flag x is unknown" in done.text and "+master = zk://u:********@h/m" in done.text
    assert "hunter2" not in done.text and "sesame" not in done.text


def test_releases_stand_side_by_side_and_old_ones_go(fleet, host, public_dir):
    assert fleet.site(host).code == 0
    first = installed(host)["current"]
    fleet.checkout = clone_to(public_dir / "other")
    seen = [first]
    for number in range(2):
        with open(fleet.checkout / "shim/mesos_shim/__init__.py", "a") as stream:
            stream.write(f"# change {number}\n")
        (host.prefix / "releases/.unpack-of-a-killed-run/lib").mkdir(parents=True)
        assert fleet.site(host).code == 0
        assert not list((host.prefix / "releases").glob(".*"))
        state = installed(host)
        assert state["current"] not in seen and state["releases"] == [seen[-1], state["current"]]
        seen.append(state["current"])


def test_helpers_are_linked_and_the_packaged_one_configured(fleet, host, public_dir):
    helpers = public_dir / "libexec"
    helpers.mkdir()
    for name in ("mesos-containerizer", "mesos-executor", "mesos-fetcher"):
        (helpers / name).touch(0o755)
    done = fleet.site(host, mesos_shim_helpers_dir=str(helpers))
    assert done.code == 0, done.text
    assert (host.prefix / "launcher/mesos-executor").resolve() == helpers / "mesos-executor"
    assert (host.prefix / "launcher/mesos-containerizer").resolve() != helpers / "mesos-containerizer"
    config = json.loads((host.prefix / "etc/mesos-shim/config.json").read_text())
    assert config["packaged_helper"] == str(helpers / "mesos-containerizer")


def test_modules_run_on_every_python_of_hosts(fleet):
    """As Ansible sends them, by interpreters that pyenv has here."""
    found = {
        version: next(Path.home().glob(f".pyenv/versions/3.{version}.*/bin/python3"), None)
        for version in (8, 9, 10, 12, 13)
    }
    hosts = {
        fleet.host(f"py3{version}"): {"ansible_python_interpreter": str(python)}
        for version, python in found.items()
        if python
    }
    if not hosts:
        pytest.skip("pyenv has no other Python here")
    done = fleet.site(hosts)
    assert done.code == 0, done.text
    for host in hosts:
        assert (host.prefix / "bin/mesos-shim").read_text().startswith("#!/usr/bin/python3 ")


def wheel_for_macos(directory):
    """psutil under the name of its wheel for a Mac. What is in it is this machine's: the masked host must load it."""
    import psutil

    package = Path(psutil.__file__).parent
    path = directory / "psutil-7.2.2-cp36-abi3-macosx_11_0_arm64.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file in (*package.glob("*.py"), *package.glob("*.abi3.so")):
            wheel.write(file, f"psutil/{file.name}")
    return path


def test_on_a_masked_macos_the_same_role_installs_usage_only_mode(fleet, host, public_dir):
    python = shutil.copy(Path(__file__).with_name("masked_python.py"), public_dir)
    shutil.copy(CHECKOUT / "tests/lib/mask.py", public_dir)
    mac = {
        "ansible_python_interpreter": python,
        "mesos_shim_python": python,
        "mesos_shim_psutil_wheel": str(wheel_for_macos(public_dir)),
        "mesos_shim_config": {"state_dir": str(public_dir / "state")},
    }
    foreseen = fleet.site(host, "--check", "--diff", **mac)
    assert foreseen.code == 0 and foreseen.recap("changed") == 2 and list(host.root.iterdir()) == [], foreseen.text
    done = fleet.site(host, **mac)
    assert done.code == 0 and done.recap("changed") == 2, done.text
    assert (host.root / "etc/mesos-slave/launcher_dir").read_text() == f"{host.prefix}/launcher\n"
    program = [host.prefix / "bin/mesos-shim"]
    usage = f'"{program[0]}" usage --format json'
    said = subprocess.run(
        [*program, "run", "--rm", "--", "sh", "-c", usage], capture_output=True, text=True, check=False, timeout=60
    )
    warning = "usage-only: NOTHING is isolated: darwin has no namespaces and no cgroups"
    assert said.stderr == f"mesos-shim: warning: {warning}\n"
    (container,) = json.loads(said.stdout)
    assert container["mode"] == "usage-only" and container["statistics"]["mem_rss_bytes"] > 0
    again = fleet.site(host, **mac)
    assert again.code == 0 and again.recap("changed") == 0, again.text
    gone = fleet.site(host, playbook="uninstall", **mac)
    assert gone.code == 0 and not host.prefix.exists(), gone.text


@pytest.mark.parametrize("user", ["root", "ordinary"])
def test_quickstart(public_dir, user):
    if os.geteuid() != 0 and user == "root":
        pytest.skip("needs root")
    clone = clone_to(public_dir / "clone")
    uid = 65534 if user == "ordinary" and os.geteuid() == 0 else None
    shut = [above for above in (CHECKOUT, *CHECKOUT.parents) if not above.stat().st_mode & 0o001]
    if uid and shut:
        pytest.skip(f"other users cannot enter {shut[0]}: this checkout's packages are out of their reach")
    if uid:
        for path in [clone, *clone.rglob("*")]:
            os.lchown(path, uid, uid)
    for arguments, changed in ((("--check",), 2), ((), 2), ((), 0)):
        done = play("quickstart", *arguments, cwd=clone, as_user=uid)
        assert done.code == 0 and done.recap("changed") == changed, done.text
        assert (clone / ".demo").exists() == (arguments == ())
    demo = clone / ".demo"
    config = json.loads((demo / "etc/mesos-shim/config.json").read_text())
    assert config["default_container_info"]["volumes"][0]["container_path"] == "/tmp"
    if user == "ordinary" and not Path(f"/run/user/{uid or os.geteuid()}").exists():
        assert config["state_dir"] == str(demo / "run")
    else:
        assert "state_dir" not in config
    assert (demo / "etc/mesos-slave/launcher_dir").read_text() == f"{demo}/launcher\n"
    assert (demo / "launcher/mesos-containerizer").resolve().is_file()
    assert subprocess.run([demo / "bin/mesos-shim", "--version"], check=False).returncode == 0
    assert (demo / "bin/mesos-shim").read_text().startswith("#!/usr/bin/python3 ")
