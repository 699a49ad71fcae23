#include "command.hpp"

#include <cstdlib>

namespace appliance {

std::string escaped(const std::string& text) {
  std::string all;
  for (const char c : text) all += c == ',' ? ",," : std::string(1, c);
  return all;
}

Parameters::Parameters(std::string_view text) {
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

std::string Parameters::operator[](std::string_view key) const {
  for (const auto& [name, value] : items_)
    if (name == key) return value;
  return "";
}

void Parameters::replace(std::string_view key, std::string_view other, std::string_view value) {
  for (auto& item : items_)
    if (item.first == key) item = std::pair<std::string, std::string>(other, value);
}

void Parameters::remove(std::string_view key) {
  std::erase_if(items_, [&](const auto& item) { return item.first == key; });
}

std::string Parameters::text() const {
  std::string all;
  for (const auto& [name, value] : items_)
    all += (all.empty() ? "" : ",") + name + (name.empty() ? "" : "=") + escaped(value);
  return all;
}

void Parameters::add(const std::string& item) {
  const auto equals = item.find('=');
  if (equals != std::string::npos)
    items_.emplace_back(item.substr(0, equals), item.substr(equals + 1));
  else
    items_.emplace_back(items_.empty() ? "" : item, items_.empty() ? item : "on");
}

bool Option::is(std::string_view other, std::string_view key, std::string_view wanted) const {
  return name == other && Parameters(value.value_or(""))[key] == wanted;
}

std::vector<Option> options(const Words& words) {
  std::vector<Option> all;
  for (const auto& word : words)
    if (word.starts_with('-') || all.empty() || all.back().value)
      all.push_back({word});
    else
      all.back().value = word;
  return all;
}

namespace {

/// Whether it is one of libguestfs' names for its drives.
bool is_disk_id(std::string_view id) {
  return id.starts_with("hd") && id.size() > 2 &&
         id.find_first_not_of("0123456789", 2) == std::string_view::npos;
}

}  // namespace

bool is_disk(const Option& option) {
  const Parameters given(option.value.value_or(""));
  return (option.name == "-drive" && is_disk_id(given["id"])) ||
         (option.name == "-device" && is_disk_id(given["drive"]));
}

bool is_known_disk(const Option& option) {
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

namespace {

Words split(const std::string& line) {
  Words words;
  for (std::size_t at = 0; (at = line.find_first_not_of(' ', at)) != std::string::npos;) {
    const auto end = std::min(line.find(' ', at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

/// A kernel argument that init reads from the host's message, or that is irrelevant once the kernel is up.
bool is_late_argument(const std::string& word) {
  constexpr std::array<std::string_view, 6> prefixes{
      "lpj=", "tsc_early_khz=", "TERM=", "guestfs_verbose=", "guestfs_identifier=", "guestkit_udev="};
  return word == "quiet" ||
         std::any_of(prefixes.begin(), prefixes.end(), [&](auto prefix) { return word.starts_with(prefix); });
}

bool is_our_name(const Option& option) {
  return option.name == "-name" && option.value && option.value->starts_with("guestkit-") &&
         option.value->find_first_not_of("0123456789-", 9) == std::string::npos;
}

bool is_channel(const Option& option) {
  return option.is("-chardev", "id", "channel0") && option.is("-chardev", "", "socket") &&
         Parameters(*option.value).has_only(std::to_array<std::string_view>({"", "path", "id"}));
}

/// How far QEMU is confined: of the launch, not of the machine.
bool is_sandbox(const Option& option) {
  return option.name == "-sandbox";
}

/// The option without the parts that differ from launch to launch.
std::string constant_part(const Option& option) {
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

}  // namespace

std::string difference(const std::vector<Option>& recorded, const std::vector<Option>& given) {
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

long long memory_size(const std::vector<Option>& machine) {
  for (const auto& option : machine)
    if (option.name == "-m" && option.value)
      return std::atoll(option.value->c_str()) << 20;  // from megabytes
  return 0;
}

namespace {

/// Whether it is a default that libguestfs gives virtio-blk devices, of which it has none itself. QEMU 10 no
/// longer knows that property, and ends as soon as there is such a device: ours.
bool is_former_default(const Option& option) {
  const std::string_view value = option.value ? std::string_view(*option.value) : "";
  return option.name == "-global" && value.starts_with("virtio-blk-") && value.ends_with(".scsi=off");
}

/// Writes the command line of the template, or of a machine restored from it.
class Command {
 public:
  explicit Command(const Machine& machine) : machine_(machine) {}

  /// What was recorded, with the launch's disks, channel and name.
  void add_recorded(const std::vector<Option>& recorded, const std::vector<Option>& given) {
    for (const auto& option : recorded) {
      if (option.is("-drive", "id", "appliance")) {
        // In the place of the disks, so that they get the same addresses as in a boot.
        for (const auto& disk : given)
          if (is_disk(disk)) add(disk);
      } else if (is_disk(option) || option.is("-device", "drive", "appliance") || is_former_default(option) ||
                 is_sandbox(option)) {
        continue;
      } else if (option.name == "-machine" && !machine_.memory.empty()) {
        add(option.name, option.value.value_or("") + ",memory-backend=guestkit.ram");
      } else if (is_channel(option)) {
        add(option.name, value_of(given, is_channel).value_or("null,id=channel0"));
      } else if (is_our_name(option)) {
        add(option.name, value_of(given, is_our_name).value_or("guestkit-template"));
      } else {
        add(option);
      }
    }
    if (!machine_.memory.empty())
      add("-object", "memory-backend-file,id=guestkit.ram,size=" + std::to_string(memory_size(recorded)) +
                         ",mem-path=" + escaped(machine_.memory) +
                         ",share=" + (machine_.shared ? "on" : "off"));
  }

  /// Our own devices, after everything of libguestfs': the root is not a SCSI disk, so the first disk is sda.
  /// @param how  the root's image is opened: more parameters
  void add_ours(const std::string& how) {
    add_socket("guestkit.warm", machine_.port);
    add("-device", "virtserialport,chardev=guestkit.warm,name=org.guestkit.warm.0");
    add("-drive", "file=" + escaped(machine_.root) + ",id=appliance,cache=unsafe,if=none,format=qcow2" + how);
    add("-device", "virtio-blk-pci,drive=appliance");
    add_socket("guestkit.qmp", machine_.qmp);
    add("-mon", "chardev=guestkit.qmp,mode=control");
  }

  void add_sandbox(const std::vector<Option>& of) {
    for (const auto& option : of)
      if (is_sandbox(option)) add(option);
  }

  void add(const std::string& name, const std::string& value) {
    words_.push_back(name);
    words_.push_back(value);
  }

  Words take() { return std::move(words_); }

 private:
  static std::optional<std::string> value_of(const std::vector<Option>& all, bool (*is)(const Option&)) {
    const auto found = std::find_if(all.begin(), all.end(), is);
    return found == all.end() ? std::nullopt : found->value;
  }

  void add(const Option& option) {
    words_.push_back(option.name);
    if (option.value) words_.push_back(*option.value);
  }

  void add_socket(const std::string& id, int descriptor) {
    add("-chardev", "socket,id=" + id + ",fd=" + std::to_string(descriptor));
  }

  const Machine& machine_;
  Words words_;
};

}  // namespace

Words template_command(const std::vector<Option>& recorded, const Machine& machine) {
  Command command(machine);
  command.add_recorded(recorded, {});
  command.add_ours("");
  command.add_sandbox(recorded);
  return command.take();
}

Words restored_command(const std::vector<Option>& recorded, const std::vector<Option>& given,
                       const Machine& machine) {
  Command command(machine);
  command.add_recorded(recorded, given);
  command.add_ours(",snapshot=on");
  command.add_sandbox(given);
  command.add("-incoming", "defer");
  return command.take();
}

}  // namespace appliance
