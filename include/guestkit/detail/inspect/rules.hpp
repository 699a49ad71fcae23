// libguestfs' rules about the texts of a guest, for the part of them on which guestkit is sure to agree with
// it. Whatever is outside that part is a doubt, and libguestfs is asked itself.
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/inspect/texts.hpp"
#include "guestkit/generated/inspection.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// Why guestkit's own rules may not decide about a guest.
struct doubt {
  std::string reason;
};

struct version_number {
  int major = 0;
  int minor = 0;
  bool operator==(const version_number&) const = default;
};

inline bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

/// The digits at the beginning as a number.
inline int leading_number(std::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  const auto digits = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  if (digits.empty() || digits.size() > 9)
    throw doubt{"a version number of " + std::to_string(digits.size()) + " digits"};
  return static_cast<int>(*number_of(digits));
}

/// The first two numbers with a dot between; else the first number alone.
inline std::optional<version_number> version_in(std::string_view text) {
  std::optional<version_number> alone;
  for (std::size_t at = 0; at < text.size();) {
    if (!is_digit(text[at])) {
      ++at;
      continue;
    }
    const auto end = static_cast<std::size_t>(
        std::find_if_not(text.begin() + static_cast<std::ptrdiff_t>(at), text.end(), is_digit) -
        text.begin());
    if (end + 1 < text.size() && text[end] == '.' && is_digit(text[end + 1]))
      return version_number{leading_number(text.substr(at)), leading_number(text.substr(end + 1))};
    if (!alone) alone = version_number{leading_number(text.substr(at)), 0};
    at = end;
  }
  return alone;
}

/// What a value of os-release or a UUID in fstab stands for, if no shell would have to think about it.
inline std::string plain_value(std::string_view text) {
  if (text.find('\\') != std::string_view::npos) throw doubt{"a value with a backslash"};
  const bool quoted =
      text.size() >= 2 && (text.front() == '"' || text.front() == '\'') && text.back() == text.front();
  const auto inside = quoted ? text.substr(1, text.size() - 2) : text;
  if (inside.find_first_of("\"'") != std::string_view::npos) throw doubt{"a value with quotes inside"};
  if (!quoted && inside.find_first_of(" \t\r$`") != std::string_view::npos)
    throw doubt{"a value without quotes"};
  return std::string(inside);
}

/// What libguestfs takes from os-release.
struct os_release_facts {
  std::string id;
  std::string pretty_name;
  std::string version_id;
  bool has_carriage_returns = false;  ///< which libguestfs takes for part of the values
};

inline os_release_facts os_release_of(std::string_view text) {
  std::map<std::string, std::string, std::less<>> values;
  bool has_carriage_returns = false;
  for (auto line : lines_of(text)) {
    if (line.ends_with('\r')) {
      line.remove_suffix(1);
      has_carriage_returns = true;
    }
    if (line.empty() || line.front() == '#') continue;
    if (line.find('=') == std::string_view::npos) throw doubt{"a line of os-release without ="};
    const auto key = take_until(line, '=');
    if (!values.emplace(key, plain_value(line)).second) throw doubt{"os-release has a key twice"};
  }
  const auto get = [&](std::string_view key) {
    const auto found = values.find(key);
    return found == values.end() ? std::string() : found->second;
  };
  return {get("ID"), get("PRETTY_NAME"), get("VERSION_ID"), has_carriage_returns};
}

/// libguestfs' name of the distributions whose rules guestkit knows, by os-release's ID; empty for others.
inline std::string distro_of(std::string_view id) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 10> known{{{"debian", "debian"},
                                                                                 {"ubuntu", "ubuntu"},
                                                                                 {"fedora", "fedora"},
                                                                                 {"rhel", "rhel"},
                                                                                 {"rocky", "rocky"},
                                                                                 {"centos", "centos"},
                                                                                 {"opensuse", "opensuse"},
                                                                                 {"sles", "sles"},
                                                                                 {"alpine", "alpinelinux"},
                                                                                 {"arch", "archlinux"}}};
  if (id.starts_with("opensuse-")) return "opensuse";
  for (const auto& [name, distro] : known)
    if (id == name) return std::string(distro);
  return {};
}

inline std::string package_format_of(std::string_view distro) {
  if (distro == "debian" || distro == "ubuntu") return "deb";
  if (distro == "alpinelinux") return "apk";
  if (distro == "archlinux") return "pacman";
  return "rpm";
}

/// @param has_dnf  whether the guest has /usr/bin/dnf
inline std::string package_management_of(std::string_view distro, int major, bool has_dnf) {
  if (distro == "debian" || distro == "ubuntu") return "apt";
  if (distro == "alpinelinux") return "apk";
  if (distro == "archlinux") return "pacman";
  if (distro == "opensuse" || distro == "sles") return "zypper";
  if (distro == "fedora") return major >= 22 && has_dnf ? "dnf" : major >= 1 ? "yum" : "unknown";
  return major >= 8 ? "dnf" : major >= 5 ? "yum" : major >= 2 ? "up2date" : "unknown";
}

inline std::string osinfo_of(const std::string& distro, version_number version) {
  const auto major = std::to_string(version.major), minor = std::to_string(version.minor);
  if (distro == "centos" && version.major >= 8) return distro + major;
  if (distro == "centos" && version.major == 7) return distro + "7.0";
  if (distro == "rocky" && version.major >= 8) return distro + major;
  if (distro == "debian" && version.major >= 4) return distro + major;
  if (distro == "fedora") return distro + major;
  if (distro == "sles") return distro + major + (version.minor == 0 ? "" : "sp" + minor);
  if (distro == "ubuntu") return distro + major + '.' + (version.minor < 10 ? "0" : "") + minor;
  if (distro == "archlinux") return distro;
  if (version.major > 0 || version.minor > 0) return distro + major + '.' + minor;
  return "unknown";
}

/// The version in the first line of a file such as centos-release.
inline version_number release_version(std::string_view line, std::string_view product) {
  constexpr std::string_view word = "release ";
  const auto at = line.find(product);
  if (at == std::string_view::npos || line.find("Update ") != std::string_view::npos)
    throw doubt{"a release file of another form"};
  line.remove_prefix(at + product.size());
  const auto number = line.find(word);
  if (number == std::string_view::npos || line.find(word, number + 1) != std::string_view::npos)
    throw doubt{"a release file of another form"};
  line.remove_prefix(number + word.size());
  version_number version{leading_number(line), 0};
  line.remove_prefix(
      static_cast<std::size_t>(std::find_if_not(line.begin(), line.end(), is_digit) - line.begin()));
  if (line.size() >= 2 && line[0] == '.' && is_digit(line[1])) version.minor = leading_number(line.substr(1));
  return version;
}

/// The architecture that file(1) and libguestfs see in the header of an ELF program.
inline std::string elf_architecture(std::string_view header) {
  const auto byte = [&](std::size_t at) -> unsigned { return static_cast<unsigned char>(header[at]); };
  if (header.size() < 20 ||
      !header.starts_with("\x7f"
                          "ELF") ||
      byte(6) != 1)
    throw doubt{"a program that is no plain ELF file"};
  const bool wide = byte(4) == 2, little = byte(5) == 1;
  if (!little || (byte(4) != 1 && !wide)) throw doubt{"an ELF program of an unusual kind"};
  const unsigned type = byte(16) | byte(17) << 8U, machine = byte(18) | byte(19) << 8U;
  if (type != 2 && type != 3) throw doubt{"an ELF file that is no program"};
  if (machine == 62 && wide) return "x86_64";
  if (machine == 3 && !wide) return "i386";
  if (machine == 183 && wide) return "aarch64";
  throw doubt{"a machine that guestkit has no name for"};
}

/// The first line of a file with a host name, as libguestfs takes it.
inline std::optional<std::string> hostname_in(std::string_view text) {
  for (const auto line : lines_of(text))
    if (!line.empty() && line.front() != '#') return std::string(line);
  return std::nullopt;
}

/// Takes epoch, version and release apart: [epoch:]version[-release].
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

inline void sort_by_name(std::vector<InspectedApplication>& all) {
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
}

/// dpkg's status file as libguestfs reads it: in pieces of at most 1023 bytes, each taken for a line, and
/// without a last package that no empty line ends.
inline std::vector<InspectedApplication> dpkg_applications(std::string_view text) {
  constexpr std::size_t longest = 1023;
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  std::vector<InspectedApplication> all;
  InspectedApplication app;
  bool named = false, versioned = false, installed = false, in_description = false;
  std::optional<std::string> description;
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
      description = (description ? *description + '\n' : "") + std::string(line.substr(1));
      continue;
    }
    in_description = false;
    if (line.empty()) {
      app.description = description.value_or("");
      if (installed && named && versioned) all.push_back(app);
      app = {};
      description.reset();
      named = versioned = installed = false;
    } else if (field("Package: ")) {
      app.name = line;
      named = true;
    } else if (field("Status: ")) {
      installed = line.find("installed") != std::string_view::npos;
    } else if (field("Version: ")) {
      set_version(app, line);
      versioned = true;
    } else if (field("Architecture: ")) {
      app.arch = line;
    } else if (field("Homepage: ")) {
      app.url = line;
    } else if (field("Source: ")) {
      app.source_package = line.substr(0, line.find(' '));
    } else if (field("Description: ")) {
      app.summary = line;
      in_description = true;
    }
  }
  sort_by_name(all);
  return all;
}

/// apk's database of what is installed, likewise.
inline std::vector<InspectedApplication> apk_applications(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  std::vector<InspectedApplication> all;
  InspectedApplication app;
  bool named = false, versioned = false;
  for (auto line : lines_of(text)) {
    if (line.empty()) {
      if (named && versioned) all.push_back(app);
      app = {};
      named = versioned = false;
      continue;
    }
    if (line.size() == 1) throw doubt{"a package database with lines of one letter"};
    if (line[1] != ':') continue;
    const auto value = line.substr(2);
    switch (line[0]) {
      case 'A':
        app.arch = value;
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
      default:
        break;
    }
  }
  sort_by_name(all);
  return all;
}

/// A package of pacman, from the file that it has for each; none if something is missing in it.
inline std::vector<InspectedApplication> pacman_applications(std::string_view text) {
  if (text.find('\0') != std::string_view::npos) throw doubt{"a package database with NUL bytes"};
  std::map<std::string, std::string, std::less<>> values;
  std::string_view key;
  for (const auto line : lines_of(text)) {
    if (!line.empty() && !key.empty()) values.insert_or_assign(std::string(key), std::string(line));
    const bool begins = key.empty() && line.size() > 2 && line.front() == '%' && line.back() == '%';
    key = begins ? line : std::string_view();
  }
  const auto get = [&](std::string_view name) {
    const auto found = values.find(name);
    return found == values.end() ? std::string() : found->second;
  };
  InspectedApplication app{
      .name = get("%NAME%"), .arch = get("%ARCH%"), .url = get("%URL%"), .description = get("%DESC%")};
  set_version(app, get("%VERSION%"));
  if (app.name.empty() || app.arch.empty() || app.version.empty() || app.release.empty()) return {};
  return {std::move(app)};
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
