#pragma once

#include <cerrno>
#include <filesystem>
#include <string_view>
#include <system_error>

#include "guestkit/detail/base/escape.hpp"
#include "guestkit/detail/base/text.hpp"
#include "guestkit/detail/image/missing.hpp"
#include "guestkit/error.hpp"

namespace guestkit::inline GUESTKIT_FORM::detail {

/// A word quoted for a shell's command line; "…" if it is not safe to print on a terminal.
inline std::string shell_word(std::string_view text) {
  constexpr std::string_view plain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
  if (!text.empty() && text.find_first_not_of(plain) == std::string_view::npos) return std::string(text);
  if (shown(std::string(text)) != text) return "…";
  std::string word = "'";
  for (const char c : text) word += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return word + "'";
}

/// What is wrong with a name, and the remedy.
struct misnaming {
  std::string message;
  Diagnosis diagnosis = {};
};

/// Explains how to open a disk at a URL. The tests try these commands.
inline misnaming about_url(std::string_view op, std::string_view url) {
  constexpr auto npos = std::string_view::npos;
  const auto scheme = url.substr(0, url.find("://")), rest = url.substr(scheme.size() + 3);
  const bool takes_servers = op == "open_disk";
  const std::string is_url = takes_servers ? "is a URL; guestkit opens files and NBD servers: "
                                           : "is a URL; this function takes files: ";
  const auto serve = [&](const std::string& download, const std::string& plugin) {
    if (!takes_servers) return misnaming{is_url + download, {Cause::url}};
    return misnaming{
        is_url + download + ", or have nbdkit serve it if it is a raw disk (nbdkit -r -U /tmp/disk.sock " +
            plugin + ")",
        {Cause::url, "open nbd+unix:///?socket=/tmp/disk.sock with format=raw and protocols=nbd"}};
  };
  if (scheme == "file")
    return {
        "is a URL: give the path alone, " + shell_word(rest.substr(std::min(rest.find('/'), rest.size()))),
        {Cause::url}};
  if ((scheme == "nbd" || scheme == "nbd+unix") && !takes_servers)
    return {"is an NBD server, whose disk can be inspected, but not probed or converted: qemu-img does both",
            {Cause::url}};
  if (scheme == "nbd" || scheme == "nbd+unix")
    return {"is an NBD server",
            {Cause::network_format, "state protocols=nbd, and format=raw for what it presents"}};
  if (scheme == "http" || scheme == "https" || scheme == "ftp" || scheme == "ftps")
    return serve("download it (curl -fLO " + shell_word(url) + ")", "curl url=" + shell_word(url));
  if (scheme == "ssh" || scheme == "sftp" || scheme == "scp") {
    auto authority = rest.substr(0, rest.find('/'));
    const auto path = rest.substr(authority.size());
    std::string user, port, from(authority);
    if (const auto at = authority.rfind('@'); at != npos) {
      user = " user=" + shell_word(authority.substr(0, at));
      authority.remove_prefix(at + 1);
    }
    if (const auto colon = authority.rfind(':'); colon != npos && authority.find(']') == npos) {
      port = " port=" + shell_word(authority.substr(colon + 1));
      authority = authority.substr(0, colon);
    }
    return serve("copy it (scp " + shell_word("scp://" + from + std::string(path)) + " .)",
                 "ssh host=" + shell_word(authority) + port + user + " " + shell_word(path));
  }
  if (scheme == "s3") return {is_url + "copy it (aws s3 cp " + shell_word(url) + " .)", {Cause::url}};
  if (scheme == "gs") return {is_url + "copy it (gcloud storage cp " + shell_word(url) + " .)", {Cause::url}};
  if (!takes_servers) return {is_url + "copy it", {Cause::url}};
  return {is_url + "copy it, or have nbdkit or qemu-nbd serve it as nbd://", {Cause::url}};
}

/// A file whose name differs from the missing one only in case or suffix; "" if there is none, or if the
/// directory has too many files to search.
inline std::string near_name(const std::filesystem::path& path) {
  const auto key = [](const std::filesystem::path& name) { return in_lower_case(name.stem().string()); };
  const auto folder = path.parent_path();
  std::string found;
  std::error_code error;
  int left = 10'000;
  for (std::filesystem::directory_iterator each(folder.empty() ? "." : folder, error), end;
       !error && each != end; each.increment(error)) {
    if (left-- == 0) return "";
    const auto name = each->path().filename();
    if (key(name) != key(path.filename()) || !each->is_regular_file(error)) continue;
    if (found.empty() || name.string() < found) found = name.string();
  }
  return found;
}

/// What is wrong with the name of a missing file; an empty message if nothing is known.
inline misnaming what_was_meant(const char* op, const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  if (const auto end = path.find("://"); end != std::string::npos && end > 0 && path.find('/') > end)
    return about_url(op, path);
  for (auto colon = path.find(":/"); colon != std::string::npos; colon = path.find(":/", colon + 1)) {
    const auto disk = path.substr(0, colon);
    const auto kind = fs::status(disk, error).type();
    if (kind == fs::file_type::regular || kind == fs::file_type::block)
      return {"no such file, but there is the disk " + in_quotes(disk),
              {Cause::path_appended, "name the disk and the path in its guest apart"}};
  }
  if (path.starts_with("~"))
    return {"no such file; it is shells that take ~ for a home directory", {Cause::disk_missing}};
  if (const auto near = near_name(path); !near.empty())
    return {"no such file, but there is " + in_quotes(near), {Cause::disk_missing}};
  return {};
}

GUESTKIT_INLINE image_file open_named(const char* op, const std::string& path) {
  try {
    return {op, path};
  } catch (const Error& e) {
    const bool missing = e.error_number() == ENOENT || e.error_number() == ENOTDIR;
    auto meant = missing ? what_was_meant(op, path) : misnaming{};
    if (meant.message.empty()) throw;
    throw Error(op, shown(path) + ": " + meant.message, e.error_number(), std::move(meant.diagnosis));
  }
}

}  // namespace guestkit::inline GUESTKIT_FORM::detail
