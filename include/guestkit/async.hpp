// The handle for programs that do not wait: every call returns a boost::future at once.
//
// Calls wait in their handle's queue and run on a pool of threads, one at a time for each handle, so that a
// busy handle starves no other.
//
// Not included by guestkit.hpp, which does without Boost: build with guestkit-async.
#pragma once

#if !defined BOOST_THREAD_VERSION || BOOST_THREAD_VERSION < 5
#error "guestkit/async.hpp needs BOOST_THREAD_VERSION=5 before any Boost header: build with guestkit-async"
#endif

#include <boost/thread/future.hpp>
#include <cerrno>
#include <filesystem>
#include <optional>
#include <utility>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/async_core.hpp"
#include "guestkit/executor.hpp"
#include "guestkit/generated/async_actions.hpp"
#include "guestkit/guestkit.hpp"
#include "guestkit/open_disk.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Has get() and then(). A continuation runs on a thread of its own unless then() is given an executor.
template <class T>
using future = boost::future<T>;

/// A Guestfs whose calls return at once: each method gives a future of what Guestfs' method returns.
///
///     guestkit::AsyncGuestfs g;
///     g.add_drive_ro("disk.qcow2");
///     g.launch();
///     for (const auto& root : g.inspect_os().get()) …
///
/// A call takes its place in the handle's queue when it is made, whether or not somebody waits for its
/// future, and keeps copies of its arguments. Errors are thrown by future::get(); HandleClosed, and what is
/// wrong with an argument, by the call itself.
///
/// Ownership: move-only. At its end the calls that were made run to theirs, as with close(), unless an
/// exception is on its way: then they are cancelled. Threads: any may call at any time.
template <class Core>
class basic_async_guestfs : public detail::async_actions<Core> {
 public:
  /// With the options of Guestfs, and the executor on which the calls run; it must outlive the handle.
  using detail::async_actions<Core>::async_actions;

  /// Runs a function of the blocking handle, function(Guestfs&), in the handle's turn: many calls for one hop
  /// between threads. A cancel ends the call that it is in and refuses every later one of it.
  template <class F>
  auto run(F function) {
    return this->add("run", [function = std::move(function)](Guestfs& g) mutable { return function(g); });
  }

  /// Ends every call that was made so far. Those that wait never run; the one that runs is ended as by
  /// Guestfs::cancel(). Their futures throw Error with EINTR, or ApplianceKilled where it took the
  /// hypervisor.
  void cancel() {
    if (auto* queue = this->queue()) queue->cancel();
  }

  /// Kills what runs for the handle, and waits for nothing: Guestfs::terminate(). Calls that wait for their
  /// turn, and later ones, throw HandleClosed.
  void terminate() {
    if (auto* queue = this->queue()) queue->terminate();
  }

  /// Lets no new call in, lets those that were made run to their end, then closes the handle. Closing twice
  /// is harmless.
  boost::shared_future<void> close() {
    auto* queue = this->queue();
    return queue != nullptr ? queue->close() : boost::make_ready_future().share();
  }

  bool is_open() const {
    const auto* queue = this->queue();
    return queue != nullptr && queue->is_open();
  }

  /// Guestfs::set_event_callback(), at once. The callback runs on the thread of the call.
  Subscription set_event_callback(Event events, EventCallback callback) {
    auto* queue = this->queue();
    if (queue == nullptr) throw HandleClosed("set_event_callback", "the handle is not this process'", EBADF);
    return queue->g.set_event_callback(events, std::move(callback));
  }

  /// Guestfs::launch_info(), at once.
  std::optional<LaunchInfo> launch_info() const {
    auto* queue = this->queue();
    return queue != nullptr ? queue->g.launch_info() : std::nullopt;
  }

  /// Guestfs::open_disk().
  boost::future<ImageInfo> open_disk(std::filesystem::path path, OpenDiskOptions options = {}) {
    return this->add("open_disk", [path = std::move(path), options = std::move(options)](Guestfs& g) {
      return g.open_disk(path, options);
    });
  }

  /// Guestfs::user_cancel(), at once. It is lost when it comes before the transfer begins; cancel() is not.
  boost::future<void> user_cancel() {
    if (auto* queue = this->queue()) queue->g.user_cancel();
    return boost::make_ready_future();
  }
};

using AsyncGuestfs = basic_async_guestfs<detail::async_core>;

}  // namespace guestkit::inline GUESTKIT_FORM
