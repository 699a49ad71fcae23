// C++ values to C arguments and back: one rule for each kind of argument and result.
//
// Arguments: cstr, cstr_list, buffer_view and the generated option structs are what the methods take;
// lower() makes the C argument. Results: c_result<R> owns what C returned and lift() makes the C++ value,
// so that C memory is freed on every path and a caller that wants to convert by itself (the Python
// bindings) gets it without a copy between.
#pragma once

#include <guestfs.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

using string_list = std::vector<std::string>;
using hashtable = std::map<std::string, std::string>;

/// A text argument: anything with a NUL at its end. A view, alive as long as what it was made of.
///
/// File names are bytes, not characters: nothing is decoded. Bytes behind a NUL would be lost in C, so a
/// string that holds one throws std::invalid_argument.
class cstr {
 public:
  cstr(const char* text) : text_(text) {
    if (text == nullptr) throw std::invalid_argument("guestkit: a text argument is a null pointer");
  }
  cstr(const std::string& text) : text_(text.c_str()) {
    if (text.find('\0') != std::string::npos)
      throw std::invalid_argument("guestkit: a text argument holds a NUL byte");
  }
  /// std::filesystem::path and its like.
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

/// A list of texts as an argument. A view: it points to strings that live elsewhere.
template <class Text>
class basic_cstr_list {
 public:
  basic_cstr_list(std::initializer_list<Text> texts) { assign(texts); }
  basic_cstr_list(const std::vector<std::string>& texts) { assign(texts); }
  explicit basic_cstr_list(const std::vector<Text>& texts) { assign(texts); }

  char* const* c_strv() const noexcept { return const_cast<char* const*>(pointers_.data()); }
  std::size_t size() const noexcept { return pointers_.size() - 1; }

 private:
  void assign(const auto& texts) {
    pointers_.reserve(texts.size() + 1);
    for (const Text text : texts) pointers_.push_back(text.c_str());
    pointers_.push_back(nullptr);
  }
  std::vector<const char*> pointers_;
};
using cstr_list = basic_cstr_list<cstr>;

/// Bytes as an argument: a view of a string, a literal, a vector or span of one-byte values.
class buffer_view {
 public:
  buffer_view(std::string_view bytes) : data_(bytes.data()), size_(bytes.size()) {}
  buffer_view(const std::string& bytes) : data_(bytes.data()), size_(bytes.size()) {}
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

/// Bytes as a result: the very memory that libguestfs filled, owned.
template <class Char>
class basic_buffer {
 public:
  basic_buffer() = default;
  basic_buffer(std::unique_ptr<Char, detail::c_free> data, std::size_t size)
      : data_(std::move(data)), size_(size) {}
  basic_buffer(basic_buffer&& other) noexcept
      : data_(std::move(other.data_)), size_(std::exchange(other.size_, 0)) {}
  basic_buffer& operator=(basic_buffer&& other) noexcept {
    data_ = std::move(other.data_);
    size_ = std::exchange(other.size_, 0);
    return *this;
  }

  const Char* data() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const Char* begin() const noexcept { return data(); }
  const Char* end() const noexcept { return data() + size_; }
  std::string_view view() const noexcept { return {data(), size_}; }
  std::span<const std::byte> bytes() const noexcept { return std::as_bytes(std::span(data(), size_)); }
  operator buffer_view() const noexcept { return view(); }

 private:
  std::unique_ptr<Char, detail::c_free> data_;
  std::size_t size_ = 0;
};
using buffer = basic_buffer<char>;

namespace detail {

// ---- arguments: C++ -> C. What lower() returns lives until the call's full expression ends.

template <class T>
concept Options = requires {
  typename T::c_options;
};

inline const char* lower(cstr text) {
  return text.c_str();
}
inline const char* lower(const std::string& text) {
  return cstr(text).c_str();
}
inline const char* lower(const buffer_view& bytes) {
  return bytes.data();
}
template <std::same_as<cstr> Text>
const char* lower(const std::optional<Text>& text) {
  return text ? text->c_str() : nullptr;
}
template <class Text>
char* const* lower(const basic_cstr_list<Text>& list) {
  return list.c_strv();
}
template <class N>
requires(std::is_arithmetic_v<N> || std::is_pointer_v<N>) inline N lower(N value) {
  return value;
}

/// The C form of an option struct: members that were given, and their bits.
template <Options O>
class c_options {
 public:
  explicit c_options(const O& options) {
    O::each([&](const char*, auto member, auto c_member, std::uint64_t bit) {
      const auto& value = options.*member;
      if (!value) return;
      using Value = std::remove_cvref_t<decltype(*value)>;
      if constexpr (std::is_same_v<Value, string_list>)
        c_.*c_member = lists_.emplace_back(std::make_unique<cstr_list>(*value))->c_strv();
      else
        c_.*c_member = lower(*value);
      c_.bitmask |= bit;
    });
  }
  operator const typename O::c_options *() const noexcept { return &c_; }

 private:
  typename O::c_options c_{};
  std::vector<std::unique_ptr<cstr_list>> lists_;
};

template <Options O>
c_options<O> lower(const O& options) {
  return c_options<O>(options);
}

// ---- arguments that outlive the caller's, and as the calls take them

inline std::string keep(cstr text) {
  return text.c_str();
}
template <std::same_as<cstr> Text, class Kept = std::string>
std::optional<Kept> keep(const std::optional<Text>& text) {
  return text ? std::optional<Kept>(keep(*text)) : std::nullopt;
}
template <class Text>
string_list keep(const basic_cstr_list<Text>& list) {
  return {list.c_strv(), list.c_strv() + list.size()};
}
template <std::same_as<buffer_view> Bytes>
std::vector<char> keep(const Bytes& bytes) {
  return {bytes.data(), bytes.data() + bytes.size()};
}
template <class A>
requires(std::is_arithmetic_v<A> || std::is_pointer_v<A> || Options<A>) A keep(const A& argument) {
  return argument;
}

inline cstr view(const std::string& text) {
  return text;
}
template <std::same_as<std::string> Text, class View = cstr>
std::optional<View> view(const std::optional<Text>& text) {
  return text ? std::optional<View>(*text) : std::nullopt;
}
template <std::same_as<string_list> List>
cstr_list view(const List& list) {
  return list;
}
template <std::same_as<std::vector<char>> Bytes>
buffer_view view(const Bytes& bytes) {
  return bytes;
}
template <class A>
const A& view(const A& argument) {
  return argument;
}

// ---- results: C -> C++

template <class T>
concept Struct = requires {
  typename T::c_struct;
};

/// Not for arrays, which would decay: a UUID fills its array and has no NUL at the end.
template <std::same_as<char*> Text>
std::string lift_field(Text text) {
  return text != nullptr ? text : "";
}
template <std::size_t N>
std::string lift_field(const char (&fixed)[N]) {
  return std::string(fixed, ::strnlen(fixed, N));
}
inline std::string lift_field(const char* bytes, std::size_t size) {
  return std::string(bytes, size);
}
/// A percentage that does not apply is negative in C.
template <std::same_as<float> Percent>
std::optional<float> lift_field(Percent percent) {
  return percent < 0 ? std::nullopt : std::optional(percent);
}
template <std::integral N>
N lift_field(N number) {
  return number;
}

template <Struct S>
S lift_struct(const typename S::c_struct& c) {
  S value;
  S::each([&](const char*, auto member, auto... c_members) { value.*member = lift_field(c.*c_members...); });
  return value;
}

/// Frees what libguestfs returned for an R, by the function that belongs to its type.
template <class R>
struct c_release {
  void operator()(auto* c) const noexcept {
    if constexpr (Struct<R>) {
      R::c_free(c);
    } else {
      if constexpr (std::is_same_v<R, string_list>)
        for (auto text = c; *text != nullptr; ++text) std::free(*text);
      std::free(c);
    }
  }
};

/// Owns what libguestfs returned for an R, or nothing. As std::unique_ptr, of which a compiler makes twenty
/// functions for each of the 60 types.
template <class R, class C>
class c_owner {
 public:
  explicit c_owner(C* c) noexcept : c_(c) {}
  c_owner(c_owner&& other) noexcept : c_(other.c_) { other.c_ = nullptr; }
  c_owner& operator=(c_owner&& other) noexcept {
    std::swap(c_, other.c_);
    return *this;
  }
  ~c_owner() {
    if (c_ != nullptr) c_release<R>()(c_);
  }
  C* get() const noexcept { return c_; }

 private:
  C* c_;
};

}  // namespace detail

/// What a C function returned, owned. failed() tells whether C's value means an error; lift() makes the C++
/// value.
template <class R>
class c_result;

template <>
class c_result<void> {
 public:
  static bool failed(int c) noexcept { return c == -1; }
  explicit c_result(int) noexcept {}
  void lift() const noexcept {}
};

template <std::integral N>
class c_result<N> {
 public:
  template <std::integral C>
  static bool failed(C c) noexcept {
    return c == -1;
  }
  template <std::integral C>
  explicit c_result(C c) noexcept : value_(static_cast<N>(c)) {}
  N lift() const noexcept { return value_; }

 private:
  N value_;
};

template <std::same_as<std::string> R>
class c_result<R> {
 public:
  static bool failed(const char* c) noexcept { return c == nullptr; }
  explicit c_result(char* c) noexcept : text_(c) {}
  /// A const result points into the handle: another call may change it, so it is copied at once.
  explicit c_result(const char* c) : text_(::strdup(c)) {
    if (text_.get() == nullptr) throw std::bad_alloc();
  }
  const char* c_str() const noexcept { return text_.get(); }
  R lift() const { return text_.get(); }

 private:
  detail::c_owner<R, char> text_;
};

template <std::same_as<std::optional<std::string>> R>
class c_result<R> {
 public:
  static bool failed(const char*) noexcept { return false; }
  explicit c_result(const char* c) {
    if (c != nullptr) text_ = c;
  }
  const R& get() const noexcept { return text_; }
  R lift() && { return std::move(text_); }

 private:
  R text_;
};

template <std::same_as<string_list> R>
class c_result<R> {
 public:
  static bool failed(char** c) noexcept { return c == nullptr; }
  explicit c_result(char** c) noexcept : list_(c) {}
  std::span<char* const> get() const noexcept {
    std::size_t size = 0;
    while (list_.get()[size] != nullptr) ++size;
    return {list_.get(), size};
  }
  R lift() const {
    const auto texts = get();
    return {texts.begin(), texts.end()};
  }

 private:
  detail::c_owner<R, char*> list_;
};

/// In C a hashtable is a list: key, value, key, value.
template <std::same_as<hashtable> R>
class c_result<R> : private c_result<std::vector<typename R::key_type>> {
  using list = c_result<std::vector<typename R::key_type>>;

 public:
  using list::failed;
  using list::get;
  using list::list;
  R lift() const {
    R table;
    const auto texts = get();
    for (std::size_t i = 0; i + 1 < texts.size(); i += 2) table.emplace(texts[i], texts[i + 1]);
    return table;
  }
};

template <std::same_as<buffer> R>
class c_result<R> {
 public:
  static bool failed(char* c) noexcept { return c == nullptr; }
  c_result(char* c, std::size_t size) noexcept : buffer_(std::unique_ptr<char, detail::c_free>(c), size) {}
  const R& get() const noexcept { return buffer_; }
  R lift() && { return std::move(buffer_); }

 private:
  R buffer_;
};

template <detail::Struct S>
class c_result<S> {
 public:
  using c_struct = typename S::c_struct;
  static bool failed(c_struct* c) noexcept { return c == nullptr; }
  explicit c_result(c_struct* c) noexcept : struct_(c) {}
  const c_struct& get() const noexcept { return *struct_.get(); }
  S lift() const { return detail::lift_struct<S>(get()); }

 private:
  detail::c_owner<S, c_struct> struct_;
};

template <detail::Struct S>
class c_result<std::vector<S>> {
 public:
  using c_list = typename S::c_list;
  static bool failed(c_list* c) noexcept { return c == nullptr; }
  explicit c_result(c_list* c) noexcept : list_(c) {}
  std::span<const typename S::c_struct> get() const noexcept { return {list_.get()->val, list_.get()->len}; }
  std::vector<S> lift() const {
    std::vector<S> values;
    values.reserve(list_.get()->len);
    for (const auto& c : get()) values.push_back(detail::lift_struct<S>(c));
    return values;
  }

 private:
  detail::c_owner<S, c_list> list_;
};

}  // namespace guestkit::inline GUESTKIT_FORM
