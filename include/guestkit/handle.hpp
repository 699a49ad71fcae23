// The handle: creating and closing it, what it is made with.
#pragma once

#include <guestfs.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "guestkit/detail/base/form.hpp"
#include "guestkit/detail/call/call.hpp"
#include "guestkit/detail/launch/host.hpp"
#include "guestkit/event.hpp"

namespace guestkit::inline GUESTKIT_FORM {

/// Who runs the appliance's processor.
enum class Accel {
  automatic,  ///< KVM where it works, else TCG, with one log line
  kvm,        ///< KVM or a failed launch
  tcg,        ///< emulation: works everywhere, several times slower
};

/// Kernel arguments that make an emulated appliance start and run faster: tuning_arguments().
enum class Tuning {
  automatic,  ///< where the appliance is emulated and QEMU is the system's own
  none,       ///< never
};

/// What a handle is made with.
struct HandleOptions {
  /// Take LIBGUESTFS_* and TMPDIR from the environment: guestfs(3), "ENVIRONMENT VARIABLES". A variable that
  /// is empty counts as unset; one that makes no sense is an Error that names it.
  bool environment = true;
  Accel accel = Accel::automatic;
  Tuning tuning = Tuning::automatic;
  /// "auto": the fastest one that guestkit has built, while it fits what is installed; "system": libguestfs'
  /// own; "inspection": as "auto", for inspection alone, since augeas then knows the files that inspect_os
  /// reads and no others; or the directory of one, a fixed appliance too. "auto" leaves it to set_path(),
  /// set_hv(), LIBGUESTFS_PATH and LIBGUESTFS_HV where the user has set one of them.
  std::string appliance = "auto";
  /// Where guestkit's own log lines go; warnings and errors go to stderr if it is empty.
  LogSink log = {};
  /// The least that the log takes. With debug it gets what libguestfs traces and what the appliance writes,
  /// which then does not go to stderr; secrets are replaced by ***.
  LogLevel log_level = LogLevel::info;
  Limits limits = {};
};

namespace detail {

/// A name of the same hypervisor that does not make libguestfs write beyond its memory: it puts a shell's
/// command line together in 256 bytes, 512 and so on, and looks only before a piece of it whether there is
/// room for one character. The name's own pieces are single characters: it has to be the one that fills the
/// bytes.
inline std::string harmless_name(std::string path) {
  constexpr std::size_t before = 80, around = 220;  // of the rest: less and more than it is in any version
  std::size_t length = path.size();
  for (const char c : path)
    if (std::string_view("$`\\\"").find(c) != std::string_view::npos) ++length;  // gets a backslash
  const auto slash = path.find('/');
  if (length <= 60 || slash == std::string::npos) return path;  // all of it fits
  if (::access(path.c_str(), X_OK) != 0) return path;           // it will not be run
  std::size_t size = 512;
  while (length + around > size) size *= 2;
  if (const auto least = size / 2 - before; length < least) path.insert(slash, least - length, '/');
  return path;
}

/// Where libguestfs has the guest connect to, from QEMU's command line, in which a comma is doubled; empty if
/// that is not told.
inline std::string socket_directory(const std::string& command) {
  const auto end = command.find("/guestfsd.sock");
  const auto word = end == std::string::npos ? end : command.rfind("path=", end);
  if (word == std::string::npos) return "";
  std::string directory;
  for (auto at = word + 5; at < end; ++at) {
    directory += command[at];
    if (command.compare(at, 2, ",,") == 0) ++at;
  }
  return directory;
}

/// guestfs_h and the rules of its life. Move-only; the actions are in generated/actions.hpp.
template <class T = void>
class basic_handle {
 public:
  using call_scope = basic_call_scope<T>;
  using turn = basic_turn<T>;

  explicit basic_handle(const HandleOptions& options = {})
      : state_(std::make_shared<basic_handle_state<T>>()), accel_(options.accel) {
    wish_.tuning = options.tuning;
    wish_.appliance = options.appliance;
    state_->log = options.log;
    state_->log_level = options.log_level;
    state_->h = create();
    state_->work->h = state_->h;
    state_->work->limits = options.limits;
    wish_.path = invoke<std::string>("create", guestfs_get_path).lift();
    wish_.hypervisor = invoke<std::string>("create", guestfs_get_hv).lift();
    wish_.path_given = options.environment && is_set("LIBGUESTFS_PATH");
    wish_.hypervisor_given = options.environment && (is_set("LIBGUESTFS_HV") || is_set("LIBGUESTFS_QEMU"));
    // The environment here, not by guestfs_create: there a bad variable is only printed to stderr.
    if (options.environment) read_environment();
    if (is_set("LIBGUESTFS_DEBUG")) state_->verbose = invoke<bool>("get_verbose", guestfs_get_verbose).lift();
    if (is_set("LIBGUESTFS_TRACE")) state_->traces = invoke<bool>("get_trace", guestfs_get_trace).lift();
    guestfs_set_event_callback(state_->h, &deliver<T>, GUESTFS_EVENT_ALL, 0, state_.get());
    const bool backend_given = is_set("LIBGUESTFS_BACKEND") || is_set("LIBGUESTFS_ATTACH_METHOD");
    if (!options.environment || !backend_given)
      invoke<void>("set_backend", guestfs_set_backend, cstr("direct"));
    if (state_->wants(LogLevel::debug)) invoke<void>("set_trace", guestfs_set_trace, true);
    use_private_tmpdir();
  }

  basic_handle(basic_handle&&) noexcept = default;
  basic_handle& operator=(basic_handle&& other) noexcept {
    if (this != &other) {
      finish();
      state_ = std::move(other.state_);
      accel_ = other.accel_;
      wish_ = std::move(other.wish_);
      tmpdir_ = std::move(other.tmpdir_);
    }
    return *this;
  }
  ~basic_handle() { finish(); }

  /// Ends the appliance and frees the handle. Waits for calls that other threads have in it; later calls
  /// throw HandleClosed. Closing twice is harmless. Errors of the guest's last writes are not told here:
  /// call shutdown() first where they matter. From one of the handle's own callbacks it throws Error.
  void close() {
    const auto state = state_;  // a callback of the close event may destroy this object
    if (!state || state->generation != fork_generation()) return;
    if (state->work->is_mine())
      throw Error("close",
                  "called from inside a call on this handle, by an event callback; close it afterwards",
                  EDEADLK);
    if (!state->work->begin_close()) return;
    state->end();
    if (state->wants(LogLevel::debug)) log(*state, LogLevel::debug, "close: the handle is closed");
    state->work->end_close();
  }

  /// Ends the call that another thread has running on the handle, if there is one; returns at once.
  ///
  /// A transfer stops and the handle goes on working, as after user_cancel(), but no cancel is lost. What has
  /// not stopped after Limits::cancel_grace is ended by killing the hypervisor; a launch is at once. The call
  /// throws Error with EINTR, or ApplianceKilled, which every later call then throws too.
  void cancel() {
    if (state_ && state_->generation == fork_generation()) state_->work->cancel();
  }

  /// Kills what runs for the handle: its hypervisor, or what it starts before. Waits for nothing, not even
  /// for a call that is running, which throws ApplianceKilled as every later one but close(). What a guest
  /// has not written to its disks yet is lost. Harmless on a closed handle.
  ///
  /// Threads: any; not async-signal-safe.
  void terminate() {
    if (state_ && state_->generation == fork_generation()) state_->work->terminate();
  }

  /// The C handle, for functions that guestkit does not wrap. Null when closed. It stays owned by this
  /// object; an error handler set on it must be taken back before the next call through guestkit.
  /// What is done with it guestkit does not know: such a handle restores no warm appliance.
  guestfs_h* native() const noexcept {
    if (!is_open()) return nullptr;
    state_->native_given = true;
    return state_->h;
  }

  /// Whether no call is inside the handle at this moment.
  bool is_idle() const noexcept {
    return state_ && state_->generation == fork_generation() && state_->work->is_idle();
  }

  bool is_open() const noexcept {
    return state_ && state_->generation == fork_generation() && state_->work->is_open();
  }

  /// What the handle is made of, for what guestkit builds upon the actions.
  friend std::shared_ptr<basic_handle_state<T>> state_of(const basic_handle& h) noexcept { return h.state_; }

 protected:
  template <class R, class F, class... A>
  c_result<R> invoke(const action& op, F fn, const A&... arguments) {
    return detail::call<R>(state_, op, fn, arguments...);
  }

  /// A call that gives the machine something.
  template <class R, class F, class... A>
  c_result<R> add(const action& op, F fn, const A&... arguments) {
    const turn mine(state_, op.name);
    auto result = invoke<R>(op, fn, arguments...);
    const bool disk = std::string_view(op.name) != "config";
    if (state_->disks_gone.exchange(false))
      std::erase_if(state_->additions, [](const auto& earlier) { return earlier.disk; });
    if constexpr ((std::is_pointer_v<A> || ...))  // a libvirt domain, which may be gone the next time
      state_->additions.push_back({disk, [](guestfs_h*) { return false; }});
    else
      state_->additions.push_back(
          {disk, [fn, kept = std::tuple(detail::keep(arguments)...)](guestfs_h* h) {
             return std::apply(
                 [&](const auto&... a) { return !c_result<R>::failed(fn(h, lower(detail::view(a))...)); },
                 kept);
           }});
    return result;
  }

  basic_subscription<T> subscribe(Event events, EventCallback callback) {
    return basic_subscription<T>(state_, events, std::move(callback));
  }

  /// Who makes a call copies it: another thread may destroy this object as soon as the call has ended.
  const std::shared_ptr<basic_handle_state<T>>& state() const noexcept { return state_; }

  /// Has libguestfs make its files in a directory of ours beneath the one that it would take itself.
  void use_private_tmpdir() {
    tmpdir_ = invoke<std::string>("get_tmpdir", guestfs_get_tmpdir).lift();
    try {
      state_->temporary = basic_scratch<T>::beneath(tmpdir_);
    } catch (const std::system_error& e) {  // libguestfs says so to whom needs the directory
      log(*state_, LogLevel::debug, std::string("no private temporary directory: ") + e.what());
      return;
    }
    invoke<void>("set_tmpdir", guestfs_set_tmpdir, std::optional(cstr(state_->temporary->path())));
  }

  const std::string& tmpdir() const noexcept { return tmpdir_; }

  /// Gives the hypervisor a name by which it is found when it is to be killed. The libvirt backend takes
  /// none.
  void name_hypervisor() {
    state_->work->hypervisor = invoke<std::string>("launch", guestfs_get_hv).lift();
    auto& name = state_->work->hypervisor_name;
    if (!name.empty() || invoke<std::string>("launch", guestfs_get_backend).lift() != "direct") return;
    name = "guestkit-" + std::to_string(::getpid()) + "-" + std::to_string(state_->serial);
    invoke<int>("launch", guestfs_config, cstr("-name"), std::optional(cstr(name)));
  }

  /// Gives launch() its limit, where the user gave none.
  void limit_launch() {
    auto& limit = state_->work->limits.launch;
    if (limit) return;
    const auto settings = invoke<string_list>("launch", guestfs_get_backend_settings).lift();
    bool emulated = false;
    for (const auto& setting : settings) emulated = emulated || setting.starts_with("force_tcg");
    limit = emulated ? Seconds(300) : Seconds(60);
  }

  void cancel_transfer() {
    const call_scope scope(state_, "user_cancel", false);
    state_->work->cancel_transfer();
  }

  void forget_appliance() noexcept {
    state_->work->launched = false;
    state_->disks_gone = true;
  }

  void check_appliance() {
    const auto path = invoke<std::string>("launch", guestfs_get_path).lift();
    if (const auto fault = damaged_appliance(path); !fault.empty())
      throw LaunchError("launch", "the fixed appliance is damaged: " + fault, 0);
  }

  /// Settles who runs the appliance's processor, unless the user's backend settings say so already.
  /// @param begin  of the launch, whose limit and end this heeds
  void choose_accelerator(std::chrono::steady_clock::time_point begin) {
    const auto settings = invoke<string_list>("launch", guestfs_get_backend_settings).lift();
    bool chosen = false;
    for (const auto& setting : settings)
      chosen = chosen || setting.starts_with("force_tcg") || setting.starts_with("force_kvm");
    if (accel_ == Accel::automatic) {
      if (chosen || invoke<std::string>("launch", guestfs_get_backend).lift() != "direct") return;
      const auto kvm = kvm_status(invoke<std::string>("launch", guestfs_get_hv).lift(),
                                  [begin, state = state_] { end_if_over(*state, begin); });
      if (kvm.usable) return;
      static std::atomic_flag said = ATOMIC_FLAG_INIT;
      say_once(said, "KVM cannot be used, the appliance is emulated (TCG, slow): " + kvm.reason);
    } else if (chosen) {
      invoke<int>("launch", guestfs_clear_backend_setting, cstr("force_tcg"));
      invoke<int>("launch", guestfs_clear_backend_setting, cstr("force_kvm"));
    }
    invoke<void>("launch", guestfs_set_backend_setting,
                 cstr(accel_ == Accel::kvm ? "force_kvm" : "force_tcg"), cstr("1"));
  }

  /// Throws if the launch was stopped, or has taken longer than it may, before libguestfs' part of it.
  static void end_if_over(basic_handle_state<T>& state, std::chrono::steady_clock::time_point begin) {
    state.work->throw_if_stopped("launch", "", EINTR, {});
    const auto limit = state.work->limits.launch;
    if (limit && std::chrono::steady_clock::now() - begin >= *limit)
      throw CallTimeout(
          "launch",
          "took longer than " + shown(*limit) + " (launch_timeout) and was stopped; the handle can be used",
          ETIMEDOUT, limit->count(), "launch_timeout");
  }

  /// Who runs the processor, after choose_accelerator(); empty where libguestfs' backend decides.
  std::string accelerator() {
    if (invoke<std::string>("launch", guestfs_get_backend).lift() != "direct") return "";
    for (const auto& setting : invoke<string_list>("launch", guestfs_get_backend_settings).lift())
      if (setting.starts_with("force_tcg")) return "tcg";
    return "kvm";
  }

  /// The appliance and the kernel arguments for a launch, from what the user wished and what there is.
  ApplianceChoice choose_appliance(const std::string& accelerator) {
    const bool own_path =
        wish_.path_given || invoke<std::string>("launch", guestfs_get_path).lift() != wish_.path;
    const bool own_hypervisor =
        wish_.hypervisor_given || invoke<std::string>("launch", guestfs_get_hv).lift() != wish_.hypervisor;
    const bool inspection = wish_.appliance == "inspection";
    const bool automatic = wish_.appliance == "auto" || inspection;
    const bool directory = !automatic && wish_.appliance != "system";
    ApplianceChoice choice;
    if (accelerator.empty())
      choice.reason = "libguestfs' backend is not direct";
    else if (directory)
      choice = given_appliance(wish_.appliance);
    else if (own_path)
      choice = {.mode = ApplianceMode::fixed, .reason = "the search path is the user's"};
    else if (own_hypervisor)
      choice.reason = "the hypervisor is the user's";
    else if (wish_.appliance == "system")
      choice.reason = "demanded";
    else
      choice = best_appliance(accelerator);
    if (!accelerator.empty() && !own_hypervisor && wish_.tuning == Tuning::automatic)
      choice.append = tuning_arguments(accelerator == "tcg", acpi_is_spare());
    const bool ours = choice.mode == ApplianceMode::lean || choice.mode == ApplianceMode::warm;
    if (inspection && ours) choice.append += " guestkit_lenses=few";
    return choice;
  }

  /// Tells what would make an emulated launch fast: libguestfs' own appliance needs some 15 seconds for it.
  void advise(const ApplianceChoice& choice, const std::string& accelerator) const {
    static std::atomic_flag said = ATOMIC_FLAG_INIT;
    if (choice.buildable && accelerator == "tcg")
      say_once(said,
               "launch: " + choice.reason +
                   ", so launches take up to ten times as long; to build one: guestkit appliance build");
  }

  /// Waits until there is memory for the appliance.
  void admit(ApplianceMode mode) {
    const auto state = state_;
    state->memory.give_back();
    state->work->off_the_clock([&] {
      state->memory = admission::shared().take(appliance_memory(mode), state->work->limits.admission, [&] {
        state->work->throw_if_stopped("launch", "", EINTR, {});
      });
    });
  }

  using Setting = launch_setting;
  using covered_setting = typename basic_handle_state<T>::covered_setting;

  /// Sets what a launch needs. libguestfs takes settings only while no appliance runs, so the user's are put
  /// back before the next launch; the getters tell the user's all the while.
  void apply(const ApplianceChoice& choice) {
    put_settings_back();
    if (!invoke<bool>("launch", guestfs_is_config).lift()) return;  // launch itself says what is wrong
    if (!choice.directory.empty()) cover(Setting::path, current(Setting::path), choice.directory);
    const auto user = current(Setting::hypervisor);
    const auto hypervisor = harmless_name(choice.hypervisor.empty() ? *user : choice.hypervisor);
    if (hypervisor != user) cover(Setting::hypervisor, user, hypervisor);
    if (!choice.cache.empty()) cover(Setting::cachedir, current(Setting::cachedir), choice.cache);
    if (choice.append.empty()) return;
    const auto own = current(Setting::append);
    cover(Setting::append, own, choice.append + (own ? ' ' + *own : ""));
  }

  /// Launches with what apply() has set. A restore that fails is repeated as a boot, once, on a fresh C
  /// handle: libguestfs has forgotten the disks of the old one, or not. Returns what the appliance is in the
  /// end.
  ApplianceChoice start(ApplianceChoice choice) {
    verdict("");
    try {
      invoke<void>("launch", guestfs_launch);
    } catch (const LaunchError& e) {
      if (choice.mode != ApplianceMode::warm || verdict().empty() || verdict().starts_with(warm::normal_boot))
        throw;
      choice.reason =
          "the warm appliance failed: " + (verdict() == warm::restoring ? e.message() : verdict());
      log(*state_, LogLevel::warning, choice.reason + "; launching again without it");
      choice.mode = ApplianceMode::lean;
      choice.hypervisor.clear();
      choice.cache.clear();
      if (!renew()) throw;
      state_->console.clear();
      apply(choice);
      name_hypervisor();
      invoke<void>("launch", guestfs_launch);
    }
    if (choice.mode == ApplianceMode::warm && verdict() != warm::restoring) {
      choice.mode = ApplianceMode::lean;
      const auto said = verdict();
      choice.reason = said.size() < warm::normal_boot.size() ? "" : said.substr(warm::normal_boot.size());
    }
    return choice;
  }

  /// Has a sweep find the directory of the appliance's socket, should this process be killed.
  void note_sockets() {
    const auto state = state_;
    if (!state->temporary) return;
    std::string command;
    try {
      command = file_of(invoke<int>("launch", guestfs_get_pid).lift(), "cmdline");
    } catch (const Error&) {  // not with every backend
      return;
    }
    state->temporary->note_sockets(state->serial, socket_directory(command));
  }

  void put_settings_back() noexcept try {
    for (const auto setting : {Setting::path, Setting::hypervisor, Setting::cachedir, Setting::append})
      if (const auto user = covered(setting); user.is_covered) {
        change(setting, user.own);
        uncover(setting);
      }
  } catch (const std::exception&) {  // the appliance runs: later
  }

  /// What the user set, if a launch has put something else in its place.
  covered_setting covered(Setting setting) {
    const auto state = state_;
    if (!state) return {};
    const std::lock_guard lock(state->launch_mutex);
    return state->covered.at(static_cast<std::size_t>(setting));
  }

  /// The user has set it anew.
  void uncover(Setting setting) { keep(setting, {}); }

  void finish() noexcept {
    try {
      close();
    } catch (const std::exception& e) {
      // Destroyed by its own callback: the last call that runs on it frees it.
      log(*state_, LogLevel::error, e.what());
    }
  }

 private:
  static guestfs_h* create() {
    // Not closed by libguestfs at exit: it would run callbacks into a program that is half gone.
    guestfs_h* h = guestfs_create_flags(GUESTFS_CREATE_NO_ENVIRONMENT | GUESTFS_CREATE_NO_CLOSE_ON_EXIT);
    if (h == nullptr) throw Error("create", "", errno);
    return h;
  }

  std::string verdict() {
    const std::lock_guard lock(state_->launch_mutex);
    return state_->verdict;
  }
  void verdict(const std::string& text) {
    const std::lock_guard lock(state_->launch_mutex);
    state_->verdict = text;
  }

  /// What can be set on a handle and asked of it. Disks and config() are neither: see add().
  static bool copy_settings(guestfs_h* from, guestfs_h* to) {
    bool all = true;
    const auto text = [&](auto get, auto set) {
      const auto value = get(from);
      all = set(to, value) == 0 && all;
      if constexpr (std::is_same_v<decltype(value), char* const>) std::free(value);
    };
    const auto list = [&](auto get, auto set) {
      const auto value = get(from);
      all = value != nullptr && set(to, value) == 0 && all;
      if (value != nullptr) c_release<string_list>()(value);
    };
    const auto number = [&](auto get, auto set) { all = set(to, get(from)) == 0 && all; };
    text(guestfs_get_append, guestfs_set_append);
    text(guestfs_get_backend, guestfs_set_backend);
    text(guestfs_get_cachedir, guestfs_set_cachedir);
    text(guestfs_get_hv, guestfs_set_hv);
    text(guestfs_get_identifier, guestfs_set_identifier);
    text(guestfs_get_path, guestfs_set_path);
    text(guestfs_get_program, guestfs_set_program);
    text(guestfs_get_tmpdir, guestfs_set_tmpdir);
    number(guestfs_get_autosync, guestfs_set_autosync);
    number(guestfs_get_memsize, guestfs_set_memsize);
    number(guestfs_get_network, guestfs_set_network);
    number(guestfs_get_pgroup, guestfs_set_pgroup);
    number(guestfs_get_recovery_proc, guestfs_set_recovery_proc);
    number(guestfs_get_smp, guestfs_set_smp);
    number(guestfs_get_verbose, guestfs_set_verbose);
    number(guestfs_get_trace, guestfs_set_trace);
    list(guestfs_get_backend_settings, guestfs_set_backend_settings);
    return all;
  }

  /// Puts a fresh C handle of the same configuration in the place of the one whose launch has failed.
  bool renew() {
    put_settings_back();
    guestfs_h* old = state_->h;
    guestfs_h* fresh = create();
    guestfs_set_error_handler(fresh, nullptr, nullptr);
    bool same = copy_settings(old, fresh);
    for (const auto& addition : state_->additions) same = same && addition.repeat(fresh);
    if (!same) {
      guestfs_close(fresh);
      return false;
    }
    guestfs_delete_event_callback(old, 0);  // nobody is to hear of its close
    guestfs_set_verbose(old, 0);
    guestfs_set_trace(old, 0);
    guestfs_set_event_callback(fresh, &deliver<T>, GUESTFS_EVENT_ALL, 0, state_.get());
    state_->h = fresh;
    state_->serial = next_serial();
    state_->disks_gone = false;
    state_->work->replace(fresh);
    guestfs_close(old);
    return true;
  }

  /// The fastest appliance of all caches; of equally fast ones that of the first.
  ApplianceChoice best_appliance(const std::string& accelerator) const {
    ApplianceChoice best;
    bool first = true;
    for (const auto& cache : appliance_caches()) {
      auto found = find_appliance(cache);
      if (found.mode == ApplianceMode::lean) found = restorable(found, accelerator);
      if (first || found.mode > best.mode) best = std::move(found);
      first = false;
    }
    return best;
  }

  /// The lean appliance, or the warm one where it may be restored.
  ApplianceChoice restorable(const ApplianceChoice& lean, const std::string& accelerator) const {
    if (accelerator != "tcg") return lean;  // with KVM it has not been tried
    if (!state_->native_given) return find_template(lean.directory);
    ApplianceChoice choice = lean;
    choice.reason = "the C handle is in use";
    return choice;
  }

  /// Takes what the environment says. Where libguestfs cannot, throws an Error that begins with the variable:
  /// libguestfs' own names the value alone, or the variable alone, or neither.
  void read_environment() {
    const auto variables = environment();
    const auto read = [&](const std::vector<cstr>& some) {
      invoke<void>("parse_environment", guestfs_parse_environment_list, cstr_list(some));
    };
    try {
      read(variables);
    } catch (const Error&) {
      for (const auto& variable : variables) try {
          read({variable});
        } catch (const Error& e) {
          const std::string text = variable.c_str();
          if (e.message().starts_with(text)) throw;
          throw Error(e.op(), text + ": " + e.message(), e.error_number());
        }
      throw;
    }
  }

  /// The environment without what makes libguestfs stop reading it: empty variables, which mean unset, and a
  /// runtime directory that is not there, as after su or in a container.
  static std::vector<cstr> environment() {
    std::vector<cstr> variables;
    for (char** variable = environ; variable != nullptr && *variable != nullptr; ++variable) {
      const std::string_view text = *variable;
      constexpr std::string_view runtime = "XDG_RUNTIME_DIR=";
      if (text.find('=') == text.size() - 1) continue;
      if (text.starts_with(runtime) && ::access(*variable + runtime.size(), F_OK) != 0) continue;
      variables.emplace_back(*variable);
    }
    return variables;
  }

  static bool is_set(const char* variable) noexcept {
    const char* value = std::getenv(variable);
    return value != nullptr && *value != '\0';
  }

  void keep(Setting setting, covered_setting user) {
    const std::lock_guard lock(state_->launch_mutex);
    state_->covered.at(static_cast<std::size_t>(setting)) = std::move(user);
  }

  void cover(Setting setting, const std::optional<std::string>& own, const std::string& value) {
    change(setting, value);
    keep(setting, {.is_covered = true, .own = own});
  }

  std::optional<std::string> current(Setting setting) {
    if (setting == Setting::append)
      return invoke<std::optional<std::string>>("launch", guestfs_get_append).lift();
    if (setting == Setting::path) return invoke<std::string>("launch", guestfs_get_path).lift();
    if (setting == Setting::cachedir) return invoke<std::string>("launch", guestfs_get_cachedir).lift();
    return invoke<std::string>("launch", guestfs_get_hv).lift();
  }

  void change(Setting setting, const std::optional<std::string>& value) {
    const auto text = value ? std::optional(cstr(*value)) : std::nullopt;
    if (setting == Setting::append)
      invoke<void>("launch", guestfs_set_append, text);
    else if (setting == Setting::path)
      invoke<void>("launch", guestfs_set_path, text);
    else if (setting == Setting::cachedir)
      invoke<void>("launch", guestfs_set_cachedir, text);
    else
      invoke<void>("launch", guestfs_set_hv, text);
  }

  /// What the user wished of launches, and what libguestfs would take by itself.
  struct launch_wish {
    Tuning tuning = Tuning::automatic;
    std::string appliance = {}, path = {}, hypervisor = {};
    bool path_given = false, hypervisor_given = false;
  };

  static ApplianceChoice given_appliance(const std::string& directory) {
    ApplianceChoice choice{.mode = ApplianceMode::fixed, .directory = directory};
    std::string fault;
    if (::access((directory + "/manifest").c_str(), F_OK) == 0) {
      const bool warm = ::access((directory + "/hypervisor").c_str(), F_OK) == 0;
      choice = warm ? template_in(directory) : ApplianceChoice{ApplianceMode::lean, directory};
      fault = appliance_fault(directory);
    } else if (::access((directory + "/README.fixed").c_str(), F_OK) != 0) {
      fault = directory + " is no fixed appliance: it has no README.fixed";
    } else {
      fault = damaged_appliance(directory);
    }
    if (!fault.empty()) throw LaunchError("launch", "the fixed appliance is damaged: " + fault, 0);
    choice.reason = "demanded";
    return choice;
  }

  /// libguestfs' machine: pc up to 1.50, q35 afterwards. acpi=off would also hide all processors but one.
  bool acpi_is_spare() {
    if (invoke<int>("launch", guestfs_get_smp).lift() != 1) return false;
    const call_scope scope(state_, "launch");
    struct guestfs_version* version = guestfs_version(scope.h());
    const bool spare = version != nullptr && version->major == 1 && version->minor < 51;
    guestfs_free_version(version);
    return spare;
  }

  /// One line for all handles of the process.
  void say_once(std::atomic_flag& said, const std::string& text) const {
    if (state_->log_level <= LogLevel::warning && !said.test_and_set()) log(*state_, LogLevel::warning, text);
  }

  std::shared_ptr<basic_handle_state<T>> state_;
  Accel accel_;
  launch_wish wish_;
  std::string tmpdir_;  // as the user sees it
};
using handle = basic_handle<>;

}  // namespace detail
}  // namespace guestkit::inline GUESTKIT_FORM
