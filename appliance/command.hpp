// Parses QEMU's command line as libguestfs writes it: which parts differ from launch to launch, and whether
// the rest matches the template's.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace appliance {

using Words = std::vector<std::string>;

/// A value as it stands in an option's text, where commas part items.
std::string escaped(const std::string& text);

/// The value of one of QEMU's options: key=value,key=value. A doubled comma stands for one comma in a value.
/// The first item may have no key; its key is then "".
class Parameters {
 public:
  explicit Parameters(std::string_view text);

  /// Empty if the key is missing.
  std::string operator[](std::string_view key) const;
  /// Puts one in the place of another.
  void replace(std::string_view key, std::string_view other, std::string_view value);
  void remove(std::string_view key);

  /// As QEMU wants it.
  std::string text() const;

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
  void add(const std::string& item);

  std::vector<std::pair<std::string, std::string>> items_;
};

/// One option: "-m" and "1280"; a flag has no value.
struct Option {
  std::string name;
  std::optional<std::string> value = {};

  bool is(std::string_view other, std::string_view key, std::string_view wanted) const;
  std::string text() const { return name + (value ? ' ' + *value : ""); }
};

std::vector<Option> options(const Words& words);

/// Whether it is part of a disk of libguestfs': hd0, hd1…
bool is_disk(const Option& option);

/// Whether a restored machine can be given this disk: a file or a device of the host, attached by
/// virtio-scsi.
bool is_known_disk(const Option& option);

/// Why this launch cannot restore the recorded machine; empty if it can.
std::string difference(const std::vector<Option>& recorded, const std::vector<Option>& given);

/// The machine's memory in bytes.
long long memory_size(const std::vector<Option>& machine);

/// What the template, or a machine restored from it, has in the place of what libguestfs gave it.
struct Machine {
  std::string root;     // image of the root disk, a qcow2
  std::string memory;   // file with the memory; empty: the memory is in the state
  bool shared = false;  // changes to the memory are written to the file
  int qmp = -1;         // descriptors
  int port = -1;
};

/// The command line of the template.
Words template_command(const std::vector<Option>& recorded, const Machine& machine);

/// The command line of a machine that is restored from the template.
/// @param given  the launch that provides the disks, channel and name
Words restored_command(const std::vector<Option>& recorded, const std::vector<Option>& given,
                       const Machine& machine);

}  // namespace appliance
