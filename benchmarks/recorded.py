"""A fleet of which only the controller works: hosts whose answers have been recorded from one that is there.

The connection asks this machine the first time and keeps what it has answered, by module; from then on `cat` answers.
So a controller's processor time is its own, with a program started for each question as ssh would be.
"""

from __future__ import annotations

from pathlib import Path

from ansible.plugins.connection import local

# Ansible reads a plugin's options from the literal in its file, so the documentation of local is pasted in.
_PLUGIN = '''
DOCUMENTATION = r"""{documentation}"""

import os
import re
import subprocess

from ansible.plugins.connection import local


class Connection(local.Connection):
    transport = "recorded"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        asked = re.search(rb"containerizer[./]plugins[./]modules[./](\\w+)", in_data or b"")
        path = os.path.join(os.environ["RECORDED_ANSWERS"], asked[1].decode() if asked else "none")
        if asked and os.path.exists(path):
            done = subprocess.run(["cat", path], stdout=subprocess.PIPE, check=True)
            return 0, done.stdout, b""
        code, out, err = super().exec_command(cmd, in_data, sudoable)
        if asked and code == 0:
            with open(path + ".new", "wb") as stream:
                stream.write(out)
            os.rename(path + ".new", path)
        return code, out, err
'''


def environment(directory: Path) -> dict[str, str]:
    """What ansible-playbook needs for `ansible_connection: recorded`; answers are kept below `directory`."""
    plugins, answers = directory / "plugins", directory / "answers"
    for made in (plugins, answers):
        made.mkdir(parents=True)
    (plugins / "recorded.py").write_text(_PLUGIN.format(documentation=local.DOCUMENTATION))
    return {"ANSIBLE_CONNECTION_PLUGINS": str(plugins), "RECORDED_ANSWERS": str(answers)}
