// Raw disks, and files that are plainly something else: archives, pages and texts that bear a disk's name.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/image/file.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// What a file is that is no disk.
struct foreign_kind {
  std::string_view content;  ///< as ImageInfo::content has it
  std::string_view name;     ///< for a sentence
  std::string_view remedy;
};

namespace raw {

using std::string_view_literals::operator""sv;

inline constexpr std::string_view unpack = "unpack it", unpack_disk = "unpack the disk that is in it",
                                  look = "look at it: it may be what a server answered in the disk's place";

inline constexpr std::array foreign_kinds{
    foreign_kind{"gzip", "a file that gzip made", unpack},
    foreign_kind{"xz", "a file that xz made", unpack},
    foreign_kind{"zstd", "a file that zstd made", unpack},
    foreign_kind{"bzip2", "a file that bzip2 made", unpack},
    foreign_kind{"tar", "an archive (tar)", unpack_disk},
    foreign_kind{"zip", "a ZIP archive", unpack_disk},
    foreign_kind{"7z", "a 7z archive", unpack_disk},
    foreign_kind{"rar", "a RAR archive", unpack_disk},
    foreign_kind{"lz4", "a file that lz4 made", unpack},
    foreign_kind{"cpio", "a cpio archive", unpack_disk},
    foreign_kind{"cab", "a CAB archive", unpack_disk},
    foreign_kind{"ar", "an archive, such as a Debian package", unpack},
    foreign_kind{"rpm", "an RPM package", unpack},
    foreign_kind{"wim", "a Windows image (WIM), which holds files", "apply it to a disk"},
    foreign_kind{"ewf", "a forensic image (EWF)", "ewfmount presents the disk in it"},
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

struct mark {
  std::string_view content;
  std::size_t offset;
  std::string_view magic;
};

/// What files of other kinds begin with.
inline constexpr std::array foreign_marks{
    mark{"gzip", 0, "\x1f\x8b\x08"sv},
    mark{"xz", 0, "\xfd\x37zXZ\0"sv},
    mark{"zstd", 0, "\x28\xb5\x2f\xfd"sv},
    mark{"bzip2", 0, "BZh"sv},
    mark{"tar", 257, "ustar"sv},
    mark{"zip", 0, "PK\3\4"sv},
    mark{"7z", 0, "7z\xbc\xaf\x27\x1c"sv},
    mark{"rar", 0, "Rar!\x1a\7"sv},
    mark{"lz4", 0, "\4\x22\x4d\x18"sv},
    mark{"cpio", 0, "07070"sv},
    mark{"cab", 0, "MSCF\0\0\0\0"sv},
    mark{"ar", 0, "!<arch>\n"sv},
    mark{"rpm", 0, "\xed\xab\xee\xdb"sv},
    mark{"wim", 0, "MSWIM\0\0\0"sv},
    mark{"ewf", 0, "EVF\x09\x0d\x0a\xff\0"sv},
    mark{"partclone", 0, "partclone-image"sv},
    mark{"pdf", 0, "%PDF-"sv},
    mark{"png", 0, "\x89PNG\r\n\x1a\n"sv},
    mark{"jpeg", 0, "\xff\xd8\xff"sv},
    mark{"gif", 0, "GIF8"sv},
    mark{"elf", 0,
         "\x7f"
         "ELF"sv},
    mark{"sqlite", 0, "SQLite format 3\0"sv},
};

/// What filesystems and volumes that fill a disk are known by, wherever they leave the first bytes to others
/// or have a mark of their own there. Boot sectors are looked for elsewhere.
inline constexpr std::array disk_marks{
    mark{"luks", 0, "LUKS\xba\xbe"sv},
    mark{"xfs", 0, "XFSB"sv},
    mark{"squashfs", 0, "hsqs"sv},
    mark{"lvm", 512, "LABELONE"sv},
    mark{"f2fs", 1024, "\x10\x20\xf5\xf2"sv},
    mark{"erofs", 1024, "\xe2\xe1\xf5\xe0"sv},
    mark{"md", 4096, "\xfc\x4e\x2b\xa9"sv},
    mark{"swap", 4086, "SWAPSPACE2"sv},
    mark{"bsd", 512, "\x57\x45\x56\x82"sv},
    mark{"apfs", 32, "NXSB"sv},
    mark{"jfs", 32768, "JFS1"sv},
    mark{"iso9660", 32769, "CD001"sv},
    mark{"reiserfs", 65588, "ReIsEr"sv},
    mark{"btrfs", 65600, "_BHRfS_M"sv},
    mark{"ufs", 66908, "\x19\x54\x01\x19"sv},
};

inline bool has_gpt(const image_block& start, std::size_t sector) {
  return start.bytes(sector, 8) == "EFI PART";
}

inline bool has_boot_signature(const image_block& start) {
  return start.bytes(510, 2) == "\x55\xaa";
}

/// A partition of an MBR, in sectors.
struct mbr_entry {
  std::uint8_t status = 0, type = 0;
  std::uint32_t first = 0, count = 0;
};

inline std::array<mbr_entry, 4> mbr_entries(const image_block& start) {
  std::array<mbr_entry, 4> entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const std::size_t at = 446 + 16 * i;
    entries.at(i) = {start.u8(at), start.u8(at + 4), start.le32(at + 8), start.le32(at + 12)};
  }
  return entries;
}

/// The type of the first partition in an MBR; 0: there is none.
inline unsigned mbr_type(const image_block& start) {
  if (!has_boot_signature(start)) return 0;
  for (const auto& entry : mbr_entries(start))
    if (entry.type != 0 && (entry.status == 0 || entry.status == 0x80)) return entry.type;
  return 0;
}

/// Whether it begins as ext2, ext3, ext4 do: their mark alone is short enough for chance.
inline bool is_ext(const image_block& start) {
  return start.size() >= 2048 && start.le16(1080) == 0xef53 && start.le32(1024 + 24) <= 6 &&
         start.le32(1024 + 76) <= 1;
}

/// Whether a file that begins like something else is a disk nevertheless.
inline bool is_disk(const image_file& file, const image_block& start, bool is_packed) {
  if (has_gpt(start, 512) || has_gpt(start, 4096) || is_ext(start)) return true;
  // Chance makes a boot signature in one of 65536 packed files, but no table.
  if (has_boot_signature(start)) {
    const auto entries = mbr_entries(start);
    const bool is_table = std::all_of(entries.begin(), entries.end(), [](const mbr_entry& entry) {
      return entry.status == 0 || entry.status == 0x80;
    });
    if (!is_packed || (is_table && mbr_type(start) != 0)) return true;
  }
  return std::any_of(disk_marks.begin(), disk_marks.end(), [&](const mark& each) {
    return file.read_some(each.offset, each.magic.size()).bytes() == each.magic;
  });
}

/// Whether it is UTF-8, but for a character that is cut off, without control characters that texts have not.
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

inline std::string lower(std::string_view text) {
  std::string result(text);
  for (auto& c : result)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return result;
}

/// Without a byte order mark and the space that it begins with.
inline std::string_view body(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return text.substr(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
}

inline std::string_view kind_of_text(std::string_view bytes) {
  const auto text = lower(body(bytes));
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

/// The kind of what is no disk; nullptr for the content of a disk.
inline const foreign_kind* foreign_kind_of(std::string_view content) {
  for (const auto& kind : foreign_kinds)
    if (kind.content == content) return &kind;
  return nullptr;
}

/// What the file is if it is plainly no disk; "" if it can be one.
inline std::string_view foreign_content(const image_file& file, const image_block& start) {
  std::string_view found;
  for (const auto& each : foreign_marks)
    if (found.empty() && start.bytes(each.offset, each.magic.size()) == each.magic) found = each.content;
  // A boot sector can begin so too; a program has its second header where the first one says.
  if (found.empty() && start.begins_with("MZ") && start.size() >= 64 &&
      start.bytes(start.le32(60), 4) == "PE\0\0"sv)
    found = "pe";
  if (found.empty() && is_text(start.bytes())) {
    found = kind_of_text(start.bytes());
    // Whole sectors of one long line are what somebody filled a disk with.
    if (found == "text" && file.size() % 512 == 0 && start.bytes().find('\n') == std::string_view::npos)
      found = "";
  }
  const auto* kind = foreign_kind_of(found);
  return kind == nullptr || is_disk(file, start, kind->remedy.starts_with("unpack")) ? "" : found;
}

}  // namespace raw

/// "an HTML page, \"404 Not Found\"": the kind, and of a text its title or its first line.
inline std::string described(const foreign_kind& kind, const image_block& start) {
  std::string description(kind.name);
  if (!raw::is_text(start.bytes())) return description;
  auto line = raw::body(start.bytes());
  if (kind.content == "html") {
    const auto title = raw::lower(line).find("<title>");
    if (title != std::string::npos) line = raw::body(line.substr(title + 7));
    line = line.substr(0, line.find("</"));
  }
  line = line.substr(0, line.find_first_of("\r\n"));
  auto most = std::min<std::size_t>(line.size(), 60);
  while (most < line.size() && (line[most] & 0xc0) == 0x80) --most;  // no part of a character
  return description + ", " + in_quotes(line.substr(0, most)) + (most < line.size() ? "…" : "");
}

/// What a raw disk begins with.
inline std::string raw_content(const image_file& file, const image_block& start) {
  if (start.begins_with("LUKS\xba\xbe")) return "luks";
  if (const auto foreign = raw::foreign_content(file, start); !foreign.empty()) return std::string(foreign);
  for (const std::size_t sector : {512U, 4096U})
    if (raw::has_gpt(start, sector)) return "gpt";
  const auto type = raw::mbr_type(start);
  return type == 0 ? "" : type == 0xee ? "gpt" : "mbr";
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
