"""A terminal of the command's own where its caller is at one: `enter`, and `run --user` of another user (threats 26).

Whatever has root's terminal as its controlling one types into root's shell (TIOCSTI); whatever merely has it open can
still read what root types next, and change its modes (drivers/tty/tty_io.c, n_tty.c). So the command gets neither: a
new pseudoterminal takes the terminal's place, as in sudo with use_pty. Three processes share the work:

- the one that was called stays in its caller's job and copies between the two terminals (Relay);
- a monitor leads the new session. Without it the command's process group would be orphaned, and ^Z could not stop it;
- the command's process goes on, in a process group of its own, as if it had been called at the new terminal.

Nothing of this holds a right of the command's user: the first two are the caller's, and neither reads what comes from
the new terminal but to copy it.
"""

import _signal
import errno
import fcntl
import posix
import select
import struct
import termios

from ..errors import ShimError, fail, reason
from . import ending, execute, wait

if False:  # for the type checker alone: no launch imports typing
    from typing import Any

_STOPPED, _READS, _SIGNAL, _ENDED = b"s", b"r", b"k", b"e"  # what the monitor tells
_EVENT = struct.Struct("<ci")
# What a terminal makes of a key, for its whole foreground group.
_OF_KEYS = (_signal.SIGINT, _signal.SIGQUIT, _signal.SIGTSTP)
_DONE = _signal.SIGURG  # what the relay says to the monitor once it has sent such a one
# include/uapi/asm-generic/ioctls.h: _IOW('T', 0x36, int), which some architectures put together otherwise
_TIOCSIG = 0x80045436 if posix.uname().machine.startswith(("ppc", "mips")) else 0x40045436
_SIZE = 65536
# A command's last words: what a terminal holds, so that a daemon that goes on talking does not keep us.
_LAST_READS = 16
# In the background nothing announces that the terminal is ours again (bash's fg sends no signal to a running job).
_LOOK_AGAIN_MS = 500


def separate(owner: int) -> None:
    """Go on in a child with a terminal of its own, which `owner` may open by its name.

    The process that was called does not come back: it ends as the child ends. Where there is no terminal of the
    caller's, nothing is done. Raises ShimError.
    """
    callers = Callers()
    if callers.screen < 0:
        return
    try:
        master, slave = (_above_standard(fd) for fd in posix.openpty())
        posix.fchown(slave, owner, -1)
        callers.copy_to(slave)
        events, notifying = (_above_standard(fd) for fd in posix.pipe())
        signals = wait.hold_signals()
        monitor = wait.make_process("a terminal of the command's own")
    except OSError as error:
        raise ShimError(f"creating a terminal for the command: {reason(error)}") from None
    if monitor == 0:
        for fd in (master, events):
            posix.close(fd)
        _monitor(callers, slave, notifying)  # comes back in the command's process only
        wait.release_signals(signals)
        return
    for fd in (slave, notifying):
        posix.close(fd)
    relay = Relay(callers, master, events, monitor)
    try:
        status = relay.run(signals)
    finally:
        relay.callers.restore()
    ending.end_as(status)


def _above_standard(fd: int) -> int:
    """The descriptor, or its copy above 2: a caller may have closed some of the standard ones."""
    if fd > 2:
        return fd
    copy: int = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    posix.close(fd)
    return copy


class Callers:
    """The caller's terminal: where it is typed at and shown, by which descriptors."""

    def __init__(self) -> None:
        self.standard = [fd for fd in (0, 1, 2) if posix.isatty(fd)]
        named = -1 if 0 in self.standard and self.standard != [0] else _controlling()
        self.keyboard = 0 if 0 in self.standard else named
        self.screen = next((fd for fd in (1, 2) if fd in self.standard), named if named >= 0 else self.keyboard)
        # Read at once, or only when the command wants to read: in `enter … | less` the keyboard is less's.
        self.wanted = 0 in self.standard and 1 in self.standard
        self._modes: list[Any] | None = None
        self._pending = b""

    def copy_to(self, slave: int) -> None:
        """Give the new terminal the modes and the size of this one."""
        termios.tcsetattr(slave, termios.TCSANOW, termios.tcgetattr(self.screen))
        self.copy_size(slave)

    def copy_size(self, fd: int) -> None:
        """Give the terminal `fd` this one's size (tty_ioctl(2))."""
        try:
            fcntl.ioctl(fd, termios.TIOCSWINSZ, fcntl.ioctl(self.screen, termios.TIOCGWINSZ, bytes(8)))
        except OSError:
            return  # it has gone

    def in_foreground(self) -> bool:
        """Whether ours is the job that may read the keyboard and set its modes."""
        try:
            return posix.tcgetpgrp(self.keyboard) == posix.getpgrp()
        except OSError:
            return True  # nobody's controlling terminal: there are no jobs at it

    def hand_over(self) -> None:
        """Leave every key to the new terminal, which echoes it and makes signals of it (cfmakeraw(3))."""
        if self._modes is not None:
            return
        try:
            modes = termios.tcgetattr(self.keyboard)
            raw = [*modes[:6], list(modes[6])]
            raw[0] &= ~(
                termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP | termios.INLCR | termios.IGNCR
                | termios.ICRNL | termios.IXON
            )  # fmt: skip
            raw[1] &= ~termios.OPOST
            raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
            raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            raw[6][termios.VMIN], raw[6][termios.VTIME] = 1, 0
            self._modes = modes
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, raw)
        except (OSError, termios.error):
            return  # it has gone

    def restore(self) -> None:
        """Have the terminal's modes as they were."""
        modes, self._modes = self._modes, None
        if modes is None:
            return
        try:
            termios.tcsetattr(self.keyboard, termios.TCSADRAIN, modes)
        except (OSError, termios.error):
            return

    def suspends(self, typed: bytes) -> bool:
        """Whether the key that stops a job is among what was typed."""
        return self._modes is not None and self._modes[6][termios.VSUSP] in [bytes([key]) for key in typed]

    def show(self, data: bytes) -> None:
        """Write to the screen, however long that takes; a screen that has gone shows nothing."""
        if self._modes is None:  # then it makes the ends of lines itself, as the new terminal has done already
            data = (self._pending + data).replace(b"\r\n", b"\n")
            cut = len(data) - data.endswith(b"\r")
            data, self._pending = data[:cut], data[cut:]
        try:
            while data:
                try:
                    data = data[posix.write(self.screen, data) :]
                except BlockingIOError:
                    waiting = select.poll()
                    waiting.register(self.screen, select.POLLOUT)
                    waiting.poll()
        except OSError:
            return


def _controlling() -> int:
    """A descriptor of the controlling terminal, -1 without one."""
    try:
        return _above_standard(posix.open("/dev/tty", posix.O_RDWR | posix.O_NOCTTY | posix.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT, errno.ENODEV):
            return -1
        raise ShimError(f"/dev/tty: {reason(error)}") from None


def _monitor(callers: Callers, slave: int, notifying: int) -> None:
    """In the monitor: a new session at the new terminal, and in it the command's process, the only one to come back."""
    try:
        posix.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        # What is in the background may set the foreground group only so (tcsetpgrp(3)).
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, {_signal.SIGTTOU})
        child = wait.make_process("the command")
    except ShimError as error:
        posix._exit(fail("mesos-shim", str(error), 125))
    except OSError as error:
        posix._exit(fail("mesos-shim", f"creating a terminal for the command: {reason(error)}", 125))
    if child:
        _watch(Watched(child, slave, notifying, callers.wanted))
    posix.setpgid(0, 0)
    if callers.wanted:
        posix.tcsetpgrp(slave, posix.getpid())
    _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
    for fd in callers.standard:
        posix.dup2(slave, fd)
    for fd in (slave, notifying):
        posix.close(fd)


class Watched:
    """The command's process as its monitor sees it."""

    def __init__(self, pid: int, slave: int, notifying: int, foreground: bool) -> None:
        self.pid = pid
        self.slave = slave
        self.notifying = notifying
        self.foreground = foreground
        self.stopped = False

    def notify(self, what: bytes, number: int = 0) -> None:
        """Tell the relay; where that has gone, the hangup of the new terminal is on its way."""
        try:
            posix.write(self.notifying, _EVENT.pack(what, number))
        except OSError:
            return

    def set_foreground(self) -> None:
        """In the foreground of its terminal where it has the keyboard."""
        posix.tcsetpgrp(self.slave, self.pid if self.foreground else posix.getpgrp())

    def go_on(self) -> None:
        """Continue it."""
        self.stopped = False
        self.set_foreground()
        self.send(_signal.SIGCONT, whole=True)

    def send(self, number: int, whole: bool) -> None:
        """Send a signal to its process, or to its `whole` group."""
        try:
            posix.kill(-self.pid if whole else self.pid, number)
        except OSError:
            return  # it has just ended: SIGCHLD is on its way


def _watch(watched: Watched) -> None:
    """In the monitor, which never comes back: tell of stops and of the end, forward what the relay sends us."""
    code = 125
    try:
        try:
            posix.setpgid(watched.pid, watched.pid)
        except OSError:
            pass  # it has done so itself
        null = posix.open("/dev/null", posix.O_RDWR)
        for fd in (0, 1, 2):
            posix.dup2(null, fd)
        execute.close_others([watched.slave, watched.notifying])
        awaited = wait.FORWARDED | {_signal.SIGCHLD}
        while True:
            number = _signal.sigwait(awaited)
            if number == _signal.SIGCHLD:
                if _collect(watched):
                    code = 0
                    return
            elif number == _signal.SIGCONT:
                if watched.stopped:
                    watched.go_on()
            elif number == _DONE:
                watched.set_foreground()
            elif number in _OF_KEYS:
                # By the terminal itself: else a supervisor in the group could not tell that the group had it.
                posix.tcsetpgrp(watched.slave, watched.pid)
                watched.notify(_SIGNAL, number)
            elif number != _signal.SIGPIPE:  # that one is our own
                watched.send(number, whole=number in (_signal.SIGHUP, _signal.SIGWINCH))
                if number == _signal.SIGHUP:
                    watched.send(_signal.SIGCONT, whole=True)
    finally:
        posix._exit(code)


def _collect(watched: Watched) -> bool:
    """What has become of the command's process; whether that is its end."""
    while True:
        pid, status = posix.waitpid(watched.pid, posix.WNOHANG | posix.WUNTRACED)
        if pid == 0:
            return False
        if not posix.WIFSTOPPED(status):
            watched.notify(_ENDED, status)
            return True
        if posix.WSTOPSIG(status) in (_signal.SIGTTIN, _signal.SIGTTOU) and not watched.foreground:
            watched.foreground = True
            watched.notify(_READS)
            watched.go_on()
        else:
            watched.stopped = True
            watched.notify(_STOPPED)


class Relay:
    """Copies between the caller's terminal and the new one, of which it has the `master` side."""

    def __init__(self, callers: Callers, master: int, events: int, monitor: int) -> None:
        self.callers = callers
        self._master = master
        self._events = events
        self._monitor = monitor
        self._typed = b""
        self._status: int | None = None
        self._stopped = False
        # Whether the last thing typed was the key that stops a job. Else a process of the container's, by a SIGSTOP,
        # would have root's next words typed to root's own shell.
        self._stop_requested = False

    def run(self, signals: wait.Signals) -> int:
        """Until the command has ended; its wait status."""
        wake, waking = (_above_standard(fd) for fd in posix.pipe())
        self._keep_only([self._master, self._events, wake, waking, self.callers.keyboard, self.callers.screen])
        for fd in (self._master, wake, waking):
            posix.set_blocking(fd, False)
        _signal.set_wakeup_fd(waking, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGTTOU, _signal.SIG_IGN)
        for number in wait.FORWARDED - {_signal.SIGPIPE}:
            if _signal.getsignal(number) != _signal.SIG_IGN:  # nohup(1)
                _signal.signal(number, _noted)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, signals.mask)
        while self._status is None:
            self._step(wake)
        for _ in range(_LAST_READS):
            if not self._show():
                break
        return self._status

    def _keep_only(self, kept: "list[int]") -> None:
        """What is the command's is not kept open by us: a pipe would never end."""
        null = posix.open("/dev/null", posix.O_RDWR)
        for fd in (0, 1):
            if fd not in self.callers.standard:
                posix.dup2(null, fd)
        execute.close_others(kept)

    def _step(self, wake: int) -> None:
        """Wait for the next thing to do, and do it."""
        callers = self.callers
        keys = callers.wanted and callers.in_foreground()
        if keys:
            callers.hand_over()
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        poll.register(self._events, select.POLLIN)
        poll.register(self._master, select.POLLIN | (select.POLLOUT if self._typed else 0))
        if keys and not self._typed:
            poll.register(callers.keyboard, select.POLLIN)
        ready = dict(poll.poll(_LOOK_AGAIN_MS if callers.wanted and not keys else None))
        if wake in ready:
            for number in posix.read(wake, 4096):
                self._signal(number)
        if self._master in ready:
            self._show()
            self._type(b"")
        if callers.keyboard in ready and callers.in_foreground():
            self._read_keys()
        if self._events in ready:
            self._hear()

    def _show(self) -> bool:
        """Show what the command has written; whether it was anything."""
        try:
            data = posix.read(self._master, _SIZE)
        except OSError:
            return False  # nothing more, or nobody has the new terminal open at this moment
        self.callers.show(data)
        return bool(data)

    def _read_keys(self) -> None:
        try:
            data = posix.read(self.callers.keyboard, _SIZE)
        except OSError:
            data = b""
        if not data:  # the terminal has gone
            self.callers.wanted = False
            return
        self._stop_requested = self.callers.suspends(data)
        self._type(data)
        if self._stop_requested and self._stopped:
            self._suspend()

    def _type(self, data: bytes) -> None:
        """Type it at the new terminal, as much as that takes now."""
        self._typed += data
        try:
            while self._typed:
                self._typed = self._typed[posix.write(self._master, self._typed) :]
        except BlockingIOError:
            return
        except OSError:
            self._typed = b""

    def _signal(self, number: int) -> None:
        """One of ours has come."""
        if number == _signal.SIGWINCH:
            self.callers.copy_size(self._master)
        elif number == _signal.SIGHUP:
            self._status = _signal.SIGHUP  # the new terminal hangs up when we end
        elif number == _signal.SIGCONT:
            self.callers.restore()  # the modes may be others by now: they are looked at anew
        elif number != _DONE:
            self._stop_requested = self._stop_requested or number == _signal.SIGTSTP
            posix.kill(self._monitor, number)

    def _hear(self) -> None:
        """The monitor tells something; it has gone without a last word where it was killed."""
        data = posix.read(self._events, _EVENT.size)
        if len(data) < _EVENT.size:
            self._status = posix.waitpid(self._monitor, 0)[1]
            return
        what, number = _EVENT.unpack(data)
        if what == _ENDED:
            self._status = number
        elif what == _READS:
            self.callers.wanted = self.callers.keyboard >= 0
        elif what == _SIGNAL:
            fcntl.ioctl(self._master, _TIOCSIG, number)
            posix.kill(self._monitor, _DONE)
        else:
            self._stopped = True
            if self._stop_requested:
                self._suspend()

    def _suspend(self) -> None:
        """Stop with our job, as the command has; go on with it when the shell lets us.

        An orphaned job does not stop: then both go on at once.
        """
        self.callers.restore()
        _signal.signal(_signal.SIGTSTP, _signal.SIG_DFL)
        posix.kill(0, _signal.SIGTSTP)
        _signal.signal(_signal.SIGTSTP, _noted)
        self._stop_requested = self._stopped = False
        self.callers.copy_size(self._master)
        posix.kill(self._monitor, _signal.SIGCONT)


def _noted(number: int, frame: object) -> None:
    """The wakeup descriptor tells of it."""
