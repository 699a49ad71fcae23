#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <utility>

#include "guestkit/detail/base/unique_fd.hpp"
#include "guestkit/detail/inspect/keys.hpp"
#include "guestkit/error.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

GUESTKIT_INLINE std::string passphrase_of(const InspectKey& key) {
  constexpr auto no_nul =
      "it holds a NUL byte, and libguestfs hands on no such key: add a key of text to the device, with "
      "cryptsetup luksAddKey";
  if (key.kind == InspectKey::Kind::passphrase) {
    if (key.secret.find('\0') != std::string::npos)
      throw Error("inspect", std::string("a passphrase cannot be used: ") + no_nul, EINVAL);
    return key.secret;
  }
  constexpr std::size_t longest = std::size_t{1} << 20U;  // many times that of real ones
  const auto refuse = [&](const std::string& why, int code) -> void {
    throw Error("inspect", "the key file " + key.secret + " cannot be used: " + why, code);
  };
  const unique_fd file(::open(cstr(key.secret).c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0) refuse(std::strerror(errno), errno);
  if (!S_ISREG(status.st_mode)) refuse("it is no regular file", EINVAL);
  std::string text;
  std::array<char, 8192> part{};
  for (bool goes_on = true; goes_on && text.size() <= longest;) {
    const auto size = ::read(file.get(), part.data(), part.size());
    if (size < 0) refuse(std::strerror(errno), errno);
    const std::string_view bytes(part.data(), static_cast<std::size_t>(size));
    const auto line = bytes.substr(0, bytes.find('\n'));
    text += line;
    goes_on = size > 0 && line.size() == bytes.size();
    ::explicit_bzero(part.data(), part.size());  // the key must not stay on the stack
  }
  if (text.size() > longest)
    refuse("its first line is longer than " + std::to_string(longest) + " bytes", EFBIG);
  if (text.find('\0') != std::string::npos) refuse(no_nul, EINVAL);
  return text;
}

GUESTKIT_INLINE InspectKey readable_key(guest_actions& g, InspectKey key) {
  key.secret = passphrase_of(key);
  key.kind = InspectKey::Kind::passphrase;
  g.state()->output.console.hide(key.secret);
  return key;
}

GUESTKIT_INLINE std::vector<InspectKey> readable_keys(guest_actions& g, std::vector<InspectKey> keys) {
  for (auto& key : keys) key = readable_key(g, std::move(key));
  return keys;
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
