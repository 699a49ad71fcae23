// A guest's files in memory, for tests of what reads or mounts them.
#pragma once

#include <sys/stat.h>

#include <boost/algorithm/string/predicate.hpp>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <guestkit/detail/base/error_of.hpp>
#include <guestkit/detail/base/text.hpp>
#include <guestkit/detail/files/guest_actions.hpp>
#include <guestkit/detail/files/reading.hpp>
#include <guestkit/generated/inspection.hpp>
#include <guestkit/guestkit.hpp>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace support {

using namespace guestkit;
using namespace guestkit::detail;

struct pretended_handle {
  Guestfs g = {};
};

/// A guest without an appliance: actions that a test does not provide fail, as on a handle that was not
/// launched.
struct pretended_actions : pretended_handle, guest_actions {
  pretended_actions() : guest_actions(state_of(g)) {}
};

/// What an action that reads content returns.
inline buffer buffer_of(std::string_view bytes) {
  std::unique_ptr<char, c_free> memory(static_cast<char*>(std::malloc(bytes.size() + 1)));
  std::memcpy(memory.get(), bytes.data(), bytes.size());
  return {std::move(memory), bytes.size()};
}

/// The actions that examine and read files. Links are followed inside the guest.
struct pretended_files : pretended_actions {
  // By path. "d": a directory; "d?": a damaged one; "p": a FIFO; "l" with a target: a symlink; "-" with
  // content: a file; "!": cannot be examined; "?": cannot be read.
  std::map<std::string, std::string> files{{"/", "d"}};
  std::map<std::string, std::int64_t> sizes = {};

  void add(std::initializer_list<std::pair<const std::string, std::string>> more) {
    for (const auto& [path, file] : more) {
      for (auto end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1))
        files.emplace(path.substr(0, end), "d");
      files[path] = file;
    }
  }

  /// The path with its symlinks resolved; a symlink in its last part only if `follow` is set.
  std::string resolved(const std::string& path, bool follow, int depth = 0) const {
    if (depth > 8) throw Error("stat", "Too many levels of symbolic links", ELOOP);
    std::string plain;
    for (std::string_view rest = path; !rest.empty();) {
      const auto name = take_until(rest, '/');
      if (name.empty()) continue;
      plain.append("/").append(name);
      const auto found = files.find(plain);
      if (found == files.end()) throw Error("stat", plain + ": No such file or directory", ENOENT);
      if (found->second[0] == '!') throw Error("stat", plain + ": Input/output error", EIO);
      if (found->second[0] != 'l' || (rest.empty() && !follow)) continue;
      auto target = found->second.substr(1);
      if (!target.starts_with('/')) target = plain.substr(0, plain.rfind('/') + 1) + target;
      return resolved(target + (rest.empty() ? "" : "/" + std::string(rest)), follow, depth + 1);
    }
    return plain.empty() ? "/" : plain;
  }
  StatNS status(const std::string& path, bool follow) const {
    const auto real = resolved(path, follow);
    const auto& file = files.at(real);
    StatNS status{};
    status.st_mode = file[0] == 'd' ? S_IFDIR : file[0] == 'l' ? S_IFLNK : file[0] == 'p' ? S_IFIFO : S_IFREG;
    const auto size = sizes.find(real);
    status.st_size = size == sizes.end() ? static_cast<std::int64_t>(file.size()) - 1 : size->second;
    return status;
  }
  StatNS lstatns(const std::string& path) override { return status(path, false); }
  StatNS statns(const std::string& path) override { return status(path, true); }
  std::vector<StatNS> lstatnslist(const std::string& directory, const string_list& names) override {
    std::vector<StatNS> all;
    for (const auto& name : names) {
      StatNS one{};
      one.st_ino = -1;
      if (const auto error = error_of([&] { one = lstatns(joined(directory, name)); });
          error && error->error_number() != ENOENT)
        throw Error(*error);
      all.push_back(one);
    }
    return all;
  }
  string_list readlinklist(const std::string& directory, const string_list& names) override {
    string_list all;
    for (const auto& name : names) {
      const auto found = files.find(joined(directory, name));
      all.push_back(found != files.end() && found->second[0] == 'l' ? found->second.substr(1) : "");
    }
    return all;
  }
  std::vector<Dirent> readdir(const std::string& directory) override {
    const auto real = joined(resolved(directory, true), "");
    std::vector<Dirent> all;
    if (files.at(resolved(directory, true)) == "d?") return all;
    for (const auto* name : {".", ".."}) {
      Dirent entry{};
      entry.name = name;
      all.push_back(entry);
    }
    for (const auto& [path, file] : files)
      if (path.size() > real.size() && path.starts_with(real) &&
          path.find('/', real.size()) == std::string::npos) {
        Dirent entry{};
        entry.ftyp = 'u';  // as on a filesystem that does not store the type
        entry.name = path.substr(real.size());
        all.push_back(entry);
      }
    return all;
  }
  std::string case_sensitive_path(const std::string& path) override {
    std::string real = "/";
    for (std::string_view rest = path; !rest.empty();) {
      const auto name = take_until(rest, '/');
      if (name.empty()) continue;
      if (name == "..") throw Error("case_sensitive_path", "..", EINVAL);
      std::string found;
      for (const auto& entry : readdir(real))
        if (boost::algorithm::iequals(entry.name, name)) found = entry.name;
      if (found.empty() && !rest.empty()) throw Error("case_sensitive_path", "not found", ENOENT);
      real = joined(real, found.empty() ? std::string(name) : found);
    }
    return real;
  }
  buffer pread(const std::string& path, int count, std::int64_t offset) override {
    const auto& file = files.at(resolved(path, true));
    if (file[0] == '?') throw Error("pread", path + ": Input/output error", EIO);
    const auto part = file.substr(static_cast<std::size_t>(offset) + 1, static_cast<std::size_t>(count));
    return buffer_of(part);
  }
};

inline std::string text(const std::vector<InspectFailure>& failures) {
  std::string all;
  for (const auto& failure : failures) all += failure.part + ": " + failure.message + '\n';
  return all;
}

inline bool has(const std::string& whole, const std::string& part) {
  return whole.find(part) != std::string::npos;
}

}  // namespace support
