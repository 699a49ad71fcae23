// What a user has called back: any callable, as std::function takes it, without <functional>, which costs a
// compiler more than the 600 actions do.
#pragma once

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include "guestkit/detail/base/form.hpp"

namespace guestkit::inline GUESTKIT_FORM {

template <class Signature>
class callback;

/// Holds anything that can be called so, a std::function too, or nothing. Copies share what they hold.
template <class R, class... A>
class callback<R(A...)> {
 public:
  callback() noexcept = default;
  callback(std::nullptr_t) noexcept {}

  /// What is empty itself, a null pointer or an empty std::function, makes an empty one.
  template <class F>
  requires(!std::is_same_v<F, callback> && !std::is_member_pointer_v<F> && std::is_invocable_r_v<R, F&, A...>)
      callback(F function) {
    if constexpr (std::is_constructible_v<F, std::nullptr_t>)
      if (function == nullptr) return;
    held_ = std::make_shared<F>(std::move(function));
    call_ = [](void* held, A... arguments) -> R {
      return static_cast<R>((*static_cast<F*>(held))(static_cast<A&&>(arguments)...));
    };
  }

  explicit operator bool() const noexcept { return call_ != nullptr; }
  bool operator==(std::nullptr_t) const noexcept { return call_ == nullptr; }

  R operator()(A... arguments) const {
    if (call_ == nullptr) throw std::logic_error("guestkit: an empty callback was called");
    return call_(held_.get(), static_cast<A&&>(arguments)...);
  }

 private:
  std::shared_ptr<void> held_;
  R (*call_)(void*, A...) = nullptr;
};

}  // namespace guestkit::inline GUESTKIT_FORM
