#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <utility>

#include "guestkit/detail/base/error_of.hpp"
#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/files/reading.hpp"
#include "guestkit/detail/inspect/ostree.hpp"
#include "guestkit/detail/inspect/release.hpp"
#include "guestkit/detail/inspect/report.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::optional<ostree_entry> ostree_entry_in(std::string_view text) {
  constexpr std::size_t longest = 4096;  // Linux opens no longer path
  ostree_entry entry;
  for (const auto line : lines_of(text)) {
    const auto words = words_of(line);
    if (words.size() > 1 && words[0] == "version") entry.version = number_of(words[1]).value_or(0);
    if (!words.empty() && words[0] == "options")
      for (const auto& word : words)
        if (word.starts_with("ostree=/ostree/") && word.size() < longest) entry.link = word.substr(7);
  }
  if (entry.link.empty()) return std::nullopt;
  return entry;
}

GUESTKIT_INLINE void ostree_deployments::read_boot_entries() {
  constexpr std::size_t most = 64, most_of_all = 1024, longest = std::size_t{64} << 10U;
  for (const std::string directory : {"/loader/entries", "/boot/loader/entries"}) {
    const auto names = few_names_in(g_, directory);
    for (std::size_t i = 0; i < std::min(most, names.size()) && entries_.size() < most_of_all; ++i)
      if (names[i].ends_with(".conf"))
        if (const auto text = find_small(g_, joined(directory, names[i]), longest))
          if (auto entry = ostree_entry_in(*text)) entries_.push_back(std::move(*entry));
  }
}

GUESTKIT_INLINE std::string ostree_deployments::default_one() {
  std::ranges::stable_sort(entries_, std::ranges::greater{}, &ostree_entry::version);
  for (const auto& entry : entries_) {
    std::string directory;
    error_of([&] { directory = g_.realpath(entry.link); });
    if (directory.starts_with("/ostree/deploy/") && has_os_release({g_, directory})) return directory;
  }
  return {};
}

GUESTKIT_INLINE std::string ostree_deployments::newest(std::vector<InspectFailure>& failures) const {
  constexpr std::size_t most = 64;  // each costs some messages
  const std::string deploy = "/ostree/deploy";
  std::size_t left_out = 0;
  const auto first_in = [&](const std::string& directory) {
    string_list names;
    if (const auto error = error_of([&] { names = names_in(g_, directory); }))
      failures.push_back(failure("mountpoints", *error));
    std::erase_if(names, [](const auto& name) { return name.ends_with(".origin"); });
    const auto count = std::min(names.size(), most);
    left_out += names.size() - count;
    names.resize(count);
    return names;
  };
  std::string newest;
  std::int64_t time = 0;
  for (const auto& name : first_in(deploy)) {
    const auto directory = joined(joined(deploy, name), "deploy");
    for (const auto& deployment : first_in(directory)) {
      const auto path = joined(directory, deployment);
      std::int64_t made = 0;
      if (!has_os_release({g_, path})) continue;
      error_of([&] { made = g_.statns(path + ".origin").st_mtime_sec; });
      if (!newest.empty() && made < time) continue;
      newest = path;
      time = made;
    }
  }
  if (left_out != 0)
    failures.push_back({.part = "mountpoints",
                        .message = deploy + ": " + std::to_string(left_out) +
                                   " names were left out: of each directory, at most " +
                                   std::to_string(most) + " are looked at"});
  return newest;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
