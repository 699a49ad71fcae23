#pragma once

#include <stdexcept>

#include "guestkit/values.hpp"

namespace guestkit::inline GUESTKIT_FORM {

GUESTKIT_INLINE cstr::cstr(const char* text) : text_(text) {
  if (text == nullptr) throw std::invalid_argument("guestkit: a text argument is a null pointer");
}

GUESTKIT_INLINE cstr::cstr(const std::string& text) : text_(text.c_str()) {
  if (text.find('\0') != std::string::npos)
    throw std::invalid_argument("guestkit: a text argument holds a NUL byte");
}

namespace detail {

std::vector<const char*> pointers_to(const auto& texts) {
  std::vector<const char*> pointers;
  pointers.reserve(texts.size() + 1);
  for (const cstr text : texts) pointers.push_back(text.c_str());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace detail

GUESTKIT_INLINE cstr_list::cstr_list(std::initializer_list<cstr> texts)
    : pointers_(detail::pointers_to(texts)) {}

GUESTKIT_INLINE cstr_list::cstr_list(const std::vector<std::string>& texts)
    : pointers_(detail::pointers_to(texts)) {}

GUESTKIT_INLINE cstr_list::cstr_list(const std::vector<cstr>& texts)
    : pointers_(detail::pointers_to(texts)) {}

}  // namespace guestkit::inline GUESTKIT_FORM
