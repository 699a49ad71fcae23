#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/doubt.hpp"
#include "guestkit/detail/inspect/package_rules.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Splits [epoch:]version[-release] into its parts.
inline void set_version(InspectedApplication& app, std::string_view text) {
  app.epoch = 0;
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    const auto digits = text.substr(0, colon);
    const auto epoch = number_of(digits);
    if (!epoch || *epoch < 0 || digits.size() > 9) throw doubt{"a package with an odd epoch"};
    app.epoch = static_cast<std::int32_t>(*epoch);
    text.remove_prefix(colon + 1);
  }
  const auto dash = text.find('-');
  app.version = text.substr(0, dash);
  app.release = dash == std::string_view::npos ? "" : text.substr(dash + 1);
}

GUESTKIT_INLINE void package_list::leave_out(const std::string& why) {
  if (left_out++ == 0) reason = why;
}

GUESTKIT_INLINE void sort_by_name(std::vector<InspectedApplication>& all) {
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

inline constexpr auto last_is_cut_off = "the last one in the database is cut off";

/// The lines of a database that have their end. If the last one has none, the database was cut off.
inline std::string_view whole_lines(std::string_view text) noexcept {
  return text.substr(0, text.rfind('\n') + 1);
}

GUESTKIT_INLINE package_list dpkg_applications(std::string_view text) {
  constexpr std::size_t longest = 1023;
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  const bool is_whole = whole_lines(text) == text;
  text = whole_lines(text);
  package_list all;
  InspectedApplication app;
  bool named = false, versioned = false, in_description = false;
  std::optional<std::string_view> status;
  std::optional<std::string> description;
  const auto take = [&](bool is_last) {
    const bool is_installed = status && status->find("installed") != std::string_view::npos;
    app.description = description.value_or("");
    if (is_last && (!is_whole || (named && (!status || (is_installed && !versioned)))))
      all.leave_out(last_is_cut_off);
    else if (named && versioned && is_installed)
      all.packages.push_back(app);
    app = {};
    description.reset();
    status.reset();
    named = versioned = false;
  };
  while (!text.empty()) {
    auto line = text.substr(0, longest);
    const auto end = line.find('\n');
    line = line.substr(0, end);
    text.remove_prefix(line.size() + (end == std::string_view::npos ? 0 : 1));
    const auto field = [&](std::string_view name) {
      if (!line.starts_with(name)) return false;
      line.remove_prefix(name.size());
      return true;
    };
    if (in_description && line.starts_with(' ')) {
      if (description) *description += '\n';
      if (!description) description.emplace();
      description->append(line.substr(1));
      continue;
    }
    in_description = false;
    if (line.empty()) {
      take(false);
    } else if (field("Package: ")) {
      app.name = line;
      named = true;
    } else if (field("Status: ")) {
      status = line;
    } else if (field("Version: ")) {
      set_version(app, line);
      versioned = true;
    } else if (field("Architecture: ")) {
      app.arch = line;
    } else if (field("Homepage: ")) {
      app.url = line;
    } else if (field("Maintainer: ")) {
      app.publisher = line;
    } else if (field("Source: ")) {  // name, or name (version)
      app.source_package = line.substr(0, line.find(' '));
      const auto begin = line.find(" (");
      if (begin != std::string_view::npos && line.ends_with(')'))
        app.source_version = line.substr(begin + 2, line.size() - begin - 3);
    } else if (field("Description: ")) {
      app.summary = line;
      in_description = true;
    }
  }
  take(true);
  sort_by_name(all.packages);
  return all;
}

GUESTKIT_INLINE package_list apk_applications(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  const bool is_whole = whole_lines(text) == text;
  package_list all;
  InspectedApplication app;
  bool named = false, versioned = false;
  const auto take = [&](bool is_last) {
    if (is_last && (!is_whole || (named && !versioned)))
      all.leave_out(last_is_cut_off);
    else if (named && versioned)
      all.packages.push_back(app);
    app = {};
    named = versioned = false;
  };
  for (const auto line : lines_of(whole_lines(text))) {
    if (line.empty()) {
      take(false);
      continue;
    }
    if (line.size() == 1) throw doubt{"a package database with lines of one letter"};
    if (line[1] != ':') continue;
    const auto value = line.substr(2);
    switch (line[0]) {
      case 'A':
        app.arch = value;
        break;
      case 'L':
        app.license = value;
        break;
      case 'P':
        app.name = value;
        named = true;
        break;
      case 'T':
        app.description = value;
        break;
      case 'U':
        app.url = value;
        break;
      case 'V':
        set_version(app, value);
        if (app.release.starts_with('r')) app.release.erase(0, 1);
        versioned = true;
        break;
      case 'm':
        app.publisher = value;
        break;
      case 'o':
        app.source_package = value;
        break;
      default:
        break;
    }
  }
  take(true);
  sort_by_name(all.packages);
  return all;
}

GUESTKIT_INLINE package_list pacman_applications(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  std::map<std::string, std::string, std::less<>> values;
  std::string_view key;
  std::string licenses;  // the only list: a line each
  bool in_licenses = false;
  for (const auto line : lines_of(text)) {
    in_licenses = in_licenses && !line.empty();
    if (in_licenses) licenses += (licenses.empty() ? "" : " AND ") + std::string(line);
    if (!line.empty() && !key.empty()) values.insert_or_assign(std::string(key), std::string(line));
    const bool begins = key.empty() && line.size() > 2 && line.front() == '%' && line.back() == '%';
    key = begins ? line : std::string_view();
    in_licenses = in_licenses || key == "%LICENSE%";
  }
  const auto get = [&](std::string_view name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
  InspectedApplication app{.name = get("%NAME%"),
                           .arch = get("%ARCH%"),
                           .publisher = get("%PACKAGER%"),
                           .url = get("%URL%"),
                           .source_package = get("%BASE%"),
                           .description = get("%DESC%"),
                           .license = std::move(licenses)};
  set_version(app, get("%VERSION%"));
  package_list all;
  if (app.name.empty() || app.arch.empty() || app.version.empty() || app.release.empty())
    all.leave_out("has no name, version or architecture");
  else
    all.packages.push_back(std::move(app));
  return all;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
