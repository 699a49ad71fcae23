#include "image.hpp"

#include <guestkit/image.hpp>
#include <guestkit/open_disk.hpp>
#include <optional>
#include <string>

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

Backing policy(const std::string& rule, PyObject* directory) {
  if (rule == "allow") return backing::allow;
  if (rule == "under") return backing::under(text_of(directory, "open_disk", "backing"));
  return backing::refuse;
}

PyObject* check_disk(PyObject* op, PyObject* path, PyObject* format, const std::string& rule,
                     PyObject* directory) {
  const auto name = text_of(op, "check_disk", "op");
  const auto file = text_of(path, name.c_str(), "path");
  const OpenDiskOptions options{.format = optional_text(format, name.c_str(), "format"),
                                .backing = policy(rule, directory)};
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

PyObject* open_disk(Handle& handle, const DiskArguments& given) {
  constexpr auto method = "open_disk";
  OpenDiskOptions options{.readonly = given.readonly,
                          .format = optional_text(given.format, method, "format"),
                          .backing = policy(given.rule, given.directory),
                          .snapshot = optional_text(given.snapshot, method, "snapshot")};
  const Ref name(check(PyUnicode_InternFromString("protocols")));
  const auto protocols = TextList(given.protocols, {method, name.get()}).strings();
  options.protocols = {protocols.begin(), protocols.end()};
  const auto path = text_of(given.path, method, "path");
  return value(interruptible(handle, true, [&] { return handle.open_disk(path, options); }));
}

}  // namespace guestkit::python

template guestkit::ImageInfo guestkit::basic_guestfs<guestkit::python::raw_core>::open_disk(
    const std::string&, const OpenDiskOptions&);
