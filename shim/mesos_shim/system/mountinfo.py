"""The mount table of a process (proc_pid_mountinfo(5)).

Users name the directories that they mount on: whatever is in such a name, a line ends at a newline only, and a path is
as it is after its escapes are undone.
"""

from . import files

if False:  # for the type checker alone: no launch imports typing
    from typing import Iterator

_ESCAPED = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


class Line:
    """One mount."""

    __slots__ = ("device", "id", "kind", "optional", "options", "parent", "path", "root", "super_options")

    def __init__(self, words: "list[str]", dash: int) -> None:
        self.id = int(words[0])
        self.parent = int(words[1])
        # Of its file system, as `major:minor`.
        self.device = words[2]
        # What of that file system is mounted, and where.
        self.root = unescape(words[3])
        self.path = unescape(words[4])
        self.options = words[5].split(",")
        # `shared:N` and the like.
        self.optional = words[6:dash]
        self.kind = words[dash + 1]
        self.super_options = words[dash + 3].split(",")

    @property
    def shared(self) -> bool:
        """Whether what is mounted below it is mounted in other namespaces too."""
        return any(field.startswith("shared:") for field in self.optional)


def read() -> "Iterator[Line]":
    """The mounts of this namespace, a child's after its parent's. Raises OSError."""
    return parse(files.read_file("/proc/self/mountinfo"))


def parse(data: bytes) -> "Iterator[Line]":
    """The mounts in the text of a mount table."""
    for line in data.decode("utf-8", "surrogateescape").split("\n"):
        words = line.split(" ")
        dash = words.index("-", 6) if "-" in words[6:] else len(words)
        if len(words) > dash + 3:
            yield Line(words, dash)


def unescape(path: str) -> str:
    """A path of the table as it is."""
    if "\\" in path:
        for code, character in _ESCAPED:
            path = path.replace(code, character)
    return path
