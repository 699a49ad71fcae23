// open_disk.hpp. tests/python/test_open_disk.py tests what is refused, and what QEMU then reads.
#define BOOST_TEST_MODULE open_disk
#include <fcntl.h>
#include <sched.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <guestkit/detail/base/escape.hpp>
#include <guestkit/detail/base/private_file.hpp>
#include <guestkit/detail/base/scratch.hpp>
#include <guestkit/detail/image/chain.hpp>
#include <guestkit/detail/image/overlay.hpp>
#include <guestkit/detail/image/qemu_img.hpp>
#include <guestkit/guestkit.hpp>
#include <guestkit/image.hpp>
#include <guestkit/open_disk.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "support.hpp"

using guestkit::Error;
using guestkit::Guestfs;
using guestkit::OpenDiskOptions;
namespace backing = guestkit::backing;
namespace detail = guestkit::detail;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const detail::sparse_file& content) {
  std::ofstream file(path, std::ios::binary);
  for (const auto& [offset, bytes] : content.pieces) file.seekp(static_cast<long>(offset)) << bytes;
  file.close();
  fs::resize_file(path, content.size);
}

/// A handle, and a directory with a raw disk and an overlay that names it.
struct Disks : private support::temporary_folder {
  Disks() {
    std::ofstream(base) << std::string(size, '\1');
    write(overlay, detail::make_overlay(size, base.string(), "raw"));
    g.set_tmpdir(folder.string());
  }

  std::string refusal(const fs::path& disk, const OpenDiskOptions& options) {
    try {
      g.open_disk(disk, options);
    } catch (const Error& e) {
      BOOST_TEST(e.op() == "open_disk");
      return e.message();
    }
    return "";
  }

  static constexpr std::size_t size = 1U << 20U;
  const fs::path &folder = path, base = folder / "base", overlay = folder / "overlay";
  Guestfs g{guestkit::HandleOptions{.environment = false}};
};

/// Makes a VMDK that has this line so many times.
void write_vmdk(const fs::path& path, const std::string& line, int times) {
  std::ofstream file(path);
  file << "# Disk DescriptorFile\nversion=1\nCID=12345678\nparentCID=ffffffff\n"
       << "createType=\"twoGbMaxExtentFlat\"\n";
  for (int i = 0; i < times; ++i) file << line << "\n";
}

std::size_t descriptors_on(const fs::path& path) {
  std::size_t count = 0;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd"))
    if (fs::read_symlink(entry.path(), ignored) == path) ++count;
  return count;
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_overlay_is_an_image_as_our_own_reader_wants_it) {
  const support::temporary_folder folder;
  const auto& path = folder.path;
  for (const std::uint64_t size : {512ULL, 1ULL << 20U, (1ULL << 29U) + 1, 1ULL << 46U}) {
    write(path / "overlay", detail::make_overlay(size, "json:{}", "vmdk"));
    const auto info = guestkit::probe(path / "overlay");
    BOOST_TEST(info.format == "qcow2");
    BOOST_TEST(info.virtual_size == (size + 511) / 512 * 512);
    BOOST_TEST(info.backing_file.value() == "json:{}");
    BOOST_TEST(info.backing_format.value() == "vmdk");
    BOOST_TEST(!info.truncated);
    BOOST_TEST(info.references.size() == 1U);
  }
}

BOOST_FIXTURE_TEST_CASE(the_policy, Disks) {
  const std::string refused =
      overlay.string() + ": refers to another file of this host, \"" + base.string() + "\" (backing)";
  BOOST_TEST(refusal(overlay, {.format = "qcow2"}).starts_with(refused + ", a name that the maker"));
  BOOST_TEST(refusal(overlay, {.backing = backing::allow})
                 .starts_with(refused + ", and the format of the image was not stated"));
  BOOST_TEST(
      refusal(overlay, {.format = "qcow2", .backing = backing::under("/usr")}).ends_with("not beneath /usr"));
  BOOST_TEST(refusal(overlay, {.format = "qcow2", .backing = backing::under(folder)}).empty());
  BOOST_TEST(refusal(overlay, {.format = "qcow2", .backing = backing::allow}).empty());
  BOOST_TEST(refusal(base, {.readonly = false}).find("needs its format stated") != std::string::npos);
  BOOST_TEST(g.open_disk(base, {.readonly = false, .format = "raw"}).virtual_size == size);
  BOOST_TEST(g.debug_drives().size() == 3U);
}

BOOST_FIXTURE_TEST_CASE(the_maker_of_an_image_was_told_what_is_on_this_host, Disks) {
  const auto host = folder / "host", permitted = folder / "permitted";
  for (const auto& each : {host, permitted, host / "directory"}) fs::create_directory(each);
  std::ofstream(host / "key") << std::string(size, '\1');
  std::ofstream(host / "empty");
  BOOST_REQUIRE(::mkfifo((host / "fifo").c_str(), 0600) == 0);
  fs::create_symlink(host / "key", permitted / "link");
  fs::create_directory_symlink(host / "directory", permitted / "directory");
  std::ofstream(permitted / "disk") << std::string(size, '\1');
  fs::create_symlink(host / "loop", host / "loop");
  const std::string far(300, 'x'), by_link = permitted / "directory/../../permitted/disk";
  for (const std::string_view name :
       {"key", "empty", "fifo", "directory", "missing", "key/below", "loop", "../permitted/link", far.c_str(),
        "directory/../../permitted/disk", "missing/../../permitted/disk", by_link.c_str()}) {
    const auto named = (host / name).string();
    write(overlay, detail::make_overlay(size, named, "raw"));
    BOOST_TEST(refusal(overlay, {.format = "qcow2", .backing = backing::under(permitted)}) ==
               overlay.string() + ": refers to " + detail::in_quotes(named) +
                   ", which is missing or is not beneath " + permitted.string());
  }
}

BOOST_FIXTURE_TEST_CASE(a_name_may_go_up_from_where_the_image_lies_or_beneath_the_directory, Disks) {
  fs::create_directory(folder / "below");
  for (const auto& name : {(folder / "below" / ".." / "base").string(), std::string("../base"),
                           std::string("./../below/../base")}) {
    write(folder / "below" / "overlay", detail::make_overlay(size, name, "raw"));
    const OpenDiskOptions options{.format = "qcow2", .backing = backing::under(folder)};
    BOOST_TEST(refusal(folder / "below" / "overlay", options).empty());
  }
}

boost::test_tools::assertion_result can_open_many(boost::unit_test::test_unit_id) {
  struct rlimit limit {};
  const bool can = ::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max >= 4096;
  return support::only_with(can, "right to open 4096 files (ulimit -Hn)");
}

BOOST_FIXTURE_TEST_CASE(files_of_a_disk_took_the_numbers_that_libguestfs_needs, Disks,
                        *boost::unit_test::precondition(can_open_many)) {
  struct rlimit before {};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const struct rlimit many { .rlim_cur = 4096, .rlim_max = before.rlim_max };
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &many) == 0);
  write_vmdk(folder / "a.vmdk", "RW 1 FLAT \"base\" 0", 1100);
  const OpenDiskOptions options{.format = "vmdk", .backing = backing::under(folder)};
  BOOST_TEST(refusal(folder / "a.vmdk", options).empty());
  g.add_drive_scratch(1 << 20);
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
}

BOOST_FIXTURE_TEST_CASE(a_file_was_opened_before_it_was_known_to_lie_beneath_the_directory, Disks) {
  fs::create_directory(folder / "permitted");
  const detail::unique_fd watch(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  BOOST_REQUIRE(::inotify_add_watch(watch.get(), base.c_str(), IN_OPEN) >= 0);
  std::array<char, 4096> events{};
  const auto was_opened = [&] { return ::read(watch.get(), events.data(), events.size()) > 0; };
  refusal(overlay, {.format = "qcow2", .backing = backing::under(folder / "permitted")});
  BOOST_TEST(!was_opened());
  g.open_disk(overlay, {.format = "qcow2", .backing = backing::under(folder)});
  BOOST_TEST(was_opened());
}

BOOST_FIXTURE_TEST_CASE(what_is_wrong_with_a_permitted_file_is_told, Disks) {
  write(overlay, detail::make_overlay(size, (folder / "empty").string(), "raw"));
  std::ofstream(folder / "empty");
  BOOST_TEST(refusal(overlay, {.format = "qcow2", .backing = backing::under(folder)}) ==
             (folder / "empty").string() + ": is empty");
}

BOOST_FIXTURE_TEST_CASE(extents_that_qemu_skips_were_opened_in_millions, Disks) {
  write_vmdk(folder / "b.vmdk", "NOACCESS 1 FLAT \"base\" 0", 30);
  const auto opened = [&](const char* line) {
    write_vmdk(folder / "a.vmdk", line, 30);
    const OpenDiskOptions options{.backing = backing::under(folder)};
    detail::image_chain chain("open_disk", options, false);
    chain.open((folder / "a.vmdk").string(), "vmdk");
    return chain.release().size();
  };
  for (const char* skipped : {"NOACCESS 1 SPARSE \"b.vmdk\"", "RDONLY 1 SPARSE \"b.vmdk\"",
                              "RW 0 SPARSE \"b.vmdk\"", "NOACCESS 1 SPARSE \"missing\""})
    BOOST_TEST(opened(skipped) == 2U);  // the image and its description for QEMU
  BOOST_TEST(opened("RW 1 FLAT \"base\" 0") == 32U);
}

BOOST_FIXTURE_TEST_CASE(a_process_without_descriptors_was_told_of_space_or_of_permissions, Disks) {
  const auto said = support::in_child([&]() -> std::string {
    Guestfs own;
    own.set_tmpdir(folder.string());
    std::size_t refused = 0;
    for (rlim_t limit = 0; limit < 100; ++limit) {  // each file that is opened is once the first too many
      const rlimit few{.rlim_cur = limit, .rlim_max = 100};
      ::setrlimit(RLIMIT_NOFILE, &few);
      try {
        own.open_disk(overlay, {.format = "qcow2", .backing = backing::under(folder)});
        return refused > 0 ? "" : "nothing was refused";
      } catch (const Error& e) {
        ++refused;
        if (e.error_number() != EMFILE || e.cause() != guestkit::Cause::unknown ||
            std::string(e.what()).find("ulimit -n") == std::string::npos)
          return std::to_string(limit) + ": " + e.what();
      }
    }
    return "everything was refused";
  });
  BOOST_TEST(said == "");
}

BOOST_FIXTURE_TEST_CASE(one_image_took_all_open_files_of_the_process, Disks) {
  struct rlimit before {};
  BOOST_REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  struct rlimit few = before;
  few.rlim_cur = 200;
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
  const auto image = folder / "a.vmdk";
  const OpenDiskOptions options{.format = "vmdk", .backing = backing::under(folder)};
  write_vmdk(image, "RW 1 FLAT \"base\" 0", 120);
  const auto refused = refusal(image, options);
  write_vmdk(image, "RW 1 FLAT \"base\" 0", 90);
  BOOST_TEST(refusal(image, options).empty());
  BOOST_REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  BOOST_TEST(refused == base.string() +
                            ": the disk consists of more files than guestkit opens for one, 100: half of "
                            "what this process may open (RLIMIT_NOFILE), and at most 32768");
}

BOOST_FIXTURE_TEST_CASE(a_disk_too_large_for_an_overlay_got_a_malformed_one, Disks) {
  for (const std::uint64_t large : {1ULL << 51U, (1ULL << 51U) + 1, 1ULL << 57U, 1ULL << 61U}) {
    // A VDI or the like would do: whatever states its size, rather than has it.
    const auto capacity = std::to_string((large + 511) / 512);
    write_vmdk(folder / "a.vmdk", "RW " + capacity + " FLAT \"base\" 0", 1);
    const auto refused = refusal(folder / "a.vmdk", {.format = "vmdk", .backing = backing::under(folder)});
    if (large == 1ULL << 51U)
      BOOST_TEST(refused.empty());
    else
      BOOST_TEST(refused.ends_with(" bytes; guestkit opens disks of up to 2 PiB"));
  }
}

boost::test_tools::assertion_result can_mount(boost::unit_test::test_unit_id) {
  bool can = false;
  std::thread([&] { can = ::unshare(CLONE_NEWNS) == 0; }).join();
  return support::only_with(can, "right to mount");
}

BOOST_FIXTURE_TEST_CASE(a_snapshot_filled_the_file_system_of_temporary_files, Disks,
                        *boost::unit_test::precondition(can_mount)) {
  const detail::described_image image{.json = "{}", .inherited = {}, .file_size = size};
  guestkit::ImageInfo info;
  info.format = "qcow2";
  info.snapshots.push_back({.id = "1", .name = "one"});
  const auto full = folder / "full";
  fs::create_directory(full);
  std::string refused;
  const auto copy = [&] {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", "", MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("none", full.c_str(), "tmpfs", 0, "size=16m") != 0)
      return;
    std::ofstream(full / "other") << std::string(std::size_t{15} << 20U, 'x');
    try {
      const detail::private_file target(detail::scratch::beneath(full));
      detail::copy_snapshot("open_disk", "disk", info, "one", image, target);
    } catch (const std::exception& e) {
      refused = e.what();
    }
  };
  std::thread(copy).join();
  BOOST_TEST(refused ==
             "open_disk: disk: the snapshot would fill the file system of temporary files (TMPDIR); set "
             "TMPDIR, or the handle's tmpdir, to a directory with more space");
}

BOOST_FIXTURE_TEST_CASE(the_checked_files_are_held_until_the_handle_ends, Disks) {
  g.open_disk(overlay, {.format = "qcow2", .backing = backing::allow});
  BOOST_TEST(descriptors_on(base) == 1U);
  BOOST_TEST(descriptors_on(overlay) == 1U);
  Guestfs moved(std::move(g));
  BOOST_TEST(descriptors_on(base) == 1U);
  moved.close();
  BOOST_TEST(descriptors_on(base) == 0U);
  BOOST_TEST(descriptors_on(overlay) == 0U);
}

BOOST_FIXTURE_TEST_CASE(a_closed_handle_opens_nothing, Disks) {
  g.close();
  BOOST_CHECK_THROW(g.open_disk(base), guestkit::HandleClosed);
}

BOOST_FIXTURE_TEST_CASE(add_drive_warns_once, Disks) {
  support::captured_stderr output;
  // Regression: a handle that logs no warnings kept it from all others.
  const guestkit::LogSink nobody = [](guestkit::LogLevel, const std::string&) {};
  Guestfs({.environment = false, .log = nobody, .log_level = guestkit::LogLevel::error})
      .add_drive(base.string());
  g.add_drive(base.string(), {.format = "raw"});
  g.add_drive(base.string(), {.format = "qcow2"});
  g.add_drive_ro(base.string());
  const auto text = output.end();
  BOOST_TEST(text.starts_with("guestkit: add_drive: QEMU opens every file of this host"));
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 1);
}

BOOST_FIXTURE_TEST_CASE(a_qemu_img_that_could_not_be_started_gave_every_disk_sectors_of_512_bytes, Disks) {
  const support::first_in_path restored(folder);
  ::setenv("PATH", folder.c_str(), 1);
  const OpenDiskOptions options{.format = "qcow2", .backing = backing::allow};
  BOOST_CHECK_NO_THROW(g.open_disk(overlay, options));  // it is not installed
  std::ofstream(folder / "qemu-img") << "not executable";
  BOOST_TEST(refusal(overlay, options).starts_with("qemu-img cannot be run"));
}

BOOST_FIXTURE_TEST_CASE(a_disk_in_use_is_read_with_a_warning_or_refused, Disks) {
  const detail::unique_fd writer(::open(base.c_str(), O_RDWR | O_CLOEXEC));
  struct flock lock {};  // the lock that QEMU takes to write
  lock.l_type = F_RDLCK;
  lock.l_start = 101;
  lock.l_len = 1;
  BOOST_REQUIRE(::fcntl(writer.get(), F_OFD_SETLK, &lock) == 0);
  const std::string in_use = base.string() + ": is in use: ";
  BOOST_TEST(refusal(base, {.in_use = guestkit::InUse::refuse}).starts_with(in_use));
  BOOST_TEST(refusal(base, {.readonly = false, .format = "raw"}).starts_with(in_use));
  BOOST_TEST(refusal(base, {.blocksize = 1000}).starts_with("the sectors of a disk have 512 or 4096 bytes"));
  support::captured_stderr output;
  BOOST_TEST(g.open_disk(overlay, {.format = "qcow2", .backing = backing::allow}).in_use);
  const auto said = "guestkit: open_disk: " + base.string() + ": " + support::own_name() + " (process " +
                    std::to_string(::getpid()) + ") writes to it: what is read may be inconsistent\n";
  BOOST_TEST(output.end() == said);
}

// Regression: whoever opened a disk twice was told, after two failed launches, that another process writes.
BOOST_FIXTURE_TEST_CASE(a_disk_that_was_added_twice_for_writing_blamed_another_process, Disks) {
  const OpenDiskOptions writing{.readonly = false, .format = "raw"};
  g.open_disk(base, writing);
  const auto link = folder / "link";
  fs::create_hard_link(base, link);
  for (const auto& name : {base, link})
    BOOST_TEST(refusal(name, writing) ==
               name.string() + ": is a disk of this handle already, and is written to");
  BOOST_TEST(refusal(base, {.format = "raw"}) == "");
  Guestfs other{guestkit::HandleOptions{.environment = false}};
  BOOST_CHECK_NO_THROW(other.open_disk(base, writing));
}

namespace {

/// Makes a VMDK whose only extent is of that kind.
void write_vmdk_of(const fs::path& path, const std::string& kind, const fs::path& extent) {
  write_vmdk(path, "RW 2048 " + kind + " \"" + extent.string() + "\"" + (kind == "FLAT" ? " 0" : ""), 1);
}

}  // namespace

// Regression: the kind is any 16 characters of the image's, and reached QEMU as a part of the descriptor.
BOOST_FIXTURE_TEST_CASE(the_kind_of_a_vmdks_extent_was_text_from_the_image_for_qemu, Disks) {
  const auto description = [&](const std::string& kind) {
    write_vmdk_of(overlay, kind, base);
    const OpenDiskOptions options{.format = "vmdk", .backing = backing::allow};
    detail::image_chain chain("open_disk", options, false);
    chain.open(overlay, "vmdk");
    std::string text;
    for (const auto& file : chain.release()) {
      const auto start =
          detail::image_file("open_disk", "/proc/self/fd/" + std::to_string(file.get())).read_some(0, 4096);
      if (start.begins_with("# Disk DescriptorFile\nversion=1\nCID=12345678\n")) text = start.bytes();
    }
    return text;
  };
  BOOST_TEST(description("FLAT").find("RW 2048 FLAT ") != std::string::npos);
  for (const std::string kind : {"/etc/passwd", "FLATX", "json:{}"}) {
    BOOST_TEST(description(kind).find(kind) == std::string::npos);
    BOOST_TEST(guestkit::probe(overlay).virtual_size == 0U);
  }
}

// Regression: a message named all snapshots, of which a hostile image has 65536.
BOOST_FIXTURE_TEST_CASE(the_name_of_a_missing_snapshot_made_a_message_of_megabytes, Disks) {
  guestkit::ImageInfo info;
  info.format = "qcow2";
  for (int i = 0; i < 1000; ++i) info.snapshots.push_back({.name = std::to_string(i)});
  const auto message = [&] {
    const detail::private_file target(detail::scratch::beneath(folder.string()));
    try {
      detail::copy_snapshot("open_disk", "disk", info, "x", {.json = "{}", .inherited = {}, .file_size = 1},
                            target);
    } catch (const Error& e) {
      return e.message();
    }
    return std::string();
  };
  const std::string ten =
      R"(disk: has no snapshot "x", but "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")";
  BOOST_TEST(message() == ten + ", … (1000)");
  info.snapshots.resize(10);
  BOOST_TEST(message() == ten);
}
