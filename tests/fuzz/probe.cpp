// A fuzzer of image.hpp, for clang's libFuzzer.
//
// Images consist mostly of holes, so an input holds only the rest: a byte for the stated format (0: none),
// then pieces, each an offset of 4 bytes, a length of 2 (both little endian) and that many bytes. The last
// piece may be truncated.
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <guestkit/detail/image/foreign.hpp>
#include <guestkit/detail/image/qcow.hpp>
#include <guestkit/detail/image/read.hpp>
#include <guestkit/detail/image/vhd.hpp>
#include <guestkit/detail/image/vhdx.hpp>
#include <guestkit/detail/image/vmdk.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace detail = guestkit::detail;

namespace {

/// Corrects the checksums: the fuzzer would never guess them.
void repair(std::string& image) {
  constexpr std::size_t kib = 1024;
  const auto put = [&](std::size_t at, std::uint32_t value, bool big) {
    for (std::size_t i = 0; i < 4; ++i)
      image[at + i] = static_cast<char>(value >> (8 * (big ? 3 - i : i)) & 255U);
  };
  const auto there = [&](std::size_t at, std::string_view magic, std::size_t size) {
    return image.size() >= at + size && image.compare(at, magic.size(), magic) == 0;
  };
  for (const std::size_t at : {64 * kib, 128 * kib})
    if (there(at, "head", 4 * kib))
      put(at + 4, detail::vhdx::checksum({image.substr(at, 4 * kib), at}), false);
  for (const std::size_t at : {192 * kib, 256 * kib})
    if (there(at, "regi", 64 * kib))
      put(at + 4, detail::vhdx::checksum({image.substr(at, 64 * kib), at}), false);
  if (image.size() < 512) return;
  for (const std::size_t at : {std::size_t{0}, image.size() - 512})
    if (there(at, "conectix", 512))
      put(at + 64, detail::vhd::checksum({image.substr(at, 512), at}, 64), true);
  for (const std::size_t at : {512, 1536})
    if (there(at, "cxsparse", 1024))
      put(at + 36, detail::vhd::checksum({image.substr(at, 1024), at}, 36), true);
}

std::string unpack(std::string_view input) {
  constexpr std::size_t largest = 4U << 20U;
  const detail::image_block block(std::string(input), 0);
  std::string image;
  for (std::size_t at = 0; at + 6 <= input.size();) {
    const auto place = block.le32(at) % largest;
    const auto piece = input.substr(at + 6, block.le16(at + 4));
    if (image.size() < place + piece.size()) image.resize(place + piece.size());
    image.replace(place, piece.size(), piece);
    at += 6 + piece.size();
  }
  repair(image);
  return image;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::array<const char*, 7> formats{"raw", "qcow", "qcow2", "vmdk", "vpc", "vhdx", "vdi"};
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const auto stated = static_cast<std::size_t>(data[0]) % (formats.size() + 1);
  const auto image = unpack(input.substr(1));

  static const int file = ::memfd_create("image", MFD_CLOEXEC);
  if (::ftruncate(file, 0) != 0 ||
      ::pwrite(file, image.data(), image.size(), 0) != static_cast<ssize_t>(image.size()))
    std::abort();
  try {
    const detail::image_file opened("probe", detail::unique_fd(::dup(file)), "image");
    const auto info = detail::read_image(
        opened, stated == 0 ? std::nullopt : std::optional<std::string_view>(formats.at(stated - 1)));
    // The references must include every file that QEMU would open.
    const auto named = (info.backing_file ? 1U : 0U) + (info.data_file ? 1U : 0U) + info.extents.size();
    if (info.references.size() < named || info.virtual_size > INT64_MAX) std::abort();
    // open_disk() also describes content that is not a disk.
    if (const auto* kind = detail::foreign_kind_of(info.content))
      if (detail::described(*kind, opened.read_some(0, 8192)).size() > 1000) std::abort();
    if (info.format == "qcow2") detail::qcow2::needs_data_file(opened);
    if (!info.extents.empty()) detail::vmdk::identity(opened);
  } catch (const guestkit::Error& error) {
    if (error.message().empty() || error.error_number() != EINVAL) std::abort();
  }
  return 0;
}
