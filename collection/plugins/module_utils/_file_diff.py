# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What Ansible's --diff shows of one file."""

from __future__ import annotations


def file_diff(path, before, after):
    """The texts before and after; None where the file is not there."""
    return {"before_header": path, "after_header": path, "before": before or "", "after": after or ""}
