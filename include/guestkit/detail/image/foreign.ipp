#pragma once

#include <algorithm>
#include <array>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/image/foreign.hpp"
#include "guestkit/detail/image/marks.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

namespace foreign {

using std::string_view_literals::operator""sv;

inline constexpr auto packed = foreign_kind::holds::something_packed,
                      archive = foreign_kind::holds::several_files, disk = foreign_kind::holds::a_disk;
inline constexpr std::string_view unpack = "unpack it", unpack_disk = "unpack the disk that is in it",
                                  ewfmount = "ewfmount presents the disk in it",
                                  look = "look at it: it may be what a server answered in the disk's place";

inline constexpr std::array kinds{
    foreign_kind{"gzip", "a file that gzip made", unpack, packed},
    foreign_kind{"xz", "a file that xz made", unpack, packed},
    foreign_kind{"zstd", "a file that zstd made", unpack, packed},
    foreign_kind{"bzip2", "a file that bzip2 made", unpack, packed},
    foreign_kind{"tar", "an archive (tar)", unpack_disk, archive},
    foreign_kind{"zip", "a ZIP archive", unpack_disk, archive},
    foreign_kind{"7z", "a 7z archive", unpack_disk, archive},
    foreign_kind{"rar", "a RAR archive", unpack_disk, archive},
    foreign_kind{"lz4", "a file that lz4 made", unpack, packed},
    foreign_kind{"cpio", "a cpio archive", unpack_disk, archive},
    foreign_kind{"cab", "a CAB archive", unpack_disk, archive},
    foreign_kind{"ar", "an archive, such as a Debian package", unpack, packed},
    foreign_kind{"rpm", "an RPM package", unpack, packed},
    foreign_kind{"wim", "a Windows image (WIM), which holds files", "apply it to a disk"},
    foreign_kind{"ewf", "a forensic image (EWF)", ewfmount, disk},
    foreign_kind{"ewf2", "a forensic image (EWF2)", ewfmount, disk},
    foreign_kind{"aff", "a forensic image (AFF)", "affuse presents the disk in it", disk},
    foreign_kind{"partclone", "an image of one partition that partclone made",
                 "partclone.restore writes it out"},
    foreign_kind{"pdf", "a PDF", "give the disk's own name"},
    foreign_kind{"png", "a PNG picture", "give the disk's own name"},
    foreign_kind{"jpeg", "a JPEG picture", "give the disk's own name"},
    foreign_kind{"gif", "a GIF picture", "give the disk's own name"},
    foreign_kind{"elf", "a program (ELF)", "give the disk's own name"},
    foreign_kind{"pe", "a Windows program", "give the disk's own name"},
    foreign_kind{"sqlite", "an SQLite database", "give the disk's own name"},
    foreign_kind{"html", "an HTML page", look},
    foreign_kind{"ovf", "an OVF description", "open the OVA, or the disk that it names"},
    foreign_kind{"xml", "an XML text", look},
    foreign_kind{"json", "a JSON text", look},
    foreign_kind{"git-lfs", "a pointer of Git LFS", "git lfs pull fetches what it stands for"},
    foreign_kind{"script", "a script", "give the disk's own name"},
    foreign_kind{"text", "a text", look},
};

/// The first bytes of other kinds of files.
inline constexpr std::array file_marks{
    marks::mark{"gzip", 0, "\x1f\x8b\x08"sv},
    marks::mark{"xz", 0, "\xfd\x37zXZ\0"sv},
    marks::mark{"zstd", 0, "\x28\xb5\x2f\xfd"sv},
    marks::mark{"bzip2", 0, "BZh"sv},
    marks::mark{"tar", 257, "ustar"sv},
    marks::mark{"zip", 0, "PK\3\4"sv},
    marks::mark{"7z", 0, "7z\xbc\xaf\x27\x1c"sv},
    marks::mark{"rar", 0, "Rar!\x1a\7"sv},
    marks::mark{"lz4", 0, "\4\x22\x4d\x18"sv},
    marks::mark{"cpio", 0, "07070"sv},
    marks::mark{"cab", 0, "MSCF\0\0\0\0"sv},
    marks::mark{"ar", 0, "!<arch>\n"sv},
    marks::mark{"rpm", 0, "\xed\xab\xee\xdb"sv},
    marks::mark{"wim", 0, "MSWIM\0\0\0"sv},
    marks::mark{"ewf", 0, "EVF\x09\x0d\x0a\xff\0"sv},
    marks::mark{"ewf2", 0, "EVF2\r\n\x81\0"sv},
    marks::mark{"aff", 0, "AFF10\r\n\0"sv},
    marks::mark{"partclone", 0, "partclone-image"sv},
    marks::mark{"pdf", 0, "%PDF-"sv},
    marks::mark{"png", 0, "\x89PNG\r\n\x1a\n"sv},
    marks::mark{"jpeg", 0, "\xff\xd8\xff"sv},
    marks::mark{"gif", 0, "GIF8"sv},
    marks::mark{"elf", 0,
                "\x7f"
                "ELF"sv},
    marks::mark{"sqlite", 0, "SQLite format 3\0"sv},
};

/// Whether a file that begins like something else is a disk after all.
inline bool is_disk(const image_file& file, const image_block& start, bool is_packed) {
  if (marks::has_gpt(start, 512) || marks::has_gpt(start, 4096) || marks::is_ext(start)) return true;
  // By chance one packed file in 65536 has a boot signature, but none has a partition table.
  if (marks::has_boot_signature(start)) {
    const auto entries = marks::mbr_entries(start);
    const bool is_table = std::all_of(entries.begin(), entries.end(), [](const marks::mbr_entry& entry) {
      return entry.status == 0 || entry.status == 0x80;
    });
    if (!is_packed || (is_table && marks::mbr_type(start) != 0)) return true;
  }
  return std::any_of(marks::of_disks.begin(), marks::of_disks.end(), [&](const marks::mark& each) {
    return file.read_some(each.offset, each.magic.size()).bytes() == each.magic;
  });
}

/// Whether the bytes are UTF-8 text, of which the last character may be cut off. Control characters are
/// accepted only if they are usual in texts.
inline bool is_text(std::string_view bytes) {
  std::size_t more = 0;
  for (const char each : bytes) {
    const auto byte = static_cast<unsigned char>(each);
    if (more > 0) {
      if ((byte & 0xc0U) != 0x80) return false;
      --more;
    } else if (byte >= 0x80) {
      if (byte < 0xc2 || byte > 0xf4) return false;
      more = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
    } else if (byte == 0x7f ||
               (byte < 0x20 && std::string_view("\t\n\v\f\r\b\x1b").find(each) == std::string_view::npos)) {
      return false;
    }
  }
  return !bytes.empty();
}

/// The text without a byte order mark and leading space.
inline std::string_view body(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

inline std::string_view kind_of_text(std::string_view bytes) {
  const auto text = in_lower_case(std::string(body(bytes)));
  const auto has = [&](std::string_view word) { return text.find(word) != std::string::npos; };
  if (text.starts_with("version https://git-lfs.github.com/spec/")) return "git-lfs";
  if (text.starts_with("#!")) return "script";
  if (text.starts_with("<")) {
    if (has("<html") || text.starts_with("<!doctype html") || text.starts_with("<head")) return "html";
    if (has("schemas.dmtf.org/ovf/")) return "ovf";
    return "xml";
  }
  const auto second = text.find_first_not_of(" \t\r\n", 1);
  const char next = second < text.size() ? text[second] : ' ';
  if (text.starts_with("{") && (next == '"' || next == '}')) return "json";
  if (text.starts_with("[") && (next == '{' || next == '"' || next == ']')) return "json";
  return "text";
}

}  // namespace foreign

GUESTKIT_INLINE const foreign_kind* foreign_kind_of(std::string_view content) {
  for (const auto& kind : foreign::kinds)
    if (kind.content == content) return &kind;
  return nullptr;
}

GUESTKIT_INLINE std::string_view foreign_content(const image_file& file, const image_block& start) {
  using std::string_view_literals::operator""sv;
  std::string_view found;
  for (const auto& each : foreign::file_marks)
    if (found.empty() && start.bytes(each.offset, each.magic.size()) == each.magic) found = each.content;
  // A boot sector can begin like that too; but a program has a second header where the first one says so.
  if (found.empty() && start.begins_with("MZ") && start.size() >= 64 &&
      start.bytes(start.le32(60), 4) == "PE\0\0"sv)
    found = "pe";
  if (found.empty() && foreign::is_text(start.bytes())) {
    found = foreign::kind_of_text(start.bytes());
    // Whole sectors without a line break are a disk that somebody has filled with a pattern.
    if (found == "text" && file.size() % 512 == 0 && start.bytes().find('\n') == std::string_view::npos)
      found = "";
  }
  const auto* kind = foreign_kind_of(found);
  return kind == nullptr || foreign::is_disk(file, start, kind->what != foreign_kind::holds::itself) ? ""
                                                                                                     : found;
}

GUESTKIT_INLINE std::string described(const foreign_kind& kind, const image_block& start) {
  std::string description(kind.name);
  if (!foreign::is_text(start.bytes())) return description;
  auto line = foreign::body(start.bytes());
  if (kind.content == "html") {
    const auto title = in_lower_case(std::string(line)).find("<title>");
    if (title != std::string::npos) line = foreign::body(line.substr(title + 7));
    line = line.substr(0, line.find("</"));
  }
  line = line.substr(0, line.find_first_of("\r\n"));
  auto most = std::min<std::size_t>(line.size(), 60);
  while (most < line.size() && (line[most] & 0xc0) == 0x80) --most;  // do not cut a character in two
  return description + ", " + in_quotes(line.substr(0, most)) + (most < line.size() ? "…" : "");
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
