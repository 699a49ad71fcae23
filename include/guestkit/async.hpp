// The handle for programs that must not block: every call returns a future at once.
//
// Calls wait in their handle's queue and run on a pool of threads, one at a time per handle, so a busy handle
// starves no other.
//
// guestkit.hpp does not include it, because that header does without Boost: build with guestkit-async.
#pragma once

#if !defined BOOST_THREAD_VERSION || BOOST_THREAD_VERSION < 5
#error "guestkit/async.hpp needs BOOST_THREAD_VERSION=5 before any Boost header: build with guestkit-async"
#endif

#include <filesystem>
#include <optional>
#include <utility>

#include "guestkit/detail/async/async_core.hpp"
#include "guestkit/detail/async/boost_future.hpp"
#include "guestkit/detail/base/form.hpp"
#include "guestkit/executor.hpp"
#include "guestkit/generated/async_actions.hpp"
#include "guestkit/guestkit.hpp"
#include "guestkit/mounted.hpp"
#include "guestkit/open_disk.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Provides get() and then(). A continuation runs on its own thread unless then() is given an executor.
template <class T>
using future = boost::future<T>;

/// A Guestfs whose calls return at once: each method returns a future of the result of Guestfs' method.
///
///     guestkit::AsyncGuestfs g;
///     g.add_drive_ro("disk.qcow2");
///     g.launch();
///     for (const auto& root : g.inspect_os().get()) …
///
/// A call is queued when it is made, whether or not anybody waits for its future, and keeps copies of its
/// arguments; only the domain of add_libvirt_dom() must live until the future is ready. future::get() throws
/// the call's errors; the call itself throws HandleClosed and errors about its arguments.
///
/// Ownership: move-only. The destructor lets pending calls finish, as close() does, unless the stack is being
/// unwound by an exception: then it cancels them. Threads: any thread may call at any time.
template <class Core>
class basic_async_guestfs : public detail::async_actions<Core> {
 public:
  /// Takes the options of Guestfs, and the executor on which the calls run, which must outlive the handle.
  using detail::async_actions<Core>::async_actions;

  /// Runs function(Guestfs&) on the blocking handle, as one turn of the handle: many calls for one hop
  /// between threads. A cancel ends the call that is running inside the function and refuses all its later
  /// calls.
  template <class F>
  auto run(F function) {
    return this->add("run", [function = std::move(function)](Guestfs& g) mutable { return function(g); });
  }

  /// Cancels every call made so far. Waiting calls never run; the running one is ended as by
  /// Guestfs::cancel(). Their futures throw Error with EINTR, or ApplianceKilled if the hypervisor had to be
  /// killed.
  void cancel() {
    if (const auto queue = this->queue()) queue->cancel();
  }

  /// Kills whatever runs for the handle and does not wait: Guestfs::terminate(). Waiting and later calls
  /// throw HandleClosed.
  void terminate() {
    if (const auto queue = this->queue()) queue->terminate();
  }

  /// Accepts no new calls, lets pending ones finish, then closes the handle. Closing twice is harmless. If it
  /// fails, as Guestfs::close() may, the handle stays open.
  boost::shared_future<void> close() {
    const auto queue = this->queue();
    return queue != nullptr ? queue->close() : boost::make_ready_future().share();
  }

  bool is_open() const {
    const auto queue = this->queue();
    return queue != nullptr && queue->is_open();
  }

  /// Guestfs::set_event_callback(), without queueing. The callback runs on the thread of the call.
  Subscription set_event_callback(Event events, EventCallback callback) {
    return this->existing_queue("set_event_callback")->g.set_event_callback(events, std::move(callback));
  }

  /// Guestfs::launch_info(), without queueing.
  std::optional<LaunchInfo> launch_info() const {
    const auto queue = this->queue();
    return queue != nullptr ? queue->g.launch_info() : std::nullopt;
  }

  /// Guestfs::open_disk().
  future<ImageInfo> open_disk(std::filesystem::path path, OpenDiskOptions options = {}) {
    return this->add("open_disk", [path = std::move(path), options = std::move(options)](Guestfs& g) {
      return g.open_disk(path, options);
    });
  }

  /// Guestfs::mounted(). The future is ready when the directory can be used. From then on other calls throw,
  /// as Mounted says, and cancel() and close() unmount it. Unmounting blocks, also in the destructor of a
  /// Mounted that nobody takes from the future.
  future<Mounted> mounted(std::filesystem::path directory, MountedOptions options = {}) {
    const auto mount = [directory = std::move(directory), options](Guestfs& g) {
      return g.mounted(directory, options);
    };
    return this->add("mounted", mount, false);
  }

  /// Guestfs::user_cancel(), without queueing. It is lost if it arrives before the transfer begins; cancel()
  /// is not.
  future<void> user_cancel() {
    if (const auto queue = this->queue()) queue->g.user_cancel();
    return boost::make_ready_future();
  }
};

using AsyncGuestfs = basic_async_guestfs<detail::async_core>;

}  // namespace guestkit::inline GUESTKIT_FORM
