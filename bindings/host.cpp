#include "host.hpp"

#include <algorithm>
#include <guestkit/appliance_limit.hpp>
#include <guestkit/detail/inspect/rule_versions.hpp>
#include <guestkit/detail/launch/appliance.hpp>
#include <guestkit/detail/launch/kvm.hpp>
#include <guestkit/detail/launch/landlock.hpp>
#include <guestkit/detail/launch/private_directory.hpp>
#include <guestkit/detail/launch/sandbox.hpp>
#include <guestkit/detail/turn/memory.hpp>
#include <guestkit/detail/turn/processors.hpp>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string_view>

#include "convert.hpp"
#include "gil.hpp"
#include "value.hpp"

namespace guestkit::python {

namespace {

/// A path or a sentence with one, as os.fsdecode() makes it.
PyObject* decoded(std::string_view bytes) {
  return check(PyUnicode_DecodeFSDefaultAndSize(bytes.data(), std::ssize(bytes)));
}

std::string path_of(PyObject* path) {
  PyObject* encoded = nullptr;
  if (PyUnicode_FSConverter(path, &encoded) == 0) throw PythonError{};
  const Ref bytes(encoded);
  return {PyBytes_AS_STRING(encoded), static_cast<std::size_t>(PyBytes_GET_SIZE(encoded))};
}

/// Looks at the host without the GIL: a program takes seconds, and a filesystem may not answer at all.
template <class Find>
auto find_without_gil(const Find& find) {
  const GilRelease released;
  return find();
}

/// Finds out whether something is usable, and why not.
template <class Find>
PyObject* status_of(const Find& find) {
  const auto status = find_without_gil(find);
  const Ref usable(value(status.usable)), reason(decoded(status.reason));
  return check(PyTuple_Pack(2, usable.get(), reason.get()));
}

}  // namespace

PyObject* cache_directory() {
  return decoded(detail::cache_directory());
}

PyObject* system_appliance_cache() {
  return decoded(detail::system_appliance_cache);
}

PyObject* appliance_caches() {
  return value(detail::appliance_caches());
}

PyObject* appliance_fault(PyObject* directory) {
  return decoded(find_without_gil([path = path_of(directory)] { return detail::appliance_fault(path); }));
}

PyObject* template_reason(PyObject* lean) {
  return decoded(find_without_gil([path = path_of(lean)] { return detail::find_template(path).reason; }));
}

PyObject* private_directory_fault(PyObject* directory) {
  return decoded(
      find_without_gil([path = path_of(directory)] { return detail::private_directory_fault(path); }));
}

PyObject* make_directory(PyObject* directory, int mode) {
  return decoded(find_without_gil(
      [=, path = path_of(directory)] { return detail::make_directory(path, static_cast<mode_t>(mode)); }));
}

PyObject* make_private_directory(PyObject* directory, int mode) {
  return decoded(find_without_gil([=, path = path_of(directory)] {
    return detail::make_private_directory(path, static_cast<mode_t>(mode));
  }));
}

PyObject* unknown_rules(std::int64_t major, std::int64_t minor, std::int64_t release,
                        const std::string& extra) {
  return decoded(detail::unknown_rules({.major = major, .minor = minor, .release = release, .extra = extra}));
}

PyObject* kvm_status(const std::string& qemu) {
  return status_of([&] { return detail::kvm_status(qemu); });
}

PyObject* sandbox_status(const std::string& qemu) {
  return status_of([&] { return detail::sandbox_status(qemu); });
}

int landlock_version() {
  return detail::landlock::version();
}

PyObject* cage_program() {
  return decoded(find_without_gil([] { return detail::cage_program("auto"); }));
}

std::uint64_t available_memory() {
  return detail::available_memory();
}

std::uint64_t appliance_memory(const std::string& mode) {
  using enum ApplianceMode;
  for (const auto each : {system, lean, warm, fixed})
    if (mode == to_string(each)) return detail::appliance_memory(each);
  throw std::invalid_argument("there is no such appliance mode: " + mode);
}

unsigned available_processors() {
  return detail::available_processors();
}

void set_appliance_limit(PyObject* limit) {
  if (limit == Py_None) return guestkit::set_appliance_limit(std::nullopt);
  const Ref name(check(PyUnicode_InternFromString("count")));
  const auto count = Value<std::int64_t>(limit, {"set_appliance_limit", name.get()}).value;
  guestkit::set_appliance_limit(
      static_cast<unsigned>(std::clamp<std::int64_t>(count, 0, std::numeric_limits<unsigned>::max())));
}

}  // namespace guestkit::python
