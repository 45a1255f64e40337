"""Coverage-guided fuzzing of the parsers; run by test_fuzz.py: `fuzz_atheris.py -runs=N CORPUS_DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shim"))
with atheris.instrument_imports(include=["mesos_shim"]):
    from mesos_shim import config, container_info, jsontext
    from mesos_shim.agent import held, legacy, modern
    from mesos_shim.errors import ShimError


def one_input(data: bytes) -> None:
    """The first byte chooses the reader; every reader ends with a value or a ShimError."""
    kind, data = data[:1], data[1:]
    try:
        if kind < b"\x40":
            for read in (held.container_config, held.executor_info):
                found = read(data, "data")
                if found.container_info is not None:
                    container_info.parse(found.container_info, "ContainerInfo")
            return
        value = jsontext.parse(data, "data")
        if kind < b"\x80":
            container_info.parse(value, "ContainerInfo")
        elif kind < b"\xc0":
            config.parse(value, "configuration")
        elif isinstance(value, dict):
            modern.Launch(config.Config(), value, None)
            modern._environment(value)
            modern._groups(value)
            modern._limits(value)
        legacy._commands({"--commands": data.decode("utf-8", "surrogateescape")})
    except ShimError:
        return


atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
