// What the actions take and return besides numbers and structs: texts, lists of texts, bytes.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdlib>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

using string_list = std::vector<std::string>;
using hashtable = std::map<std::string, std::string>;

/// A text argument: anything that ends with a NUL. A view: it lives no longer than the object it was made
/// from.
///
/// File names are bytes, not characters: nothing is decoded. C would lose everything after a NUL, so a string
/// that contains one throws std::invalid_argument, as does a null pointer.
class cstr {
 public:
  cstr(const char* text);
  cstr(std::nullptr_t) = delete;  // no text, where a call takes that, is std::nullopt
  cstr(const std::string& text);
  /// std::filesystem::path and similar types.
  template <class Path>
  requires(!std::is_convertible_v<const Path&, std::string_view> &&
           requires(const Path& p) {
             { p.native() } -> std::convertible_to<const std::string&>;
           }) cstr(const Path& path)
      : cstr(static_cast<const std::string&>(path.native())) {}

  const char* c_str() const noexcept { return text_; }

 private:
  const char* text_;
};

/// A list of texts as an argument. A view: it points to strings owned elsewhere.
class cstr_list {
 public:
  cstr_list(std::initializer_list<cstr> texts);
  cstr_list(const std::vector<std::string>& texts);
  explicit cstr_list(const std::vector<cstr>& texts);

  /// The form that C expects: terminated by a null pointer.
  char* const* c_strv() const noexcept { return const_cast<char* const*>(pointers_.data()); }
  std::size_t size() const noexcept { return pointers_.size() - 1; }

 private:
  std::vector<const char*> pointers_;
};

/// Bytes as an argument: a view of a string, a literal up to its first NUL, or a vector or span of one-byte
/// values.
class buffer_view {
 public:
  buffer_view(std::string_view bytes) : data_(bytes.data()), size_(bytes.size()) {}
  buffer_view(const std::string& bytes) : data_(bytes.data()), size_(bytes.size()) {}
  buffer_view(std::nullptr_t) = delete;
  buffer_view(const char* text) : buffer_view(std::string_view(cstr(text).c_str())) {}
  template <class Byte, std::size_t N>
  requires(sizeof(Byte) == 1) buffer_view(std::span<Byte, N> bytes)
      : data_(reinterpret_cast<const char*>(bytes.data())), size_(bytes.size()) {}
  template <class Byte>
  requires(sizeof(Byte) == 1) buffer_view(const std::vector<Byte>& bytes) : buffer_view(std::span(bytes)) {}

  /// Never null: libguestfs takes no null pointer, not even for no bytes.
  const char* data() const noexcept { return data_ != nullptr ? data_ : ""; }
  std::size_t size() const noexcept { return size_; }

 private:
  const char* data_;
  std::size_t size_;
};

namespace detail {
struct c_free {
  void operator()(void* memory) const noexcept { std::free(memory); }
};
}  // namespace detail

/// Bytes as a result: owns the very memory that libguestfs filled.
class buffer {
 public:
  buffer() = default;
  buffer(std::unique_ptr<char, detail::c_free> data, std::size_t size)
      : data_(std::move(data)), size_(size) {}
  buffer(buffer&& other) noexcept : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  buffer& operator=(buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  const char* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const char* begin() const noexcept { return data(); }
  const char* end() const noexcept { return data() + size_; }
  std::string_view view() const noexcept { return {data(), size_}; }
  std::span<const std::byte> bytes() const noexcept { return std::as_bytes(std::span(data(), size_)); }
  operator buffer_view() const noexcept { return view(); }

 private:
  std::unique_ptr<char, detail::c_free> data_;
  std::size_t size_ = 0;
};

}  // namespace guestkit::inline GUESTKIT_FORM

#ifndef GUESTKIT_COMPILED
#include "guestkit/detail/base/values.ipp"
#endif
