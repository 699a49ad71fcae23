#include "cage.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <guestkit/detail/base/endian.hpp>
#include <guestkit/detail/base/unique_fd.hpp>
#include <guestkit/detail/launch/landlock.hpp>
#include <string_view>
#include <system_error>

#include "filter.hpp"

namespace appliance {

namespace {

using guestkit::detail::unique_fd;

constexpr std::string_view option_name = "-guestkit-cage";

// The kernel's Landlock, by its system calls: the headers of older systems lack some of it.
namespace landlock {

// The rights: bits of the kernel's interface.
constexpr std::uint64_t execute = 1U << 0U;
constexpr std::uint64_t write_file = 1U << 1U;
constexpr std::uint64_t read_file = 1U << 2U;
constexpr std::uint64_t read_directory = 1U << 3U;
constexpr std::uint64_t remove_file = 1U << 5U;
constexpr std::uint64_t make_file = 1U << 8U;
constexpr std::uint64_t truncate = 1U << 14U;
constexpr std::uint64_t device = 1U << 15U;  ///< ioctl(2) on a device

/// Those that a rule for something other than a directory may have.
constexpr std::uint64_t of_files = execute | write_file | read_file | truncate | device;

/// All rights over files that this version knows: what is not allowed of them is refused.
std::uint64_t handled(int version) {
  const unsigned count = version >= 5 ? 16 : version >= 3 ? 15 : version >= 2 ? 14 : 13;
  return (std::uint64_t{1} << count) - 1;
}

/// An empty set of rules. If it cannot be made, returns no descriptor and sets errno.
/// @param network  false: TCP is refused, where the version knows how
unique_fd create(int version, bool network) {
  struct {
    std::uint64_t files, network, scopes;
  } const handles{.files = handled(version),
                  .network = network ? 0U : 3U,  // to bind and to connect
                  .scopes = 3};                  // abstract Unix sockets, and signals, to other processes
  const std::size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;
  return unique_fd(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handles, size, 0)));
}

/// Allows that on the file, or beneath the directory, of a descriptor. What cannot be allowed stays refused.
void add(int rules, int file, std::uint64_t rights) {
  struct __attribute__((packed)) {
    std::uint64_t rights;
    std::int32_t file;
  } const rule{.rights = rights, .file = file};
  constexpr int beneath_path = 1;
  ::syscall(SYS_landlock_add_rule, rules, beneath_path, &rule, 0);
}

}  // namespace landlock

constexpr auto reads = landlock::read_file | landlock::read_directory;
constexpr auto writes = reads | landlock::write_file | landlock::truncate | landlock::device;

/// A set of rules of Landlock, while it is made.
class Rules {
 public:
  /// @param network  whether TCP stays allowed
  explicit Rules(bool network)
      : version_(guestkit::detail::landlock::version()), set_(landlock::create(version_, network)) {}

  bool are_made() const { return set_.get() >= 0; }

  /// Allows that on a file, or on all that lies beneath a directory. What is not there needs no rule.
  void allow(const std::string& path, std::uint64_t rights) {
    const unique_fd file(::open(path.c_str(), O_PATH | O_CLOEXEC));
    if (file.get() >= 0) allow(file.get(), rights);
  }
  void allow(int file, std::uint64_t rights) {
    struct stat s {};
    if (::fstat(file, &s) != 0) return;
    if (!S_ISDIR(s.st_mode)) rights &= landlock::of_files;
    landlock::add(set_.get(), file, rights & landlock::handled(version_));
  }

  /// Enforces them on this process, for ever.
  bool enforce() const {
    return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           ::syscall(SYS_landlock_restrict_self, set_.get(), 0) == 0;
  }

 private:
  int version_;
  unique_fd set_;
};

/// Whether it has QEMU connect to a Unix socket: libguestfs' own, and that of a network card's helper. One
/// with settings of its own, which the user gave, is left as it is.
bool is_socket(const Option& option) {
  const Parameters given(option.value.value_or(""));
  if (given["server"] != "" && given["server"] != "off") return false;
  if (option.name == "-chardev")
    return given[""] == "socket" && !given["path"].empty() &&
           given.has_only(std::to_array<std::string_view>({"", "id", "path", "server"}));
  return option.name == "-netdev" && given[""] == "stream" && given["addr.type"] == "unix" &&
         given.has_only(std::to_array<std::string_view>({"", "id", "server", "addr.type", "addr.path"}));
}

std::string directory_of(const std::string& path) {
  return path.substr(0, path.rfind('/'));
}

/// The name of the backing file in the header of a qcow2; empty if it has none.
std::string backing_of(const std::string& image) {
  const unique_fd file(::open(image.c_str(), O_RDONLY | O_CLOEXEC));
  std::array<unsigned char, 20> header{};
  if (::pread(file.get(), header.data(), header.size(), 0) != static_cast<ssize_t>(header.size())) return "";
  const auto number = [&](std::size_t at, std::size_t count) {
    return guestkit::detail::big_endian({reinterpret_cast<const char*>(header.data()) + at, count});
  };
  constexpr std::size_t longest = 1023;
  if (std::memcmp(header.data(), "QFI\xfb", 4) != 0 || number(16, 4) > longest) return "";
  std::string name(number(16, 4), '\0');
  const auto got = ::pread(file.get(), name.data(), name.size(), static_cast<off_t>(number(8, 8)));
  name.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return name;
}

/// Takes a number from the front of the text. Returns whether there is one, and one of these characters after
/// it.
bool take_number(std::string_view& text, int& number, std::string_view ends) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return error == std::errc() && number >= 0 && !text.empty() &&
         ends.find(text.front()) != std::string_view::npos;
}

/// What the option's value says. Nothing if it is not understood.
std::optional<Cage> cage_of(std::string_view value) {
  Cage cage;
  if (!take_number(value, cage.owner, ":") || cage.owner == 0) return std::nullopt;
  bool more = !value.starts_with("::");
  for (value.remove_prefix(1); more; value.remove_prefix(more ? 1 : 0)) {
    auto& file = cage.files.emplace_back();
    if (!take_number(value, file.number, "w,:")) return std::nullopt;
    if (file.writes = value.front() == 'w'; file.writes) value.remove_prefix(1);
    if (!value.starts_with(',') && !value.starts_with(':')) return std::nullopt;
    more = value.front() == ',';
  }
  cage.directory = value.substr(1);
  if (!cage.directory.starts_with('/')) return std::nullopt;
  return cage;
}

/// Whether it is one of the files that libguestfs makes for a launch.
bool is_made_by_libguestfs(const std::string& path, const Cage& cage) {
  return path.starts_with(directory_of(cage.directory) + '/') && path.find("/../") == std::string::npos;
}

/// libguestfs' own image over a disk that is only read; empty if this is another one.
std::string overlay_of(const Parameters& drive, const Cage& cage) {
  std::string named =
      drive["file.file.filename"];  // over a file; over what a server has, it is plainly the file
  if (!named.empty()) return named;
  named = drive["file"];
  const auto name = named.substr(named.rfind('/') + 1);
  const bool is_one =
      is_made_by_libguestfs(named, cage) && name.starts_with("overlay") && name.ends_with(".qcow2");
  return is_one ? named : "";
}

/// What QEMU opens for a drive: a file, or what a server has.
std::string disk_of(const Parameters& drive, const Cage& cage) {
  const std::string overlay = overlay_of(drive, cage);
  return overlay.empty() ? drive["file"] : backing_of(overlay);
}

/// Whether QEMU has to use the network for this option. What connect_sockets() has connected needs none.
bool needs_network(const Option& option, const Cage& cage) {
  const Parameters given(option.value.value_or(""));
  if (option.name != "-drive")
    return (option.name.starts_with("-net") || option.name == "-nic") && given["addr.type"] != "fd";
  const bool is_connected = given["file.server.type"] == "fd" || !given["backing"].empty();
  return !is_connected && !disk_of(given, cage).starts_with('/');
}

/// Connects to the Unix socket of that name. If that fails, the descriptor is -1, and errno is set.
unique_fd connected(const std::string& path) {
  unique_fd socket(::socket(AF_UNIX, SOCK_STREAM, 0));
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return unique_fd();
  }
  path.copy(static_cast<char*>(address.sun_path), path.size());
  const auto* const name = reinterpret_cast<const sockaddr*>(&address);
  return ::connect(socket.get(), name, sizeof address) == 0 ? std::move(socket) : unique_fd();
}

/// What an NBD server has behind a Unix socket.
struct Export {
  std::string socket;
  std::string name;  ///< empty: the server's only one
};

/// That of a drive: nbd:unix:SOCKET:exportname=NAME, as libguestfs writes it.
std::optional<Export> export_of(const Option& option, const Cage& cage) {
  if (option.name != "-drive" || !option.value) return std::nullopt;
  constexpr std::string_view kind = "nbd:unix:", mark = ":exportname=";
  const std::string disk = disk_of(Parameters(*option.value), cage);
  if (!disk.starts_with(kind)) return std::nullopt;
  const auto end = disk.find(mark);
  return Export{.socket = disk.substr(kind.size(), end - kind.size()),
                .name = end == std::string::npos ? "" : disk.substr(end + mark.size())};
}

/// Has the drive use the connection to its server.
/// @param more  gets the options that QEMU needs for that besides
void use_connection(std::string& drive, const Export& served, const std::string& number, const Cage& cage,
                    Words& more) {
  const auto server = [&](const std::string& prefix) {
    const std::string name = served.name.empty() ? "" : ',' + prefix + "export=" + escaped(served.name);
    return prefix + "driver=nbd," + prefix + "server.type=fd," + prefix + "server.str=" + number + name;
  };
  Parameters given(drive);
  if (overlay_of(given, cage).empty()) {
    given.remove("file");
    drive = given.text() + ',' + server("file.");
    return;
  }
  const std::string node = "guestkit-nbd" + number;  // in place of what the overlay names
  drive += ",backing=" + node;
  more.insert(more.end(), {"-blockdev", server("") + ",read-only=on,node-name=" + node});
}

/// The program that the kernel starts to start this one: a script's, or the loader of libraries. Empty if
/// there is none.
std::string starter_of(const std::string& program) {
  const unique_fd file(::open(program.c_str(), O_RDONLY | O_CLOEXEC));
  const auto text = [&](std::uint64_t at, std::size_t size) {
    std::string read(std::min<std::size_t>(size, PATH_MAX), '\0');
    const auto got = ::pread(file.get(), read.data(), read.size(), static_cast<off_t>(at));
    read.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    return read;
  };
  if (const auto line = text(0, PATH_MAX); line.starts_with("#!")) {
    const auto begin = line.find_first_not_of(" \t", 2);
    return begin == std::string::npos ? "" : line.substr(begin, line.find_first_of(" \t\n", begin) - begin);
  }
  Elf64_Ehdr header{};
  if (::pread(file.get(), &header, sizeof header, 0) != sizeof header ||
      std::memcmp(static_cast<const unsigned char*>(header.e_ident), ELFMAG, SELFMAG) != 0)
    return "";
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr part{};
    if (::pread(file.get(), &part, sizeof part, static_cast<off_t>(header.e_phoff + i * sizeof part)) !=
        sizeof part)
      return "";
    if (part.p_type == PT_INTERP) return text(part.p_offset, part.p_filesz).c_str();  // up to its NUL
  }
  return "";
}

/// Allows what any program needs to start and to run, and QEMU besides.
void allow_system(Rules& rules, const std::string& qemu) {
  for (const char* const system : {"/usr", "/lib", "/lib64", "/lib32", "/bin", "/nix/store", "/gnu/store"})
    rules.allow(system, reads);
  int depth = 0;
  for (std::string program = qemu; !program.empty() && depth < 5; program = starter_of(program), ++depth)
    rules.allow(program, reads | landlock::execute);
  for (const char* const file : {"/etc/ld.so.cache", "/etc/ld.so.preload", "/etc/localtime", "/proc/cpuinfo",
                                 "/proc/meminfo", "/sys/devices/system", "/sys/kernel/mm"})
    rules.allow(file, reads);
  for (const char* const file : {"/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/dev/kvm"})
    rules.allow(file, writes);
}

/// Allows what it takes to find a server by its name, and to trust it.
void allow_names(Rules& rules) {
  for (const char* const file :
       {"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/host.conf", "/etc/gai.conf",
        "/etc/services", "/etc/ssl/certs", "/etc/ssl/openssl.cnf", "/etc/pki/tls/certs",
        "/etc/pki/tls/cert.pem", "/etc/pki/ca-trust", "/etc/ca-certificates", "/etc/crypto-policies"})
    rules.allow(file, reads);
}

/// Allows the files that the option names.
void allow_files(Rules& rules, const Option& option, const Cage& cage) {
  if (option.name == "-kernel" && option.value) rules.allow(directory_of(*option.value), reads);
  if (option.name != "-drive" || !option.value) return;
  const Parameters given(*option.value);
  const std::string overlay = overlay_of(given, cage), file = overlay.empty() ? given["file"] : overlay;
  // Other drives are the appliance's root, and what the firmware keeps (UEFI), of which libguestfs makes a
  // copy.
  if (is_disk(option) || is_made_by_libguestfs(file, cage)) rules.allow(file, writes);
  if (!overlay.empty()) rules.allow(backing_of(overlay), reads | landlock::device);
}

/// Leaves QEMU of the environment what it needs: the rest holds tokens, and names the user's sockets.
/// @param network  whether it keeps its proxies too
void clear_environment(bool network) {
  std::vector<std::string> others;
  for (char** each = environ; *each != nullptr; ++each) {
    const std::string_view text = *each, name = text.substr(0, text.find('='));
    const bool proxy = name.ends_with("_proxy") || name.ends_with("_PROXY");
    if (name != "PATH" && name != "HOME" && name != "LANG" && name != "TMPDIR" && !name.starts_with("LC_") &&
        !(network && proxy))
      others.emplace_back(name);
  }
  for (const auto& name : others) ::unsetenv(name.c_str());
}

}  // namespace

std::string take_cage(Words& words, std::optional<Cage>& cage) {
  for (auto at = words.begin(); (at = std::find(at, words.end(), option_name)) != words.end();) {
    if (at + 1 == words.end()) return std::string(option_name) + " has no value";
    cage = cage_of(*(at + 1));
    if (!cage) return "the value of " + std::string(option_name) + " is not understood: " + *(at + 1);
    at = words.erase(at, at + 2);
  }
  return "";
}

std::string take_files(const Cage& cage) {
  for (const auto& [number, writes] : cage.files) {
    const std::string path = "/proc/" + std::to_string(cage.owner) + "/fd/" + std::to_string(number);
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) return path + ": " + std::strerror(errno);
    if (file == number) {
      ::fcntl(file, F_SETFD, 0);
      continue;
    }
    const bool done = ::dup2(file, number) == number;
    const int error = errno;
    ::close(file);
    if (!done) return path + ": " + std::strerror(error);
  }
  return "";
}

std::string connect_sockets(const Cage& cage, Words& words) {
  Words more;
  for (std::size_t i = 1; i < words.size(); ++i) {
    const Option option{words[i - 1], words[i]};
    const auto served = export_of(option, cage);
    if (!served && !is_socket(option)) continue;
    Parameters given(words[i]);
    const bool card = option.name == "-netdev";
    const std::string path = served ? served->socket : given[card ? "addr.path" : "path"];
    unique_fd socket = connected(path);
    if (socket.get() < 0) return path + ": " + std::strerror(errno);
    const std::string number = std::to_string(socket.release());
    if (served) {
      use_connection(words[i], *served, number, cage, more);
      continue;
    }
    if (card) given.replace("addr.type", "addr.type", "fd");
    given.replace(card ? "addr.path" : "path", card ? "addr.str" : "fd", number);
    words[i] = given.text();
  }
  words.insert(words.end(), more.begin(), more.end());
  return "";
}

std::string enter_cage(const Cage& cage, const std::string& qemu, const Words& arguments,
                       const std::vector<std::string>& readable) {
  const auto options = appliance::options(arguments);
  const bool network = std::any_of(options.begin(), options.end(),
                                   [&](const auto& option) { return needs_network(option, cage); });
  Rules rules(network);
  if (!rules.are_made()) return std::string("Landlock: ") + std::strerror(errno);
  allow_system(rules, qemu);
  if (network) allow_names(rules);
  for (const auto& directory : readable) rules.allow(directory, reads);
  for (const auto& file : cage.files)
    rules.allow(file.number, file.writes ? writes : reads | landlock::device);
  rules.allow(cage.directory, writes | landlock::make_file | landlock::remove_file);
  for (const auto& option : options) allow_files(rules, option, cage);
  clear_environment(network);
  const auto fault = [](const char* what) { return std::string(what) + ": " + std::strerror(errno); };
  if (::setenv("TMPDIR", cage.directory.c_str(), 1) != 0) return fault("TMPDIR");
  if (!rules.enforce()) return fault("Landlock");
  if (!drop_capabilities()) return fault("capabilities");
  return filter_calls(network) ? "" : fault("seccomp");
}

}  // namespace appliance
