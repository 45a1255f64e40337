# Copyright the mesos-shim authors
# Apache License 2.0 (see LICENSE or https://www.apache.org/licenses/LICENSE-2.0)
"""The user of an agent that does not run as root. Its tasks have the same one, so its directories are a stranger's."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import pwd

STATE_DIR = "/run/mesos-shim-%d"  # shim: containers/user_directory.py
# Of a unit, for `systemctl show`.
PROPERTIES = ("Id", "User", "DynamicUser", "Group")


class NoAccount(Exception):
    """The host does not know the user, in one line."""


def account(name):
    """The account of a name or a uid in the shim's configuration; None where that is root, or none is named.

    Raises NoAccount.
    """
    if name is None:
        return None
    try:
        name = str(name)
        found = pwd.getpwuid(int(name)) if name.isascii() and name.isdigit() else pwd.getpwnam(name)
    except (KeyError, OverflowError, ValueError) as error:
        raise NoAccount("mesos_shim_config.agent_user: this host has no account %r" % name) from error
    return found if found.pw_uid else None


def configured(text):
    """The account that the text of a configuration names. Raises NoAccount."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return None  # the shim says what is wrong with it
    return account(found.get("agent_user") if isinstance(found, dict) else None)


def of_unit(found):
    """As whom a unit runs its agent; None for root, and for a user whose uid changes.

    `found` is what systemd says of the unit, PROPERTIES among it.
    """
    name = found.get("User") or "root"
    return None if name in ("root", "0") or found.get("DynamicUser") == "yes" else name


def group(user, found):
    """The gid with which a unit runs an agent as `user`, an account; None for root's. `found` as in `of_unit`.

    Its `Group=` takes the place of the account's own. Raises NoAccount.
    """
    if user is None:
        return None
    name = found.get("Group")
    if not name:
        return user.pw_gid
    try:
        return int(name) if name.isascii() and name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise NoAccount("the unit %s has Group=%s: this host has no such group" % (found.get("Id"), name)) from error


@contextlib.contextmanager
def rights_of(uid, gid):
    """Has what follows find and change what that user could, where we are root and that is another user."""
    if os.geteuid() != 0 or uid == 0:
        yield
        return
    groups, own = os.getgroups(), os.getegid()
    os.setgroups([gid])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own)
        os.setgroups(groups)
