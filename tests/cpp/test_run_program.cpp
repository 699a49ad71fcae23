// run_program.hpp: running helper programs.
#define BOOST_TEST_MODULE run_program
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <guestkit/detail/base/run_program.hpp>
#include <guestkit/detail/base/unique_fd.hpp>
#include <stdexcept>
#include <string>

#include "support.hpp"

using guestkit::detail::program_options;
using guestkit::detail::run_program;
using namespace std::chrono_literals;

namespace {

guestkit::detail::program_end shell(const std::string& script, const program_options& options = {}) {
  return run_program({"sh", "-c", script}, options);
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_program_tells_how_it_ended) {
  BOOST_TEST(shell("exit 0").succeeded());
  const auto end = shell("exit 3");
  BOOST_TEST(!end.succeeded());
  BOOST_TEST(WEXITSTATUS(end.status) == 3);
}

BOOST_AUTO_TEST_CASE(a_program_that_is_not_there_is_an_error) {
  const auto end = run_program({"guestkit-no-such-program"}, {});
  BOOST_TEST(end.error == ENOENT);
  BOOST_TEST(!end.succeeded());
}

BOOST_AUTO_TEST_CASE(stdout_is_taken_only_if_asked_for) {
  BOOST_TEST(shell("echo out; echo err >&2").output == "err\n");
  BOOST_TEST(shell("echo out; echo err >&2", {.takes_stdout = true}).output == "out\nerr\n");
}

BOOST_AUTO_TEST_CASE(the_end_of_a_long_output_is_kept) {
  const auto end = shell("head -c 200000 /dev/zero | tr '\\0' x >&2; echo the end >&2");
  BOOST_TEST(end.output.size() == 4096U);
  BOOST_TEST(end.output.ends_with("xthe end\n"));
}

// Regression: control characters beyond ASCII stayed, which a terminal obeys like those with an escape.
BOOST_AUTO_TEST_CASE(a_last_line_held_control_characters) {
  const auto last = [](const std::string& output) {
    return shell("printf '" + output + "' >&2").last_line();
  };
  BOOST_TEST(last("first\\nan \\303\\274 and \\t\\033[1m\\302\\23331m \\377\\r\\n") ==
             "an ü and \\x09\\x1b[1m\\xc2\\x9b31m \\xff");
}

BOOST_AUTO_TEST_CASE(a_process_without_standard_streams_had_no_output_and_no_files_for_its_programs) {
  const auto told = support::in_child([] {
    for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::close(stream);
    const auto file =
        guestkit::detail::above_streams(guestkit::detail::unique_fd(::memfd_create("test", MFD_CLOEXEC)));
    const std::string name = "/proc/self/fd/" + std::to_string(file.get());
    if (::write(file.get(), "content", 7) != 7) return std::string("cannot be written");
    return shell("echo err >&2; cat " + name, {.inherited = {file.get()}, .takes_stdout = true}).output;
  });
  BOOST_TEST(told == "err\ncontent");
}

BOOST_AUTO_TEST_CASE(a_process_left_behind_that_goes_on_writing_is_not_waited_for) {
  const auto end = shell("(while echo y; do :; done) & echo $!", {.takes_stdout = true});
  BOOST_TEST(end.succeeded());
  BOOST_TEST(!end.timed_out);
}

BOOST_AUTO_TEST_CASE(a_program_that_takes_too_long_is_killed) {
  const auto end = shell("exec sleep 100", {.limit = {{.given = 50ms, .in_all = 300ms}}});
  BOOST_TEST(end.timed_out);
  BOOST_TEST(WIFSIGNALED(end.status));
}

BOOST_AUTO_TEST_CASE(what_the_look_throws_ends_the_program) {
  BOOST_CHECK_THROW(shell("exec sleep 100", {.look = [] { throw std::runtime_error("enough"); }}),
                    std::runtime_error);
  BOOST_TEST(::waitpid(-1, nullptr, WNOHANG) == -1);  // it was killed and reaped
  BOOST_TEST(errno == ECHILD);
}

BOOST_AUTO_TEST_CASE(a_process_that_ignores_its_children_does_not_wait_for_ever) {
  const auto handler = std::signal(SIGCHLD, SIG_IGN);
  const auto end = shell("echo done >&2");
  std::signal(SIGCHLD, handler);
  BOOST_TEST(end.output == "done\n");
  BOOST_TEST(end.error == ECHILD);
  BOOST_TEST(!end.succeeded());
}

BOOST_AUTO_TEST_CASE(a_program_starts_with_the_usual_signals) {
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const auto handler = std::signal(SIGPIPE, SIG_IGN);
  const auto end = shell("kill -TERM $$; echo blocked >&2");
  const auto pipe = shell("kill -PIPE $$; echo ignored >&2");
  std::signal(SIGPIPE, handler);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  BOOST_TEST(end.output == "");
  BOOST_TEST(WTERMSIG(end.status) == SIGTERM);
  BOOST_TEST(WTERMSIG(pipe.status) == SIGPIPE);
}
