# Copyright the mesos-shim authors
# GNU General Public License v3.0+ (see https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On the controller: where a release comes from."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError
from ansible_collections.mesos.containerizer.plugins.plugin_utils import _release_archive as release_archive


def test_an_archive_is_named_by_its_version_and_bytes(tmp_path):
    source = tmp_path / "shim/mesos_shim"
    source.mkdir(parents=True)
    (source / "__init__.py").write_text('__version__ = "1.2.3"\n', encoding="utf-8")
    (source / "__pycache__").mkdir()
    first = release_archive.build(source)[release_archive.ANY]
    (source / "__pycache__/x.pyc").write_text("", encoding="utf-8")
    assert release_archive.build(source)[release_archive.ANY] == first
    assert first.name == "1.2.3-" + first.sha256[:12]

    path = tmp_path / "release.tar.gz"
    path.write_bytes(first.content)
    assert release_archive.archives(str(path), first.sha256.upper(), None) == {release_archive.ANY: first}
    with pytest.raises(AnsibleError, match="as mesos_shim_archive_sha256 says"):
        release_archive.archives(str(path), "0" * 64, None)


def test_a_collection_without_a_release_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(release_archive, "_COLLECTION", tmp_path)
    with pytest.raises(AnsibleError, match="no release of the shim found"):
        release_archive.archives(None, None, None)
