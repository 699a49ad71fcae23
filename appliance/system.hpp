// Small tools of the lean /init: files, links and programs, without a shell.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace appliance {

/// What a file holds, up to a limit; empty if it cannot be read.
std::string read_file(const std::string& path, size_t limit = 65536);

/// The file's only line, without its end.
std::string read_line(const std::string& path);

void write_file(const std::string& path, std::string_view text);

/// Writes to a file that is there already, such as the kernel's below /sys.
void tell(const std::string& path, std::string_view text);

/// The names in a directory, but for hidden ones.
std::vector<std::string> entries(const std::string& folder);

bool exists(const std::string& path);

void make_directory(const std::string& path, unsigned mode = 0755);

void make_link(const std::string& target, const std::string& path);

/// The target of a symbolic link; empty if there is none.
std::string link_target(const std::string& path);

enum class Output { console, none };

/// Starts a program; returns its process, or 0 if that failed, which it says.
int start(const std::vector<std::string>& command, Output output = Output::console);

void wait_for_end(int process);

/// Ends the zombies that there are, of programs whose parents have ended too; as process 1 we inherit them.
/// @param process  the one that is waited for
/// @param options  WNOHANG, or 0: waits until that one ends
/// @returns whether that one has ended
bool reap(int process, int options);

/// Runs a program to its end.
void run(const std::vector<std::string>& command, Output output = Output::console);

/// Waits until a condition holds; if it never does, says so and returns false.
bool wait_for(const std::string& what, const std::function<bool()>& holds);

}  // namespace appliance
