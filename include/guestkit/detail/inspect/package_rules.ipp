#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "guestkit/detail/base/doubt.hpp"
#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
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

/// The lines of a database that have their end. If the last one has none, the database was cut off.
inline std::string_view whole_lines(std::string_view text) noexcept {
  return text.substr(0, text.rfind('\n') + 1);
}

/// Takes packages from a database with a stanza for each. The last one may be cut off.
class package_stanzas {
 public:
  /// @param is_whole  whether the last line has its end
  /// @param have_status  whether each says if the package is installed; else all are
  package_stanzas(bool is_whole, bool have_status) : is_whole_(is_whole), have_status_(have_status) {}

  /// The package of this stanza, for what the following functions do not set.
  InspectedApplication& package() noexcept { return app_; }
  void name(std::string_view text) {
    app_.name = text;
    is_named_ = true;
  }
  void version(std::string_view text) {
    set_version(app_, text);
    is_versioned_ = true;
  }
  void status(std::string_view text) { is_installed_ = text.find("installed") != std::string_view::npos; }
  void describe(std::string_view line) {
    if (is_described_) app_.description += '\n';
    app_.description += line;
    is_described_ = true;
  }

  /// The stanza has its end.
  void end() {
    if (is_named_ && is_versioned_ && is_installed()) {
      if (all_.packages.size() < most_packages)
        all_.packages.push_back(std::move(app_));
      else
        all_.leave_out("the database has more than " + std::to_string(most_packages) + " packages");
    }
    app_ = {};
    is_named_ = is_versioned_ = is_described_ = false;
    is_installed_.reset();
  }

  /// The database ends.
  package_list sorted() {
    const bool has_status = !have_status_ || is_installed_.has_value();
    if (!is_whole_ || (is_named_ && (!has_status || (is_installed() && !is_versioned_))))
      all_.leave_out("the last one in the database is cut off");
    else
      end();
    sort_by_name(all_.packages);
    return std::move(all_);
  }

 private:
  bool is_installed() const noexcept { return is_installed_.value_or(!have_status_); }

  bool is_whole_, have_status_;
  package_list all_ = {};
  InspectedApplication app_ = {};
  bool is_named_ = false, is_versioned_ = false, is_described_ = false;
  std::optional<bool> is_installed_ = {};
};

/// A line of dpkg's that does not belong to a description. Returns whether a description begins here.
inline bool read_dpkg_field(std::string_view line, package_stanzas& all) {
  auto& app = all.package();
  const auto field = [&](std::string_view name) {
    if (!line.starts_with(name)) return false;
    line.remove_prefix(name.size());
    return true;
  };
  if (field("Package: ")) {
    all.name(line);
  } else if (field("Status: ")) {
    all.status(line);
  } else if (field("Version: ")) {
    all.version(line);
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
    return true;
  }
  return false;
}

GUESTKIT_INLINE package_list dpkg_applications(std::string_view text) {
  constexpr std::size_t longest = 1023;
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  package_stanzas all(whole_lines(text) == text, true);
  bool in_description = false;
  for (auto rest = whole_lines(text); !rest.empty();) {
    auto line = rest.substr(0, longest);
    const auto end = line.find('\n');
    line = line.substr(0, end);
    rest.remove_prefix(line.size() + (end == std::string_view::npos ? 0 : 1));
    if (in_description && line.starts_with(' ')) {
      all.describe(line.substr(1));
      continue;
    }
    in_description = read_dpkg_field(line, all);
    if (line.empty()) all.end();
  }
  return all.sorted();
}

inline void read_apk_field(char letter, std::string_view value, package_stanzas& all) {
  auto& app = all.package();
  switch (letter) {
    case 'A':
      app.arch = value;
      break;
    case 'L':
      app.license = value;
      break;
    case 'P':
      all.name(value);
      break;
    case 'T':
      app.description = value;
      break;
    case 'U':
      app.url = value;
      break;
    case 'V':
      all.version(value);
      if (app.release.starts_with('r')) app.release.erase(0, 1);
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

GUESTKIT_INLINE package_list apk_applications(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  package_stanzas all(whole_lines(text) == text, false);
  for (auto rest = whole_lines(text); !rest.empty();) {
    const auto line = take_until(rest, '\n');
    if (line.empty()) {
      all.end();
      continue;
    }
    if (line.size() == 1) throw doubt{"a package database with lines of one letter"};
    if (line[1] == ':') read_apk_field(line[0], line.substr(2), all);
  }
  return all.sorted();
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
