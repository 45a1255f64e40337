"""Every playbook on the oldest and newest ansible-core, the quickstart on all between, each on a Python of theirs."""

import json

import pytest

from tests.lib.collection import LocalHost, clone_to, tree

from ..lib.ansible_versions import MATRIX, environment, runner

pytestmark = pytest.mark.timeout(900)


# Before 2.19 templates give text unless native types are on.
@pytest.mark.parametrize(("core", "python", "native"), [(*MATRIX[0], False), (*MATRIX[0], True), (*MATRIX[-1], False)])
def test_every_playbook(public_dir, core, python, native):
    """Oldest and newest: foreseen, converged, read back, launched by, refused, reported, taken back, gone."""
    programs = environment(core, python)
    run = runner(programs, clone_to(public_dir / "clone"), **({"ANSIBLE_JINJA2_NATIVE": "1"} if native else {}))
    host = LocalHost(public_dir / "host")
    host.variables["mesos_shim_config"] = {"default_limits": {"cpus": 0.5}, "pass_through": [], "hide_work_dir": True}
    host.variables["mesos_shim_config"]["work_dir"] = str(host.root / "work")
    inventory = public_dir / "inventory.json"
    inventory.write_text(json.dumps({"mesos_agents": {"hosts": {"host": host.variables}}}))

    def play(name, *arguments, code=0):
        where = f"mesos_report_path={public_dir}/report.html"
        command = (programs / "ansible-playbook", "-i", str(inventory), f"playbooks/{name}.yml", "-e", where)
        return run(*command, *arguments, code=code)

    for arguments, changed in ((("--check", "--diff"), 2), ((), 2), ((), 0)):
        said = play("site", *arguments)
        assert f"changed={changed} " in said, said
    is_as_wanted(host, run)
    before = tree(host.root)
    said = play("site", "-e", '{"mesos_agent_flags": {"isolatoin": "sesame"}}', "-vvv", code=2)
    assert "flag isolatoin is unknown; did you mean isolation?" in said and "sesame" not in said
    said = play("rollout", "-e", "mesos_agent_gate_timeout=soon", code=2)
    assert "1 host: 1 refused" in said and "mesos_agent_gate_timeout" in said, said
    play("verify")
    assert "no container" in play("usage")
    play("report")
    assert ">host<" in (public_dir / "report.html").read_text()
    assert "mesos_shim_config:" in play("adopt")
    assert tree(host.root) == before
    host.variables["mesos_agent_flags"]["gc_delay"] = "2days"
    host.variables["mesos_shim_config"]["hide_work_dir"] = False
    inventory.write_text(json.dumps({"mesos_agents": {"hosts": {"host": host.variables}}}))
    assert "1 host: 1 done" in play("rollout")
    is_as_wanted(host, run)
    assert "1 host: 1 done" in play("rollback")
    host.variables["mesos_shim_config"]["hide_work_dir"] = True
    is_as_wanted(host, run)
    play("uninstall")
    assert not (host.root / "etc/mesos-slave").exists() and not host.prefix.exists()


def is_as_wanted(host, run):
    """The configuration is the inventory's, and a launch by it has its own /tmp."""
    written = json.loads((host.prefix / "etc/mesos-shim/config.json").read_text())
    wanted = {"default_container_info": host.variables["mesos_agent_default_container_info"]}
    assert written == {**wanted, **host.variables["mesos_shim_config"]}
    launched = run(host.prefix / "bin/mesos-shim", "run", "--rm", "--", "sh", "-c", "ls -A /tmp; echo launched")
    assert launched == "launched\n"


@pytest.mark.parametrize(("core", "python"), MATRIX)
def test_quickstart(public_dir, core, python):
    programs = environment(core, python)
    clone = clone_to(public_dir / "clone")
    run = runner(programs, clone)
    assert f"core {core}." in run(programs / "ansible", "--version")
    for arguments, changed in ((("--check",), 2), ((), 2), ((), 0)):
        said = run(programs / "ansible-playbook", "playbooks/quickstart.yml", *arguments)
        assert f"changed={changed} " in said, said
    launched = run(clone / ".demo/bin/mesos-shim", "run", "--rm", "--", "sh", "-c", "ls -A /tmp; echo launched")
    assert launched == "launched\n"


@pytest.mark.parametrize(("core", "python"), [MATRIX[0], MATRIX[-1]])
def test_what_yaml_makes_of_a_date_or_a_key_is_what_was_written_or_named(public_dir, core, python):
    """Before 2.19 a template makes a text of a map with a date in it, and no map of that text."""
    programs = environment(core, python)
    run = runner(programs, clone_to(public_dir / "clone"))
    host = LocalHost(public_dir / "host")
    inventory = public_dir / "inventory.yml"

    def play(name, variable, code):
        known = json.dumps(host.variables)[1:-1]
        inventory.write_text(f"mesos_agents:\n  hosts:\n    host: {{{known}, {variable}}}\n")
        return run(programs / "ansible-playbook", "-i", str(inventory), f"playbooks/{name}.yml", code=code)

    said = play("rollout", "mesos_agent_rollout_waves: [2026-01-02]", 2)
    assert 'mesos_agent_rollout_waves is [\\"2026-01-02\\"]: give a list of numbers' in said, said
    own_info = host.variables.pop("mesos_agent_default_container_info")
    info = "mesos_agent_default_container_info: {volumes: [{host_path: 2026-01-02, container_path: /tmp}]}"
    for variable in (info, "mesos_shim_config: {tmpfs: {/x: {size: 2026-01-02 03:04:05}}}"):
        said = play("site", variable, 2)
        assert (
            f"{variable.partition(':')[0]}: YAML reads an unquoted 2026-01-02" in said and "as a date: quote it" in said
        )
        assert tree(host.root) == {}
    for playbook in ("site", "rollout"):
        said = play(playbook, "mesos_shim_config: {on: off}", 2)
        assert "mesos_shim_config: the key true is not text: quote it" in said and tree(host.root) == {}, said
    host.variables["mesos_agent_default_container_info"] = own_info
    play("site", "mesos_agent_attributes: {built: 2026-01-02, at: 2026-01-02 03:04:05}", 0)
    there = tree(host.root / "etc/mesos-slave/attributes")
    assert there == {"built": "2026-01-02\n", "at": "2026-01-02 03:04:05\n"}
