"""Directories that a group may write, or everybody: whose launch may lead through them."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..lib.launching import ACCESS, GROUP, GROUP_OBJ, MASK, OTHER, UNDEFINED, USER_OBJ, acl, give, info, refused, volume
from ..lib.shim import NOBODY, Shim, needs_root

pytestmark = needs_root
TEAM, COLLEAGUE = 1234, 1001
MEMBER = 1002  # not 65534, which is what strangers are shown as
SAYS = "lies in a directory that others can write"


@pytest.fixture
def place(open_tmp: Path) -> Path:
    """What a volume covers."""
    path = open_tmp / "place"
    path.mkdir()
    return path


@pytest.fixture
def project(open_tmp: Path) -> Path:
    """A project's directory, a colleague's, in which every member of the team has a directory."""
    path = open_tmp / "project"
    (path / "mine").mkdir(parents=True)
    (path / "mine/data").touch()
    give(path / "mine")
    os.chown(path, COLLEAGUE, TEAM)
    path.chmod(0o2775)
    return path


@pytest.fixture
def state(shim: Shim, open_tmp: Path) -> Path:
    """The user's own directory, for records and as a sandbox."""
    path = open_tmp / "state"
    path.mkdir()
    shim.configure(state_dir=str(path))
    return give(path)


def as_member(shim: Shim, cwd: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`mesos-shim run ARGUMENTS` by a member of the team."""
    words = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", f"--groups={TEAM}", str(shim.program), "run"]
    return ended([*words, *map(str, arguments)], cwd)


@pytest.mark.parametrize(("owner", "mode"), [(COLLEAGUE, 0o2775), (0, 0o2775), (0, 0o777), (COLLEAGUE, 0o777)])
@pytest.mark.parametrize("use", ["source", "sandbox", "target"])
def test_an_ordinary_user_in_a_project(
    shim: Shim, project: Path, place: Path, state: Path, owner: int, mode: int, use: str
) -> None:
    """What they can open they may name, in their team's directory and in Nomad's of mode 0777."""
    os.chown(project, owner, TEAM)
    project.chmod(mode)
    mine = project / "mine"
    covered = mine if use == "target" else place
    asked = volume(mine if use == "source" else "made", covered)
    sandbox = mine if use == "sandbox" else state
    looked_at = place if use == "source" else mine
    done = as_member(shim, place, "--container-info", info(asked), "--sandbox", sandbox, "--", "ls", looked_at)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert ("data" in done.stdout) is (use != "target")


@pytest.fixture
def outside_tmp() -> Iterator[Path]:
    """A team's directory without a way through one such as /tmp, where an unknown owner is a stranger in any case."""
    with tempfile.TemporaryDirectory(dir="/srv") as name:
        project = Path(name)
        os.chown(project, COLLEAGUE, TEAM)
        project.chmod(0o2775)
        for path in (project / "mine/data", project / "place"):
            path.mkdir(parents=True)
            give(path, MEMBER)
        yield give(project / "mine", MEMBER).parent


def by_another_number(shim: Shim, state: Path, *arguments: object) -> list[str]:
    """`mesos-shim run ARGUMENTS` by a member who is uid 0 of a user namespace that knows nobody else."""
    give(state, MEMBER)
    words = ["setpriv", f"--reuid={MEMBER}", f"--regid={MEMBER}", f"--groups={TEAM}", "unshare", "--map-root-user"]
    return [*words, str(shim.program), "run", *map(str, arguments)]


def ended(words: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("use", ["source", "sandbox", "target"])
@pytest.mark.parametrize("mode", [0o2775, 0o777])
def test_an_ordinary_user_by_another_number(shim: Shim, outside_tmp: Path, state: Path, mode: int, use: str) -> None:
    """`unshare -r`, in which the tools of a container often run."""
    outside_tmp.chmod(mode)
    mine, place = outside_tmp / "mine", outside_tmp / "place"
    asked = volume(mine if use == "source" else "made", mine if use == "target" else place)
    sandbox, looked_at = mine if use == "sandbox" else state, place if use == "source" else mine
    words = ["--container-info", info(asked), "--sandbox", sandbox, "--", "ls", looked_at]
    done = ended(by_another_number(shim, state, *words), state)
    assert (done.returncode, done.stderr) == (0, ""), done
    assert ("data" in done.stdout) is (use != "target")


@pytest.mark.parametrize("owner", [COLLEAGUE, 0])
def test_no_link_is_followed_whose_owner_is_unknown(shim: Shim, outside_tmp: Path, state: Path, owner: int) -> None:
    """The colleague's, and root's, who cannot be told from the colleague there."""
    (outside_tmp / "link").symlink_to(outside_tmp / "mine")
    give(outside_tmp / "link", owner)
    words = ["--volume", f"{outside_tmp}/link:{outside_tmp}/place", "--", "true"]
    refused(
        ended(by_another_number(shim, state, *words), state), f"is a symbolic link that uid {NOBODY} could have made"
    )


def test_a_group_that_is_not_mapped_is_not_empty(shim: Shim, outside_tmp: Path, state: Path, open_tmp: Path) -> None:
    """It is shown as the overflow gid, a group without members on many hosts."""
    base = outside_tmp / "mine"
    os.chown(outside_tmp, 0, TEAM)
    words = by_another_number(shim, state, "--", "true")
    prefix = with_accounts(open_tmp, group=f"{ETC['group']}nogroup:x:{NOBODY}:\n")
    shim.configure(state_dir=str(state), private_directories={str(outside_tmp / "place"): {"base": str(base)}})
    refused(ended([*prefix, *words], state), "private_directories: base", SAYS, f"group {NOBODY}")


@pytest.mark.parametrize(("owner", "follows"), [(COLLEAGUE, False), (NOBODY, True), (0, True)])
def test_a_colleagues_link_is_not_followed(
    shim: Shim, project: Path, place: Path, state: Path, owner: int, follows: bool
) -> None:
    """It could lead to whatever the user may change; root's and their own are followed."""
    (project / "link").symlink_to(project / "mine")
    give(project / "link", owner)
    asked = info(volume(project / "link", place))
    done = as_member(shim, place, "--container-info", asked, "--sandbox", state, "--", "ls", place)
    if follows:
        assert (done.returncode, done.stdout) == (0, "data\n"), done
    else:
        refused(done, f"is a symbolic link that uid {COLLEAGUE} could have made")


def test_a_base_is_judged_for_an_ordinary_user_too(shim: Shim, project: Path, place: Path, state: Path) -> None:
    """Private directories are removed from it by name: nobody else may put another in its place."""
    base = project / "mine/base"
    base.mkdir(mode=0o755)
    give(base)
    shim.configure(state_dir=str(state), private_directories={str(place): {"base": str(base)}})
    done = as_member(shim, state, "--", "true")
    refused(done, "private_directories: base", f"uid {COLLEAGUE} can replace it")


def local(open_tmp: Path, group: int) -> Path:
    """One of root's in a directory such as /var/local, 2775."""
    path = open_tmp / "local/data"
    path.mkdir(parents=True)
    os.chown(path.parent, 0, group)
    path.parent.chmod(0o2775)
    return path


# An /etc of the test's own: the group `empty` has no members.
EMPTY, ACCOUNT = 4321, 4322
ETC = {
    "group": f"root:x:0:\nempty:x:{EMPTY}:\nteam:x:{TEAM}:alice\n",
    "passwd": f"root:x:0:0:root:/root:/bin/sh\nalice:x:{ACCOUNT}:{ACCOUNT}::/:/bin/sh\n",
    "gshadow": "root:*::\nempty:!::\nteam:!::alice\n",
    "nsswitch.conf": "passwd: files\ngroup: files\n",
    "subgid": "alice:100000:65536\n",
}


def with_accounts(directory: Path, **more: str) -> list[str]:
    """What a command line begins with that runs where the databases of accounts are ETC with `more`."""
    etc = directory / "etc"
    etc.mkdir(exist_ok=True)
    script = ""
    for name, text in {**ETC, **{key.replace("_", "."): value for key, value in more.items()}}.items():
        (etc / name).write_text(text)
        script += f"mount --bind {etc}/{name} /etc/{name} || exit 99\n"
    return ["unshare", "-m", "--propagation", "private", "/bin/sh", "-c", script + 'exec "$@"', "-"]


def run(shim: Shim, sandbox: Path, source: Path, place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Root's launch of a volume, with these accounts."""
    words = [
        *with_accounts(sandbox.parent, **more),
        str(shim.program),
        "run",
        "--container-info",
        info(volume(source, place)),
        "--",
        "true",
    ]
    return ended(words, sandbox)


def test_for_root_a_group_without_members_is_nobody(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    done = run(shim, sandbox, local(open_tmp, EMPTY), place)
    assert (done.returncode, done.stderr) == (0, "")


def test_roots_membership_is_none(shim: Shim, sandbox: Path, open_tmp: Path, place: Path) -> None:
    group = ETC["group"].replace(f"{EMPTY}:", f"{EMPTY}:root")
    done = run(shim, sandbox, local(open_tmp, EMPTY), place, group=group)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("group", ETC["group"].replace(f"{EMPTY}:", f"{EMPTY}:alice")),
        ("group", ETC["group"].replace(f"{EMPTY}:", f"{EMPTY}:unheard-of")),
        ("group", f"{ETC['group']}other:x:{EMPTY}:alice\n"),
        ("group", ETC["group"].replace("empty:x:", "empty:$y$hash:")),
        ("group", "root:x:0:\n"),
        ("passwd", ETC["passwd"].replace(f"{ACCOUNT}:{ACCOUNT}", f"{ACCOUNT}:{EMPTY}")),
        ("gshadow", "empty:$y$hash::\n"),
        ("gshadow", "empty:!:alice:\n"),
        ("gshadow", "empty:!::alice\n"),
        ("subgid", f"alice:{EMPTY - 1}:2\n"),
        ("subgid", "nonsense\n"),
        ("nsswitch_conf", "passwd: files\ngroup: files [SUCCESS=merge] sss\n"),
        ("nsswitch_conf", "passwd: files\ngroup: files\ninitgroups: ldap\n"),
        ("nsswitch_conf", "passwd: compat\ngroup: files\n"),
    ],
)
def test_what_cannot_be_known_is_not_empty(
    shim: Shim, sandbox: Path, open_tmp: Path, place: Path, file: str, text: str
) -> None:
    """By its members, an account whose own group it is, a password, a mapping, or in another database."""
    done = run(shim, sandbox, local(open_tmp, EMPTY), place, **{file: text})
    refused(done, SAYS, f"group {EMPTY}", "trusted_groups")


@pytest.mark.parametrize(("trusted", "works"), [(["team"], True), ([TEAM], True), (["empty", 1], False), ([], False)])
def test_groups_that_the_operator_trusts(
    shim: Shim, sandbox: Path, open_tmp: Path, place: Path, trusted: list[object], works: bool
) -> None:
    path = local(open_tmp, TEAM)
    shim.configure(trusted_groups=trusted)
    done = run(shim, sandbox, path, place)
    if works:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        refused(done, SAYS, f"group {TEAM}")
    path.parent.chmod(0o2777)
    refused(run(shim, sandbox, path, place), SAYS, "chmod o-w,g-w or +t it")


@pytest.mark.parametrize(("group", "works"), [(EMPTY, True), (TEAM, False)])
def test_groups_of_an_access_list(
    shim: Shim, sandbox: Path, open_tmp: Path, place: Path, group: int, works: bool
) -> None:
    path = local(open_tmp, 0)
    mine, own, mask, other = (
        (tag, bits, UNDEFINED) for tag, bits in ((USER_OBJ, 7), (GROUP_OBJ, 5), (MASK, 7), (OTHER, 5))
    )
    os.setxattr(path.parent, ACCESS, acl(mine, own, (GROUP, 7, group), mask, other))
    done = run(shim, sandbox, path, place)
    if works:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        refused(done, SAYS)
