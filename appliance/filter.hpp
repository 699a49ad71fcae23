// What a QEMU that is shut in may not ask of the kernel: rights of its user's that Landlock, which knows of
// files, and QEMU's own filter leave it.
#pragma once

namespace appliance {

/// Has the kernel refuse the system calls, with EACCES, to this process and to all that it becomes or starts.
/// The process must have no_new_privs, and keep its number. Returns whether that is done; if not, sets errno.
/// @param network  whether it may make sockets of IPv4 and IPv6. It keeps those that it inherits.
bool filter_calls(bool network);

/// Gives up every capability for ever but those to open what belongs to others, as root's disks may. Returns
/// whether that is done; if not, sets errno.
bool drop_capabilities();

}  // namespace appliance
