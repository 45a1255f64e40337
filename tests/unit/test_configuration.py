"""The configuration as text: isolators by all of Mesos' names, private directories with each of their problems."""

from __future__ import annotations

import pytest

from mesos_shim.spec import config, config_tables


def problems(**keys: object) -> list[str]:
    return config.parse(keys, "c")[1]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["posix/disk"], ["disk/du"]),
        (["process"], ["posix/cpu", "posix/mem"]),
        (["cgroups"], ["cgroups/cpu", "cgroups/mem"]),
        (["cgroups/all"], ["cgroups/cpu", "cgroups/mem"]),
        (["cgroups", "cgroups/mem", "process", "posix/cpu"], ["posix/cpu", "posix/mem", "cgroups/cpu", "cgroups/mem"]),
        (["disk/du", "posix/disk", "filesystem/shared"], ["filesystem/shared", "disk/du"]),
    ],
)
def test_mesos_other_names_of_isolators(names: list[object], expected: list[str]) -> None:
    found, wrong = config.parse_isolation(names, "x")
    assert (list(found), wrong) == (expected, [])


@pytest.mark.parametrize("name", ["posix", "process ", "cgroups/net_cls", "", None, 3, ["process"], {"process": 1}])
def test_what_is_no_isolator(name: object) -> None:
    found, (wrong,) = config.parse_isolation([name, "process"], "x")
    assert found == ("posix/cpu", "posix/mem")
    assert f"x: {name!r} is not an isolator; known: filesystem/shared, " in wrong
    assert "process, cgroups, cgroups/all, posix/disk" in wrong


@pytest.mark.parametrize("item", ["staff", [""], ["a:b"], ["50"], [-1], [2**32 - 1], [True], [1.5], [["x"]], {}])
def test_what_are_no_groups(item: object) -> None:
    (wrong,) = problems(trusted_groups=item)
    assert wrong.startswith("c: trusted_groups")


def test_groups_by_name_and_number() -> None:
    found, wrong = config.parse({"trusted_groups": ["staff", 50]}, "c")
    assert (found.trusted_groups, wrong) == (["staff", 50], [])


def test_private_directories() -> None:
    found, wrong = config.parse(
        {
            "private_directories": {
                "/tmp/": {},
                "//var/tmp": {"base": "sandbox", "noexec": False},
                "/scratch": {"base": "/local//fast/", "size": "20g", "noexec": True},
                "/shm": {"base": None, "size": None, "noexec": None},
            }
        },
        "c",
    )
    assert wrong == []
    assert [(item.container_path, item.base, item.quota, item.noexec) for item in found.private_directories] == [
        ("/tmp", None, 0, None),
        ("/var/tmp", None, 0, False),
        ("/scratch", "/local/fast", 20 << 30, True),
        ("/shm", None, 0, None),
    ]
    assert [config_tables.bytes_of(text) for text in ("7", "1k", "2M", "3g", "1T")] == [
        7,
        1024,
        2 << 20,
        3 << 30,
        1 << 40,
    ]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (["/tmp"], "not an object of container paths"),
        ({"tmp": {}}, "['tmp'] is not absolute"),
        ({"/a/../b": {}}, "has a '..' component"),
        ({"/": {}}, "is the root directory"),
        ({"/proc/x": {}}, "belongs to the kernel"),
        ({"/tmp": "64m"}, "not an object of 'base', 'size' and 'noexec'"),
        ({"/tmp": {"mode": "RO"}}, "not an object of 'base', 'size' and 'noexec'"),
        ({"/tmp": {"base": "relative"}}, ".base: 'relative' is neither 'sandbox' nor the absolute path"),
        ({"/tmp": {"base": ""}}, ".base: '' is neither"),
        ({"/tmp": {"base": 3}}, ".base: 3 is neither"),
        ({"/tmp": {"base": "/a/.."}}, ".base: '/a/..' is neither"),
        ({"/tmp": {"base": "//"}}, ".base: '//' is the root directory"),
        ({"/tmp": {"size": 5}}, ".size: 5 is not a size"),
        ({"/tmp": {"size": "0"}}, ".size: '0' is not a size"),
        ({"/tmp": {"size": "50%"}}, ".size: '50%' is not a size"),
        ({"/tmp": {"noexec": "yes"}}, ".noexec: 'yes' is not true or false"),
        ({"/tmp": {}, "/tmp/": {}}, "'/tmp' is named twice"),
    ],
)
def test_what_is_wrong_with_a_private_directory(value: object, words: str) -> None:
    (found,) = problems(private_directories=value)
    assert found.startswith("c: private_directories")
    assert words in found


def test_one_path_on_disk_and_in_memory() -> None:
    (found,) = problems(private_directories={"/tmp": {}}, tmpfs={"/tmp/": "1m"})
    assert found == "c: private_directories['/tmp']: tmpfs names it too; remove it from one of them"
