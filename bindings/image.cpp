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

PyObject* probe(PyObject* path, PyObject* format) {
  const auto file = text_of(path, "probe", "path");
  const auto stated = optional_text_of(format, "probe", "format");
  const auto info = [&] {
    const GilRelease released;
    return guestkit::probe(file, stated);
  }();
  return value(info);
}

OpenDiskOptions open_disk_options(PyObject* tuple, const char* method) {
  int readonly = 0, refuse_in_use = 0;
  PyObject *format = nullptr, *directory = nullptr, *protocols = nullptr, *snapshot = nullptr,
           *blocksize = nullptr;
  const char* rule = nullptr;
  if (PyArg_ParseTuple(tuple, "pOsOOOpO", &readonly, &format, &rule, &directory, &protocols, &snapshot,
                       &refuse_in_use, &blocksize) == 0)
    throw PythonError{};
  OpenDiskOptions options{.readonly = readonly != 0,
                          .format = optional_text_of(format, method, "format"),
                          .snapshot = optional_text_of(snapshot, method, "snapshot"),
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

PyObject* check_disk(PyObject* op, PyObject* path, PyObject* options, bool inherited) {
  const auto name = text_of(op, "check_disk", "op");
  const auto file = text_of(path, name.c_str(), "path");
  const auto how = open_disk_options(options, name.c_str());
  std::string node;
  std::vector<detail::unique_fd> files;
  const auto info = [&] {
    const GilRelease released;
    detail::image_chain chain(name.c_str(), how, false, inherited);
    auto found = chain.open(file, how.format);
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

PyObject* open_disk(Handle& handle, PyObject* path, PyObject* options) {
  const auto file = text_of(path, "open_disk", "path");
  const auto how = open_disk_options(options, "open_disk");
  return value(interruptible(handle, true, [&] { return handle.open_disk(file, how); }));
}

}  // namespace guestkit::python

template guestkit::ImageInfo guestkit::basic_guestfs<guestkit::python::raw_core>::open_disk(
    const std::filesystem::path&, const OpenDiskOptions&);
