"""A host that somebody else is root on answers what they like; it decides neither for others nor on the controller."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tarfile
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tests.lib.collection import PLUGINS, LocalHost, clone_to, tree
from tests.lib.shim import CHECKOUT

from ..lib.ansible_versions import MATRIX, environment, runner

PLAYBOOKS = ("site", "rollout", "verify", "usage", "report", "adopt", "rollback", "uninstall")
MODULES = sorted(path.stem for path in (CHECKOUT / "collection/plugins/modules").glob("*.py"))
OLDEST_AND_NEWEST = pytest.mark.parametrize(("core", "python"), [MATRIX[0], MATRIX[-1]])

pytestmark = pytest.mark.timeout(900)


class LyingFleet:
    """The first host lies, the other one does not, by any ansible-core."""

    def __init__(self, root: Path, programs: Path) -> None:
        self.root, self.clone = root, clone_to(root / "clone")
        # What a host has planted under a variable's name is what 2.20 and later warn of: no fault of ours.
        self.run_program = runner(programs, self.clone, ANSIBLE_DEPRECATION_WARNINGS="0")
        self.programs = programs
        self.liar, self.honest = LocalHost(root / "a-liar"), LocalHost(root / "honest")
        self.told = shutil.copy(Path(__file__).with_name("liar.py"), root)
        self.liar.variables["ansible_python_interpreter"] = self.told
        self.ran = root / "ran-on-the-controller"
        self.lie({})

    def lie(self, lies: dict[str, object]) -> None:
        (self.root / "lies.json").write_text(json.dumps(lies))

    def play(self, playbook: str, *arguments: str, code: int = 0, **variables: object) -> str:
        inventory = {"hosts": {host.root.name: host.variables for host in (self.liar, self.honest)}, "vars": variables}
        path = self.root / "inventory.json"
        path.write_text(json.dumps({"mesos_agents": inventory}))
        program = self.programs / "ansible-playbook"
        where = f"mesos_report_path={self.root}/report.html"
        return self.run_program(
            program, "-i", str(path), f"playbooks/{playbook}.yml", "-e", where, *arguments, code=code
        )

    def facts(self) -> dict[str, object]:
        """What would be worth a lie: files of the controller, and what is for all hosts."""
        return {
            "mesos_shim_archive": str(self.archive()),
            "mesos_shim_archive_sha256": "",
            "where": str(self.root),
            "mesos_agent_rollout_waves": ["100%"],
            "mesos_agent_rollout": {"state": "done", "began": "x", "ended": [], "switched": 5, "why": {}},
            "mesos_agent_drift": 5,
            "mesos_report_error": {"a": 1},
            "mesos_report_seconds": "ages",
            "mesos_report_timeout": "soon",
            "mesos_report_host": {"cpus": "many"},
            "mesos_report_flags": [1],
            "mesos_report_after": {"containers": [{"pid": 1}]},
        }

    def archive(self) -> Path:
        """A release whose validator says that it ran."""
        path = self.root / "evil.tar.gz"
        check = f"def main(words):\n    open({str(self.ran)!r}, 'w').close()\n    return 0\n"
        with tarfile.open(path, "w:gz") as tar:
            for name, text in (("__init__", '__version__ = "6.6.6"\n'), ("validate", check)):
                member = tarfile.TarInfo(f"lib/mesos_shim/{name}.py")
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
        return path


@pytest.fixture
def fleet(public_dir, core, python):
    return LyingFleet(public_dir, environment(core, python))


def failures(said: str, host: str) -> str:
    return "".join(line for line in said.splitlines() if line.startswith(f"fatal: [{host}]"))


@OLDEST_AND_NEWEST
def test_a_host_that_answers_with_facts_has_failed_by_name_in_every_playbook(fleet):
    fleet.play("site")
    fleet.lie({"*": {"ansible_facts": fleet.facts()}})
    for playbook in PLAYBOOKS:
        before = tree(fleet.liar.root)
        said = fleet.play(playbook, code=0 if playbook == "report" else 2, mesos_agent_rollout_waves=[1, "100%"])
        assert "a-liar answers what " in said and "ansible_facts is not part of it" in said, said
        assert not fleet.ran.exists() and "6.6.6" not in said
        if playbook not in ("uninstall", "rollback"):
            assert tree(fleet.liar.root) == before
        if playbook in ("rollout", "rollback"):
            assert re.search(r'"honest +not started *: stopped by a-liar', said), said
        elif playbook == "uninstall":  # every host is looked at before any loses its shim
            assert fleet.honest.prefix.exists()
        elif playbook == "report":
            assert "a-liar" in (fleet.root / "report.html").read_text()


@OLDEST_AND_NEWEST
def test_facts_of_an_earlier_play_decide_nothing(fleet):
    """A module of Ansible's own brings them, as setup would; they stay for all plays of the run."""
    plays = [{"hosts": "mesos_agents", "gather_facts": False, "tasks": [{"ansible.builtin.command": "true"}]}]
    plays += [{"ansible.builtin.import_playbook": f"{name}.yml"} for name in ("site", "rollout", "report")]
    (fleet.clone / "playbooks/planted.yml").write_text(json.dumps(plays))
    fleet.lie({"command": {"ansible_facts": fleet.facts()}})
    said = fleet.play("planted", mesos_agent_rollout_waves=[1, "100%"], mesos_report_seconds=0)
    assert not fleet.ran.exists() and "6.6.6" not in said
    assert "2 hosts: 2 unchanged" in said, said
    # One host a wave: the second begins when the first is done.
    task = r"TASK \[mesos.containerizer.mesos_agent : Start, or record the reason\] \**\nok: \[(.*)\]\n\n"
    waves = re.findall(task, said)
    assert waves == ["a-liar", "honest"], said
    assert os.readlink(fleet.liar.prefix / "current") == os.readlink(fleet.honest.prefix / "current")
    assert '"nothing needs attention"' in said or "records of containers" in said, said


@OLDEST_AND_NEWEST
def test_what_a_host_says_is_no_template(fleet):
    """Neither what it fails by nor a name in an answer that is refused, nor what is left of no answer at all."""
    template = f"{{{{ lookup('ansible.builtin.pipe', 'touch {fleet.ran}') }}}}"
    for lie in ({template: 1}, {"failed": True, "msg": template}, template):
        fleet.lie({"agent_preflight_info": lie})
        for playbook in ("rollout", "report"):
            said = fleet.play(playbook, "-e", "mesos_report_seconds=0", code=2 if playbook == "rollout" else 0)
            assert "touch" in said and not fleet.ran.exists(), said


@OLDEST_AND_NEWEST
def test_a_controllers_file_is_named_by_no_variable_that_a_host_has_set(fleet):
    """Not by one that the operator's own value is made of, either."""
    plays = [{"hosts": "mesos_agents", "gather_facts": False, "tasks": [{"ansible.builtin.command": "true"}]}]
    (fleet.clone / "playbooks/planted.yml").write_text(json.dumps([*plays, {"import_playbook": "site.yml"}]))
    fleet.lie({"command": {"ansible_facts": fleet.facts()}})
    fleet.liar.variables["mesos_shim_archive"] = "{{ where }}/evil.tar.gz"
    said = fleet.play("planted", code=2)
    assert "archive: it names a file of the controller, and no fact of a host may decide which" in said, said
    assert not fleet.ran.exists() and failures(said, "honest") == ""


GOOD = {
    "container_id": "c-1",
    "executor_id": None,
    "framework_id": None,
    "pid": 1,
    "mode": "enforced",
    "isolation": [],
    "volumes": [],
    "statistics": {"timestamp": 1.0, "mem_rss_bytes": 1},
}
STRANGE = {
    "no id": [{k: v for k, v in GOOD.items() if k != "container_id"}],
    "a text": [{**GOOD, "statistics": {"mem_rss_bytes": "much"}}],
    "no number": [{**GOOD, "statistics": {"timestamp": float("nan")}}],
    "endless": [{**GOOD, "statistics": {"mem_rss_bytes": float("inf")}}],
    "too large": [{**GOOD, "statistics": {"mem_rss_bytes": 10**400}}],
    "true": [{**GOOD, "statistics": {"processes": True}}],
    "less than none": [{**GOOD, "statistics": {"mem_limit_bytes": -1}}],
    "no map": [GOOD, 5],
    "no list": {"c-1": GOOD},
    "something else": [{**GOOD, "ansible_facts": {}}],
}
answers = import_module(f"{PLUGINS}.plugin_utils._host_answers")


@pytest.mark.parametrize("containers", STRANGE.values(), ids=STRANGE)
def test_what_is_no_usage_is_refused(containers):
    assert answers.wrong("container_usage_info", {"changed": False, "containers": [GOOD]}) == ""
    assert answers.wrong("container_usage_info", {"changed": False, "containers": containers}).startswith("containers")


@pytest.mark.parametrize(
    ("module", "answer", "wrong"),
    [
        ("agent_gate", {"waited": 1, "problems": [], "ansible_facts": {"x": 1}}, "ansible_facts is not part of it"),
        ("agent_gate", {"problems": []}, "it has no waited"),
        ("agent_gate", {"waited": 1, "problems": "none"}, "problems is 'none', not a list"),
        ("agent_generation", {"changed": "yes"}, "changed is 'yes', neither true nor false"),
        ("agent_generation", {"generation": 1.5}, "generation is 1.5, not a whole number"),
        ("agent_generation", {"changed_flags": [{"name": "x"}]}, r"changed_flags\[0\] has no before"),
        ("agent_generation", {"failed": True, "msg": ["a"]}, "msg is .* not a string"),
        (
            "agent_adopt_info",
            {"path": "/p", "open": [], "notes": [], "variables": {"ansible_connection": "local"}},
            "variables.ansible_connection is not part of it",
        ),
        (
            "agent_adopt_info",
            {"path": "/p", "open": [{"variable": "ansible_x", "key": None, "why": ""}], "notes": [], "variables": {}},
            r"open\[0\].variable is 'ansible_x', which it cannot be",
        ),
        ("shim_release", {"archive_needed": "any"}, "archive_needed is not part of it"),
        ("agent_flags_info", {"failed": True, "flags": {"x": [[]] * 2, "y": {"z": 1e999}}}, r"flags\.y\.z is inf"),
    ],
)
def test_what_no_module_says_is_refused(module, answer, wrong):
    assert re.search(wrong, answers.wrong(module, answer))


@pytest.mark.parametrize("module", MODULES)
def test_the_answers_of_a_module_are_those_that_it_documents(module):
    """And none of them passes by the check."""
    documented = yaml.safe_load(import_module(f"{PLUGINS}.modules.{module}").RETURN)
    required, optional = answers.ANSWERS[module]
    assert set(documented) == set(required) | set(optional)
    runtime = yaml.safe_load((CHECKOUT / "collection/meta/runtime.yml").read_text())
    routed = runtime["plugin_routing"]["modules"].get(module, {}).get("action_plugin")
    assert routed == "mesos.containerizer.checked" or (CHECKOUT / f"collection/plugins/action/{module}.py").exists()


def test_a_module_that_is_called_by_its_old_name_is_checked_as_the_one_it_became(public_dir):
    fleet = LyingFleet(public_dir, CHECKOUT / ".venv/bin")
    flags = {"work_dir": str(public_dir)}
    tasks = [{"mesos.containerizer.agent_preflight": {"flags": flags, "path": str(public_dir / "flags")}}]
    playbook = [{"hosts": "mesos_agents", "gather_facts": False, "tasks": tasks}]
    (fleet.clone / "playbooks/old.yml").write_text(json.dumps(playbook))
    fleet.lie({"agent_preflight_info": {"limits": 5}})
    said = fleet.play("old", code=2)
    assert "a-liar answers what agent_preflight_info never does: limits is 5, not a list" in said, said
    assert failures(said, "honest") == ""


def test_a_strange_answer_ends_the_report_of_no_other_host(public_dir):
    fleet = LyingFleet(public_dir, CHECKOUT / ".venv/bin")
    fleet.play("site")
    lies = [{"container_usage_info": {"containers": strange}} for strange in (STRANGE["no id"], STRANGE["a text"])]
    for lie in [*lies, {"agent_flags_info": 5}, {"shim_host_info": {"cpus": "many"}}]:
        fleet.lie(lie)
        said = fleet.play("report", "-e", "mesos_report_seconds=0")
        assert re.search(r'"a-liar: .*(never does|MODULE FAILURE|deserialization)', said), said
        page = (fleet.root / "report.html").read_text()
        assert page.count("<details") == 2 and ">honest<" in page
