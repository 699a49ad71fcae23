#include "system.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>

namespace appliance {

namespace {

void write_to(const std::string& path, std::string_view text, int flags) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC | flags, 0644);
  if (fd < 0) return;
  if (::write(fd, text.data(), text.size()) < 0) std::perror(path.c_str());
  ::close(fd);
}

}  // namespace

std::string read_file(const std::string& path, size_t limit) {
  std::string content;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return content;
  content.resize(limit);
  size_t size = 0;
  while (size < limit) {
    const ssize_t got = ::read(fd, content.data() + size, limit - size);
    if (got <= 0) break;
    size += static_cast<size_t>(got);
  }
  content.resize(size);
  ::close(fd);
  return content;
}

std::string read_line(const std::string& path) {
  std::string line = read_file(path, 4096);
  if (line.ends_with('\n')) line.pop_back();
  return line;
}

void write_file(const std::string& path, std::string_view text) {
  write_to(path, text, O_CREAT | O_TRUNC);
}

void tell(const std::string& path, std::string_view text) {
  write_to(path, text, 0);
}

std::vector<std::string> entries(const std::string& folder) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(folder.c_str());
  if (dir == nullptr) return names;
  while (const dirent* entry = ::readdir(dir))
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  ::closedir(dir);
  return names;
}

bool exists(const std::string& path) {
  return ::access(path.c_str(), F_OK) == 0;
}

void make_directory(const std::string& path, unsigned mode) {
  if (::mkdir(path.c_str(), mode) == 0) ::chmod(path.c_str(), mode);
}

void make_link(const std::string& target, const std::string& path) {
  if (::symlink(target.c_str(), path.c_str()) != 0 && errno != EEXIST) std::perror(path.c_str());
}

std::string link_target(const std::string& path) {
  std::array<char, 4096> target{};
  const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
  return {target.data(), size < 0 ? 0 : static_cast<size_t>(size)};
}

int start(const std::vector<std::string>& command, Output output) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  if (output == Output::none)
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error == 0) return child;
  std::fprintf(stderr, "init: %s: %s\n", argv[0], std::strerror(error));
  return 0;
}

void wait_for_end(int process) {
  while (process > 0 && ::waitpid(process, nullptr, 0) < 0 && errno == EINTR) {
  }
}

bool reap(int process, int options) {
  for (;;) {
    const pid_t ended = ::waitpid(-1, nullptr, options);
    if (ended == process || (ended < 0 && errno == ECHILD)) return true;
    if (ended == 0) return false;
  }
}

void run(const std::vector<std::string>& command, Output output) {
  wait_for_end(start(command, output));
}

bool wait_for(const std::string& what, const std::function<bool()>& holds) {
  constexpr std::chrono::seconds patience{20};
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline) {
      std::fprintf(stderr, "init: %s did not appear\n", what.c_str());
      return false;
    }
    ::usleep(2000);
  }
  return true;
}

}  // namespace appliance
