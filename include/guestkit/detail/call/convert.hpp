// C++ values to C arguments and back: one rule for each kind of argument and result.
//
// Arguments: lower() makes a C argument from what the methods accept: cstr, cstr_list, buffer_view, numbers
// and the generated option structs. Results: c_result<R> owns what C returned, and lift() makes the C++
// value. C's memory is thus freed on every path, and a caller with its own conversion, such as the Python
// bindings, gets the result without an intermediate copy.
#pragma once

#include <guestfs.h>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

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
requires(std::is_arithmetic_v<N> || std::is_pointer_v<N>) N lower(N value) {
  return value;
}

/// The C form of an option struct: the members that were given, and the bitmask that says which.
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

/// A copy of an argument that outlives what the argument is a view of, and that converts to its type. What a
/// bare pointer points to is not copied.
template <class A>
auto keep(const A& argument) {
  if constexpr (std::is_same_v<A, cstr>)
    return std::string(argument.c_str());
  else if constexpr (std::is_same_v<A, std::optional<cstr>>)
    return argument ? std::optional<std::string>(argument->c_str()) : std::nullopt;
  else if constexpr (std::is_same_v<A, cstr_list>)
    return string_list(argument.c_strv(), argument.c_strv() + argument.size());
  else if constexpr (std::is_same_v<A, buffer_view>)
    return std::string(argument.data(), argument.size());
  else
    return argument;
}

// ---- results: C -> C++

template <class T>
concept Struct = requires {
  typename T::c_struct;
};

/// Not for arrays, which would decay to this: a UUID fills its array and has no terminating NUL.
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
/// In C, a percentage that does not apply is negative.
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

/// Frees what libguestfs returned for an R, with the function for its type.
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

/// Owns what libguestfs returned for an R, or nothing.
template <class R, class C>
using c_owner = std::unique_ptr<C, c_release<R>>;

/// The result of a C function, owned. failed() says whether C's value means an error; lift() makes the C++
/// value.
///
/// The specialisations are templates, so that a program compiles only those that it uses.
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

template <std::same_as<std::string> Text>
class c_result<Text> {
 public:
  static bool failed(const char* c) noexcept { return c == nullptr; }
  explicit c_result(char* c) noexcept : text_(c) {}
  /// A const result points into the handle, where another call may change it, so it is copied at once.
  explicit c_result(const char* c) : text_(::strdup(c)) {
    if (text_.get() == nullptr) throw std::bad_alloc();
  }
  const char* c_str() const noexcept { return text_.get(); }
  Text lift() const { return text_.get(); }

 private:
  c_owner<Text, char> text_;
};

template <std::same_as<std::string> Text>
class c_result<std::optional<Text>> {
 public:
  static bool failed(const char*) noexcept { return false; }
  explicit c_result(const char* c) {
    if (c != nullptr) text_ = c;
  }
  const std::optional<Text>& get() const noexcept { return text_; }
  std::optional<Text> lift() && { return std::move(text_); }

 private:
  std::optional<Text> text_;
};

template <std::same_as<std::string> Text>
class c_result<std::vector<Text>> {
 public:
  static bool failed(char** c) noexcept { return c == nullptr; }
  explicit c_result(char** c) noexcept : list_(c) {}
  explicit c_result(const std::vector<Text>& texts)
      : list_(static_cast<char**>(std::calloc(texts.size() + 1, sizeof(char*)))) {
    if (!list_) throw std::bad_alloc();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      list_.get()[i] = ::strdup(texts[i].c_str());
      if (list_.get()[i] == nullptr) throw std::bad_alloc();
    }
  }
  std::span<char* const> get() const noexcept {
    std::size_t size = 0;
    while (list_.get()[size] != nullptr) ++size;
    return {list_.get(), size};
  }
  std::vector<Text> lift() const {
    const auto texts = get();
    return {texts.begin(), texts.end()};
  }

 private:
  c_owner<std::vector<Text>, char*> list_;
};

/// In C a hashtable is a flat list: key, value, key, value.
template <std::same_as<std::string> Text>
class c_result<std::map<Text, Text>> : private c_result<std::vector<Text>> {
  using list = c_result<std::vector<Text>>;

 public:
  using list::failed;
  using list::get;
  using list::list;
  std::map<Text, Text> lift() const {
    std::map<Text, Text> table;
    const auto texts = get();
    for (std::size_t i = 0; i + 1 < texts.size(); i += 2) table.emplace(texts[i], texts[i + 1]);
    return table;
  }
};

template <>
class c_result<buffer> {
 public:
  static bool failed(char* c) noexcept { return c == nullptr; }
  c_result(char* c, std::size_t size) noexcept : buffer_(std::unique_ptr<char, c_free>(c), size) {}
  const buffer& get() const noexcept { return buffer_; }
  buffer lift() && { return std::move(buffer_); }

 private:
  buffer buffer_;
};

template <Struct S>
class c_result<S> {
 public:
  using c_struct = typename S::c_struct;
  static bool failed(c_struct* c) noexcept { return c == nullptr; }
  explicit c_result(c_struct* c) noexcept : struct_(c) {}
  const c_struct& get() const noexcept { return *struct_.get(); }
  S lift() const { return lift_struct<S>(get()); }

 private:
  c_owner<S, c_struct> struct_;
};

template <Struct S>
class c_result<std::vector<S>> {
 public:
  using c_list = typename S::c_list;
  static bool failed(c_list* c) noexcept { return c == nullptr; }
  explicit c_result(c_list* c) noexcept : list_(c) {}
  std::span<const typename S::c_struct> get() const noexcept { return {list_.get()->val, list_.get()->len}; }
  std::vector<S> lift() const {
    std::vector<S> values;
    values.reserve(list_.get()->len);
    for (const auto& c : get()) values.push_back(lift_struct<S>(c));
    return values;
  }

 private:
  c_owner<S, c_list> list_;
};

}  // namespace guestkit::inline GUESTKIT_FORM::detail
