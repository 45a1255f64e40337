"""What the collection says of itself against what is there."""

import re

import pytest
import yaml

from .conftest import CHECKOUT

COLLECTION = CHECKOUT / "collection"
ROLES = COLLECTION / "roles"
# Facts that one role leaves for another, or for a playbook; nobody sets them.
RESULTS = {"mesos_agent_rollout", "mesos_agent_drift", "mesos_agent_usage", "mesos_shim_staged"}


def test_the_action_group_has_every_module():
    modules = sorted(path.stem for path in (COLLECTION / "plugins/modules").glob("*.py"))
    assert yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["action_groups"]["all"] == modules


def test_an_old_name_leads_to_a_module_that_is_there():
    routed = yaml.safe_load((COLLECTION / "meta/runtime.yml").read_text())["plugin_routing"]["modules"]
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


def used(tasks):
    """The variables of operators that a file of tasks and what it imports use."""
    text = tasks.read_text()
    found = set(re.findall(r"(?<![\w./])mesos_(?:agent|shim)_\w+", text)) - RESULTS
    if "__mesos_agent_prefix" in text:
        found.add("mesos_shim_prefix")
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


@pytest.mark.parametrize("role", ["mesos_agent", "mesos_shim"])
def test_every_variable_is_in_the_specs_and_the_readme(role):
    defaults = yaml.safe_load((ROLES / role / "defaults/main.yml").read_text())
    specs = yaml.safe_load((ROLES / role / "meta/argument_specs.yml").read_text())["argument_specs"]
    options = {name: option for spec in specs.values() for name, option in spec["options"].items()}
    readme = (ROLES / role / "README.md").read_text()
    for name, value in defaults.items():
        assert options[name].get("default") == value
    for name in options:
        assert f"`{name}`" in readme
