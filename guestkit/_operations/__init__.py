"""What guestkit's filesystem, servers and shell do with a guest's files: each function is one turn.

Names and links are the guest's. libguestfs resolves most paths in a chroot of the guest; for those actions
that do not, the path is resolved in the guest before. What the appliance answers by a process of its own
(`realpath`, `readlink`, `is_dir`, `is_symlink`) takes ten times as long as `statns`, so it is left alone.
"""

from guestkit._operations.changing import (
    COPIED_MODE,
    Attributes,
    change,
    copy,
    copy_tree,
    link,
    makedirs,
    mkdir,
    move,
    remove,
    rename,
    rmdir,
    symlink,
)
from guestkit._operations.looking import (
    Entry,
    check_there,
    info,
    is_directory,
    link_count,
    listing,
    status,
    target,
    tree,
)
from guestkit._operations.paths import is_same
from guestkit._operations.reading import at_once, beginnings, part, read, read_each, save, save_whole
from guestkit._operations.replacing import replacement
from guestkit._operations.writing import Place, append, begin, put, settle, touch, write

__all__ = [
    "COPIED_MODE",
    "Attributes",
    "Entry",
    "Place",
    "append",
    "at_once",
    "begin",
    "beginnings",
    "change",
    "check_there",
    "copy",
    "copy_tree",
    "info",
    "is_directory",
    "is_same",
    "link",
    "link_count",
    "listing",
    "makedirs",
    "mkdir",
    "move",
    "part",
    "put",
    "read",
    "read_each",
    "remove",
    "rename",
    "replacement",
    "rmdir",
    "save",
    "save_whole",
    "settle",
    "status",
    "symlink",
    "target",
    "touch",
    "tree",
    "write",
]
