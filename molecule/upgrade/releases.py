"""releases.py CHECKOUT DIRECTORY: two releases of a checkout, 1.tar.gz of version 0.0.1 and 2.tar.gz of 0.0.2."""

import re
import shutil
import sys
import tempfile
from pathlib import Path

checkout, out = map(Path, sys.argv[1:])
sys.path.insert(0, str(checkout / ".venv/collections"))

from ansible_collections.mesos.containerizer.plugins.plugin_utils import _release_archive as release_archive  # noqa: E402

for number in (1, 2):
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "shim/mesos_shim"
        shutil.copytree(checkout / "shim/mesos_shim", source)
        init = source / "__init__.py"
        init.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "0.0.{number}"', init.read_text()))
        (out / f"{number}.tar.gz").write_bytes(release_archive.build(source)[release_archive.ANY].content)
