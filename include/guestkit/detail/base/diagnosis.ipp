#pragma once

#include <cerrno>

#include "guestkit/detail/base/diagnosis.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::optional<Diagnosis> scarcity(int error_number) {
  if (error_number == EMFILE)
    return Diagnosis{Cause::unknown, "close some files, or raise the limit of this process (ulimit -n)"};
  if (error_number == ENFILE) return Diagnosis{Cause::unknown, "raise the limit of this host (fs.file-max)"};
  if (error_number == ENOMEM) return Diagnosis{Cause::memory};
  return std::nullopt;
}

GUESTKIT_INLINE Diagnosis complaint_of_own_files(const std::string& message) {
  const auto tells = [&](std::string_view text) { return message.find(text) != std::string::npos; };
  // libguestfs looks at the cache directory that it could not make, and tells the error of that alone.
  if (message.starts_with("stat: ") && tells("/.guestfs-"))
    return {Cause::no_space,
            "libguestfs' appliance cannot be written: set LIBGUESTFS_CACHEDIR to a directory that this user "
            "can write, with some GB free"};
  if (tells("cannot create temporary directory")) return {Cause::no_space, std::string(no_temporary_files)};
  return {};
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
