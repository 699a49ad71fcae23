#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include "guestkit/detail/base/lines.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/inspect/configuration.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::vector<InspectedUser> users_of(std::string_view text) {
  std::vector<InspectedUser> users;
  for (auto line : lines_of(text)) {
    std::vector<std::string_view> fields;
    if (std::count(line.begin(), line.end(), ':') != 6 || line.front() == '#') continue;
    while (fields.size() < 7) fields.push_back(take_until(line, ':'));
    const auto uid = number_of(fields[2]), gid = number_of(fields[3]);
    if (fields[0].empty() || !uid || !gid) continue;
    users.push_back({.name = std::string(fields[0]),
                     .uid = *uid,
                     .gid = *gid,
                     .full_name = std::string(fields[4].substr(0, fields[4].find(','))),
                     .home = std::string(fields[5]),
                     .shell = std::string(trimmed(fields[6]))});
  }
  return users;
}

GUESTKIT_INLINE std::vector<InspectedKernel> kernels_of(const std::vector<std::string>& modules,
                                                        std::vector<std::string> boot) {
  std::ranges::sort(boot);  // each list may have a million names
  std::map<std::string, InspectedKernel> kernels;
  for (const auto& version : modules) kernels[version].modules = true;
  for (const auto& name : boot)
    for (const std::string_view prefix : {"vmlinuz-", "vmlinux-", "kernel-", "Image-"})
      if (name.starts_with(prefix) && name.size() > prefix.size())
        kernels[name.substr(prefix.size())].image = "/boot/" + name;
  for (auto& [version, kernel] : kernels) {
    kernel.version = version;
    for (const auto& name : {"initrd.img-" + version, "initramfs-" + version + ".img", "initramfs-" + version,
                             "initrd-" + version})
      if (std::ranges::binary_search(boot, name)) kernel.initrd = "/boot/" + name;
  }
  std::vector<InspectedKernel> all;
  all.reserve(kernels.size());
  for (auto& entry : kernels) all.push_back(std::move(entry.second));
  return all;
}

GUESTKIT_INLINE std::vector<InspectedInterface> ifupdown(std::string_view text, const std::string& source) {
  std::vector<InspectedInterface> all;
  for (const auto line : lines_of(text)) {
    const auto words = words_of(line);
    if (words.empty() || words[0].starts_with('#')) continue;
    if (words[0] == "iface" && words.size() >= 2) {
      all.push_back({.name = words[1], .method = words.size() > 3 ? words[3] : "", .source = source});
    } else if (!all.empty() && words.size() >= 2) {
      auto& interface = all.back();
      if (words[0] == "address") interface.addresses.push_back(words[1]);
      if (words[0] == "gateway") interface.gateway = words[1];
      if (words[0] == "hwaddress") interface.mac = words.back();
      if (words[0] == "dns-nameservers") interface.dns.assign(words.begin() + 1, words.end());
    }
  }
  return all;
}

GUESTKIT_INLINE InspectedInterface ifcfg(std::string_view text, const std::string& source) {
  const auto values = assignments(text);
  const auto get = [&](const std::string& key) { return value_or_empty(values, key); };
  InspectedInterface interface { .name = get("DEVICE"), .method = get("BOOTPROTO"), .source = source };
  if (interface.name.empty()) {
    const auto at = source.rfind("ifcfg-");
    if (at != std::string::npos) interface.name = source.substr(at + 6);
  }
  // Red Hat numbers what belongs together, IPADDR0 and PREFIX0; SUSE names it, IPADDR_1 and PREFIXLEN_1.
  const std::string first = "IPADDR";
  for (auto [at, end] = std::pair(values.lower_bound(first), values.end());
       at != end && at->first.starts_with(first); ++at) {
    const auto suffix = at->first.substr(first.size());
    auto address = at->second;
    const bool is_number = suffix.find_first_not_of("0123456789") == std::string::npos;
    const bool is_of_range = suffix == "_START" || suffix == "_END";  // of addresses, in Red Hat's files
    if (address.empty() || is_of_range || (!is_number && !suffix.starts_with('_'))) continue;
    for (const auto* key : {"PREFIX", "PREFIXLEN"})
      if (const auto prefix = get(key + suffix); !prefix.empty() && address.find('/') == std::string::npos)
        address += '/' + prefix;
    interface.addresses.push_back(std::move(address));
  }
  for (const auto* key : {"IPV6ADDR", "IPV6ADDR_SECONDARIES"})
    for (auto& address : words_of(get(key))) interface.addresses.push_back(std::move(address));
  interface.gateway = get("GATEWAY");
  for (const auto* key : {"DNS1", "DNS2", "DNS3"})
    if (const auto server = get(key); !server.empty()) interface.dns.push_back(server);
  interface.mac = get("HWADDR");
  return interface;
}

/// The values of a key of networkd's that is a list of words: they add up, and an empty one begins anew.
inline std::string merged(const ini_sections& ini, std::string_view section, const std::string& key) {
  std::string all;
  for (const auto& [name, values] : ini) {
    if (name != section) continue;
    for (auto [at, end] = values.equal_range(key); at != end; ++at) {
      if (at->second.empty())
        all.clear();
      else
        all.append(all.empty() ? "" : " ").append(at->second);
    }
  }
  return all;
}

/// The gateway of networkd: that of the network, or of the first default route.
inline std::string gateway_of(const ini_sections& ini) {
  auto gateway = last_of(ini, "Network", "Gateway");
  for (const auto& [section, values] : ini) {
    if (!gateway.empty()) break;
    const auto destination = last_of(values, "Destination");
    if (section == "Route" && (destination.empty() || destination == "0.0.0.0/0" || destination == "::/0"))
      gateway = last_of(values, "Gateway");
  }
  return gateway;
}

GUESTKIT_INLINE InspectedInterface networkd(std::string_view text, const std::string& source) {
  const auto ini = sections(text);
  InspectedInterface interface { .source = source };
  interface.name = merged(ini, "Match", "Name");
  interface.mac = merged(ini, "Match", "MACAddress");
  // As systemd reads it; v4, v6 and both are what its first versions called them.
  constexpr std::array used{"1", "yes", "y", "true", "t", "on", "ipv4", "ipv6", "v4", "v6", "both"};
  const bool dhcp = std::ranges::any_of(used, [said = in_lower_case(last_of(ini, "Network", "DHCP"))](
                                                  const char* word) { return said == word; });
  interface.method = dhcp ? "dhcp" : "static";
  interface.gateway = gateway_of(ini);
  for (const auto& [section, values] : ini)
    for (const auto& [key, value] : values) {
      if (key == "Address" && !value.empty() && (section == "Network" || section == "Address"))
        interface.addresses.push_back(value);
      if (key == "DNS" && section == "Network")
        for (auto& server : words_of(value)) interface.dns.push_back(std::move(server));
    }
  return interface;
}

GUESTKIT_INLINE InspectedInterface network_manager(std::string_view text, const std::string& source) {
  const auto ini = sections(text);
  InspectedInterface interface { .source = source };
  interface.name = last_of(ini, "connection", "interface-name");
  if (interface.name.empty()) interface.name = last_of(ini, "connection", "id");
  interface.mac = last_of(ini, "ethernet", "mac-address");
  const auto method = last_of(ini, "ipv4", "method");
  interface.method = method == "auto" ? "dhcp" : method == "manual" ? "static" : method;
  interface.gateway = last_of(ini, "ipv4", "gateway");
  const auto add = [&](const std::string& key, std::string_view value) {
    if (key.starts_with("address") && !key.starts_with("address-")) {
      interface.addresses.emplace_back(trimmed(take_until(value, ',')));
      if (const auto gateway = trimmed(value); !gateway.empty() && interface.gateway.empty())
        interface.gateway = gateway;
    } else if (key == "dns") {
      while (!value.empty())
        if (const auto server = trimmed(take_until(value, ";,")); !server.empty())
          interface.dns.emplace_back(server);
    }
  };
  for (const std::string_view wanted : {"ipv4", "ipv6"})
    for (const auto& [section, values] : ini)
      if (section == wanted)
        for (const auto& [key, value] : values) add(key, value);
  return interface;
}

GUESTKIT_INLINE std::string zone_of_link(std::string_view target) {
  constexpr std::string_view folder = "/zoneinfo/";
  const auto at = target.find(folder);
  return at == std::string_view::npos ? std::string() : std::string(target.substr(at + folder.size()));
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
