// Parses QEMU's command line as libguestfs writes it: which parts differ from launch to launch, and whether
// the rest matches the template's.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail::warm {

using Words = std::vector<std::string>;

/// A value as it stands in an option's text, where commas part items.
inline std::string escaped(const std::string& text) {
  std::string all;
  for (const char c : text) all += c == ',' ? ",," : std::string(1, c);
  return all;
}

/// The value of one of QEMU's options: key=value,key=value. A doubled comma stands for one comma in a value.
/// The first item may have no key; its key is then "".
class Parameters {
 public:
  explicit Parameters(std::string_view text) {
    std::string item;
    for (std::size_t at = 0; at <= text.size(); ++at) {
      const bool comma = at < text.size() && text[at] == ',';
      if (comma && at + 1 < text.size() && text[at + 1] == ',') {
        item += ',';
        ++at;
      } else if (comma || at == text.size()) {
        add(item);
        item.clear();
      } else {
        item += text[at];
      }
    }
  }

  /// Empty if the key is missing.
  std::string operator[](std::string_view key) const {
    for (const auto& [name, value] : items_)
      if (name == key) return value;
    return "";
  }

  /// Puts one in the place of another.
  void replace(std::string_view key, std::string_view other, std::string_view value) {
    for (auto& item : items_)
      if (item.first == key) item = std::pair<std::string, std::string>(other, value);
  }

  void remove(std::string_view key) {
    std::erase_if(items_, [&](const auto& item) { return item.first == key; });
  }

  /// As QEMU wants it.
  std::string text() const {
    std::string all;
    for (const auto& [name, value] : items_)
      all += (all.empty() ? "" : ",") + name + (name.empty() ? "" : "=") + escaped(value);
    return all;
  }

  /// Whether it has only these keys, each at most once.
  template <std::size_t N>
  bool has_only(const std::array<std::string_view, N>& keys) const {
    for (auto item = items_.begin(); item != items_.end(); ++item) {
      if (std::find(keys.begin(), keys.end(), item->first) == keys.end()) return false;
      if (std::any_of(items_.begin(), item, [&](const auto& other) { return other.first == item->first; }))
        return false;
    }
    return true;
  }

 private:
  void add(const std::string& item) {
    const auto equals = item.find('=');
    if (equals != std::string::npos)
      items_.emplace_back(item.substr(0, equals), item.substr(equals + 1));
    else
      items_.emplace_back(items_.empty() ? "" : item, items_.empty() ? item : "on");
  }

  std::vector<std::pair<std::string, std::string>> items_;
};

/// One option: "-m" and "1280"; a flag has no value.
struct Option {
  std::string name;
  std::optional<std::string> value = {};

  bool is(std::string_view other, std::string_view key, std::string_view wanted) const {
    return name == other && Parameters(value.value_or(""))[key] == wanted;
  }
  std::string text() const { return name + (value ? ' ' + *value : ""); }
};

inline std::vector<Option> options(const Words& words) {
  std::vector<Option> all;
  for (const auto& word : words)
    if (word.starts_with('-') || all.empty() || all.back().value)
      all.push_back({word});
    else
      all.back().value = word;
  return all;
}

/// hd0, hd1…: libguestfs' names for its drives.
inline bool is_disk_id(std::string_view id) {
  return id.starts_with("hd") && id.size() > 2 &&
         id.find_first_not_of("0123456789", 2) == std::string_view::npos;
}

inline bool is_disk(const Option& option) {
  const Parameters given(option.value.value_or(""));
  return (option.name == "-drive" && is_disk_id(given["id"])) ||
         (option.name == "-device" && is_disk_id(given["drive"]));
}

/// Whether a restored machine can be given this disk: a file or a device of the host, attached by
/// virtio-scsi.
inline bool is_known_disk(const Option& option) {
  const Parameters given(option.value.value_or(""));
  if (option.name == "-device")
    return given[""] == "scsi-hd" &&
           given.has_only(std::to_array<std::string_view>(
               {"", "drive", "serial", "physical_block_size", "logical_block_size"}));
  const auto format = given["format"];
  const auto file = given["file"] + given["file.file.filename"];
  return given.has_only(std::to_array<std::string_view>({"file", "file.file.filename", "file.driver",
                                                         "file.backing.file.locking", "cache", "format", "id",
                                                         "if", "discard", "copyonread", "detect-zeroes"})) &&
         given["if"] == "none" && file.starts_with('/') &&
         (given["file.driver"].empty() || given["file.driver"] == "qcow2") &&
         (format.empty() || format == "raw" || format == "qcow2");
}

inline Words split(const std::string& line) {
  Words words;
  for (std::size_t at = 0; (at = line.find_first_not_of(' ', at)) != std::string::npos;) {
    const auto end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

/// A kernel argument that init reads from the host's message, or that is irrelevant once the kernel is up.
inline bool is_late_argument(const std::string& word) {
  constexpr std::array<std::string_view, 6> prefixes{
      "lpj=", "tsc_early_khz=", "TERM=", "guestfs_verbose=", "guestfs_identifier=", "guestkit_udev="};
  return word == "quiet" ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](auto prefix) { return word.starts_with(prefix); });
}

inline bool is_our_name(const Option& option) {
  return option.name == "-name" && option.value && option.value->starts_with("guestkit-") &&
         option.value->find_first_not_of("0123456789-", 9) == std::string::npos;
}

inline bool is_channel(const Option& option) {
  return option.is("-chardev", "id", "channel0") && option.is("-chardev", "", "socket") &&
         Parameters(*option.value).has_only(std::to_array<std::string_view>({"", "path", "id"}));
}

/// How far QEMU is confined: of the launch, not of the machine.
inline bool is_sandbox(const Option& option) {
  return option.name == "-sandbox";
}

/// The option without the parts that differ from launch to launch.
inline std::string constant_part(const Option& option) {
  if (is_our_name(option)) return "-name";
  if (is_channel(option)) return "-chardev channel0";
  if (option.name == "-machine" && option.value) {
    std::string value = *option.value;
    if (value.ends_with(",graphics=off")) value.resize(value.size() - 13);  // verbose mode
    return "-machine " + value;
  }
  if (option.name == "-append" && option.value) {
    std::string text = option.name;
    for (const auto& word : split(*option.value))
      if (!is_late_argument(word)) text += ' ' + word;
    return text;
  }
  return option.text();
}

/// Why this launch cannot restore the recorded machine; empty if it can.
inline std::string difference(const std::vector<Option>& recorded, const std::vector<Option>& given) {
  std::vector<std::string> wanted;
  std::vector<std::string> found;
  for (const auto& option : recorded)
    if (!is_disk(option) && !is_sandbox(option)) wanted.push_back(constant_part(option));
  std::size_t drives = 0;
  std::size_t devices = 0;
  for (const auto& option : given) {
    if (is_sandbox(option)) continue;
    if (!is_disk(option)) {
      found.push_back(constant_part(option));
      if (std::find(wanted.begin(), wanted.end(), found.back()) == wanted.end())
        return "the template has no " + option.text();
    } else if (!is_known_disk(option)) {
      return "a disk is none that a restored appliance can be given: " + option.text();
    } else {
      ++(option.name == "-drive" ? drives : devices);
    }
  }
  if (drives != devices || drives > 255) return "the disks are more than the template's controller can have";
  return found == wanted ? "" : "libguestfs gives the machine other options than it gave the template";
}

/// The machine's memory in bytes; -m is in megabytes.
inline long long memory_size(const std::vector<Option>& machine) {
  for (const auto& option : machine)
    if (option.name == "-m" && option.value) return std::atoll(option.value->c_str()) << 20;
  return 0;
}

/// The changes that turn libguestfs' command line into that of the template, or of a machine restored from
/// it.
struct Machine {
  std::string root;     // image of the root disk, a qcow2
  std::string memory;   // file with the memory; empty: the memory is in the state
  bool shared = false;  // changes to the memory are written to the file
  int qmp = -1;         // descriptors
  int port = -1;
};

/// Whether it is a default that libguestfs gives virtio-blk devices, of which it has none itself. QEMU 10 no
/// longer knows that property, and ends as soon as there is such a device: ours.
inline bool is_former_default(const Option& option) {
  const std::string_view value = option.value ? std::string_view(*option.value) : "";
  return option.name == "-global" && value.starts_with("virtio-blk-") && value.ends_with(".scsi=off");
}

/// @param given  the launch that provides the disks, channel and name; null for the template
inline Words command(const std::vector<Option>& recorded, const std::vector<Option>* given,
                     const Machine& machine) {
  const auto find = [&](auto is) -> std::optional<std::string> {
    if (given == nullptr) return std::nullopt;
    const auto found = std::find_if(given->begin(), given->end(), is);
    return found == given->end() ? std::nullopt : found->value;
  };
  Words words;
  const auto add = [&](const std::string& name, const std::optional<std::string>& value) {
    words.push_back(name);
    if (value) words.push_back(*value);
  };
  for (const auto& option : recorded) {
    if (option.is("-drive", "id", "appliance")) {
      // In the place of the disks, so that they get the same addresses as in a boot.
      for (const auto& disk : given == nullptr ? std::vector<Option>{} : *given)
        if (is_disk(disk)) add(disk.name, disk.value);
    } else if (is_disk(option) || option.is("-device", "drive", "appliance") || is_former_default(option) ||
               is_sandbox(option)) {
      continue;
    } else if (option.name == "-machine" && !machine.memory.empty()) {
      add(option.name, option.value.value_or("") + ",memory-backend=guestkit.ram");
    } else if (is_channel(option)) {
      add(option.name, find(is_channel).value_or("null,id=channel0"));
    } else if (is_our_name(option)) {
      add(option.name, find(is_our_name).value_or("guestkit-template"));
    } else {
      add(option.name, option.value);
    }
  }
  if (!machine.memory.empty())
    add("-object", "memory-backend-file,id=guestkit.ram,size=" + std::to_string(memory_size(recorded)) +
                       ",mem-path=" + escaped(machine.memory) + ",share=" + (machine.shared ? "on" : "off"));
  // After everything of libguestfs': the root is not a SCSI disk, so the first disk is sda.
  const auto chardev = [&](const std::string& id, int descriptor) {
    add("-chardev", "socket,id=" + id + ",fd=" + std::to_string(descriptor));
  };
  chardev("guestkit.warm", machine.port);
  add("-device", "virtserialport,chardev=guestkit.warm,name=org.guestkit.warm.0");
  add("-drive", "file=" + escaped(machine.root) + ",id=appliance,cache=unsafe,if=none,format=qcow2" +
                    (given == nullptr ? "" : ",snapshot=on"));
  add("-device", "virtio-blk-pci,drive=appliance");
  chardev("guestkit.qmp", machine.qmp);
  add("-mon", "chardev=guestkit.qmp,mode=control");
  for (const auto& option : given == nullptr ? recorded : *given)
    if (is_sandbox(option)) add(option.name, option.value);
  if (given != nullptr) add("-incoming", "defer");
  return words;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail::warm
