"""What the collection says of itself against what is there."""

import re

import pytest
import yaml

from tests.lib.shim import CHECKOUT

COLLECTION = CHECKOUT / "collection"
ROLES = COLLECTION / "roles"
RUNTIME = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())
# Facts that one role leaves for another, or for a playbook; nobody sets them.
RESULTS = {"mesos_agent_rollout", "mesos_agent_drift", "mesos_agent_usage", "mesos_shim_staged"}


def test_the_action_group_has_every_module():
    modules = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
    assert RUNTIME["action_groups"]["all"] == modules


# The documentation that makes a module a member of each group.
GROUPS = {"agent": "agent.endpoints", "installation": "shim", "tools": "shim.tools"}


@pytest.mark.parametrize(("group", "fragment"), GROUPS.items())
def test_the_modules_of_a_group_take_its_options(group, fragment):
    wanted = f"\n  - mesos.containerizer.{fragment}\n"
    members = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py") if wanted in path.read_text())
    assert RUNTIME["action_groups"][group] == members


def calls(name, defaults=False):
    """(module, its arguments, whether module_defaults are for it) of a task file of mesos_agent and what it imports."""
    found = []

    def walk(tasks, defaults):
        for task in tasks:
            inner = defaults or "module_defaults" in task
            walk([*task.get("block", []), *task.get("rescue", [])], inner)
            for key, value in task.items():
                if key.endswith(("import_tasks", "include_tasks")):
                    found.extend(calls(value, inner))
                elif key.startswith("mesos.containerizer."):
                    found.append((key.rpartition(".")[2], value, inner))

    walk(yaml.safe_load((ROLES / "mesos_agent/tasks" / name).read_text()), defaults)
    return found


@pytest.mark.parametrize(
    "entry",
    [
        "main",
        "preflight",
        "converge",
        "verify",
        "uninstall",
        "wave_preflight",
        "wave",
        "wave_back",
        "wave_back_plan",
        "summary_left",
    ],
)
def test_every_call_says_which_installation(entry):
    """A module that is not told falls back to /opt/mesos-shim, whatever mesos_shim_prefix is."""
    made = [call for call in calls(f"{entry}.yml") if call[0] in RUNTIME["action_groups"]["installation"]]
    assert made
    assert [name for name, arguments, defaults in made if not defaults and "prefix" not in arguments] == []


def test_an_old_name_leads_to_a_module_that_is_there():
    routed = RUNTIME["plugin_routing"]["modules"]
    old = {name: route for name, route in routed.items() if "redirect" in route}
    for name, route in old.items():
        new = route["redirect"].rpartition(".")[2]
        assert (COLLECTION / f"plugins/modules/{new}.py").exists()
        assert new in route["deprecation"]["warning_text"], name
    assert set(routed) - set(old) <= {path.stem for path in (COLLECTION / "plugins/modules").glob("*.py")}


@pytest.mark.parametrize("kind", ["module_utils", "plugin_utils"])
def test_code_that_plugins_share_is_private(kind):
    """Its names may change in any release, which Ansible's convention says by an underscore."""
    public = [path.name for path in (COLLECTION / "plugins" / kind).glob("*.py") if not path.name.startswith("_")]
    assert public == []


# What a role's own variable is made of, for those that stand for arguments of modules.
INDIRECT = {
    "__mesos_agent_prefix": {"mesos_shim_prefix"},
    "__mesos_agent_installation": {"mesos_shim_prefix"},
    "__mesos_agent_endpoints": {
        f"mesos_agent_{name}"
        for name in ("url", "url_username", "url_password", "ca_file", "client_cert", "client_key")
    },
    "__mesos_agent_own_allow_incompatible": {"mesos_agent_allow_incompatible"},
    "__mesos_agent_own_gate_ignore_flags": {"mesos_agent_gate_ignore_flags"},
    "__mesos_agent_tools": {"mesos_shim_helpers_dir", "mesos_shim_python"},
}


def used(tasks):
    """The variables of operators that a file of tasks and what it imports use."""
    text = tasks.read_text()
    found = set(re.findall(r"(?<![\w./])mesos_(?:agent|shim|pull)_\w+\b(?!/)", text)) - RESULTS
    for name in set(re.findall(r"__mesos_agent_\w+", text)) & set(INDIRECT):
        found |= INDIRECT[name]
    for name in re.findall(r"(?:import|include)_tasks: (\S+)", text):
        found |= used(tasks.parent / name)
    return found


ENTRIES = [
    (role.name, entry)
    for role in sorted(ROLES.iterdir())
    for entry in yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
]


@pytest.mark.parametrize(("role", "entry"), ENTRIES)
def test_the_spec_of_an_entry_has_what_its_tasks_use(role, entry):
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    assert used(ROLES / role / f"tasks/{entry}.yml") - set(specs[entry]["options"]) == set()


@pytest.mark.parametrize("role", ["mesos_agent", "mesos_shim", "mesos_pull"])
def test_every_variable_is_in_the_specs_and_the_readme(role):
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = {name: option for spec in specs.values() for name, option in spec["options"].items()}
    readme = (ROLES / role / "README.md").read_text()
    for name, value in defaults.items():
        if "{{" not in str(value):
            assert options[name].get("default") == value
    for name in options:
        assert f"`{name}`" in readme
