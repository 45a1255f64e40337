"""What a user, a framework or a caller can lay in the way: links, FIFOs, devices, texts, descriptors, variables."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from ..lib.launching import give, host_mounts, info, launch, own_namespace, refused, said, tree, volume
from ..lib.played_agent import PlayedAgent, end
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def target(open_tmp: Path) -> Path:
    """What the volumes cover."""
    path = open_tmp / "target"
    path.mkdir()
    return path


@pytest.fixture
def home(open_tmp: Path) -> Path:
    """A directory of an unprivileged user's."""
    path = open_tmp / "home"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


# Links that a user could have made (threats 3, 6).


def test_a_users_link_is_no_source(shim: Shim, sandbox: Path, home: Path, target: Path) -> None:
    (home / "real").mkdir()
    give(home / "real")
    (home / "link").symlink_to("real")
    give(home / "link")
    refused(launch(shim, sandbox, [volume(home / "link", target)], "true"), "symbolic link that uid 65534 could have")
    (home / "way").symlink_to("/usr")
    give(home / "way")
    refused(launch(shim, sandbox, [volume(home / "way/share", target)], "true"), "could have made")


def test_a_users_link_in_tmp_is_no_target(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    sticky = open_tmp / "sticky"
    sticky.mkdir()
    sticky.chmod(0o1777)
    give_to = sticky / "link"
    give_to.symlink_to("/usr")
    give(give_to)
    refused(launch(shim, sandbox, [volume("a", give_to)], "true"), "could have made")
    # Root's own link in the same directory works: only its owner can rename it.
    (sticky / "roots").symlink_to(open_tmp)
    (open_tmp / "t").mkdir()
    said(launch(shim, sandbox, [volume("a", sticky / "roots/t")], "true"))


def test_roots_directory_in_a_users_is_no_source(shim: Shim, sandbox: Path, home: Path, target: Path) -> None:
    """He cannot make it, but he can move any of root's there that he may move, or take it away."""
    (home / "roots").mkdir()
    refused(
        launch(shim, sandbox, [volume(home / "roots", target)], "true"), "belongs to uid 0, but uid 65534 can replace"
    )


@pytest.mark.parametrize(("mode", "group"), [(0o777, 0), (0o775, 1234), (0o2775, NOBODY)])
def test_a_source_where_others_can_rename(
    shim: Shim, sandbox: Path, open_tmp: Path, target: Path, mode: int, group: int
) -> None:
    (open_tmp / "common/source").mkdir(parents=True)
    os.chown(open_tmp / "common", 0, group)
    (open_tmp / "common").chmod(mode)
    refused(launch(shim, sandbox, [volume(open_tmp / "common/source", target)], "true"), "others can write")
    (open_tmp / "common").chmod(mode | 0o1000)
    said(launch(shim, sandbox, [volume(open_tmp / "common/source", target)], "true"))


def test_a_source_where_an_access_list_lets_others_rename(
    shim: Shim, sandbox: Path, open_tmp: Path, target: Path
) -> None:
    from ..lib.launching import ACCESS, acl_for

    (open_tmp / "listed/source").mkdir(parents=True)
    os.setxattr(open_tmp / "listed", ACCESS, acl_for(NOBODY, 7))
    refused(launch(shim, sandbox, [volume(open_tmp / "listed/source", target)], "true"), "others can write")
    os.setxattr(open_tmp / "listed", ACCESS, acl_for(NOBODY, 5))
    said(launch(shim, sandbox, [volume(open_tmp / "listed/source", target)], "true"))


@pytest.mark.parametrize("leads_to", ["/etc", "../..", ".", "nowhere"])
def test_a_link_in_the_sandbox(shim: Shim, sandbox: Path, target: Path, leads_to: str) -> None:
    (sandbox / "link").symlink_to(leads_to)
    before = tree(sandbox)
    for source in ("link", "link/a", "link/a/b"):
        refused(launch(shim, sandbox, [volume(source, target)], "true"), "'link' in the sandbox is a")
    assert tree(sandbox) == before


def test_a_sandbox_through_a_users_link(shim: Shim, home: Path, target: Path) -> None:
    (home / "sandbox").symlink_to("/etc")
    give(home / "sandbox")
    before = sorted(os.listdir("/etc"))
    done = shim.run("run", "--sandbox", home / "sandbox", "--volume", f"a:{target}", "--", "/bin/true")
    refused(done, "could have made")
    assert sorted(os.listdir("/etc")) == before


# FIFOs, devices, sockets (threat 11): nothing waits, nothing is opened that acts on being opened.


def plant(kind: str, path: Path) -> None:
    """Make a `kind` of special file."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, 0o020666, os.makedev(1, 5))  # /dev/zero
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    elif kind == "directory":
        path.mkdir()
    else:
        path.symlink_to(path.name)  # a loop


@pytest.mark.parametrize("kind", ["fifo", "device", "socket", "loop"])
def test_special_files_as_sources_and_targets(
    shim: Shim, sandbox: Path, open_tmp: Path, target: Path, kind: str
) -> None:
    plant(kind, sandbox / "special")
    plant(kind, open_tmp / "special")
    refused(launch(shim, sandbox, [volume("special", target)], "true"), "special")
    refused(launch(shim, sandbox, [volume("special/a", target)], "true"), "special")
    refused(launch(shim, sandbox, [volume(open_tmp / "special", target)], "true"), "special")
    refused(launch(shim, sandbox, [volume(target, open_tmp / "special")], "true"), "special")


@pytest.mark.parametrize("kind", ["fifo", "device", "socket", "directory", "loop"])
def test_special_files_as_texts(shim: Shim, sandbox: Path, open_tmp: Path, kind: str) -> None:
    special = open_tmp / "special"
    plant(kind, special)
    refused(shim.run("run", "--config", special, "--", "/bin/true", cwd=sandbox), str(special))
    refused(shim.run("run", "--container-info", f"@{special}", "--", "/bin/true", cwd=sandbox), str(special))


def test_a_fifo_is_not_even_opened(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """Who waits for a reader at the other end must not be woken, nor a device be touched."""
    os.mkfifo(open_tmp / "fifo")
    shim.run("run", "--config", open_tmp / "fifo", "--", "/bin/true", cwd=sandbox)
    with pytest.raises(OSError, match="No such device or address"):
        os.open(open_tmp / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    words = ["strace", "-qqq", "-e", "trace=openat", str(shim.program), "run", "--config", str(open_tmp / "fifo")]
    done = subprocess.run([*words, "--", "/bin/true"], cwd=sandbox, capture_output=True, text=True, check=False)
    opened = [line for line in done.stderr.splitlines() if "/fifo" in line and line.startswith("openat")]
    assert len(opened) == 1
    assert "O_PATH" in opened[0]


# The configuration (threat 15).


@pytest.mark.parametrize(
    ("owner", "mode", "words"),
    [(NOBODY, 0o644, "chown it to root"), (0, 0o664, "chmod go-w"), (0, 0o646, "chmod go-w")],
)
def test_a_configuration_that_others_could_write(shim: Shim, sandbox: Path, owner: int, mode: int, words: str) -> None:
    os.chown(shim.config_path, owner, 0)
    shim.config_path.chmod(mode)
    refused(shim.run("run", "--", "/bin/true", cwd=sandbox), words)


HOSTILE = {
    "PYTHONPATH": "{0}",
    "PYTHONSTARTUP": "{0}/sitecustomize.py",
    "PYTHONHOME": "{0}",
    "PYTHONINSPECT": "1",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONBREAKPOINT": "sitecustomize.run",
    "PYTHONPLATLIBDIR": "{0}",
    "PYTHONEXECUTABLE": "{0}/python",
    "PYTHONWARNINGS": "error",
    "PYTHONMALLOC": "debug",
    "PYTHONUSERBASE": "{0}",
    "PYTHONVERBOSE": "1",
    "PYTHONPROFILEIMPORTTIME": "1",
    "PYTHONDEVMODE": "1",
    "MESOS_SHIM_CONFIG": "{0}/config.json",
    "XDG_CONFIG_HOME": "{0}",
    "XDG_RUNTIME_DIR": "{0}",
    "HOME": "{0}",
    "PATH": "{0}:/usr/bin:/bin",
    "LD_LIBRARY_PATH": "{0}",
    "IFS": "/",
    "ENV": "{0}/env",
    "BASH_ENV": "{0}/env",
    "SHELLOPTS": "xtrace",
    "LC_ALL": "xx_XX.nonsense",
    "TMPDIR": "{0}",
}


@pytest.fixture
def hostile(open_tmp: Path) -> dict[str, str]:
    """Variables that would steer a careless interpreter, and a directory full of what it would find."""
    trap = open_tmp / "trap"
    trap.mkdir()
    for name in ("sitecustomize", "usercustomize", "json", "posix", "_json", "_ctypes", "marshal", "mesos_shim", "env"):
        (trap / f"{name}.py").write_text(f"open({str(open_tmp / 'SPRUNG')!r}, 'a').write({name!r})\n")
    (trap / "env").write_text(f"echo env >> {open_tmp}/SPRUNG\n")
    for name in ("mount", "python3", "sh", "id"):
        (trap / name).write_text(f"#!/bin/sh\necho {name} >> {open_tmp}/SPRUNG\n")
        (trap / name).chmod(0o755)
    (trap / "config.json").write_text('{"framework_volumes": "all"}')
    return {key: value.format(trap) for key, value in HOSTILE.items()}


@pytest.mark.parametrize("name", [*HOSTILE, "all"])
def test_no_variable_steers_root(
    shim: Shim, sandbox: Path, open_tmp: Path, target: Path, hostile: dict[str, str], name: str
) -> None:
    """Nothing of the trap runs, the records go where they belong, and the command gets every variable as it was."""
    given = hostile if name == "all" else {"PATH": "/usr/bin:/bin", name: hostile[name]}
    words = [str(shim.program), "run", "--volume", f"a:{target}", "--", "/usr/bin/env", "-0"]
    done = subprocess.run(words, cwd=open_tmp / "trap", env=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert dict(entry.split("=", 1) for entry in done.stdout.split("\0") if entry) == given
    assert not (open_tmp / "SPRUNG").exists()
    assert not (open_tmp / "trap/mesos-shim").exists()


def test_a_frameworks_variables_do_not_steer_the_legacy_helper(
    shim: Shim, open_tmp: Path, hostile: dict[str, str]
) -> None:
    """0.21 hands the framework's variables to its helper. LD_PRELOAD acts before us: the threat model says so."""
    agent = PlayedAgent(open_tmp, shim)
    agent.checkpoint()
    code, out, err = end(
        agent.start_021({"shell": False, "value": "/bin/echo", "arguments": ["echo", "ran"]}, environment=hostile)
    )
    assert (code, out, err) == (0, "ran\n", "")
    assert not (open_tmp / "SPRUNG").exists()


def test_locales_do_not_change_a_path(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """The bytes of a path are the bytes of the JSON, whatever LC_ALL says; so are the command's."""
    place = open_tmp / "Grüße"
    place.mkdir()
    program = open_tmp / "naïve"
    program.write_text("#!/bin/sh\necho ran; touch $1\n")
    program.chmod(0o755)
    for locale in ("C", "C.UTF-8", "en_US.ISO-8859-1", "POSIX", ""):
        words = [str(shim.program), "run", "--container-info", info(volume("ä", place)), "--"]
        done = subprocess.run(
            [*words, str(program), f"{place}/ö"],
            cwd=sandbox,
            env={"LC_ALL": locale, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
        (sandbox / "ä/ö").unlink()


# Texts (threat 16).


def bomb(depth: int) -> str:
    """A ContainerInfo with `depth` lists in each other."""
    return '{"type":"MESOS","volumes":' + "[" * depth + "]" * depth + "}"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (bomb(100), "nested deeper than 64"),
        (bomb(200_000), "nested deeper than 64"),
        ('{"type":"MESOS","x":' + '{"a":' * 100_000, "nested deeper than 64"),
        ('{"type":"MESOS","type":"MESOS"}', "duplicate key 'type'"),
        ('{"type":"MESOS","volumes":[{"mode":"RO","mode":"RW"}]}', "duplicate key 'mode'"),
        ('{"type":NaN}', "NaN is not JSON"),
        ('{"type":Infinity}', "Infinity is not JSON"),
        ('{"type":-Infinity}', "is not JSON"),
        ('{"type":1e999}', "1e999 is more than a number can be"),
        ('{"type":' + "9" * 5000 + "}", "number of 5000 digits"),
        ('{"type":"\\ud800"}', "lone surrogate"),
        ('{"\\udfff":1}', "lone surrogate"),
        ('{"type":"MESOS"} x', "text after the end"),
        ("", "not JSON at character 0"),
        ("[]", "a list where a ContainerInfo"),
        ('{"type":"MESOS","unheard":1}', "unheard: unknown field"),
        ('{"type":"MESOS","volumes":{}}', "an object where a list"),
        ('{"type":"MESOS","volumes":[7]}', "a number where a Volume"),
        ('{"type":["MESOS"]}', "is not 'MESOS'"),
        ('{"type":"DOCKER"}', "Docker containerizer"),
        ('{"volumes":[]}', "type: required"),
        ('{"type":"MESOS","volumes":' + json.dumps([volume(f"a{n}", "/tmp") for n in range(129)]) + "}", "at most 128"),
        ('{"type":"MESOS","x":"' + "y" * (1 << 20) + '"}', "1048576 bytes"),
        ("\x1b[31m", "not JSON at character 0"),
    ],
    ids=range(24),
)
def test_hostile_texts(shim: Shim, sandbox: Path, open_tmp: Path, text: str, words: str) -> None:
    (open_tmp / "text").write_text(text)
    refused(shim.run("run", "--container-info", f"@{open_tmp}/text", "--", "/bin/true", cwd=sandbox), words)


def test_bytes_that_are_no_text(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "text").write_bytes(b'{"type":"\xff"}')
    refused(
        shim.run("run", "--container-info", f"@{open_tmp}/text", "--", "/bin/true", cwd=sandbox), "not UTF-8 at byte 9"
    )


@pytest.mark.parametrize("name", ["a\nmesos-shim all is well", "a\x1b[2Jb", "a\rb", "a\u202eb", "a\x7fb", "\udcff"])
def test_no_name_breaks_a_message(shim: Shim, sandbox: Path, target: Path, name: str) -> None:
    """One line, nothing that a terminal obeys."""
    os.mkfifo(sandbox / name)
    done = shim.run("run", "--volume", f"{name}:{target}", "--", "/bin/true", cwd=sandbox)
    line = refused(done, "in the sandbox")
    assert line.rstrip("\n").isprintable()
    # Where it is not quoted, it is escaped all the same; in a warning too.
    for option, text in (("--config", sandbox / name), ("--container-info", f"@{sandbox / name}")):
        line = refused(shim.run("run", option, text, "--", "/bin/true", cwd=sandbox), "not a regular file")
        assert line.rstrip("\n").isprintable()
    state = sandbox / (name.encode("utf-8", "replace").decode() + "x")  # a JSON text has no lone surrogate
    state.touch()
    shim.configure(state_dir=str(state))
    done = shim.run("run", "--", "/bin/true", cwd=sandbox)
    assert (done.returncode, done.stderr.count("\n"), done.stderr.rstrip("\n").isprintable()) == (0, 1, True)
    assert "warning: no record in " in done.stderr


def test_a_huge_name_does_not_flood_the_log(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    (open_tmp / "text").write_text('{"type":"MESOS","' + "x" * 900_000 + '":1}')
    done = shim.run("run", "--container-info", f"@{open_tmp}/text", "--", "/bin/true", cwd=sandbox)
    assert len(refused(done, "unknown field")) < 3000


@pytest.mark.parametrize("identity", ["../../etc/x", "a/b", "", ".", "..", ".hidden", "a\nb", "x" * 242, "a b", "é"])
def test_container_ids_that_are_no_file_names(shim: Shim, sandbox: Path, identity: str) -> None:
    """Threat 22."""
    refused(shim.run("run", "--container-id", identity, "--", "/bin/true", cwd=sandbox), "--container-id")
    assert not shim.state_dir.exists()


def test_the_longest_container_id_has_a_record(shim: Shim, sandbox: Path) -> None:
    """What is put around it while the record is written still fits into a file's name."""
    done = shim.run("run", "--supervise", "--container-id", "x" * 241, "--", str(shim.program), "ps", cwd=sandbox)
    assert "x" * 241 in said(done)


# The directory of records: what it says is believed of every container.


@pytest.mark.parametrize(("owner", "mode"), [(NOBODY, 0o755), (0, 0o775), (0, 0o757)])
@pytest.mark.parametrize("name", [".", "containers"])
def test_no_record_is_put_where_others_could_change_it(
    shim: Shim, sandbox: Path, name: str, owner: int, mode: int
) -> None:
    path = shim.state_dir / name
    path.mkdir(parents=True)
    os.chown(path, owner, owner)
    path.chmod(mode)
    before = tree(shim.state_dir)
    done = shim.run("run", "--", "/bin/echo", "ran", cwd=sandbox)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert f"belongs to uid {owner} with mode {mode:04o}; ps and usage will not know this container" in done.stderr
    assert tree(shim.state_dir) == before


# Descriptors and the working directory (threat 9).

# The numbers that are still open once the list has been closed.
LIST = """
import os
def is_open(fd):
    try:
        return bool(os.fstat(fd))
    except OSError:
        return False
print(*[fd for fd in sorted(map(int, os.listdir('/proc/self/fd'))) if is_open(fd)])
"""


def fds(shim: Shim, sandbox: Path, target: Path, *options: str, **keywords: object) -> list[str]:
    """The descriptors that a command has, by number."""
    words = ["--volume", f"a:{target}", *options, "--", "/usr/bin/python3", "-Sc", LIST]
    return said(shim.run("run", *words, cwd=sandbox, **keywords)).split()


def test_no_descriptor_of_the_callers_or_ours_gets_through(shim: Shim, sandbox: Path, target: Path) -> None:
    """runc CVE-2024-21626: a descriptor of a directory of the host's view leads out of the new one."""
    leaked = [os.open("/", os.O_RDONLY | os.O_DIRECTORY), os.open("/etc", os.O_PATH), os.open("/dev/null", os.O_WRONLY)]
    try:
        for fd in leaked:
            os.set_inheritable(fd, True)
        assert fds(shim, sandbox, target, close_fds=False) == ["0", "1", "2"]
        kept = leaked[2]
        assert fds(shim, sandbox, target, "--keep-fd", str(kept), close_fds=False) == ["0", "1", "2", str(kept)]
    finally:
        for fd in leaked:
            os.close(fd)


def test_keep_fd_names_an_open_descriptor(shim: Shim, sandbox: Path) -> None:
    """Also where we have one of that number ourselves by the time: what the caller did not open is not kept."""
    for number in ("3", "4", "9", "x", "-1", "99999999"):
        refused(shim.run("run", f"--keep-fd={number}", "--", "/bin/true", cwd=sandbox), "--keep-fd")


def listening(shim: Shim, sandbox: Path, target: Path, count: int, pid: str, *opened: int) -> list[str]:
    """As a systemd service would be started: LISTEN_PID is the pid that becomes the shim."""
    code = "import os; print(*sorted(int(n) for n in os.listdir('/proc/self/fd'))[:-1])"
    program = f'{shim.program} run --volume a:{target} -- /usr/bin/python3 -Sc "{code}"'
    redirections = " ".join(f"{fd}</dev/null" for fd in opened)
    script = f"LISTEN_PID={pid} LISTEN_FDS={count} exec {program} {redirections}"
    done = subprocess.run(["/bin/sh", "-c", script, LIST], cwd=sandbox, capture_output=True, text=True, check=False)
    return said(done).split()


def test_socket_activation_passes_through(shim: Shim, sandbox: Path, target: Path) -> None:
    assert listening(shim, sandbox, target, 2, "$$", 3, 4, 5) == ["0", "1", "2", "3", "4"]
    assert listening(shim, sandbox, target, 2, "1", 3, 4) == ["0", "1", "2"]


def test_socket_activation_lends_nothing_of_ours(shim: Shim, sandbox: Path, target: Path) -> None:
    """A count that is too high must not make our own descriptors of the host's view the command's."""
    assert listening(shim, sandbox, target, 999, "$$") == ["0", "1", "2"]
    assert listening(shim, sandbox, target, 999, "$$", 3) == ["0", "1", "2", "3"]


def test_the_working_directory_is_in_the_new_view(shim: Shim, open_tmp: Path) -> None:
    """A sandbox under a covered path: `..` from it must lead to the new view's directories."""
    sandbox = open_tmp / "covered/deep/sandbox"
    sandbox.mkdir(parents=True)
    (open_tmp / "covered/secret").write_text("of the host's")
    done = launch(
        shim, sandbox, [volume("mine", open_tmp / "covered")], "ls ../..; cat ../../secret 2>&1 || true; /bin/pwd"
    )
    lines = said(done).splitlines()
    assert lines[0] == "deep"
    assert "No such file" in lines[1]
    assert lines[2] == str(sandbox)


def test_closed_standard_descriptors(shim: Shim, sandbox: Path, target: Path) -> None:
    """Then ours get the numbers 0 to 2: none of them may reach the command, nothing may be written into them."""
    code = f"import os; open('{target}/fds', 'w').write(' '.join(sorted(os.listdir('/proc/self/fd'))))"
    program = f'{shim.program} run --volume a:{target} -- /usr/bin/python3 -Sc "{code}" <&- >&- 2>&-'
    subprocess.run(["/bin/sh", "-c", program], cwd=sandbox, check=True, timeout=60)
    # The list itself, and the file that it is written into.
    assert len((sandbox / "a/fds").read_text().split()) <= 2


# The host (threat 1).


def test_nothing_appears_on_a_host_whose_root_is_shared(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """Every systemd host: while the container runs and after it, the host's mount table is as before."""
    (open_tmp / "one/two").mkdir(parents=True)
    (open_tmp / "shm").mkdir()
    shim.configure(tmpfs={str(open_tmp / "shm"): "64k"})
    for name in ("up", "down"):
        os.mkfifo(open_tmp / name)
    volumes = [volume("tmp", "/tmp"), volume("a", open_tmp / "one"), volume("b", open_tmp / "one/two", "RO")]
    (open_tmp / "info.json").write_text(info(*volumes))
    inside = f"mount -t tmpfs inner /opt; grep -c {open_tmp.name} /proc/self/mountinfo; echo > {open_tmp}/up;"
    inside += f"read x < {open_tmp}/down"
    script = (
        "cat /proc/self/mountinfo > before;"
        f'{shim.program} run --container-info @{open_tmp}/info.json -- /bin/sh -c "{inside}" & '
        f"read x < {open_tmp}/up; cat /proc/self/mountinfo > during; echo > {open_tmp}/down; wait;"
        "cat /proc/self/mountinfo > after; cmp before during && cmp before after && echo same"
    )
    done = own_namespace(script, sandbox, "shared")
    assert said(done).splitlines() == ["4", "same"]  # /tmp's source, one, two, shm
    assert " shared:" in (sandbox / "before").read_text()


def test_a_failing_launch_leaves_nothing_mounted(shim: Shim, sandbox: Path, target: Path) -> None:
    before = host_mounts()
    done = launch(shim, sandbox, [volume("a", target)], "/nowhere/at/all", "x")
    assert (done.returncode, done.stderr) == (127, "mesos-shim: command '/nowhere/at/all': not found\n")
    assert (host_mounts(), os.listdir(sandbox), os.listdir(shim.state_dir / "containers")) == (before, [], [])


# Exit codes.


def test_exit_codes(shim: Shim, sandbox: Path, target: Path) -> None:
    (sandbox / "plain").write_text("")
    (sandbox / "plain").chmod(0o644)
    volumes = [volume("a", target)]
    assert launch(shim, sandbox, volumes, "exit 42").returncode == 42
    assert launch(shim, sandbox, volumes, "kill -9 $$").returncode == -9
    assert launch(shim, sandbox, volumes, "./plain", "x").returncode == 126
    assert launch(shim, sandbox, volumes, "/etc", "x").returncode == 126
    assert launch(shim, sandbox, volumes, "nowhere", "x").returncode == 127
    assert launch(shim, sandbox, volumes, "./nowhere", "x").returncode == 127
    assert launch(shim, sandbox, [volume("..", target)], "exit 42").returncode == 125


def test_no_shell_sees_a_path(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    """Threat 2: on 0.21 such a name ran a command as root on the host."""
    for name in ("a b", "x;touch PWNED;y", "$(touch PWNED)", "`touch PWNED`", "a'b\"c", "-n", "*", "a\\040b", "a\tb"):
        place = open_tmp / name
        place.mkdir()
        done = shim.run(
            "run", "--container-info", info(volume(name, place)), "--", "/usr/bin/touch", place / "x", cwd=sandbox
        )
        assert said(done) == ""
        assert (sandbox / name / "x").exists()
    assert not list(open_tmp.rglob("PWNED"))
    assert not Path("/PWNED").exists()
