// Where the calls of asynchronous handles run. Part of async.hpp.
#pragma once

#if !defined BOOST_THREAD_VERSION || BOOST_THREAD_VERSION < 5
#error "guestkit/async.hpp needs BOOST_THREAD_VERSION=5 before any Boost header: build with guestkit-async"
#endif

#include <boost/thread/executors/basic_thread_pool.hpp>
#include <boost/thread/executors/executor.hpp>
#include <boost/thread/executors/executor_adaptor.hpp>

#include "guestkit/detail/base/fork.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/base/threads.hpp"

namespace guestkit::inline GUESTKIT_FORM {

using executor = boost::executors::executor;

namespace detail {

/// What the process' thread pools are for.
enum class pool { calls, launches, functions };

/// One of them, created on first use.
template <pool which>
executor& process_pool() {
  struct adapted {
    boost::executors::executor_adaptor<boost::basic_thread_pool> threads{64U};
  };
  static constinit of_process<adapted> pools;
  if (adapted* const made = pools.existing()) return made->threads;
  const signals_blocked blocked;
  return pools.get().threads;
}

/// For calls that start an appliance: they may wait for memory that only calls of other handles can free.
inline executor& launch_executor() {
  return process_pool<pool::launches>();
}

/// For functions that may launch among other things: what they do before must not wait for others' launches.
inline executor& function_executor() {
  return process_pool<pool::functions>();
}

}  // namespace detail

/// Where calls run unless the handle was given an executor: 64 threads of the process, another 64 for
/// launches, and another 64 for functions for AsyncGuestfs::run() on handles that are not launched.
///
/// A thread spends nearly all its time waiting for its appliance, and each appliance needs hundreds of MB:
/// memory runs out before threads do. The threads are never joined, so a hanging call cannot keep a program
/// from exiting.
inline executor& shared_executor() {
  return detail::process_pool<detail::pool::calls>();
}

}  // namespace guestkit::inline GUESTKIT_FORM
