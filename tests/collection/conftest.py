"""Modules run in this process, as Ansible would run them; playbooks run for real."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
PLUGINS = "ansible_collections.mesos.containerizer.plugins"

sys.path.insert(0, str(CHECKOUT / ".venv/collections"))


def run_module(name, check=False, **args):
    """The result of one module, with the raw text that it printed as `_raw`."""
    from ansible.module_utils import basic
    from ansible.module_utils.testing import patch_module_args

    args = {**args, "_ansible_check_mode": check, "_ansible_diff": True}
    out = io.StringIO()
    with patch_module_args(args), redirect_stdout(out), pytest.raises(SystemExit):
        import_module(f"{PLUGINS}.modules.{name}").main()
    basic._ANSIBLE_ARGS = None
    result = json.loads(out.getvalue())
    result["_raw"] = out.getvalue()
    return result


@pytest.fixture
def flags(tmp_path):
    """Calls agent_flags on a directory of its own; `flags.path` is that directory."""

    def call(wanted, check=False, **args):
        return run_module("agent_flags", check, **{"path": str(call.path), "flags": wanted, **args})

    call.path = tmp_path / "etc" / "mesos-slave"
    return call


def tree(path):
    """{relative name: text | None for a directory | the target of a link} of all that lies below a directory."""
    found = {}
    for item in sorted(Path(path).rglob("*")):
        name = str(item.relative_to(path))
        found[name] = f"-> {os.readlink(item)}" if item.is_symlink() else item.read_text() if item.is_file() else None
    return found


@pytest.fixture
def public_dir():
    """A directory that other users can enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp(prefix="mesos-collection-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


class Playbook:
    """What a run of ansible-playbook said."""

    def __init__(self, done):
        self.text = done.stdout + done.stderr
        self.code = done.returncode

    def recap(self, what):
        """A number of the recap's only host."""
        return int(self.text.rsplit(f"{what}=", 1)[1].split()[0])

    def transport_calls(self):
        """How often the host was asked for anything (of a run with -vvv)."""
        return sum(f"> {verb} " in line for line in self.text.splitlines() for verb in ("EXEC", "PUT", "FETCH"))


def play(playbook, *arguments, cwd=CHECKOUT, as_user=None, variables=None):
    """Runs a playbook on this machine, as another user where told so."""
    command = [str(CHECKOUT / ".venv/bin/ansible-playbook")]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "MESOS_"))}
    env["ANSIBLE_NOCOLOR"] = "1"
    if as_user is not None:
        # Another user may not reach the interpreter of .venv: the system's own runs the same packages.
        site = next((CHECKOUT / ".venv/lib").glob("python3*/site-packages"))
        command = ["setpriv", f"--reuid={as_user}", f"--regid={as_user}", "--clear-groups", "--no-new-privs"]
        command += ["/usr/bin/python3", "-c", "from ansible.cli.playbook import main; main()"]
        env.update(PYTHONPATH=str(site), HOME=str(cwd), TMPDIR=str(cwd))
        env.pop("XDG_RUNTIME_DIR", None)
    command += [str(playbook), *arguments]
    if variables is not None:
        command += ["-i", "localhost,", "-e", json.dumps(variables)]
    return Playbook(subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=100, check=False))
