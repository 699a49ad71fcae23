// The C++ handle as Python uses it: results stay in C memory until they become Python objects.
#pragma once

#include <guestkit/guestkit.hpp>
#include <guestkit/mounted.hpp>
#include <memory>
#include <string>
#include <utility>

#include "object.hpp"

namespace guestkit::python {

/// Results as C returned them, owned: they become Python objects without an intermediate copy. So do errors,
/// without an exception.
class raw_core : public detail::handle {
 public:
  using detail::handle::handle;
  template <class R>
  using result = detail::outcome<R>;

 protected:
  template <class R, class F, class... A>
  result<R> call(const detail::action& op, F fn, const A&... arguments) {
    return detail::attempt<R>(state(), op, fn, arguments...);
  }
  template <class R, class F, class... A>
  result<R> give(const detail::action& op, F fn, const A&... arguments) {
    return result<R>(add<R>(op, fn, arguments...));
  }
};

/// The options that guestkit.Guestfs passes: `NativeHandleOptions` in guestkit/handle_options.py, which has
/// checked them. Log lines go to Python's logger.
HandleOptions handle_options_of(PyObject* tuple);

/// guestkit._native.Handle. Its own methods need no GIL, except those that take Python objects, and close().
class Handle : public basic_guestfs<raw_core> {
 public:
  using basic_guestfs<raw_core>::basic_guestfs;
  ~Handle();

  void close();
  int add_event_callback(PyObject* callback, std::uint64_t events);
  void delete_event_callback(int number);

  void begin_turn(const std::string& name) {
    state()->refuse_fork(name.c_str());
    state()->turns->take_turn(name.c_str());
  }
  /// Begins a turn that counts as a call for the limits: it covers what Python does before its disk is added.
  void begin_opening() {
    static constexpr detail::action open_disk{"open_disk"};
    state()->refuse_fork(open_disk.name);
    state()->turns->enter(open_disk);
  }
  /// Throws the reason if the turn is to end.
  void check_turn() { state()->turns->throw_if_stopped("open_disk", "", EINTR, {}); }
  void end_turn() noexcept { state()->turns->leave(); }
  /// Charges this time to the running call's limit, because its work began that long before the call.
  void count_too(Seconds spent) { state()->turns->count_too(spent); }
  bool is_mine() const noexcept { return state()->is_ours() && state()->turns->is_mine(); }
  bool has_appliance() const noexcept { return state()->turns->launched; }

  std::shared_ptr<Mounted> shown;  // guarded by the GIL
};

/// A new handle. @param options  see handle_options_of()
std::shared_ptr<Handle> make_handle(PyObject* options);

/// The C++ object behind a Python one. TypeError if its __init__() never ran.
Handle& self_of(PyObject* object);

/// How the last successful launch went, as a dict, or None.
PyObject* last_launch(Handle& handle);

}  // namespace guestkit::python
