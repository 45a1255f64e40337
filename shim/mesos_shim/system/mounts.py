"""Makes, copies and moves mounts, by the newer calls of the kernel or by those that every one has."""

from . import syscalls

if False:  # for the type checker alone: most kernels need none of it
    from . import legacy_mounts


class Mounts:
    """The calls that make, copy and move mounts: the kernel's newer ones, or `classic` where it lacks any of them."""

    def __init__(self) -> None:
        self._staging: legacy_mounts.Staging | None = None
        if not syscalls.has_mount_calls():
            self._staging = _staging()

    def tmpfs(self, options: "dict[str, str]", attributes: int) -> int:
        """A tmpfs that is not attached yet."""
        if self._staging is None:
            from . import other_syscalls  # most plans have no tmpfs

            try:
                return other_syscalls.new_tmpfs(options, attributes)
            except OSError as error:
                if error.errno not in syscalls.ABSENT:
                    raise
            # A filter may forbid fsopen alone. What is attached elsewhere can be moved, so this mixes.
            self._staging = _staging(only_tmpfs=True)
        return self._staging.tmpfs(options, attributes)

    def clone(self, source: int, read_only: bool, propagation: int, restrictions: int = 0) -> int:
        """A copy of the mounts at `source` and below, not attached yet; `restrictions` are model.NOSUID and so on."""
        if self._staging is not None and not self._staging.only_tmpfs:
            return self._staging.clone(source, read_only, propagation, restrictions)
        tree = syscalls.open_tree(source, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
        attributes = restrictions | (syscalls.MOUNT_ATTR_RDONLY if read_only else 0)
        syscalls.mount_setattr(tree, syscalls.AT_RECURSIVE, set_=attributes, propagation=propagation)
        return tree

    def move(self, tree: int, target: int) -> None:
        """Attach `tree`."""
        if self._staging is not None and not self._staging.only_tmpfs:
            self._staging.move(tree, target)
        else:
            syscalls.move_mount(tree, target)

    def seal(self, tree: int) -> None:
        """Make an attached tmpfs of ours read-only, and only that one mount."""
        if self._staging is not None and not self._staging.only_tmpfs:
            self._staging.seal(tree)
        else:
            syscalls.mount_setattr(tree, 0, set_=syscalls.MOUNT_ATTR_RDONLY)

    def clear(self) -> None:
        """Leave nothing of the way the mounts were made."""
        if self._staging is not None:
            self._staging.clear()


def _staging(only_tmpfs: bool = False) -> "legacy_mounts.Staging":
    from ..system import legacy_mounts

    return legacy_mounts.Staging(only_tmpfs)
