// Files and directories of this host, read as far as possible.
#pragma once

#include <cerrno>
#include <set>
#include <string>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The content of a regular file; empty or partial if there is none or reading fails, as it does in /proc
/// when the process ends meanwhile. It neither waits for a FIFO nor reads a device, which has no end.
std::string read_text(const std::string& path);

/// The names of a directory's entries; none if it cannot be listed.
std::set<std::string> host_names_in(const std::string& directory);

/// Whether a file that could not be opened or run for this errno cannot be a moment later either. Anything
/// else may have been for want of descriptors, memory or processes.
inline bool is_lasting(int error_number) noexcept {
  return error_number == ENOENT || error_number == EACCES || error_number == EPERM;
}

/// The directories in which programs are searched for, as execvp(3) does.
std::vector<std::string> program_folders();

/// Whether it is a program that this user may run.
bool is_program(const std::string& file);

/// The file of a program, which is searched for in PATH unless the name has a slash; the name as it is if
/// there is none.
std::string program_file(const std::string& name);

/// This host's architecture, as uname -m names it, such as x86_64 or aarch64.
std::string host_architecture();

}  // namespace guestkit::inline GUESTKIT_FORM::detail

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/host_files.ipp"
#endif
