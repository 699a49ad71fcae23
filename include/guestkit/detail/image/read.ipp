#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/image/foreign.hpp"
#include "guestkit/detail/image/in_use.hpp"
#include "guestkit/detail/image/qcow.hpp"
#include "guestkit/detail/image/raw.hpp"
#include "guestkit/detail/image/read.hpp"
#include "guestkit/detail/image/vdi.hpp"
#include "guestkit/detail/image/vhd.hpp"
#include "guestkit/detail/image/vhdx.hpp"
#include "guestkit/detail/image/vmdk.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// QEMU's name for a format that guestkit reads; throws Error for any other.
inline std::string format_name(const char* op, std::string_view name) {
  constexpr std::array known{"raw", "qcow", "qcow2", "vmdk", "vpc", "vhdx", "vdi"};
  if (name == "vhd") return "vpc";
  if (name == "qcow3") return "qcow2";
  if (std::find(known.begin(), known.end(), name) != known.end()) return std::string(name);
  throw Error(op,
              "guestkit does not read the format " + in_quotes(name) +
                  "; it reads raw, qcow, qcow2, vmdk, vpc (VHD), vhdx and vdi",
              EINVAL);
}

/// A format of QEMU's that guestkit does not read and refuses by name. Treated as raw, it would be read as
/// garbage; and where QEMU guesses the format itself, it would follow the references that some of these
/// formats have.
inline std::string unread_format(const image_block& start) {
  using std::string_view_literals::operator""sv;
  constexpr std::array<std::pair<std::string_view, const char*>, 5> magics{{
      {"QED\0"sv, "qed"},
      {"WithoutFreeSpace"sv, "parallels"},
      {"WithouFreSpacExt"sv, "parallels"},
      {"Bochs Virtual HD Image"sv, "bochs"},
      {"#!/bin/sh\n#V2.0 Format\nmodprobe cloop"sv, "cloop"},
  }};
  for (const auto& [magic, format] : magics)
    if (start.begins_with(magic)) return format;
  return "";
}

GUESTKIT_INLINE std::string guess_format(const image_file& file, const image_block& start) {
  if (start.begins_with(qcow_magic)) {
    if (start.size() < 8) file.truncated("qcow2", "the file ends at offset " + std::to_string(start.size()));
    return start.be32(4) == 1 ? "qcow" : "qcow2";
  }
  if (is_vmdk(start)) return "vmdk";
  if (start.begins_with(vhdx::signature)) return "vhdx";
  if (is_vdi(start)) return "vdi";
  if (vhd_footer(file, start).size() != 0) return "vpc";
  if (const auto unread = unread_format(start); !unread.empty())
    file.refuse("is a " + unread +
                    " image, which guestkit does not read: convert it with qemu-img convert -f " + unread +
                    " -O qcow2 IMAGE NEW",
                EINVAL, {Cause::not_a_disk, "if it is a raw disk after all, state format=raw"});
  return "raw";
}

GUESTKIT_INLINE ImageInfo read_image(const image_file& file, std::optional<std::string_view> stated) {
  const auto start = file.read_some(0, 8192);
  ImageInfo info;
  info.format = stated ? format_name(file.op(), *stated) : guess_format(file, start);
  info.file_size = file.size();
  const auto must_begin = [&](bool holds) {
    if (holds) return;
    const auto* kind = foreign_kind_of(foreign_content(file, start));
    file.invalid(info.format.c_str(),
                 "it " + (kind == nullptr ? "does not begin like one" : "is " + described(*kind, start)), 0);
  };
  if (info.format == "raw") {
    read_raw(file, start, info);
  } else if (info.format == "qcow2") {
    must_begin(start.begins_with(qcow_magic));
    read_qcow2(file, info);
  } else if (info.format == "qcow") {
    must_begin(start.begins_with(qcow_magic));
    read_qcow(file, info);
  } else if (info.format == "vmdk") {
    read_vmdk(file, start, info);
  } else if (info.format == "vhdx") {
    must_begin(start.begins_with(vhdx::signature));
    read_vhdx(file, info);
  } else if (info.format == "vdi") {
    must_begin(is_vdi(start));
    read_vdi(file, info);
  } else {
    const auto footer = vhd_footer(file, start);
    if (footer.size() == 0)
      file.invalid("vpc", "it has no footer",
                   file.size() < vhd::footer_size ? 0 : file.size() - vhd::footer_size);
    read_vhd(file, footer, info);
  }
  info.in_use = is_held(file.descriptor(), qemu_lock::writes);
  if (info.in_use) info.truncated = false;  // the file still grows
  return info;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
