#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <set>
#include <string>
#include <string_view>

#include "guestkit/detail/base/host_files.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/launch/appliance_fault.hpp"
#include "guestkit/detail/launch/private_directory.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why a file of the appliance must not be trusted: it is no plain file, or somebody else can write it.
/// @param owner  of the appliance
inline std::string plain_file_fault(const std::string& path, const struct stat& s, uid_t owner) {
  if (S_ISREG(s.st_mode) && s.st_uid == owner && (s.st_mode & 022) == 0) return "";
  return path + " is not a file that only " + (owner == ::geteuid() ? "this user" : "root") + " can write";
}

/// Why a file does not match its row in the manifest; empty if it does.
/// @param own    whether it is part of the appliance: then it must be a plain file that nobody else can write
/// @param owner  of the appliance
inline std::string file_fault(const std::string& path, bool own, uid_t owner, std::uint64_t size,
                              std::uint64_t changed) {
  struct stat s {};
  if ((own ? ::lstat(path.c_str(), &s) : ::stat(path.c_str(), &s)) != 0)
    return path + ": " + std::strerror(errno);
  if (static_cast<std::uint64_t>(s.st_size) != size ||
      static_cast<std::uint64_t>(s.st_mtim.tv_sec) != changed)
    return path + " has changed since the appliance was built";
  return own ? plain_file_fault(path, s, owner) : "";
}

/// Why a directory must not be trusted, or does not match its manifest, or was made from files that have
/// changed since. A row of the manifest: "file" or "input", size, time of the last change in seconds, which
/// is what the layers of a container's image keep, name.
/// @param needed  the files that the directory must have
inline std::string manifest_fault(const std::string& directory, std::set<std::string> needed) {
  if (auto fault = private_directory_fault(directory); !fault.empty()) return fault;
  struct stat folder {
  }, seen{};
  if (::lstat(directory.c_str(), &folder) != 0) return directory + ": " + std::strerror(errno);
  const std::string file = directory + "/manifest";
  if (::lstat(file.c_str(), &seen) != 0 || ::access(file.c_str(), R_OK) != 0) return file + " cannot be read";
  if (auto fault = plain_file_fault(file, seen, folder.st_uid); !fault.empty()) return fault;
  const std::string text = read_text(file);
  std::string_view rows = text;
  if (take_until(rows, '\n') != "guestkit-appliance 2") return "made by another version of guestkit";
  while (!rows.empty()) {
    auto row = take_until(rows, '\n');
    const bool own = take_word(row) == "file";
    std::uint64_t size = 0, changed = 0;
    if (!read_number(take_word(row), size) || !read_number(take_word(row), changed) || row.size() < 2 ||
        row.front() != ' ')
      return "its manifest is damaged";
    const std::string name(row.substr(1));
    auto fault = file_fault(own ? directory + '/' + name : name, own, folder.st_uid, size, changed);
    if (!fault.empty()) return fault;
    if (own) needed.erase(name);
  }
  return needed.empty() ? "" : "its manifest lacks " + *needed.begin();
}

GUESTKIT_INLINE std::string appliance_fault(const std::string& directory) {
  if (::access((directory + "/hypervisor").c_str(), F_OK) == 0) return template_fault(directory);
  return manifest_fault(directory, {"README.fixed", "initrd", "kernel", "root"});
}

GUESTKIT_INLINE std::string template_fault(const std::string& directory) {
  auto fault = manifest_fault(directory, {"command", "hypervisor", "root", "state"});
  if (!fault.empty()) return fault;
  if (::access((directory + "/hypervisor").c_str(), X_OK) != 0)
    return "nothing can be executed in " + directory;
  struct stat s {};
  if (::stat((directory + "/manifest").c_str(), &s) != 0) return directory + "/manifest cannot be read";
  // Machines restored from one template share their kernel's address layout, so a template expires.
  constexpr std::time_t minute = 60, day = 86400;  // what keeps the file may have a clock of its own
  const std::time_t age = std::time(nullptr) - s.st_mtim.tv_sec;
  if (age < -minute) return "made later than now: the clock was set back";
  return age < day ? "" : "older than a day";
}

/// Whether a file begins like an ext2, ext3 or ext4 file system with a UUID.
inline bool is_ext_filesystem(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<unsigned char, 128> superblock{};
  if (file.get() < 0 || ::pread(file.get(), superblock.data(), superblock.size(), 1024) != 128) return false;
  constexpr std::array<unsigned char, 16> no_uuid{};
  return superblock[0x38] == 0x53 && superblock[0x39] == 0xef &&
         std::memcmp(superblock.data() + 0x68, no_uuid.data(), no_uuid.size()) != 0;
}

inline std::string fixed_appliance_fault(const std::string& folder) {
  for (const char* name : {"kernel", "initrd", "root"}) {
    const std::string path = folder + '/' + name;
    struct stat s {};
    if (::stat(path.c_str(), &s) != 0 || ::access(path.c_str(), R_OK) != 0)
      return path + ": " + std::strerror(errno);
    if (s.st_size == 0) return path + " is empty";
  }
  const std::string root = folder + "/root";
  return is_ext_filesystem(root) ? "" : root + " is not an ext2, ext3 or ext4 file system";
}

GUESTKIT_INLINE std::string damaged_appliance(const std::string& search_path) {
  const auto has = [](const std::string& folder, const char* name) {
    return ::access((folder + name).c_str(), F_OK) == 0;
  };
  std::size_t begin = 0;
  while (begin <= search_path.size()) {
    const auto colon = search_path.find(':', begin);
    const auto end = colon == std::string::npos ? search_path.size() : colon;
    const std::string folder = end == begin ? "." : search_path.substr(begin, end - begin);
    if (has(folder, "/supermin.d")) return "";
    if (has(folder, "/README.fixed")) return fixed_appliance_fault(folder);
    begin = end + 1;
  }
  return "";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
