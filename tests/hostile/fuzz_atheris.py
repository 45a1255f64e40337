"""Coverage-guided fuzzing of the parsers; run by test_fuzz.py: `fuzz_atheris.py -runs=N CORPUS_DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shim"))
with atheris.instrument_imports(include=["mesos_shim"]):
    from mesos_shim.agent import call, checkpoint, common, isolator_commands, launch_info
    from mesos_shim.errors import ShimError
    from mesos_shim.spec import config, container_info
    from mesos_shim.system import strict_json


def one_input(data: bytes) -> None:
    """The first byte chooses the reader; every reader ends with a value or a ShimError."""
    kind, data = data[:1], data[1:]
    try:
        if kind < b"\x40":
            for read in (checkpoint.container_config, checkpoint.executor_info):
                found = read(data, "data")
                if found.container_info is not None:
                    container_info.parse(found.container_info, "ContainerInfo")
            return
        value = strict_json.parse(data, "data")
        if kind < b"\x80":
            container_info.parse(value, "ContainerInfo")
        elif kind < b"\xc0":
            config.parse(value, "configuration")
        elif isinstance(value, dict):
            launch_info.Process(value)
            launch_info.groups(value)
        given = call.read(["--command={}", "--directory=/a", "--commands=" + data.decode("utf-8", "surrogateescape")])
        items = common.objects(given.launch_info().get("pre_exec_commands"), "--commands")
        isolator_commands.sort([common.command(item, "--commands") for item in items], None, False, "/a", "--commands")
    except ShimError:
        return


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
