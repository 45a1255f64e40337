# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""What a probe does in its container, and what its report must say.

It looks at the volumes, has mesos-executor's call made in there as often as a task's end can differ, and ends with a
status that nothing else ends with.
"""

from __future__ import annotations

import json
import os
import shlex
import stat

from ansible_collections.mesos.containerizer.plugins.module_utils import _launch_callers as launch_callers

STATUS = 17  # of the probe
_LATE = 18  # of one that waited for a signal in vain
_TASK_STATUS = 23  # of the command that mesos-executor's call becomes
_TASK_SIGNAL = 9
_VALUE = "given"  # a variable's value
_MOST_BYTES = 65536
REPORT, ERRORS = "report", "errors"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# Who it is, then for each path what it is in this view and whether it can be written there.
_LOOK = (
    'echo "{who} $$ $(id -u) $MESOS_SHIM_PROBE"; for path in {paths}; do if [ -w "$path" ]; then w=RW; else w=RO; fi; '
    'echo "{who} $(stat -c %d:%i "$path") $w"; done'
)
# $$ of what the helper becomes must be $!: no fork of ours stays between mesos-executor and its command.
_TASK = """\
{call} &
child=$!
wait $child
echo "ended $child $?"
"""
_CONTAINER = """\
PATH={path}; export PATH
trap 'exit {status}' USR1
{{ {look}
{tasks}echo done
}} >{report}.part 2>{errors}
mv {report}.part {report}
n=0
while [ $n -lt {seconds} ]; do n=$((n+1)); sleep 1 & wait $!; done
exit {last}
"""


class ProbeError(Exception):
    """What a probe saw that it should not, or why there was none."""


def command(helper, row, volumes, sandbox, seconds):
    """The probe's CommandInfo. It ends at once, or where there are seconds for it by SIGUSR1."""
    paths = " ".join(shlex.quote(volume.container_path) for volume in volumes)
    tasks = ""
    if row.executor is not None:
        for who, end in (("exits", "exit %d" % _TASK_STATUS), ("killed", "kill -%d $$" % _TASK_SIGNAL)):
            text = "%s; %s" % (_LOOK.format(who=who, paths=paths), end)
            call = launch_callers.executors_call(row, _shell(text), environment(sandbox))
            tasks += _TASK.format(call=" ".join(shlex.quote(word) for word in [helper] + call))
    text = _CONTAINER.format(
        path=_PATH,
        status=STATUS,
        last=_LATE if seconds else STATUS,
        look=_LOOK.format(who="container", paths=paths),
        tasks=tasks,
        report=REPORT,
        errors=ERRORS,
        seconds=seconds,
    )
    return _shell(text)


def task(end):
    """A CommandInfo that prints its pid and its uid, and ends by a shell's words."""
    return _shell('echo "$$ $(id -u)"; %s' % end)


def _shell(text):
    return {"shell": False, "value": "/bin/sh", "arguments": ["sh", "-c", text]}


def environment(sandbox):
    """A container's variables."""
    return {"MESOS_SANDBOX": sandbox, "PATH": _PATH, "MESOS_SHIM_PROBE": _VALUE}


def report(sandbox):
    """{who: [line, …]} of the probe's report, None where there is none (yet). Raises ProbeError."""
    text = read(sandbox, REPORT)
    if text is None:
        return None
    found = {}
    for line in text.splitlines():
        who, _unused, rest = line.partition(" ")
        found.setdefault(who, []).append(rest)
    return found


def read(directory, name):
    """The text of a probe's own file, None where there is none: its user may have made anything of it."""
    try:
        above = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=above)
    except OSError:
        return None
    finally:
        os.close(above)
    with os.fdopen(fd, "rb") as stream:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        return stream.read(_MOST_BYTES).decode("utf-8", "backslashreplace")


def errors(sandbox, *names):
    """What a probe's files of these names say, in one line."""
    said = " ".join(" ".join((read(sandbox, name) or "").split()) for name in names).strip()
    return said[-500:]


def compare(found, row, volumes, sandbox, uid):
    """Raises ProbeError unless a report says what it must; `volumes` are as shim_configuration.expected() has them."""
    _look(found, "container", "the probe executor", volumes, sandbox, uid)
    if row.executor is None:
        return
    ends = found.get("ended", [])
    for index, (who, wanted) in enumerate((("exits", _TASK_STATUS), ("killed", 128 + _TASK_SIGNAL))):
        caller = "mesos-executor's call (Mesos %s)" % row.versions
        child, _unused, status = (ends[index] if index < len(ends) else "").partition(" ")
        if status != str(wanted):
            said = errors(sandbox, ERRORS) or "it said nothing"
            raise ProbeError("%s ended with %s instead of %d: %s" % (caller, status or "nothing", wanted, said))
        pid = _look(found, who, "the command of " + caller, volumes, sandbox, uid)
        if pid != child:
            raise ProbeError("%s did not become its command: it is pid %s, the command %s" % (caller, child, pid))


def _look(found, who, what, volumes, sandbox, uid):
    """Checks what one of them saw; returns its pid."""
    lines = [line.split(" ") for line in found.get(who, [])]
    if [len(words) for words in lines] != [3] + [2] * len(volumes):
        raise ProbeError("%s printed %s, which is not readable" % (what, json.dumps(found.get(who))[:200]))
    if lines[0][1] != str(uid):
        raise ProbeError("%s ran as uid %s instead of %d" % (what, lines[0][1], uid))
    if lines[0][2] != _VALUE:
        raise ProbeError("%s did not get its environment" % what)
    for (seen, writable), volume in zip(lines[1:], volumes):
        if not seen and uid != os.geteuid():
            continue  # an ordinary user may not look there: nothing can be said
        _compare(seen, what, volume, sandbox)
        if volume.read_only and writable != "RO":
            raise ProbeError("%s could write to %s, which is read-only" % (what, volume.container_path))
    return lines[0][0]


def _compare(seen, what, volume, sandbox):
    """Raises ProbeError unless what was seen at a container path is what it must be."""
    target, source = volume.container_path, volume.host_path
    if source is None:
        there = os.stat(target)
        if seen == "%d:%d" % (there.st_dev, there.st_ino):
            raise ProbeError("%s saw the host's own %s, so it is not isolated" % (what, target))
        return
    wanted = source if source.startswith("/") else os.path.join(sandbox, source)
    try:
        there = os.stat(wanted)
    except FileNotFoundError as error:
        raise ProbeError("%s, its own %s, was not created, so it is not isolated" % (wanted, target)) from error
    if seen != "%d:%d" % (there.st_dev, there.st_ino):
        raise ProbeError("%s saw another %s than its own, so it is not isolated" % (what, target))
