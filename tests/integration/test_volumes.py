"""filesystem/shared, seen from inside: what a launch shows where, for every form of volume (issue: semantics)."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from ..lib.launching import (
    ACCESS,
    DEFAULT,
    acl_for,
    host_mounts,
    info,
    launch,
    own_namespace,
    refused,
    said,
    tree,
    volume,
)
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root


@pytest.fixture
def place(open_tmp: Path) -> Path:
    """A directory of the host that tests may cover, with something in it."""
    path = open_tmp / "place"
    path.mkdir()
    (path / "of-the-host").write_text("host")
    return path


def mode(path: Path) -> str:
    """Permission bits in octal, as stat(1) prints them."""
    return f"{stat.S_IMODE(path.stat().st_mode):o}"


def test_private_tmp_and_the_hosts_stays(shim: Shim, sandbox: Path) -> None:
    before = host_mounts()
    mark = f"mark-{os.getpid()}"
    done = launch(shim, sandbox, [volume("tmp", "/tmp")], f"ls -A /tmp; stat -c '%a %u' /tmp; touch /tmp/{mark}")
    assert said(done) == "1777 0"
    assert (sandbox / "tmp" / mark).exists()
    assert not (Path("/tmp") / mark).exists()
    assert host_mounts() == before


def test_names_that_begin_alike_are_strangers(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    for name in ("t", "tfoo"):
        (open_tmp / name).mkdir()
    volumes = [volume("a", open_tmp / "t"), volume("b", open_tmp / "tfoo")]
    said(launch(shim, sandbox, volumes, f"touch {open_tmp}/t/one {open_tmp}/tfoo/two"))
    assert (sandbox / "a/one").exists()
    assert (sandbox / "b/two").exists()


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_nested_volumes_in_any_order(shim: Shim, sandbox: Path, open_tmp: Path, order: tuple[int, ...]) -> None:
    deep = open_tmp / "one/two/three"
    deep.mkdir(parents=True)
    (open_tmp / "one/two").chmod(0o2710)
    os.chown(open_tmp / "one/two", 0, 8)
    volumes = [
        volume("outer", open_tmp / "one"),
        volume("inner", deep),
        volume("/usr/share/doc", open_tmp / "one/two", "RO"),
    ]
    # The middle one comes from the host and has no place for the inner one.
    middle_first = [volumes[index] for index in order]
    refused(launch(shim, sandbox, middle_first, "true"), "no place", "three")
    both = [volumes[index] for index in order if index != 2]
    done = launch(shim, sandbox, both, f"touch {deep}/x; stat -c '%a %u %g' {open_tmp}/one/two")
    # The mount point's parent did not exist in the fresh outer one: it is a copy of what it covers.
    assert said(done) == "2710 0 8"
    assert (sandbox / "inner/x").exists()
    assert os.listdir(sandbox / "outer/two/three") == []


def test_a_child_in_a_volume_of_the_hosts(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    source = open_tmp / "source"
    (source / "below").mkdir(parents=True)
    (place / "below").mkdir()
    volumes = [volume("mine", place / "below"), volume(source, place, "RO")]
    said(launch(shim, sandbox, volumes, f"touch {place}/below/x; ! touch {place}/y 2>/dev/null"))
    assert (sandbox / "mine/x").exists()
    assert not list(source.glob("y"))


@pytest.mark.parametrize("form", ["{}", "{}/", "{}/.", "{}//", "/{}", "{link}"])
def test_the_same_target_twice_is_refused(shim: Shim, sandbox: Path, place: Path, form: str) -> None:
    link = place.parent / "link"
    link.symlink_to(place)
    again = form.format(place, link=link)
    refused(launch(shim, sandbox, [volume("a", place), volume("b", again)], "true"), "already", str(place))
    assert os.listdir(sandbox) == []


def test_the_same_target_by_option_and_by_container_info(shim: Shim, sandbox: Path, place: Path) -> None:
    done = launch(shim, sandbox, [volume("a", place)], "true", options=("--volume", f"b:{place}"))
    refused(done, "already covered")


def test_mode_owner_and_set_id_bits_are_those_of_what_is_covered(shim: Shim, sandbox: Path, place: Path) -> None:
    os.chown(place, 12, 34)
    place.chmod(0o3751)
    said(launch(shim, sandbox, [volume("x/y", place)], "true"))
    made, parent = (sandbox / "x/y").stat(), (sandbox / "x").stat()
    assert (f"{stat.S_IMODE(made.st_mode):o}", made.st_uid, made.st_gid) == ("3751", 12, 34)
    assert (f"{stat.S_IMODE(parent.st_mode):o}", parent.st_uid, parent.st_gid) == ("755", 0, 0)


def test_no_umask_changes_what_is_made(shim: Shim, sandbox: Path, place: Path) -> None:
    place.chmod(0o777)
    old = os.umask(0o077)
    try:
        done = launch(shim, sandbox, [volume("x/y", place)], "umask")
    finally:
        os.umask(old)
    assert said(done) == "0077"
    assert (mode(sandbox / "x"), mode(sandbox / "x/y")) == ("755", "777")


def test_a_mirrored_path_copies_each_level(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    deep = open_tmp / "one/two"
    deep.mkdir(parents=True)
    (open_tmp / "one").chmod(0o2751)
    os.chown(open_tmp / "one", 0, 6)
    os.setxattr(open_tmp / "one", DEFAULT, acl_for(NOBODY, 5))
    os.setxattr(open_tmp / "one", "security.selinux", b"system_u:object_r:one_t:s0\0")
    deep.chmod(0o700)
    parts = str(deep).strip("/")
    said(launch(shim, sandbox, [volume(parts, deep)], "true"))
    for level in (deep, *list(deep.parents)[:-1]):
        copy = sandbox / str(level).strip("/")
        had, has = level.stat(), copy.stat()
        assert (has.st_mode, has.st_uid, has.st_gid) == (had.st_mode, had.st_uid, had.st_gid), level
    copy = sandbox / str(open_tmp / "one").strip("/")
    assert os.getxattr(copy, DEFAULT) == acl_for(NOBODY, 5)
    assert os.getxattr(copy, "security.selinux") == b"system_u:object_r:one_t:s0\0"


def test_access_lists_and_label_are_copied(shim: Shim, sandbox: Path, place: Path) -> None:
    os.setxattr(place, ACCESS, acl_for(NOBODY, 7))
    os.setxattr(place, DEFAULT, acl_for(NOBODY, 4))
    os.setxattr(place, "security.selinux", b"system_u:object_r:tmp_t:s0\0")
    said(launch(shim, sandbox, [volume("made", place)], "true"))
    made = sandbox / "made"
    assert os.getxattr(made, ACCESS) == acl_for(NOBODY, 7)
    assert os.getxattr(made, DEFAULT) == acl_for(NOBODY, 4)
    assert os.getxattr(made, "security.selinux") == b"system_u:object_r:tmp_t:s0\0"


def test_a_sandbox_with_a_default_list_gives_nobody_anything(shim: Shim, sandbox: Path, place: Path) -> None:
    """What the sandbox would have its children inherit must not open a copy of a closed directory."""
    os.setxattr(sandbox, DEFAULT, acl_for(NOBODY, 7))
    place.chmod(0o750)
    said(launch(shim, sandbox, [volume("x/made", place)], "true"))
    for path in (sandbox / "x", sandbox / "x/made"):
        assert [name for name in os.listxattr(path) if name.startswith("system.")] == [], path
    assert (mode(sandbox / "x"), mode(sandbox / "x/made")) == ("755", "750")


def test_a_second_launch_finds_what_the_first_left(shim: Shim, sandbox: Path, place: Path) -> None:
    volumes = [volume("made", place)]
    said(launch(shim, sandbox, volumes, f"echo first > {place}/file; mkdir {place}/dir"))
    assert said(launch(shim, sandbox, volumes, f"cat {place}/file")) == "first"
    before = tree(sandbox)  # the second has noted that it uses the directory too
    assert said(launch(shim, sandbox, volumes, f"cat {place}/file")) == "first"
    assert tree(sandbox) == before


def test_a_second_launch_after_the_covered_path_has_changed(shim: Shim, sandbox: Path, place: Path) -> None:
    """What anybody could put there must not pass for root's own; an empty directory just takes the new look."""
    volumes = [volume("made", place)]
    place.chmod(0o1777)
    said(launch(shim, sandbox, volumes, f"touch {place}/file", options=("--user", "nobody")))
    place.chmod(0o755)
    told = refused(launch(shim, sandbox, volumes, "true"), "'made' in the sandbox is from an earlier launch")
    assert "mode 1777" in told
    assert "mode 0755" in told
    assert mode(sandbox / "made") == "1777"
    (sandbox / "made/file").unlink()
    said(launch(shim, sandbox, volumes, "true"))
    assert mode(sandbox / "made") == "755"
    os.chown(place, 0, 1234)
    said(launch(shim, sandbox, volumes, f"touch {place}/file"))
    assert (sandbox / "made").stat().st_gid == 1234


def test_a_user_may_change_the_mode_of_what_is_his(shim: Shim, sandbox: Path, place: Path) -> None:
    os.chown(place, NOBODY, NOBODY)
    volumes = [volume("made", place)]
    said(launch(shim, sandbox, volumes, f"touch {place}/file; chmod 700 {place}", options=("--user", "nobody")))
    said(launch(shim, sandbox, volumes, f"ls {place}/file", options=("--user", "nobody")))
    assert mode(sandbox / "made") == "700"


def test_an_empty_directory_is_taken_and_a_full_one_refused(shim: Shim, sandbox: Path, place: Path) -> None:
    made = sandbox / "made"
    made.mkdir(mode=0o777)
    os.chown(made, NOBODY, NOBODY)
    said(launch(shim, sandbox, [volume("made", place)], "true"))
    assert (made.stat().st_uid, mode(made)) == (0, "755")
    full = sandbox / "full"
    full.mkdir()
    (full / "sudoers").write_text("ALL")
    os.chown(full, NOBODY, NOBODY)
    before = tree(sandbox)
    refused(launch(shim, sandbox, [volume("full", place)], "true"), "'full'", "not empty")
    assert tree(sandbox) == before


def test_what_was_made_for_another_path_is_refused(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """A directory that was /tmp, with the user's files in it, must not become /etc by a rename."""
    other = open_tmp / "other"
    other.mkdir(mode=0o1777)
    said(launch(shim, sandbox, [volume("a", other)], f"echo 'root ALL' > {other}/sudoers"))
    (sandbox / "a").rename(sandbox / "b")
    refused(launch(shim, sandbox, [volume("b", place)], "true"), "not empty")


@pytest.mark.parametrize("below", ["", "/tmp/mesos-test-{pid}/slaves/S/frameworks/F/executors/E/runs/R"])
def test_the_sandbox_stays_under_a_covered_path(shim: Shim, open_tmp: Path, below: str) -> None:
    """Mesos' own default: /tmp/mesos under a private /tmp."""
    covered = Path("/tmp") if below else open_tmp
    sandbox = Path(below.format(pid=os.getpid())) if below else open_tmp / "deep/sandbox"
    other = sandbox.parent / "other"
    try:
        sandbox.mkdir(parents=True)
        other.mkdir()
        (sandbox / "file").write_text("mine\n")
        script = f"pwd; cat file {sandbox}/file; ls {sandbox.parent}; touch new; stat -c %a {sandbox.parent}"
        sandbox.parent.chmod(0o711)
        done = launch(shim, sandbox, [volume("tmp", covered)], script)
        assert said(done).splitlines() == [str(sandbox), "mine", "mine", sandbox.name, "711"]
        assert (sandbox / "new").exists()
        assert said(launch(shim, sandbox, [volume("tmp", covered)], "pwd")) == str(sandbox)
    finally:
        if below:
            os.system(f"rm -rf /tmp/mesos-test-{os.getpid()}")


def test_a_target_in_the_sandbox_or_the_sandbox_is_refused(shim: Shim, sandbox: Path) -> None:
    (sandbox / "in").mkdir()
    for target in (sandbox, sandbox / "in"):
        refused(launch(shim, sandbox, [volume("a", target)], "true"), "sandbox")


MESOS_OWN = "./.private/tmp"  # in the help of --default_container_info, Mesos 0.21 to 0.28


def test_one_dot_means_nothing(shim: Shim, sandbox: Path, place: Path) -> None:
    """However a volume is named: by an option, a ContainerInfo, or one's SANDBOX_PATH."""
    sandbox_path = {"type": "SANDBOX_PATH", "sandbox_path": {"type": "SELF", "path": MESOS_OWN}}
    by_source = {"type": "MESOS", "volumes": [{"container_path": str(place), "mode": "RW", "source": sandbox_path}]}
    for number, words in enumerate(
        (
            ("--volume", f"{MESOS_OWN}:{place}"),
            ("--container-info", info(volume(MESOS_OWN, place))),
            ("--container-info", json.dumps(by_source)),
            ("--volume", f".private/./tmp/.:{place}/."),
        )
    ):
        said(shim.run("run", *words, "--", "/usr/bin/touch", f"{place}/{number}", cwd=sandbox))
        assert (sandbox / ".private/tmp" / str(number)).exists()
    shim.configure(default_container_info=json.loads(info(volume(MESOS_OWN, place))))
    assert len(said(shim.run("run", "--", "/bin/ls", str(place), cwd=sandbox)).split()) == 4


@pytest.mark.parametrize(
    ("host_path", "words"),
    [
        ("..", "'..' component"),
        ("a/../b", "'..' component"),
        ("a/..", "'..' component"),
        ("", "is empty"),
        (".", "is the sandbox itself"),
        ("./", "is the sandbox itself"),
        ("./..", "'..' component"),
        ("/", "root directory"),
        ("/nowhere/at/all", "does not exist"),
        ("a\0b", "NUL"),
        ("x" * 300, "longer than 255"),
        ("/" + "y/" * 3000, "longer than 4095"),
    ],
)
def test_bad_host_paths(shim: Shim, sandbox: Path, place: Path, host_path: str, words: str) -> None:
    file = sandbox.parent / "info.json"
    file.write_text(json.dumps({"type": "MESOS", "volumes": [volume(host_path, place)]}))
    refused(shim.run("run", "--container-info", f"@{file}", "--", "/bin/true", cwd=sandbox), words)
    assert os.listdir(sandbox) == []


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/", "root directory"),
        ("//", "root directory"),
        ("/proc", "kernel"),
        ("/proc/sys/kernel", "kernel"),
        ("/sys/fs", "kernel"),
        ("/dev", "kernel"),
        ("/dev/pts", "kernel"),
        ("relative", "not absolute"),
        ("/nowhere", "must exist on the host"),
        ("/tmp/../etc", "'..' component"),
    ],
)
def test_bad_targets(shim: Shim, sandbox: Path, target: str, words: str) -> None:
    refused(launch(shim, sandbox, [volume("a", target)], "true"), words)
    assert os.listdir(sandbox) == []


@pytest.mark.parametrize("target", ["opt", "/opt//./..", "//proc/./x"])
def test_a_bad_target_is_shown_as_it_was_written(shim: Shim, sandbox: Path, target: str) -> None:
    """What a message shows has to be found in the ContainerInfo that it speaks of."""
    refused(launch(shim, sandbox, [volume("a", target)], "true"), f"container_path: {target!r} ")


def test_explain_lists_what_is_made_in_the_sandbox(shim: Shim, sandbox: Path, place: Path, open_tmp: Path) -> None:
    """Sources, and in them the places of the volumes that lie inside: a directory of two levels, a file."""
    (place / "inner/deep").mkdir(parents=True)
    (place / "inner/deep").chmod(0o750)
    (place / "file").write_text("covered")
    (open_tmp / "file").write_text("mine")
    volumes = [volume("a", place), volume("b", place / "inner/deep"), volume(open_tmp / "file", place / "file")]
    done = shim.run("explain", "--json", "--container-info", info(*volumes), "--", "true", cwd=sandbox)
    made = [step for step in json.loads(said(done))["steps"] if step["action"] == "create"]
    assert os.listdir(sandbox) == []
    said(launch(shim, sandbox, volumes, "true"))
    leaves = {path for path in sandbox.rglob("*") if not path.is_dir() or not any(path.iterdir())}
    assert leaves == {sandbox / "b", sandbox / "a/inner/deep", sandbox / "a/file"}
    assert [step["target"] for step in made] == [str(sandbox / name) for name in ("a", "b", "a/file", "a/inner/deep")]
    for step in made:
        status = os.stat(step["target"])
        if step.get("kind") == "file":
            assert status.st_size == 0
        else:
            assert (step["mode"], step["uid"]) == (f"{status.st_mode & 0o7777:04o}", status.st_uid)


def test_the_double_dash_is_no_options_value(shim: Shim, sandbox: Path) -> None:
    """It starts the command: an option before it lacks its value."""
    refused(shim.run("run", "--sandbox", "--", "echo", cwd=sandbox), "--sandbox: a value is missing")
    refused(shim.run("usage", "--format", "--", "x", cwd=sandbox), "usage: --format: a value is missing")


@pytest.mark.parametrize("leads_to", ["/proc/sys", "/sys/kernel", "/dev", "/"])
def test_a_link_does_not_hide_a_kernels_directory(shim: Shim, sandbox: Path, open_tmp: Path, leads_to: str) -> None:
    """Threat 7: by file-system type and by where the path leads, not by its name."""
    (open_tmp / "link").symlink_to(leads_to)
    refused(launch(shim, sandbox, [volume("a", open_tmp / "link")], "true"), str(open_tmp / "link"))


@pytest.mark.parametrize(
    "kind",
    [
        "proc",
        "sysfs",
        "cgroup",
        "cgroup2",
        "devpts",
        "debugfs",
        "tracefs",
        "securityfs",
        "bpf",
        "pstore",
        "efivarfs",
        "configfs",
        "selinuxfs",
        "mqueue",
        "hugetlbfs",
        "binfmt_misc",
        "fusectl",
    ],
)
def test_a_kernels_file_system_elsewhere_is_refused(shim: Shim, sandbox: Path, place: Path, kind: str) -> None:
    """Threat 7 again: its name says nothing."""
    (place / "p").mkdir()
    options = "-o none,name=mesos-shim-test" if kind == "cgroup" else ""
    target = place / ("p/sys" if kind == "proc" else "p")
    script = f"mount -t {kind} {options} none {place}/p || exit 77; exec {shim.program} run --volume a:{target}"
    done = own_namespace(f"{script} -- /bin/true", sandbox)
    if done.returncode == 77:
        pytest.skip(f"this kernel mounts no {kind}: {done.stderr.splitlines()[-1]}")
    refused(done, f"is on {kind}, which belongs to the kernel")
    assert os.listdir(sandbox) == []


def test_a_namespaces_file_is_refused(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """nsfs: what ip(8) and others keep a namespace by."""
    (open_tmp / "file").write_text("mine")
    script = f"mount --bind /proc/self/ns/uts {place}/of-the-host;"
    script += f"exec {shim.program} run --volume {open_tmp}/file:{place}/of-the-host -- /bin/true"
    refused(own_namespace(script, sandbox), "is on nsfs, which belongs to the kernel")


def test_a_file_over_a_file(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    source = open_tmp / "file"
    source.write_text("mine")
    target = place / "of-the-host"
    assert said(launch(shim, sandbox, [volume(source, target)], f"cat {target}; echo new > {target}")) == "mine"
    assert (source.read_text(), target.read_text()) == ("new\n", "host")
    done = launch(shim, sandbox, [volume(source, target, "RO")], f"(echo no > {target}) 2>/dev/null || echo kept")
    assert said(done) == "kept"
    # Also inside a fresh parent, where its place has to be made.
    volumes = [volume("fresh", place), volume(source, target, "RO")]
    assert said(launch(shim, sandbox, volumes, f"cat {target}; ls {place}")) == "new\nof-the-host"


def test_kinds_must_agree(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    file = open_tmp / "file"
    file.write_text("")
    refused(launch(shim, sandbox, [volume(file, place)], "true"), "is a file, but", "is a directory")
    refused(launch(shim, sandbox, [volume(place, file)], "true"), "is a directory, but", "is a file")
    refused(launch(shim, sandbox, [volume("made", file)], "true"), "is a file")
    assert os.listdir(sandbox) == []


def test_read_only_holds_below_too(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """Threat 13: a mount below a read-only source is read-only as well, and stays so."""
    source = open_tmp / "source"
    (source / "sub").mkdir(parents=True)
    script = (
        f"mount -t tmpfs t {source}/sub; echo there > {source}/sub/file;"
        f"exec {shim.program} run --volume {source}:{place}:RO -- /bin/sh -c '"
        f"cat {place}/sub/file; touch {place}/x {place}/sub/x 2>/dev/null; ls {place} {place}/sub'"
    )
    assert said(own_namespace(script, sandbox)).splitlines() == [
        "there",
        f"{place}:",
        "sub",
        "",
        f"{place}/sub:",
        "file",
    ]


@pytest.mark.parametrize(
    ("propagation", "mode", "arrives"),
    [(None, "RW", False), ("HOST_TO_CONTAINER", "RW", True), ("HOST_TO_CONTAINER", "RO", False)],
)
def test_what_the_host_mounts_later(
    shim: Shim, sandbox: Path, open_tmp: Path, place: Path, propagation: str | None, mode: str, arrives: bool
) -> None:
    """A later mount of the host's arrives where it was asked for; never below a read-only volume (threats 1, 13)."""
    source = open_tmp / "source"
    (source / "sub").mkdir(parents=True)
    host_path: dict[str, object] = {"path": str(source)}
    if propagation:
        host_path["mount_propagation"] = {"mode": propagation}
    item = {"container_path": str(place), "mode": mode, "source": {"type": "HOST_PATH", "host_path": host_path}}
    text = json.dumps({"type": "MESOS", "volumes": [item]})
    (open_tmp / "info.json").write_text(text)
    os.mkfifo(open_tmp / "ready")
    os.mkfifo(open_tmp / "go")
    inside = (
        f"echo > {open_tmp}/ready; read line < {open_tmp}/go; ls {place}/sub; "
        # Elsewhere the host's later mounts arrive in any case: / is a slave, not private.
        f"ls {open_tmp}/elsewhere; touch {place}/sub/x 2>/dev/null || echo read-only"
    )
    (open_tmp / "elsewhere").mkdir()
    script = (
        f"{shim.program} run --container-info @{open_tmp}/info.json -- /bin/sh -c '{inside}' 2>{open_tmp}/err & "
        f"read line < {open_tmp}/ready;"
        f"mount -t tmpfs t {source}/sub; touch {source}/sub/later;"
        f"mount -t tmpfs t {open_tmp}/elsewhere; touch {open_tmp}/elsewhere/seen;"
        f"echo > {open_tmp}/go; wait"
    )
    expected = (["later"] if arrives else []) + ["seen"] + (["read-only"] if mode == "RO" else [])
    assert said(own_namespace(script, sandbox, "shared")).splitlines() == expected
    warned = "not applied to a read-only volume" in (open_tmp / "err").read_text()
    assert warned == (mode == "RO" and propagation is not None)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"type": "HOST_PATH", "host_path": {"path": "/srv", "mount_propagation": "BIDIRECTIONAL"}}, "to the host"),
        ({"type": "SANDBOX_PATH", "sandbox_path": {"type": "PARENT", "path": "a"}}, "'PARENT' needs"),
        ({"type": "SECRET", "secret": {}}, "'SECRET' belongs to another isolator"),
        ({"type": "DOCKER_VOLUME", "docker_volume": {}}, "'DOCKER_VOLUME' belongs to another"),
        ({"type": "CSI_VOLUME", "csi_volume": {}}, "'CSI_VOLUME' belongs to another"),
        ({"type": "UNKNOWN"}, "not HOST_PATH or SANDBOX_PATH"),
    ],
)
def test_sources_that_are_not_ours_are_refused_by_name(
    shim: Shim, sandbox: Path, place: Path, source: dict[str, object], words: str
) -> None:
    item = {"container_path": str(place), "mode": "RW", "source": source}
    refused(launch(shim, sandbox, [item], "true"), words)


def test_images_are_refused_by_name(shim: Shim, sandbox: Path, place: Path) -> None:
    refused(
        launch(shim, sandbox, [{**volume("a", place), "image": {}}], "true"),
        ".image: filesystem/shared does not provide volumes from images",
    )


def test_sandbox_path_self(shim: Shim, sandbox: Path, place: Path) -> None:
    source = {"type": "SANDBOX_PATH", "sandbox_path": {"type": "SELF", "path": "mine"}}
    said(launch(shim, sandbox, [{"container_path": str(place), "mode": "RW", "source": source}], f"touch {place}/x"))
    assert (sandbox / "mine/x").exists()


def test_the_systems_links_are_targets_and_sources(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """/var/run leads to /run on every host: a link that only root could make works."""
    link = open_tmp / "link"
    link.symlink_to("place")
    said(launch(shim, sandbox, [volume("a", link)], f"touch {place}/x"))
    assert (sandbox / "a/x").exists()
    (open_tmp / "target").mkdir()
    assert said(launch(shim, sandbox, [volume(link, open_tmp / "target")], f"ls {open_tmp}/target")) == "of-the-host"


def test_a_link_may_lead_up_first_and_not_later(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """`a/..` is a's parent, wherever a leads: then the path that is compared with others would not be where it is."""
    (open_tmp / "inner").mkdir()
    (open_tmp / "inner/up").symlink_to("../place")
    (open_tmp / "inner/middle").symlink_to("../inner/../place")
    (open_tmp / "absolute").symlink_to(f"{open_tmp}/inner/../place")
    (open_tmp / "target").mkdir()
    said(launch(shim, sandbox, [volume(open_tmp / "inner/up", open_tmp / "target")], f"ls {open_tmp}/target/*"))
    said(launch(shim, sandbox, [volume("a", open_tmp / "inner/up")], f"touch {place}/x"))
    assert (sandbox / "a/x").exists()
    for link in (open_tmp / "inner/middle", open_tmp / "absolute"):
        refused(launch(shim, sandbox, [volume(link, open_tmp / "target")], "true"), "leads through '..' in the middle")
        refused(launch(shim, sandbox, [volume("b", link)], "true"), "leads through '..' in the middle")


@pytest.mark.parametrize("options", [(), ("--supervise",), ("--volume", "tmp:/tmp")], ids=["", "supervise", "volume"])
def test_the_current_directory_need_not_exist(
    shim: Shim, sandbox: Path, open_tmp: Path, options: tuple[str, ...]
) -> None:
    """Somebody has removed it: what is asked for does not need it."""
    script = f'mkdir {open_tmp}/gone && cd {open_tmp}/gone && rmdir ../gone && exec "$@"'
    words = ["/bin/sh", "-c", script, "sh", str(shim.program), "run", *options]

    def run(*more: object) -> subprocess.CompletedProcess[str]:
        command = [*words, *map(str, more), "--", "/bin/pwd"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    assert said(run("--sandbox", sandbox)) == str(sandbox)
    why = "the current directory: No such file or directory; give --sandbox DIR"
    assert refused(run("--sandbox", "relative")) == refused(run()) == f"mesos-shim: {why}\n"


@pytest.mark.parametrize("options", ["nosuid,nodev,noexec", "nosuid"])
def test_a_directory_of_ours_keeps_what_it_covers_hardened(
    shim: Shim, sandbox: Path, place: Path, options: str
) -> None:
    """What is made in the sandbox stands for what it covers; `explain` says so."""
    run = f"{shim.program} run --volume a:{place} -- findmnt -no OPTIONS {place}"
    plan = f"{shim.program} explain --json --volume a:{place} -- true"
    done = said(own_namespace(f"mount -t tmpfs -o {options} none {place} && {run} && {plan}", sandbox))
    *_, seen, explained = done.splitlines()
    wanted = set(options.split(","))
    assert set(seen.split(",")) & {"nosuid", "nodev", "noexec"} == wanted
    assert [set(step["options"]) for step in json.loads(explained)["steps"] if "options" in step] == [wanted]


def test_a_source_of_the_hosts_keeps_its_own_options(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    """As with any bind mount: programs in /usr run wherever they are mounted."""
    run = f"{shim.program} run --volume /usr/bin:{place} -- {place}/echo runs"
    assert said(own_namespace(f"mount -t tmpfs -o noexec none {place} && {run}", sandbox)) == "runs"


def not_found(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stdout) == (127, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr.rstrip("\n").removeprefix("mesos-shim: command ")


def program(path: Path, interpreter: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!{interpreter}\nexit 0\n")
    path.chmod(0o755)
    return path


def test_a_command_that_a_volume_covers(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    tool = program(open_tmp / "tools/tool", "/bin/sh")
    covered = [volume("t", tool.parent)]
    why = f"'{tool}' lies below '{tool.parent}', which is covered by ContainerInfo.volumes[0]"
    assert not_found(launch(shim, sandbox, covered, tool, "x")) == f"'{tool}': not found; {why}"
    assert not_found(launch(shim, sandbox, covered, "tool", "x", env={"PATH": f"/bin:{tool.parent}"})).endswith(why)
    (open_tmp / "bin").symlink_to("tools")
    linked = f"'{open_tmp}/bin/tool' leads to '{tool}' below '{tool.parent}', which is covered by"
    assert linked in not_found(launch(shim, sandbox, covered, f"{open_tmp}/bin/tool", "x"))
    # What is not below it, and what is the host's own there, was not found for another reason.
    assert not_found(launch(shim, sandbox, covered, "/nowhere", "x")) == "'/nowhere': not found"
    shim.configure(pass_through=[str(tool)])
    assert said(launch(shim, sandbox, covered, tool, "x")) == ""


def test_a_command_whose_interpreter_is_missing(shim: Shim, sandbox: Path, open_tmp: Path) -> None:
    interpreter = program(open_tmp / "tools/shell", "/bin/sh")
    script = program(open_tmp / "script", str(interpreter))
    assert said(launch(shim, sandbox, [], script, "x")) == ""
    done = launch(shim, sandbox, [volume("t", interpreter.parent)], script, "x")
    assert not_found(done) == (
        f"'{script}': its interpreter '{interpreter}' is not found; '{interpreter}' lies below '{interpreter.parent}', "
        "which is covered by ContainerInfo.volumes[0]"
    )
