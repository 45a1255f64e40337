"""agent_flags: what it writes, what it refuses, what it never shows, what a kill leaves."""

import errno
import json
import os
import resource
import stat
import sys
from importlib import import_module

import pytest

from tests.lib.collection import PLUGINS, run_module, tree
from tests.lib.waiting import wait_until

directory = import_module(f"{PLUGINS}.module_utils._flag_directory")
service = import_module(f"{PLUGINS}.module_utils._agent_service")

INFO = {"volumes": [{"mode": "RW", "container_path": "/tmp", "host_path": "tmp"}], "type": "MESOS"}
CANONICAL = '{"type":"MESOS","volumes":[{"container_path":"/tmp","host_path":"tmp","mode":"RW"}]}'


@pytest.mark.parametrize(
    ("wanted", "files"),
    [
        ({"isolation": "posix/cpu,posix/mem"}, {"isolation": "posix/cpu,posix/mem\n"}),
        ({"switch_user": True}, {"?switch_user": ""}),
        ({"switch_user": False}, {"?no-switch_user": ""}),
        ({"strict": "false"}, {"?no-strict": ""}),
        ({"port": 5051}, {"port": "5051\n"}),
        (
            {"gc_delay": "1.5weeks", "fetcher_cache_size": "2GB"},
            {"gc_delay": "1.5weeks\n", "fetcher_cache_size": "2GB\n"},
        ),
        (
            {"attributes": {"rack": "a", "rank": 1, "ssd": True, "gone": None}},
            {"attributes": None, "attributes/rack": "a\n", "attributes/rank": "1\n", "attributes/ssd": "true\n"},
        ),
        ({"attributes": "rack:a;rank:1"}, {"attributes": "rack:a;rank:1\n"}),
        ({"resources": {"ports": "[31000-32000]"}}, {"resources": None, "resources/ports": "[31000-32000]\n"}),
        (
            {"resources": [{"type": "SCALAR", "scalar": {"value": 4}, "name": "cpus"}]},
            {"resources": '[{"name":"cpus","scalar":{"value":4},"type":"SCALAR"}]\n'},
        ),
        ({"default_container_info": INFO}, {"default_container_info": CANONICAL + "\n"}),
        ({"default_container_info": json.dumps(INFO)}, {"default_container_info": CANONICAL + "\n"}),
        ({"credential": "/etc/mesos-credential"}, {"credential": "/etc/mesos-credential\n"}),
        ({"quiet": None, "ip": "10.0.0.1"}, {"ip": "10.0.0.1\n"}),
        ({"attributes": {}, "resources": {"cpus": None}, "ip": "10.0.0.1"}, {"ip": "10.0.0.1\n"}),
    ],
)
def test_writes_what_the_init_wrapper_reads(flags, wanted, files):
    result = flags(wanted)
    assert result["changed"] and result["restart_required"] and tree(flags.path) == files
    again = flags(wanted)
    assert not again["changed"] and again["changed_flags"] == [] and not again["restart_required"]
    assert tree(flags.path.parent) == {"mesos-slave": None, **{f"mesos-slave/{n}": t for n, t in files.items()}}


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"isolatoin": "posix/cpu"}, "flag isolatoin is unknown; did you mean isolation?"),
        ({"work-dir": "/x"}, "did you mean work_dir?"),
        ({"isolation.rpmnew": "x"}, "isolation.rpmnew is unknown; did you mean isolation?"),
        ({"../evil": "x"}, "flag ../evil is unknown"),
        (
            {"quiet": True, "no-quiet": "yes"},
            'flag quiet is set and negated in mesos_agent_flags (quiet: true; no-quiet: "yes")',
        ),
        ({"?no-quiet": True}, "write it as quiet: false"),
        ({"quiet": "maybe"}, 'flag quiet: "maybe" is not a boolean'),
        ({"isolation": True}, "flag isolation: true is not a string"),
        ({"isolation": ["posix/cpu"]}, "join the items"),
        ({"gc_delay": "10"}, 'flag gc_delay: "10" is not a duration'),
        ({"gc_delay": 10}, "for example 10secs"),
        ({"fetcher_cache_size": "2G"}, "is not a size"),
        ({"port": 65536}, "is not a port"),
        ({"logbufsecs": -1}, "is not a whole number"),
        ({"modules": "{"}, "flag modules is neither JSON nor an absolute path"),
        ({"modules": '{"a":1,"a":2}'}, 'the key "a" occurs twice'),
        ({"modules": '{"a":NaN}'}, "NaN is not JSON"),
        ({"modules": "[" * 100000}, "nested too deep"),
        ({"default_container_info": []}, "is not a ContainerInfo"),
        ({"attributes": "rack"}, "write key:value pairs"),
        (
            {"attributes": "a:b;rack:{a,b}"},
            "flag attributes, key rack: '{a,b}' is not a number, ranges like [1-5] or a text",
        ),
        ({"attributes": {"rack": "[abc]"}}, "flag attributes, key rack: '[abc]' is not"),
        ({"attributes": ["rack:a"]}, 'flag attributes: ["rack:a"] is not a map or a string'),
        ({"attributes": {"true": False}}, "flag attributes, key true: YAML makes this of an unquoted on"),
        ({"false": True}, "flag false is unknown: YAML makes this of an unquoted on"),
        ({"resources": ["cpus:4"]}, "flag resources, resource 1 of the list is not a map with name, type and value"),
        ({"resources": [{"name": "cpus", "scalar": {"value": 4}}]}, "resource 1 of the list (cpus) has no type"),
        ({"isolation": "posix/cpu,\nposix/mem"}, "is not one line; remove the line break"),
        ({"master": "zk://h:2181/\nmesos"}, "flag master: "),
        ({"hostname": "a\r\n"}, "is not one line"),
        ({"credential": {"principal": "p", "secret": "s"}}, "flag credential: give the absolute path of a file"),
        ({"http_credentials": '{"credentials":[]}'}, "a file of mode 0600 that the agent's user can read"),
        ({"jwt_secret_key": "sesame"}, "flag jwt_secret_key: give the absolute path"),
        ({"jwt_secret_key": "etc/key"}, "flag jwt_secret_key: give the absolute path"),
        ({"attributes": {"../x": "1"}}, 'the key "../x" cannot be a file name'),
        ({"attributes": {".x": "1"}}, "cannot be a file name"),
        *(
            ({"attributes": {f"rack{end}": "1"}}, f"key rack{end}: a file of that name counts as a backup")
            for end in (".old", ".bak", ".orig", ".tmp", ".swp", ".rpmnew", ".dpkg-dist", "~")
        ),
        ({"resources": {"cpus.old": 1}}, "flag resources, key cpus.old: a file of that name counts as a backup"),
        ({"attributes": {"rack": "a;zone:b"}}, "would start another key"),
        ({"attributes": {"rack": ""}}, "the value is empty"),
        (
            {"checkpoint": True, "image_providers": "docker", "slave_subsystems": "cpu", "quiet": True},
            "flags checkpoint, slave_subsystems are of Mesos 0.21 only and image_providers of 1.x only",
        ),
        ({"hostname": ""}, "flag hostname: the value is empty; null leaves the flag out"),
        ({"master": "\n"}, "flag master: the value is empty"),
        ({"recover": "banana"}, "flag recover: 'banana' is not one of reconnect, cleanup"),
        ({"hostname": "a\0b"}, "NUL"),
        ({"hostname": "h" * 131072}, "but a command line takes at most"),
        ({"help": True}, "flag help makes the agent print and exit"),
        ({"isolatoin": "x", "gc_delay": "x"}, "; flag isolatoin is unknown"),
    ],
)
def test_refuses_by_name_and_writes_nothing(flags, wanted, says):
    result = flags(wanted)
    assert result["failed"] and says in result["msg"] and "\n" not in result["msg"]
    assert not flags.path.parent.exists()


@pytest.mark.parametrize("mode", ["0666", "0755", "rw", "0o644x", 0o4644])
def test_refuses_unsafe_modes(flags, mode):
    assert flags({}, mode=mode)["msg"].startswith("mode: give octal")


def test_check_mode_says_the_same_and_touches_nothing(flags):
    wanted = {"isolation": "posix/cpu", "quiet": True, "attributes": {"rack": "a"}}
    foreseen = flags(wanted, check=True)
    assert foreseen["changed"] and not flags.path.parent.exists()
    done = flags(wanted)
    assert [foreseen[k] for k in ("changed_flags", "diff")] == [done[k] for k in ("changed_flags", "diff")]
    (flags.path / "isolation.rpmnew").write_text("x")
    before = tree(flags.path)
    assert flags({"isolation": "posix/mem"}, check=True, allow_incompatible=["attributes"])["changed"]
    assert tree(flags.path) == before


def test_diff_shows_flags_by_line(flags):
    flags({"quiet": True, "isolation": "a"})
    diff = flags({"quiet": False, "isolation": "a"})["diff"]
    assert "?quiet  (0644" in diff["before"] and "?no-quiet  (0644" in diff["after"]
    assert diff["before"].splitlines()[-1] == diff["after"].splitlines()[-1]


def litter(path):
    """What the wrapper would trip over or must not be led by; returns the names, and what the link leads to."""
    outside = path.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep me")
    for name in (
        "isolation.rpmnew",
        ".isolation.swp",
        "isolation.12.2026-01-01@10:00:00~",
        "attributes/rack.dpkg-dist",
        "attributes/.rack",
    ):
        (path / name).write_text("x")
    os.symlink(outside, path / "attributes" / "link")
    os.symlink(outside / "missing", path / "hostname")
    os.mkfifo(path / "fifo")
    (path / "dir").mkdir()
    os.symlink(outside, path / "dir" / "inner")
    names = [
        ".isolation.swp",
        "attributes/.rack",
        "attributes/link",
        "attributes/rack.dpkg-dist",
        "dir",
        "fifo",
        "hostname",
    ]
    return sorted([*names, "isolation.12.2026-01-01@10:00:00~", "isolation.rpmnew"]), outside


WANTED = {"isolation": "posix/cpu", "attributes": {"rack": "a"}}
WRITTEN = {"isolation": "posix/cpu\n", "attributes": None, "attributes/rack": "a\n"}


@pytest.fixture
def linked(flags):
    """A directory as operators have it who keep their flags elsewhere: files, a key and a directory are links."""
    kept = flags.path.parent / "kept"
    (kept / "resources").mkdir(parents=True)
    (flags.path / "attributes").mkdir(parents=True)
    for name, text in {"isolation": "posix/cpu\n", "quiet": "", "rack": "a\n", "resources/cpus": "4\n"}.items():
        (kept / name).write_text(text)
    for link, name in {
        "isolation": "isolation",
        "?quiet": "quiet",
        "attributes/rack": "rack",
        "resources": "resources",
    }.items():
        (flags.path / link).symlink_to(kept / name)
    return kept


LINKED = {"isolation": "posix/cpu", "quiet": True, "attributes": {"rack": "a"}, "resources": {"cpus": "4"}}


def test_a_link_is_a_flag_as_it_is_to_the_wrapper(flags, linked):
    """Its change has its effect; what we write in its place is a file, and where it led to nothing changes."""
    before = tree(linked)
    found = run_module("agent_flags_info", path=str(flags.path))
    assert (found["flags"], found["foreign_files"]) == (LINKED, [])
    assert "posix/cpu  (link to 0644" in flags(LINKED, check=True)["diff"]["before"]
    (change,) = flags({**LINKED, "isolation": "posix/mem"}, check=True)["changed_flags"]
    assert (change["before"], change["effect"]) == ("posix/cpu", "restart")
    written = flags(LINKED)
    assert written["changed"] and written["changed_flags"] == [] and not written["restart_required"]
    assert tree(flags.path) == {
        "?quiet": "",
        "attributes": None,
        "attributes/rack": "a\n",
        "isolation": "posix/cpu\n",
        "resources": None,
        "resources/cpus": "4\n",
    }
    assert not flags(LINKED)["changed"] and tree(linked) == before


def test_without_purge_links_stay_links(flags, linked):
    before = tree(flags.path)
    assert flags({"gc_delay": "1days", "quiet": True}, purge=False)["changed"]
    assert tree(flags.path) == {**before, "?quiet": "", "gc_delay": "1days\n"}
    assert not flags({"gc_delay": "1days"}, purge=False)["changed"]


def test_a_link_that_leads_nowhere_or_to_no_file_is_no_flag(flags):
    flags.path.mkdir(parents=True)
    (flags.path / "isolation").symlink_to("/no/such")
    (flags.path / "gc_delay").symlink_to("/dev/null")
    (flags.path / "master").symlink_to("master")
    result = flags({"gc_delay": "1days"})
    assert result["foreign_files"] == ["gc_delay", "isolation", "master"]
    assert tree(flags.path) == {"gc_delay": "1days\n"}


def test_the_wrappers_own_word_is_known(flags):
    assert flags({"logger": False, "gc_delay": "1days"})["changed"]
    assert tree(flags.path) == {"?no-logger": "", "gc_delay": "1days\n"}
    assert not flags({"logger": "false", "gc_delay": "1days"})["changed"]
    for wrong in (True, "x", 1):
        assert "flag logger: it is a word of the init wrapper" in flags({"logger": wrong})["msg"]
    (change,) = flags({"gc_delay": "1days"})["changed_flags"]
    assert change == {"name": "logger", "before": False, "after": None, "effect": "restart"}


def test_foreign_files_are_named_and_purged_and_links_not_followed(flags):
    flags(WANTED)
    names, outside = litter(flags.path)
    result = flags(WANTED)
    assert sorted(result["foreign_files"]) == names
    assert result["changed"] and result["changed_flags"] == [] and not result["restart_required"]
    assert tree(flags.path) == WRITTEN and tree(outside) == {"precious": "keep me"}


@pytest.mark.parametrize("whole", [True, False])
def test_without_purge_everything_else_stays(flags, whole):
    flags({**WANTED, "quiet": True})
    names, outside = litter(flags.path)
    if whole:  # without a foreign directory the whole directory can be replaced
        (flags.path / "dir" / "inner").unlink()
        (flags.path / "dir").rmdir()
        names.remove("dir")
    (flags.path / "hostname").unlink()
    names.remove("hostname")
    os.unlink(flags.path / "fifo")
    names.remove("fifo")
    before = tree(flags.path)
    result = flags({"isolation": "posix/mem"}, purge=False)
    assert sorted(result["foreign_files"]) == names and [c["name"] for c in result["changed_flags"]] == ["isolation"]
    assert tree(flags.path) == {**before, "isolation": "posix/mem\n"}
    changed = flags({"attributes": {"rack": "b"}, "quiet": None}, purge=False, allow_incompatible=["attributes"])
    assert changed["changed"]
    before.pop("?quiet")
    assert tree(flags.path) == {**before, "isolation": "posix/mem\n", "attributes/rack": "b\n"}
    assert tree(outside) == {"precious": "keep me"}
    assert not flags({}, purge=False)["changed"]


def test_without_purge_a_foreign_file_in_the_way_is_refused(flags):
    flags(WANTED)
    litter(flags.path)
    before = tree(flags.path) if not (flags.path / "fifo").unlink() else None
    assert "hostname is in the way" in flags({"hostname": "h"}, purge=False, allow_incompatible=["hostname"])["msg"]
    allowed = {"purge": False, "allow_incompatible": ["attributes"]}
    assert "attributes/.rack is in the way" in flags({"attributes": "rack:b"}, **allowed)["msg"]
    assert tree(flags.path) == before


def test_purge_removes_flags_that_are_not_wanted(flags):
    flags({"isolation": "a", "quiet": True, "gc_delay": "1days"})
    result = flags({"isolation": "a"})
    assert [(c["name"], c["before"], c["after"]) for c in result["changed_flags"]] == [
        ("gc_delay", "1days", None),
        ("quiet", True, None),
    ]
    assert tree(flags.path) == {"isolation": "a\n"}


def test_never_owns_a_link_a_file_a_mount_or_the_root(flags, tmp_path):
    flags.path.parent.mkdir()
    (tmp_path / "real").mkdir()
    flags.path.symlink_to(tmp_path / "real")
    assert "is a symbolic link" in flags({"ip": "x"})["msg"]
    flags.path.unlink()
    flags.path.write_text("x")
    assert "is not a directory" in flags({"ip": "x"})["msg"]
    assert "is a mount point" in flags({"ip": "x"}, path="/proc", allow_incompatible=["ip"])["msg"]
    assert "give the absolute path" in flags({"ip": "x"}, path="/..")["msg"]


def test_mounts_below_are_found_by_their_escaped_names(monkeypatch, tmp_path):
    table = tmp_path / "mountinfo"
    lines = [rf"1 2 8:1 / {tmp_path}/my\040flags/deep rw - ext4 /dev/x rw", "2 1 8:2 / /a\rb rw - ext4 /dev/y rw"]
    table.write_bytes("\n".join([*lines, ""]).encode())
    real_open = open
    monkeypatch.setattr(
        "builtins.open", lambda path, *a, **k: real_open(str(path).replace("/proc/self/mountinfo", str(table)), *a, **k)
    )
    with pytest.raises(ValueError, match="my flags/deep is a mount point"):
        directory.refuse_mounts(f"{tmp_path}/my flags")
    directory.refuse_mounts(f"{tmp_path}/my flag")


SECRETS = {
    "master": "zk://agent:p@ss/w0rd@10.0.0.1:2181/mesos",
    "credential": "/etc/sesame0",
    "docker_config": '{"auths":{"h":{"auth":"sesame1"}}}',
    "modules": {
        "libraries": [{"parameters": [{"value": "zk://u:sesame2@h"}, {"key": "db_password", "value": "sesame12"}]}]
    },
}
HIDDEN = ("p@ss", "w0rd", "sesame")


def no_secret(text):
    assert not [word for word in HIDDEN if word in text]


@pytest.fixture
def logged(monkeypatch):
    """What modules write to the host's syslog."""
    lines = []
    monkeypatch.setattr("ansible.module_utils.basic.has_journal", False)
    monkeypatch.setattr("syslog.syslog", lambda *args: lines.append(repr(args)))
    return lines


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("agent_flags", {"path": "etc"}),
        ("agent_generation", {"path": "etc", "prefix": "opt", "url_password": "sesame3"}),
        ("agent_preflight_info", {"path": "etc", "prefix": "opt"}),
    ],
)
def test_no_secret_is_written_to_the_hosts_log(tmp_path, logged, name, args):
    args = {key: str(tmp_path / value) if key in ("path", "prefix") else value for key, value in args.items()}
    assert "msg" not in run_module(name, flags=SECRETS, **args)
    no_secret(" ".join(logged))


def test_secrets_are_shown_nowhere(flags, logged):
    allowed = {"allow_incompatible": ["docker_config"]}
    first = flags(SECRETS, **allowed)
    no_secret(first["_raw"])
    assert "zk://agent:********@10.0.0.1:2181/mesos" in first["_raw"]
    no_secret(flags({**SECRETS, "master": "zk://agent:p@ss2@h/m"}, **allowed)["_raw"])
    refused = flags(
        {"credential": {"principal": "agent", "secret": "sesame13"}, "jwt_secret_key": "sesame14"}, **allowed
    )
    assert "give the absolute path" in refused["msg"]
    no_secret(refused["_raw"])
    no_secret(flags({"quiet": True}, check=True)["_raw"])  # refused, and shows what would go
    for name, value in (("credential", '{"secret":"sesame'), ("credential", True), ("gc_delay", SECRETS["master"])):
        result = flags({**SECRETS, name: value}, **allowed)
        assert result["failed"]
        no_secret(result["_raw"])
    for wrong in (
        {"credentials": "sesame4"},
        {"Credential": {"secret": "sesame5"}},
        {"no-credential": "sesame6"},
        {"credential": "sesame6", "no-credential": "sesame6"},
        {"?credential": "sesame7"},
        {"zk://u:sesame8@h": 1},
        {"attributes": {"zk://u:sesame9 x@h": "1"}},
        {"credential": '{"sesame10": 1, "sesame10": 2}'},
        {"master": ["zk://u:hun sesame@h"]},
    ):
        result = flags(wrong, **allowed)
        assert result["failed"]
        no_secret(result["_raw"])
    no_secret(run_module("agent_gate", path=str(flags.path), url="http://u:sesame11@127.0.0.1:9", timeout=0)["_raw"])
    no_secret(flags(SECRETS, no_such_option=1)["_raw"])
    no_secret(flags(json.dumps(SECRETS)[:-1])["_raw"])
    no_secret(run_module("agent_flags_info", path=str(flags.path))["_raw"])
    no_secret(" ".join(logged))


def test_files_with_a_secret_are_closed_to_others(flags):
    flags({"master": SECRETS["master"], "isolation": "a"})
    assert [stat.S_IMODE((flags.path / n).stat().st_mode) for n in ("master", "isolation")] == [0o640, 0o644]


@pytest.mark.parametrize("empty", [{}, {"rack": None}])
def test_a_map_without_a_key_takes_the_flag_away(flags, empty):
    flags(WANTED)
    (change,) = flags({**WANTED, "attributes": empty}, allow_incompatible=["attributes"])["changed_flags"]
    assert (change["name"], change["after"]) == ("attributes", None)
    assert tree(flags.path) == {"isolation": "posix/cpu\n"}


def test_effects_of_changes(flags, tmp_path):
    base = {"attributes": {"rack": "a"}, "isolation": "a", "modules": '{"a": 1, "b": 2}', "recover": "cleanup"}
    base.update(gc_delay="1mins", fetcher_cache_size="1GB")
    flags({**base, "containerizers": "mesos", "launcher_dir": "/old", "runtime_dir": "/run/m"})
    (tmp_path / "new").mkdir()

    def effect(name, value):
        result = flags({name: value}, check=True, purge=False, allow_incompatible=[name])
        return [c["effect"] for c in result["changed_flags"]]

    assert effect("attributes", "rack:a") == ["none"]
    assert effect("modules", {"b": 2, "a": 1}) == []
    assert effect("gc_delay", "60secs") == ["none"] and effect("gc_delay", "61secs") == ["restart"]
    assert effect("fetcher_cache_size", "1024MB") == ["none"]
    assert effect("isolation", "b") == ["restart"]
    assert effect("attributes", {"rack": "b"}) == ["incompatible"]
    assert effect("runtime_dir", None) == ["incompatible"]
    assert effect("recover", "reconnect") == ["restart"]
    assert effect("containerizers", "docker,mesos") == ["restart"]
    assert effect("containerizers", "docker") == ["incompatible"]
    assert effect("ip", "10.0.0.2") == ["incompatible"]
    assert effect("launcher_dir", str(tmp_path / "new")) == ["restart"]  # no mesos-executor before, none after
    (tmp_path / "new" / "mesos-executor").touch()
    assert effect("launcher_dir", str(tmp_path / "new")) == ["incompatible"]


def test_incompatible_changes_need_their_name(flags):
    flags({"attributes": {"rack": "a"}, "resources": {"cpus": 1}, "quiet": True})
    before = tree(flags.path)
    wanted = {"attributes": {"rack": "b"}, "resources": {"cpus": 2}}
    for check in (True, False):
        result = flags(wanted, check=check, allow_incompatible=["resources"])
        assert "attributes (part of the agent's identity)" in result["msg"] and "resources (" not in result["msg"]
        assert result["changed_flags"][0]["effect"] == "incompatible"
    result = flags(wanted, allow_incompatible=["resources", "atributes"])
    assert result["msg"].startswith("allow_incompatible: atributes is not a flag; did you mean attributes?; ")
    assert tree(flags.path) == before
    assert flags(wanted, allow_incompatible=["resources", "attributes"])["changed"]


def test_first_flags_are_incompatible_only_where_an_agent_has_run(flags, tmp_path):
    wanted = {"work_dir": str(tmp_path / "work"), "attributes": {"rack": "a"}}
    assert not flags(wanted, check=True).get("failed")
    state = tmp_path / "work/meta/slaves"
    state.mkdir(parents=True)
    os.symlink("S0", state / "latest")
    assert "attributes" in flags(wanted, check=True)["msg"]


@pytest.mark.parametrize("where", ["file", "variable"])
def test_a_package_that_was_only_installed_has_no_identity(flags, tmp_path, monkeypatch, where):
    """Its flags are there before any agent has registered; whose work_dir is not known is taken for one that has."""
    default = tmp_path / "default"
    monkeypatch.setattr(import_module(f"{PLUGINS}.module_utils._flag_change"), "ENVIRONMENT_FILES", (str(default),))
    flags.path.mkdir(parents=True)
    work_dir = {"work_dir": str(tmp_path / "work")}
    (flags.path / "hostname").write_text("localhost")
    wanted = {"hostname": "h", "attributes": {"rack": "a"}, "resources": "cpus:4", **work_dir}
    assert "attributes" in flags(wanted, check=True)["msg"]
    if where == "file":
        (flags.path / "work_dir").write_text(work_dir["work_dir"])
    else:
        default.write_text(f'export MESOS_WORK_DIR="{work_dir["work_dir"]}"\n')
        del wanted["work_dir"]
    foreseen = flags(wanted, check=True)
    assert {change["effect"] for change in foreseen["changed_flags"]} == {"restart"}
    state = tmp_path / "work/meta/slaves"
    state.mkdir(parents=True)
    assert not flags(wanted, check=True).get("failed")
    os.symlink("S0", state / "latest")
    assert "attributes" in flags(wanted, check=True)["msg"]


@pytest.mark.parametrize("value", ["", " ", "\n"])
def test_an_empty_value_of_any_kind_is_named_as_that(flags, value):
    for name in ("isolation", "gc_delay", "port", "quiet", "acls", "attributes", "credential", "fetcher_cache_size"):
        assert flags({name: value})["msg"] == f"flag {name}: the value is empty; null leaves the flag out"


def test_everything_that_is_wrong_is_said_at_once(flags):
    flags.path.mkdir(parents=True)
    for name in ("attributes", "hostname", "?quiet", "?no-quiet"):
        (flags.path / name).write_text("rack:a")
    before = tree(flags.path)
    wanted = {"attributes": "rack:b", "hostname": "a\nb", "gc_delay": "soon", "recover": "never", "isolatoin": "x"}
    refused = flags(wanted, allow_incompatible=["isolatoin"], mode="0777", owner="nobody-at-all", purge=False)
    says = [
        "mode: give octal permissions",
        "owner: the host knows no nobody-at-all",
        "flag gc_delay: ",
        "flag hostname: ",
        "flag isolatoin is unknown",
        "flag quiet exists more than once",
        "allow_incompatible: isolatoin is not a flag",
        "a running agent may not recover from changing attributes (part of the agent's identity). Nothing",
        "flag recover: 'never' is not one of",
    ]
    positions = [refused["msg"].find(what) for what in says]
    assert positions == sorted(positions) and positions[0] == 0, refused["msg"]
    assert refused["changed_flags"] and tree(flags.path) == before


def test_contradictions_on_the_host(flags):
    flags({"isolation": "a"})
    for name in ("?quiet", "?no-quiet"):
        (flags.path / name).touch()
    assert "flag quiet exists more than once (?no-quiet, ?quiet)" in flags({"isolation": "b"}, purge=False)["msg"]
    assert run_module("agent_flags_info", path=str(flags.path))["contradictions"] == ["quiet"]
    (change,) = flags({"isolation": "a", "quiet": True}, check=True)["changed_flags"]
    assert change == {"name": "quiet", "before": False, "after": True, "effect": "restart"}
    result = flags({"quiet": False}, purge=False)
    assert result["restart_required"] and result["changed_flags"][0]["before"] is True
    assert tree(flags.path) == {"isolation": "a\n", "?no-quiet": ""}


def test_mode_and_owner_are_held(flags):
    flags(WANTED, mode="0640")
    assert stat.S_IMODE(flags.path.stat().st_mode) == 0o750
    (flags.path / "isolation").chmod(0o600)
    result = flags(WANTED, mode="0640")
    assert result["changed"] and not result["restart_required"]
    assert stat.S_IMODE((flags.path / "isolation").stat().st_mode) == 0o640
    assert "the host knows no no-such-user" in flags(WANTED, owner="no-such-user")["msg"]
    if os.geteuid() == 0:
        assert flags(WANTED, mode="0640", owner="65534", group="65534")["changed"]
        assert (flags.path / "attributes" / "rack").stat().st_uid == 65534
        assert not flags(WANTED, mode="0640")["changed"]  # without an owner, the directory's own


KILL_OLD = {"isolation": "old", "quiet": True, "attributes": {"rack": "old", "gone": "1"}}
KILL_NEW = {"isolation": "new", "quiet": False, "attributes": {"rack": "new"}, "gc_delay": "1days"}


def killed_at(step, call):
    """Runs call in a child that is killed at its nth change of the file system; False if it ended before."""
    child = os.fork()
    if child == 0:
        seen = [0]
        changing = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.chmod", "os.chown", "ctypes.dlsym")

        def hook(event, args):
            if event in changing or (event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT):
                seen[0] += 1
                if seen[0] == step:
                    os.kill(os.getpid(), 9)

        sys.addaudithook(hook)
        try:
            call()
        finally:
            os._exit(0)
    return os.waitpid(child, 0)[1] == 9


def test_a_kill_leaves_all_of_the_old_flags_or_all_of_the_new(flags):
    allowed = {"allow_incompatible": ["attributes"]}
    flags(KILL_OLD)
    old = tree(flags.path)
    flags(KILL_NEW, **allowed)
    new = tree(flags.path)
    outcomes = []
    for step in range(1, 200):
        flags(KILL_OLD, **allowed)
        if not killed_at(step, lambda: flags(KILL_NEW, **allowed)):
            break
        found = tree(flags.path)
        assert found in (old, new), step
        outcomes.append(found == new)
        # The next run clears what the killed one left.
        flags(KILL_NEW, **allowed)
        assert tree(flags.path) == new and os.listdir(flags.path.parent) == ["mesos-slave"]
    assert outcomes == sorted(outcomes) and {False, True} == set(outcomes) and len(outcomes) > 15


def test_a_remainder_alone_is_cleared_but_not_in_check_mode(flags):
    flags(WANTED)
    remainder = flags.path.parent / ".mesos-slave.agent_flags"
    remainder.mkdir()
    (remainder / "master").write_text("x")
    assert flags(WANTED, check=True)["changed"] and remainder.exists()
    assert flags(WANTED)["changed"] and not remainder.exists()


def test_a_full_disk_is_named_by_the_flags_directory(tmp_path, monkeypatch):
    """Also by the module that changes more than the flags."""

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as write(2) says it: without a path

    monkeypatch.setattr(directory.os, "write", full)
    path = str(tmp_path / "etc/mesos-slave")
    wanted = {"path": path, "flags": {"isolation": "posix/cpu"}}
    assert run_module("agent_flags", **wanted)["msg"].startswith(
        f"{path}: No space left on device: free some space there"
    )
    said = run_module("agent_generation", prefix=str(tmp_path / "opt"), **wanted)["msg"]
    assert path in said and "No space left on device" in said, said


def test_a_full_disk_changes_nothing(flags):
    flags(WANTED)
    before = tree(flags.path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        result = flags({**WANTED, "hostname": "h" * 2000}, allow_incompatible=["hostname"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "File too large" in result["msg"]
    assert tree(flags.path) == before and os.listdir(flags.path.parent) == ["mesos-slave"]


@pytest.mark.parametrize("error", [errno.EXDEV, errno.EINVAL])
def test_where_directories_cannot_be_exchanged_files_are(flags, monkeypatch, error):
    """As on overlayfs, for a directory of a lower layer."""
    flags(KILL_OLD)
    (flags.path / "isolation.rpmnew").write_text("x")
    inode = flags.path.stat().st_ino

    class Libc:
        def __init__(self, *args, **kwargs):
            self.renameat2 = lambda *args: -1

    monkeypatch.setattr(directory.ctypes, "CDLL", Libc)
    monkeypatch.setattr(directory.ctypes, "get_errno", lambda: error)
    assert flags(KILL_NEW, allow_incompatible=["attributes"])["changed"]
    assert tree(flags.path) == {
        "?no-quiet": "",
        "attributes": None,
        "attributes/rack": "new\n",
        "gc_delay": "1days\n",
        "isolation": "new\n",
    }
    assert flags.path.stat().st_ino == inode and os.listdir(flags.path.parent) == ["mesos-slave"]


AGENT = """#!/bin/sh
cat <<'E'
Usage: mesos-agent [options]

  --[no-]brand_new              A flag of this build (default: false)
  --isolation=VALUE             Isolation mechanisms
  --master=VALUE                May be one of
  --work_dir=VALUE              Path
E
exit 1
"""


def test_the_installed_agent_knows_its_own_flags(flags, tmp_path, monkeypatch):
    program = tmp_path / "mesos-agent"
    program.write_text(AGENT)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert flags({"brand_new": True, "isolation": "a"})["changed"]
    # It knows its release better than the table does.
    program.write_text(AGENT.replace("  --isolation", "  --[no-]checkpoint\n  --image_providers=VALUE\n  --isolation"))
    both = {"checkpoint": True, "image_providers": "a"}
    assert flags(both, check=True, allow_incompatible=[*both, "brand_new"])["changed"]
    program.write_text(AGENT)
    assert "flag quiet is unknown to the installed agent" in flags({"quiet": True})["msg"]
    program.write_text("#!/bin/sh\necho something else\n")
    assert "brand_new is unknown" in flags({"brand_new": True})["msg"]


def test_an_agent_that_prints_no_help_is_not_waited_for(flags, tmp_path, monkeypatch):
    program = tmp_path / "mesos-agent"
    program.write_text("#!/bin/sh\nsleep 300 &\necho $! > $0.pid\nwait\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(import_module(f"{PLUGINS}.module_utils._agent_program"), "_SECONDS", 0.5)
    result = flags({"quiet": True})
    assert result["changed"] and f"{program} --help does not end" in result["_warnings"]
    child = int((tmp_path / "mesos-agent.pid").read_text())
    wait_until(lambda: service.start_time(child) is None, "its parent has buried what was killed")


def test_the_validator_judges_container_info(flags, tmp_path):
    validator = tmp_path / "mesos-shim"
    wanted = {"default_container_info": INFO}
    assert "cannot be run: No such file" in flags(wanted, validator=str(validator))["msg"]
    warnings = flags(wanted, check=True, validator=str(validator))["_warnings"]
    assert "so only the form of default_container_info was checked" in warnings
    validator.write_text(
        f"#!/bin/sh\n[ \"$*\" = 'validate -' ] && grep -q -F '{CANONICAL}' && exit 0\necho no good >&2\nexit 1\n"
    )
    validator.chmod(0o755)
    assert flags(wanted, validator=str(validator))["changed"]
    result = flags({"default_container_info": {"type": "DOCKER"}}, validator=str(validator))
    assert result["msg"] == "flag default_container_info: no good"


def test_info_reads_it_back(flags):
    assert run_module("agent_flags_info", path=str(flags.path))["exists"] is False
    wanted = {"attributes": {"rack": "a"}, "quiet": True, "default_container_info": CANONICAL}
    flags(wanted)
    (flags.path / ".hidden").touch()
    result = run_module("agent_flags_info", path=str(flags.path))
    assert result["flags"] == wanted and result["foreign_files"] == [".hidden"] and result["exists"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ports", "31000-32000"),
        ("ports", "5"),
        ("ports", "[31000]"),
        ("ports", "{31000}"),
        ("ports", "[32000-31000]"),
        ("cpus", "banana"),
        ("mem", "-1"),
        ("mem", "[1-2]"),
        ("mem", "1_000"),
        ("disk(role)", "x"),
        ("x", "many"),
        ("x", "[a-b]"),
        ("x", "{a, b"),
    ],
)
def test_a_resource_that_the_agent_would_not_take_is_refused(flags, key, value):
    for resources in ({key: value}, f"cpus:4; {key}:{value}"):
        done = flags({"resources": resources})
        assert done["failed"] and f"flag resources, key {key}: {value!r} is not " in done["msg"]
        assert not flags.path.exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ports", "[31000-32000]"),
        ("ports", "[1-2, 8 - 8]"),
        ("ports", "[]"),
        ("cpus", "4"),
        ("cpus(prod)", "0.5"),
        ("disk", "1e3"),
        ("tags", "{a,b}"),
        ("x", ".5"),
    ],
)
def test_a_resource_that_the_agent_takes_is_taken(flags, key, value):
    for resources in ({key: value}, f"{key}:{value}", "file:///etc/resources.json"):
        assert flags({"resources": resources}, allow_incompatible=["resources"]).get("failed") is None
