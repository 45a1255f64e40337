"""Modules run in this process, as Ansible would run them; playbooks run for real."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from .shim import CHECKOUT

PLUGINS = "ansible_collections.mesos.containerizer.plugins"

sys.path.insert(0, str(CHECKOUT / ".venv/collections"))


def run_module(name: str, check: bool = False, **args: Any) -> dict[str, Any]:
    """The result of one module, with the raw text that it printed as `_raw` and its warnings as `_warnings`."""
    from ansible.module_utils import basic
    from ansible.module_utils.testing import patch_module_args

    # no_log as Ansible itself sends it: it takes the place of what a module has said.
    args = {**args, "_ansible_check_mode": check, "_ansible_diff": True, "_ansible_no_log": False}
    out = io.StringIO()
    warnings: list[str] = []
    with patch_module_args(args), redirect_stdout(out), pytest.raises(
        SystemExit
    ), pytest.MonkeyPatch.context() as patch:
        # Ansible shows a warning instead of returning it once something of its controller's half was imported.
        patch.setattr(basic.AnsibleModule, "warn", lambda self, text: warnings.append(text))
        import_module(f"{PLUGINS}.modules.{name}").main()
    basic._ANSIBLE_ARGS = None
    result: dict[str, Any] = json.loads(out.getvalue())
    result.update(_raw=out.getvalue(), _warnings=" ".join(warnings))
    return result


def tree(path: Path) -> dict[str, str | None]:
    """{relative name: text | None for a directory | the target of a link} of all that lies below a directory."""
    found = {}
    for item in sorted(Path(path).rglob("*")):
        name = str(item.relative_to(path))
        found[name] = (
            f"-> {os.readlink(item)}"
            if item.is_symlink()
            else item.read_text(errors="backslashreplace")
            if item.is_file()
            else None
        )
    return found


class LocalHost:
    """This machine under a name of its own, everything below a directory of its own."""

    def __init__(self, root: Path) -> None:
        root.mkdir()
        self.root = root
        self.prefix = root / "opt"
        self.variables: dict[str, Any] = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "/usr/bin/python3",
            "mesos_shim_prefix": str(self.prefix),
            "mesos_agent_flags_dir": str(root / "etc/mesos-slave"),
            "mesos_agent_flags": {"isolation": "posix/cpu,posix/mem", "work_dir": str(root / "work")},
            "mesos_agent_default_container_info": {
                "type": "MESOS",
                "volumes": [{"host_path": "tmp", "container_path": "/tmp", "mode": "RW"}],
            },
        }

    def has_run(self) -> None:
        """Its agent has registered once, which is what makes an identity of its flags."""
        slaves = self.root / "work/meta/slaves"
        slaves.mkdir(parents=True)
        (slaves / "latest").symlink_to("S0")


class LocalFleet:
    """Several such hosts, provisioned by one run of the site playbook."""

    def __init__(self, root: Path, checkout: Path) -> None:
        self.root, self.checkout = root, checkout

    def host(self, name: str) -> LocalHost:
        return LocalHost(self.root / name)

    def site(
        self,
        hosts: LocalHost | dict[LocalHost, dict[str, Any]],
        *arguments: str,
        playbook: str = "site",
        **changed: Any,
    ) -> Playbook:
        """hosts: {LocalHost: variables changed for it}, or one LocalHost."""
        hosts = {hosts: changed} if isinstance(hosts, LocalHost) else hosts
        inventory = self.root / "inventory.json"
        known = {host.root.name: {**host.variables, **own} for host, own in hosts.items()}
        inventory.write_text(json.dumps({"mesos_agents": {"hosts": known}}))
        return play(playbook, "-i", str(inventory), *arguments, cwd=self.checkout)

    def rollout(
        self, hosts: dict[LocalHost, dict[str, Any]], *arguments: str, playbook: str = "rollout"
    ) -> tuple[Playbook, dict[str, tuple[str, str]]]:
        """(the run, {host name: [state, why]} of its summary); more than one playbook in one run where given."""
        done = self.site(hosts, *arguments, playbook=playbook)
        return done, summary(done.text, [host.root.name for host in hosts])


STATES = "done|unchanged|failed|refused|unreachable|not started|not confirmed|would change|died"


def summary(text: str, names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """{host: (state, what else is said of it)} of a rollout's summary, where hosts share a line."""
    any_of = "|".join(map(re.escape, names))
    found = re.findall(rf'^ *"((?:{any_of})(?:, (?:{any_of}))*) +({STATES})\b(.*?)",?$', text, re.MULTILINE)
    return {name: (state, rest) for hosts, state, rest in found for name in hosts.split(", ")}


def hostvars(**records: dict[str, Any]) -> Any:
    """What a rollout has recorded of hosts; whoever asks for anything else of them fails."""
    facts = {name: {"mesos_agent_rollout": record} for name, record in records.items()}
    return SimpleNamespace(_variable_manager=SimpleNamespace(_nonpersistent_fact_cache=facts))


@pytest.fixture(scope="session")
def clone() -> Iterator[Path]:
    """The checkout as these tests find it: nobody's editing meanwhile makes another release of it."""
    root = Path(tempfile.mkdtemp(prefix="mesos-clone-"))
    root.chmod(0o755)
    yield clone_to(root / "clone")
    shutil.rmtree(root)


def clone_to(path: Path) -> Path:
    """A copy of what a clone has of the collection and the shim, prepared as the bootstrap does."""
    for part in ("collection", "playbooks", "shim"):
        shutil.copytree(CHECKOUT / part, path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "ansible.cfg", path)
    home = path / ".venv/collections/ansible_collections/mesos"
    home.mkdir(parents=True)
    (home / "containerizer").symlink_to("../../../../collection")
    return path


class Playbook:
    """What a run of ansible-playbook said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.text = done.stdout + done.stderr
        self.code = done.returncode

    def recap(self, what: str) -> int:
        """A number of the recap's only host."""
        return int(self.text.rsplit(f"{what}=", 1)[1].split()[0])

    def failure(self, host: LocalHost) -> str:
        """Why a host failed; empty where it did not."""
        return "".join(line for line in self.text.splitlines() if line.startswith(f"fatal: [{host.root.name}]"))

    def transport_calls(self) -> int:
        """How often the host was asked for anything (of a run with -vvv)."""
        return sum(f"> {verb} " in line for line in self.text.splitlines() for verb in ("EXEC", "PUT", "FETCH"))


def neutral_environment(*also: str) -> dict[str, str]:
    """This process's variables, without settings of Ansible and of ours, and without those that begin with `also`."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "MESOS_", *also))}


def play(playbook: str, *arguments: str, cwd: Path, as_user: int | None = None) -> Playbook:
    """Runs a playbook of a checkout, as another user where told so."""
    command = [str(CHECKOUT / ".venv/bin/ansible-playbook")]
    env = neutral_environment()
    env["ANSIBLE_NOCOLOR"] = "1"
    if as_user is not None:
        # Another user may not reach the interpreter of .venv: the system's own runs the same packages.
        site = next((CHECKOUT / ".venv/lib").glob("python3*/site-packages"))
        command = ["setpriv", f"--reuid={as_user}", f"--regid={as_user}", "--clear-groups", "--no-new-privs"]
        command += ["/usr/bin/python3", "-c", "from ansible.cli.playbook import main; main()"]
        env.update(PYTHONPATH=str(site), HOME=str(cwd), TMPDIR=str(cwd))
        env.pop("XDG_RUNTIME_DIR", None)
    command += [f"playbooks/{playbook}.yml", *arguments]
    return Playbook(subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False))
