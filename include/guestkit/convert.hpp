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

namespace guestkit {

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
class cstr_list {
 public:
  cstr_list(std::initializer_list<cstr> texts) { assign(texts); }
  cstr_list(const std::vector<std::string>& texts) { assign(texts); }
  explicit cstr_list(const std::vector<cstr>& texts) { assign(texts); }

  char* const* c_strv() const noexcept { return const_cast<char* const*>(pointers_.data()); }
  std::size_t size() const noexcept { return pointers_.size() - 1; }

 private:
  void assign(const auto& texts) {
    pointers_.reserve(texts.size() + 1);
    for (const cstr text : texts) pointers_.push_back(text.c_str());
    pointers_.push_back(nullptr);
  }
  std::vector<const char*> pointers_;
};

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
inline const char* lower(const std::optional<cstr>& text) {
  return text ? text->c_str() : nullptr;
}
inline char* const* lower(const cstr_list& list) {
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
inline std::optional<std::string> keep(const std::optional<cstr>& text) {
  return text ? std::optional(keep(*text)) : std::nullopt;
}
inline string_list keep(const cstr_list& list) {
  return {list.c_strv(), list.c_strv() + list.size()};
}
inline std::vector<char> keep(const buffer_view& bytes) {
  return {bytes.data(), bytes.data() + bytes.size()};
}
template <class A>
requires(std::is_arithmetic_v<A> || std::is_pointer_v<A> || Options<A>) A keep(const A& argument) {
  return argument;
}

inline cstr view(const std::string& text) {
  return text;
}
inline std::optional<cstr> view(const std::optional<std::string>& text) {
  return text ? std::optional(cstr(*text)) : std::nullopt;
}
inline cstr_list view(const string_list& list) {
  return list;
}
inline buffer_view view(const std::vector<char>& bytes) {
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
inline std::optional<float> lift_field(float percent) {
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

/// Frees what libguestfs returned, by the function that belongs to its type.
struct c_delete {
  void operator()(char** list) const noexcept {
    for (char** text = list; *text != nullptr; ++text) std::free(*text);
    std::free(list);
  }
};
template <Struct S>
struct c_release {
  void operator()(auto* c) const noexcept { S::c_free(c); }
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

template <>
class c_result<std::string> {
 public:
  static bool failed(const char* c) noexcept { return c == nullptr; }
  explicit c_result(char* c) noexcept : text_(c) {}
  /// A const result points into the handle: another call may change it, so it is copied at once.
  explicit c_result(const char* c) : text_(::strdup(c)) {
    if (!text_) throw std::bad_alloc();
  }
  const char* c_str() const noexcept { return text_.get(); }
  std::string lift() const { return text_.get(); }

 private:
  std::unique_ptr<char, detail::c_free> text_;
};

template <>
class c_result<std::optional<std::string>> {
 public:
  static bool failed(const char*) noexcept { return false; }
  explicit c_result(const char* c) {
    if (c != nullptr) text_ = c;
  }
  const std::optional<std::string>& get() const noexcept { return text_; }
  std::optional<std::string> lift() && { return std::move(text_); }

 private:
  std::optional<std::string> text_;
};

template <>
class c_result<string_list> {
 public:
  static bool failed(char** c) noexcept { return c == nullptr; }
  explicit c_result(char** c) noexcept : list_(c) {}
  std::span<char* const> get() const noexcept {
    std::size_t size = 0;
    while (list_.get()[size] != nullptr) ++size;
    return {list_.get(), size};
  }
  string_list lift() const {
    const auto texts = get();
    return {texts.begin(), texts.end()};
  }

 private:
  std::unique_ptr<char*, detail::c_delete> list_;
};

/// In C a hashtable is a list: key, value, key, value.
template <>
class c_result<hashtable> : private c_result<string_list> {
 public:
  using c_result<string_list>::c_result;
  using c_result<string_list>::failed;
  using c_result<string_list>::get;
  hashtable lift() const {
    hashtable table;
    const auto texts = get();
    for (std::size_t i = 0; i + 1 < texts.size(); i += 2) table.emplace(texts[i], texts[i + 1]);
    return table;
  }
};

template <>
class c_result<buffer> {
 public:
  static bool failed(char* c) noexcept { return c == nullptr; }
  c_result(char* c, std::size_t size) noexcept : buffer_(std::unique_ptr<char, detail::c_free>(c), size) {}
  const buffer& get() const noexcept { return buffer_; }
  buffer lift() && { return std::move(buffer_); }

 private:
  buffer buffer_;
};

template <detail::Struct S>
class c_result<S> {
 public:
  using c_struct = typename S::c_struct;
  static bool failed(c_struct* c) noexcept { return c == nullptr; }
  explicit c_result(c_struct* c) noexcept : struct_(c) {}
  const c_struct& get() const noexcept { return *struct_; }
  S lift() const { return detail::lift_struct<S>(*struct_); }

 private:
  std::unique_ptr<c_struct, detail::c_release<S>> struct_;
};

template <detail::Struct S>
class c_result<std::vector<S>> {
 public:
  using c_list = typename S::c_list;
  static bool failed(c_list* c) noexcept { return c == nullptr; }
  explicit c_result(c_list* c) noexcept : list_(c) {}
  std::span<const typename S::c_struct> get() const noexcept { return {list_->val, list_->len}; }
  std::vector<S> lift() const {
    std::vector<S> values;
    values.reserve(list_->len);
    for (const auto& c : get()) values.push_back(detail::lift_struct<S>(c));
    return values;
  }

 private:
  std::unique_ptr<c_list, detail::c_release<S>> list_;
};

}  // namespace guestkit
