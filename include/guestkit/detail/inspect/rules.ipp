#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <functional>
#include <map>
#include <utility>

#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/rules.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

inline bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

/// The leading digits as a number.
inline int leading_number(std::string_view text) {
  const auto end = std::find_if_not(text.begin(), text.end(), is_digit);
  const auto digits = text.substr(0, static_cast<std::size_t>(end - text.begin()));
  if (digits.empty() || digits.size() > 9)
    throw doubt{"a version number of " + std::to_string(digits.size()) + " digits"};
  return static_cast<int>(*number_of(digits));
}

GUESTKIT_INLINE std::optional<version_number> version_in(std::string_view text) {
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

/// The value of an os-release entry, if a shell would take it literally.
inline std::string plain_value(std::string_view text) {
  if (text.find('\\') != std::string_view::npos) throw doubt{"a value with a backslash"};
  const bool quoted = is_quoted(text);
  const auto inside = quoted ? text.substr(1, text.size() - 2) : text;
  if (inside.find_first_of("\"'") != std::string_view::npos) throw doubt{"a value with quotes inside"};
  if (!quoted && inside.find_first_of(" \t\r$`") != std::string_view::npos)
    throw doubt{"a value without quotes"};
  return std::string(inside);
}

GUESTKIT_INLINE os_release_facts os_release_of(std::string_view text) {
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

inline constexpr std::array<distribution, 14> distributions{
    {{"alpine", "alpinelinux", "apk", "apk"},
     {"arch", "archlinux", "pacman", "pacman"},
     {"centos", "centos", "rpm", "", "centos-release", "CentOS"},
     {"circle", "circle", "rpm", "", "circle-release", "Circle Linux", {1, 54, 1}},
     {"debian", "debian", "deb", "apt", "debian_version"},
     {"fedora", "fedora", "rpm"},
     {"openEuler", "openeuler", "rpm", "dnf", "", "", {1, 54, 1}},
     {"opencloudos", "opencloudos", "rpm", "dnf", "", "", {1, 54, 1}},
     {"opensuse", "opensuse", "rpm", "zypper"},  // and each ID that begins with "opensuse-"
     {"rhel", "rhel", "rpm"},
     {"rocky", "rocky", "rpm", "", "rocky-release", "Rocky Linux"},
     {"sles", "sles", "rpm", "zypper"},
     {"tencentos", "tencentos", "rpm", "dnf", "", "", {1, 60, 1}},
     {"ubuntu", "ubuntu", "deb", "apt"}}};

GUESTKIT_INLINE const distribution* distribution_of(std::string_view id) {
  if (id.starts_with("opensuse-")) id = "opensuse";
  const auto found = std::ranges::find(distributions, id, &distribution::id);
  return found == distributions.end() ? nullptr : &*found;
}

GUESTKIT_INLINE std::string distro_of(std::string_view id) {
  const auto* known = distribution_of(id);
  return known == nullptr ? "" : std::string(known->name);
}

GUESTKIT_INLINE std::string package_management_of(const distribution& distro, int major, bool has_dnf) {
  if (!distro.package_management.empty()) return std::string(distro.package_management);
  if (distro.name == "fedora") return major >= 22 && has_dnf ? "dnf" : major >= 1 ? "yum" : "unknown";
  return major >= 8 ? "dnf" : major >= 5 ? "yum" : major >= 2 ? "up2date" : "unknown";
}

GUESTKIT_INLINE std::string osinfo_of(const std::string& distro, version_number version,
                                      const libguestfs_version& libguestfs) {
  const auto major = std::to_string(version.major), minor = std::to_string(version.minor);
  if (distro == "centos" && version.major >= 8) return distro + major;
  if (distro == "centos" && version.major == 7) return distro + "7.0";
  if ((distro == "circle" || distro == "rocky") && version.major >= 8) return distro + major;
  if (distro == "debian" && version.major >= 4) return distro + major;
  if (distro == "fedora") return distro + major;
  if (distro == "sles") {
    const bool is_short = version.major >= 15 && libguestfs >= shortens_sles;
    return (is_short ? "sle" : "sles") + major + (version.minor == 0 ? "" : "sp" + minor);
  }
  if (distro == "ubuntu") return distro + major + '.' + (version.minor < 10 ? "0" : "") + minor;
  if (distro == "archlinux") return distro;
  if (version.major > 0 || version.minor > 0) return distro + major + '.' + minor;
  return "unknown";
}

GUESTKIT_INLINE version_number release_version(std::string_view line, std::string_view product) {
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

GUESTKIT_INLINE std::string elf_architecture(std::string_view header) {
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

GUESTKIT_INLINE std::optional<std::string> hostname_in(std::string_view text) {
  for (const auto line : lines_of(text))
    if (!line.empty() && line.front() != '#') return std::string(line);
  return std::nullopt;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
