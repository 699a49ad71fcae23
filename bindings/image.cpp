#include "image.hpp"

#include <guestkit/detail/image/chain.hpp>
#include <guestkit/image.hpp>
#include <guestkit/open_disk.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "convert.hpp"
#include "gil.hpp"
#include "signals.hpp"
#include "value.hpp"

namespace guestkit::python {

std::string text_of(PyObject* object, const char* method, const char* argument) {
  return Text(object, {method, Ref(check(PyUnicode_InternFromString(argument))).get()}).c_str();
}
std::optional<std::string> optional_text(PyObject* object, const char* method, const char* argument) {
  if (object == Py_None) return std::nullopt;
  return text_of(object, method, argument);
}

PyObject* probe(PyObject* path, PyObject* format) {
  const auto file = text_of(path, "probe", "path");
  const auto stated = optional_text(format, "probe", "format");
  const auto info = [&] {
    const GilRelease released;
    return guestkit::probe(file, stated);
  }();
  return value(info);
}

OpenDiskOptions opening_of(PyObject* tuple, const char* method) {
  int readonly = 0, refuse_in_use = 0;
  PyObject *format = nullptr, *directory = nullptr, *protocols = nullptr, *snapshot = nullptr,
           *blocksize = nullptr;
  const char* rule = nullptr;
  if (PyArg_ParseTuple(tuple, "pOsOOOpO", &readonly, &format, &rule, &directory, &protocols, &snapshot,
                       &refuse_in_use, &blocksize) == 0)
    throw PythonError{};
  OpenDiskOptions options{.readonly = readonly != 0,
                          .format = optional_text(format, method, "format"),
                          .snapshot = optional_text(snapshot, method, "snapshot"),
                          .in_use = refuse_in_use != 0 ? InUse::refuse : InUse::allow};
  if (rule == std::string_view("allow"))
    options.backing = backing::allow;
  else if (rule == std::string_view("under"))
    options.backing = backing::under(text_of(directory, method, "backing"));
  const Ref name(check(PyUnicode_InternFromString("protocols")));
  const auto permitted = TextList(protocols, {method, name.get()}).strings();
  options.protocols = {permitted.begin(), permitted.end()};
  if (blocksize != Py_None) {
    options.blocksize = static_cast<int>(PyLong_AsLong(blocksize));
    if (PyErr_Occurred() != nullptr) throw PythonError{};
  }
  return options;
}

PyObject* check_disk(PyObject* op, PyObject* path, PyObject* opening) {
  const auto name = text_of(op, "check_disk", "op");
  const auto file = text_of(path, name.c_str(), "path");
  const auto options = opening_of(opening, name.c_str());
  std::string node;
  std::vector<detail::unique_fd> files;
  const auto info = [&] {
    const GilRelease released;
    detail::image_chain chain(name.c_str(), options, false);
    auto found = chain.open(file, options.format);
    node = chain.node().json;
    files = chain.release();
    return found;
  }();
  const Ref found(value(info)), json(value(node));
  const Ref descriptors(check(PyTuple_New(std::ssize(files))));
  for (std::size_t i = 0; i < files.size(); ++i)
    PyTuple_SET_ITEM(descriptors.get(), static_cast<Py_ssize_t>(i), value(files[i].get()));
  PyObject* all = check(PyTuple_Pack(3, found.get(), json.get(), descriptors.get()));
  for (auto& descriptor : files) descriptor.release();
  return all;
}

PyObject* open_disk(Handle& handle, PyObject* path, PyObject* opening) {
  const auto file = text_of(path, "open_disk", "path");
  const auto options = opening_of(opening, "open_disk");
  return value(interruptible(handle, true, [&] { return handle.open_disk(file, options); }));
}

}  // namespace guestkit::python

template guestkit::ImageInfo guestkit::basic_guestfs<guestkit::python::raw_core>::open_disk(
    const std::filesystem::path&, const OpenDiskOptions&);
