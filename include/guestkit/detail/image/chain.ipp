#pragma once

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>

#include "guestkit/detail/base/diagnosis.hpp"
#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/image/chain.hpp"
#include "guestkit/detail/image/foreign.hpp"
#include "guestkit/detail/image/in_use.hpp"
#include "guestkit/detail/image/missing.hpp"
#include "guestkit/detail/image/qcow.hpp"
#include "guestkit/detail/image/read.hpp"
#include "guestkit/detail/image/vmdk.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// The protocol that QEMU sees in a name: "nbd:…" means nbd, but "./a:b" is a file.
inline std::string_view protocol_in(std::string_view name) {
  const auto end = name.find_first_of(":/");
  return end != std::string_view::npos && name[end] == ':' ? name.substr(0, end) : std::string_view();
}

inline std::string own_path_of(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

/// Finds a file without opening it, so that no driver learns of it; no descriptor if it cannot be found.
/// Throws Error if this process may have no more descriptors.
inline unique_fd found_at(const char* op, const std::filesystem::path& path) {
  if (path.native().find('\0') != std::string::npos) return unique_fd();
  unique_fd found(::open(path.c_str(), O_PATH | O_CLOEXEC));
  if (found.get() >= 0) return found;
  const int number = errno;
  if (auto diagnosis = scarcity(number))
    throw Error(op, shown(path.native()) + ": " + std::strerror(number), number, std::move(*diagnosis));
  return found;
}

/// Where the file lies if that is beneath the directory, which is canonical. The answer is about the file
/// that is found: no link can change it any more.
inline std::optional<std::filesystem::path> place_beneath(const unique_fd& found,
                                                          const std::filesystem::path& directory) {
  if (found.get() < 0) return std::nullopt;
  std::error_code error;
  auto path = std::filesystem::read_symlink(own_path_of(found.get()), error);
  if (error ||
      std::mismatch(directory.begin(), directory.end(), path.begin(), path.end()).first != directory.end())
    return std::nullopt;
  return path;
}

/// Whether the name goes up, by "..", from what does not lie beneath the directory: resolved, it would tell
/// whether that is there.
/// @param from  where a relative name begins, which is canonical
inline bool goes_up_elsewhere(const char* op, const std::filesystem::path& name,
                              const std::filesystem::path& from, const std::filesystem::path& directory) {
  auto place = name.is_absolute() ? std::filesystem::path("/") : from;
  bool is_canonical = true;
  for (const auto& part : name.relative_path()) {
    if (part == "..") {
      if (!is_canonical) {
        const auto found = place_beneath(found_at(op, place), directory);
        if (!found) return true;
        place = *found;
      }
      place = place.parent_path();
      is_canonical = true;
    } else if (!part.empty() && part != ".") {
      place /= part;
      is_canonical = false;
    }
  }
  return false;
}

/// How many files one disk may consist of: VMware's largest, 62 TB in files of 2 GB, has 31744. The rest of
/// the process needs descriptors, too.
inline std::size_t most_files() noexcept {
  constexpr std::size_t most = 32768;
  struct rlimit limit {};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return most;
  return static_cast<std::size_t>(std::min<rlim_t>(most, limit.rlim_cur / 2));
}

GUESTKIT_INLINE image_chain::image_chain(const char* op, const OpenDiskOptions& options, bool by_name,
                                         bool inherited)
    : op_(op),
      backing_(options.backing),
      readonly_(options.readonly),
      locks_(!options.readonly || options.in_use == InUse::refuse),
      by_name_(by_name),
      inherited_(inherited),
      max_files_(most_files()) {
  if (backing_.rule != Backing::Rule::under) return;
  std::error_code error;
  beneath_ = std::filesystem::canonical(backing_.directory, error);
  if (error || !std::filesystem::is_directory(beneath_, error))
    throw Error(op, "no such directory for backing files: " + backing_.directory.string(), ENOENT);
}

GUESTKIT_INLINE std::vector<int> image_chain::inherited() const {
  std::vector<int> numbers;
  if (inherited_)
    for (const auto& file : files_) numbers.push_back(file.get());
  return numbers;
}

GUESTKIT_INLINE std::string image_chain::path_of(int fd) const {
  const std::string process = inherited_ ? "self" : std::to_string(::getpid());
  return "/proc/" + process + "/fd/" + std::to_string(fd);
}

GUESTKIT_INLINE ImageInfo image_chain::open(const std::string& path,
                                            const std::optional<std::string>& format) {
  auto file = open_named(op_, path);
  identity_ = file.identity();
  auto top = add(std::move(file), format);
  node_ = std::move(top.node);
  top.info.in_use = !in_use_.empty();
  return std::move(top.info);
}

GUESTKIT_INLINE void image_chain::enter(const image_file& file) {
  constexpr std::size_t max_depth = 200;  // a backup tool's chain of a few months is this long
  const auto identity = file.identity();
  if (std::find(path_.begin(), path_.end(), identity) != path_.end()) file.refuse("refers to itself", ELOOP);
  if (path_.size() == max_depth) file.refuse("its chain of backing files is longer than 200", ELOOP);
  if (files_.size() >= max_files_)
    file.refuse("the disk consists of more files than guestkit opens for one, " + std::to_string(max_files_) +
                    ": half of what this process may open (RLIMIT_NOFILE), and at most 32768",
                EMFILE);
  path_.push_back(identity);
  if (all_files_.insert(identity).second) file_size_ += file.size();
}

/// Says what the file is, and how to get at the disk that is meant.
[[noreturn]] inline void refuse_foreign(const image_file& file, const foreign_kind& kind) {
  const auto what = "is no disk but " + described(kind, file.read_some(0, 8192));
  const std::string remedy(kind.remedy);
  if (kind.what == foreign_kind::holds::a_disk) file.refuse(what, EINVAL, {Cause::not_a_disk, remedy});
  const bool may_be_one = kind.what != foreign_kind::holds::several_files;
  file.refuse(what + ": " + remedy, EINVAL,
              {Cause::not_a_disk, may_be_one ? "if it is a disk after all, state format=raw" : ""});
}

GUESTKIT_INLINE void image_chain::refuse_what_cannot_be_read(const image_file& file, const ImageInfo& info,
                                                             bool stated) const {
  if (info.virtual_size > max_overlay_size)
    file.refuse(
        "is a disk of " + std::to_string(info.virtual_size) + " bytes; guestkit opens disks of up to 2 PiB",
        EFBIG);
  if (info.format == "vhdx" && info.blocksize != 512)
    file.refuse("is a VHDX with sectors of " + std::to_string(*info.blocksize) +
                    " bytes; QEMU reads only those with sectors of 512",
                ENOTSUP);
  if (info.format == "vdi" && info.cluster_size != 1 << 20)
    file.refuse("is a VDI with blocks of " + std::to_string(info.cluster_size) +
                    " bytes; QEMU reads only those with blocks of 1 MiB",
                ENOTSUP);
  if (info.format != "raw" && !info.encryption.empty())
    file.refuse("is encrypted by QEMU (" + info.encryption + "), which libguestfs cannot open", ENOTSUP,
                {Cause::unknown, "decrypt it into another file by qemu-img: docs/keys.md has the command"});
  if (const auto* kind = foreign_kind_of(info.content); !stated && kind != nullptr)
    refuse_foreign(file, *kind);
}

GUESTKIT_INLINE image_chain::opened image_chain::add(image_file file,
                                                     const std::optional<std::string>& format) {
  enter(file);
  look_for_users(file);
  opened result{.info = read_image(file, format), .node = {}, .file = {}};
  auto& info = result.info;
  refuse_what_cannot_be_read(file, info, format.has_value());

  const bool is_device = file.is_device();
  const auto place = files_.size();
  files_.emplace_back();  // the disk's own file comes first
  const std::string fields = follow(file, info, format.has_value());
  std::optional<sparse_file> descriptor;
  if (!info.extents.empty()) descriptor = describe_extents(file, info);
  files_[place] = above_select(file.release());
  const int fd = descriptor ? keep_private(*descriptor) : files_[place].get();
  result.file = path_of(fd);
  result.node.driver = info.format;
  result.node.json = R"({"driver":")" + info.format + R"(","file":{"driver":")" +
                     (is_device && !descriptor ? "host_device" : "file") + R"(","filename":")" + result.file +
                     '"' + unlocked_file() + "}" + fields +
                     (info.extents.empty() || locks_ ? "" : R"(,"force-share":true)") + "}";
  // The name in an overlay's header has a limit; a chain's description has none.
  if (result.node.json.size() > max_backing_name / 2) {
    const int overlay = keep_private(result.node.overlay(info.virtual_size));
    result.node = {R"({"driver":"qcow2","file":{"driver":"file","filename":")" + path_of(overlay) + "\"}}",
                   "qcow2"};
  }
  leave();
  return result;
}

GUESTKIT_INLINE std::string image_chain::use_of(const image_file& file) const {
  if (is_claimed_by_host(file.descriptor()))
    return "this host has mounted it, or uses it for LVM, RAID, swap or the like";
  const bool written = is_held(file.descriptor(), qemu_lock::writes);
  const bool is_top = path_.size() == 1;
  if (!written && (readonly_ || !is_top || !is_held(file.descriptor(), qemu_lock::allows_no_writer)))
    return "";
  return user_of(file.status()) +
         (written ? " writes to it" : " reads it, and does not allow others to write");
}

GUESTKIT_INLINE void image_chain::look_for_users(const image_file& file) {
  const auto does = use_of(file);
  if (does.empty()) return;
  const std::string end_that = file.is_device()
                                   ? "unmount it, shut its guest down, or end that in another way"
                                   : "shut its guest down, or end that in another way";
  if (!readonly_)
    file.refuse("is in use: " + does, EBUSY, {Cause::disk_locked, end_that + ", or open the disk read-only"});
  if (locks_)
    file.refuse("is in use: " + does, EBUSY,
                {Cause::disk_in_use,
                 end_that + "; in_use=allow opens it all the same, but what is read may be inconsistent"});
  in_use_ += (in_use_.empty() ? "" : "; ") + shown(file.path()) + ": " + does;
}

/// Opens a part of a disk that is written to again, as QEMU will; which files are open to write tells the
/// launch which ones a QEMU that is shut in may write to.
inline image_file opened_to_write(const image_file& part) {
  auto fd = above_streams(unique_fd(::open(own_path_of(part.descriptor()).c_str(), O_RDWR | O_CLOEXEC)));
  if (fd.get() < 0) part.refuse(std::string("cannot be written to: ") + std::strerror(errno), errno);
  return {part.op(), std::move(fd), part.path()};
}

GUESTKIT_INLINE std::string image_chain::follow(const image_file& file, ImageInfo& info, bool stated) {
  constexpr std::array<std::string_view, 3> with_backing{"qcow", "qcow2", "vmdk"};
  std::string backing =
      std::find(with_backing.begin(), with_backing.end(), info.format) != with_backing.end() ? "null" : "";
  std::string data;
  for (const auto& reference : info.references) {
    permit(file, reference, stated);
    if (reference.kind == "parent") file.refuse("is a differencing disk, which QEMU cannot read", ENOTSUP);
    if (reference.kind == "extent") continue;
    auto referenced = find(file, reference);
    if (reference.kind == "data" && !readonly_ && path_.size() == 1) referenced = opened_to_write(referenced);
    auto other = add(std::move(referenced), format_of(file, reference));
    info.truncated = info.truncated || other.info.truncated;
    if (reference.kind == "backing") backing = std::move(other.node.json);
    // Only the file: QEMU itself opens it as raw.
    if (reference.kind == "data" && qcow2::needs_data_file(file))
      data = R"({"driver":"file","filename":")" + other.file + '"' + unlocked_file() + "}";
  }
  return (backing.empty() ? "" : ",\"backing\":" + backing) + (data.empty() ? "" : ",\"data-file\":" + data);
}

GUESTKIT_INLINE void image_chain::permit(const image_file& file, const ImageReference& reference,
                                         bool stated) const {
  const std::string what =
      "refers to another file of this host, " + in_quotes(reference.name) + " (" + reference.kind + ")";
  if (backing_.rule == Backing::Rule::refuse)
    file.refuse(what + ", a name that the maker of the image chose", EACCES,
                {Cause::backing_refused, "backing=under(DIRECTORY) or backing=allow permits it"});
  if (!stated) {
    const auto format = guess_format(file, file.read_some(0, 8192));
    file.refuse(what + ", and the format of the image was not stated: it looks like " + format +
                    ", but the guest of a raw disk can write such a header",
                EACCES, {Cause::format_unstated, state_the_format});
  }
}

GUESTKIT_INLINE std::optional<std::string> image_chain::format_of(const image_file& file,
                                                                  const ImageReference& reference) const {
  if (reference.format && !reference.format->empty()) return reference.format;
  if (by_name_)
    file.refuse("does not state the format of " + in_quotes(reference.name) +
                    ": QEMU would guess, and a guest can choose what; qemu-img rebase -u -F FORMAT -b NAME "
                    "IMAGE states it",
                EACCES);
  return std::nullopt;
}

GUESTKIT_INLINE std::vector<std::filesystem::path> image_chain::directories_of(const image_file& file) const {
  std::error_code error;
  const auto real = std::filesystem::read_symlink(own_path_of(file.descriptor()), error);
  if (error) file.refuse("its path cannot be told: " + error.message(), error.value());
  const auto parent = std::filesystem::path(file.path()).parent_path();
  const auto named = std::filesystem::canonical(parent.empty() ? "." : parent, error);
  const bool is_disk = path_.size() == 1;
  // A descriptor's name tells nothing of places, and libguestfs gives QEMU a disk's real name.
  if (error || named.native().starts_with("/proc/") || (by_name_ && is_disk)) return {real.parent_path()};
  if (by_name_ || named == real.parent_path()) return {named};
  return {named, real.parent_path()};
}

GUESTKIT_INLINE image_file image_chain::find(const image_file& file, const ImageReference& reference) const {
  std::string_view name = reference.name;
  if (const auto protocol = protocol_in(name); protocol == "file")
    name.remove_prefix(5);
  else if (!protocol.empty())
    file.refuse("refers to " + in_quotes(name) + ", which is no file: guestkit follows files only", EACCES);
  if (name.empty()) file.refuse("refers to a file without a name", EINVAL);
  const bool is_free = backing_.rule != Backing::Rule::under;
  const auto directories = directories_of(file);
  for (const auto& directory : directories) {
    const auto path = (directory / name).native();
    const bool goes_up = !is_free && goes_up_elsewhere(op_, name, directory, beneath_);
    const auto found = goes_up ? unique_fd() : found_at(op_, path);
    if (is_free && found.get() >= 0) return {op_, path};
    if (!is_free && place_beneath(found, beneath_)) return {op_, own_path_of(found.get()), path};
  }
  if (is_free) return {op_, (directories.back() / name).native()};  // throws, and says why
  // One answer for all files elsewhere: the maker of the image is not to learn which ones there are.
  file.refuse(
      "refers to " + in_quotes(reference.name) + ", which is missing or is not beneath " + beneath_.string(),
      EACCES, {Cause::backing_refused});
}

GUESTKIT_INLINE sparse_file image_chain::describe_extents(const image_file& file, ImageInfo& info) {
  constexpr std::array<std::string_view, 6> types{"monolithicFlat",       "vmfs",     "vmfsSparse",
                                                  "twoGbMaxExtentSparse", "seSparse", "twoGbMaxExtentFlat"};
  if (std::find(types.begin(), types.end(), info.subformat) == types.end())
    file.refuse("is a VMDK of the type " + in_quotes(info.subformat) + ", which QEMU does not read", ENOTSUP);
  std::string text =
      "# Disk DescriptorFile\nversion=1\n" + vmdk::identity(file) + "createType=\"" + info.subformat + "\"\n";
  for (const auto& extent : info.extents) {
    if (!vmdk::is_read(extent)) continue;
    const ImageReference reference = vmdk::reference_to(extent);
    auto part = find(file, reference);
    if (!readonly_ && path_.size() == 1) part = opened_to_write(part);
    auto other = add(std::move(part), reference.format);
    if (!other.info.references.empty())
      file.refuse("its extent " + in_quotes(extent.name) + " refers to further files", EACCES);
    const bool cut_off = reference.format == "raw" && !other.info.in_use &&
                         extent.offset + extent.size > other.info.virtual_size;
    info.truncated = info.truncated || other.info.truncated || cut_off;
    text +=
        "RW " + std::to_string(extent.size / vmdk::sector) + " " + extent.kind + " \"" + other.file + "\"";
    if (extent.kind == "FLAT")
      text += " " + std::to_string(extent.offset / vmdk::sector);
    else if (extent.offset != 0)
      file.refuse(
          "its extent " + in_quotes(extent.name) + " begins at an offset, which QEMU reads only of FLAT ones",
          ENOTSUP);
    text += "\n";
  }
  const auto size = text.size();
  return {size, {{0, std::move(text)}}};
}

GUESTKIT_INLINE int image_chain::keep_private(const sparse_file& content) {
  auto fd = above_streams(unique_fd(::memfd_create("guestkit", MFD_CLOEXEC)));
  if (fd.get() < 0) throw Error(op_, "", errno);
  write_sparse(fd.get(), content);
  files_.push_back(above_select(std::move(fd)));
  return files_.back().get();
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
