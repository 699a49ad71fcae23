// Names the command that installs a missing package, for this distribution.
#pragma once

#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The command that installs a thing on this host, such as "sudo dnf install qemu-kvm"; empty if none is
/// known for its distribution, or if it has no package of its own for that.
/// @param thing  a row of generated/system_packages.hpp, such as "qemu" or "kernel"
std::string install_command(std::string_view thing);

/// The same for another host.
/// @param os_release  the text of its /etc/os-release
/// @param machine     its architecture, as uname -m names it
std::string install_command(std::string_view thing, std::string_view os_release, std::string_view machine,
                            bool is_root);

/// The packages in a cell of system_packages.txt, a blank before each; empty if the thing comes with another
/// package, or if there is none.
std::string package_names(std::string_view cell);

/// "install it with: COMMAND", the hint of an error about a missing thing; empty if no command is known.
std::string install_hint(std::string_view thing);

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/install_command.ipp"
#endif
