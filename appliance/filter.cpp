#include "filter.hpp"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace appliance {

namespace {

#if defined(__x86_64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t architecture = AUDIT_ARCH_AARCH64;
#else
constexpr std::uint32_t architecture = 0;  // nobody has looked at its calls
#endif

// Younger than the headers of some systems. These numbers are the same for all architectures.
constexpr int quotactl_fd = 443, process_mrelease = 448, fchmodat2 = 452, setxattrat = 463, getxattrat = 464,
              listxattrat = 465, removexattrat = 466, open_tree_attr = 467, file_getattr = 468,
              file_setattr = 469, set_delegation = 1040;

// clang-format off

/// Refused whatever the arguments are: no appliance needs them. QEMU's own filter ends QEMU for some of them.
constexpr auto refused = std::to_array<int>({
    // modes, owners, times and attributes of files, and watching them: Landlock knows none of that
    SYS_fchmod, SYS_fchmodat, fchmodat2, SYS_fchown, SYS_fchownat, SYS_utimensat, SYS_setxattr, SYS_lsetxattr,
    SYS_fsetxattr, setxattrat, SYS_getxattr, SYS_lgetxattr, SYS_fgetxattr, getxattrat, SYS_listxattr,
    SYS_llistxattr, SYS_flistxattr, listxattrat, SYS_removexattr, SYS_lremovexattr, SYS_fremovexattr,
    removexattrat, file_getattr, file_setattr, SYS_inotify_add_watch, SYS_fanotify_init,
    SYS_name_to_handle_at, SYS_open_by_handle_at,
#ifdef SYS_chmod  // younger architectures have only the forms above
    SYS_chmod, SYS_chown, SYS_lchown, SYS_utime, SYS_utimes, SYS_futimesat,
#endif
    // to shorten files, which older Landlocks do not know
    SYS_truncate,
#ifdef SYS_creat
    SYS_creat,
#endif
    // keys
    SYS_keyctl, SYS_add_key, SYS_request_key,
    // other processes, and what all processes of a user share
    SYS_kill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo, SYS_pidfd_open, SYS_pidfd_getfd,
    SYS_pidfd_send_signal, SYS_ptrace, SYS_process_vm_readv, SYS_process_vm_writev, SYS_process_madvise,
    process_mrelease, SYS_kcmp, SYS_move_pages, SYS_migrate_pages, SYS_ioprio_set, SYS_setpriority,
    SYS_sched_setattr, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setaffinity, SYS_shmget, SYS_shmat,
    SYS_shmctl, SYS_semget, SYS_semop, SYS_semtimedop, SYS_semctl, SYS_msgget, SYS_msgsnd, SYS_msgrcv,
    SYS_msgctl, SYS_mq_open, SYS_mq_unlink,
#ifdef __GLIBC__  // musl sends a program's own threads signals by it
    SYS_tkill,
#endif
    // wide doors into the kernel, where faults are found
    SYS_bpf, SYS_perf_event_open, SYS_userfaultfd, SYS_io_uring_setup, SYS_io_uring_enter,
    SYS_io_uring_register, SYS_personality,
#ifdef SYS_modify_ldt
    SYS_modify_ldt, SYS_iopl, SYS_ioperm,
#endif
    // mounts and namespaces
    SYS_mount, SYS_umount2, SYS_pivot_root, SYS_chroot, SYS_open_tree, open_tree_attr, SYS_move_mount,
    SYS_fsopen, SYS_fsconfig, SYS_fsmount, SYS_fspick, SYS_mount_setattr, SYS_unshare, SYS_setns,
    // the host
    SYS_kexec_load, SYS_kexec_file_load, SYS_init_module, SYS_finit_module, SYS_delete_module, SYS_reboot,
    SYS_swapon, SYS_swapoff, SYS_acct, SYS_quotactl, quotactl_fd, SYS_syslog, SYS_settimeofday,
    SYS_clock_settime, SYS_clock_adjtime, SYS_adjtimex, SYS_sethostname, SYS_setdomainname, SYS_vhangup,
});

// clang-format on

/// Their arguments lie in memory, where no filter sees them. To programs the kernel does not know these
/// calls, so that they make older ones.
constexpr auto unknown = std::to_array<int>({SYS_clone3, SYS_openat2});

/// The types of the requests of ioctl(2) that are allowed. None is a filesystem's: those change a file's
/// attributes, or make a disk immutable, and many need no more than a file that is open to be read.
constexpr auto request_types = std::to_array<std::uint32_t>({
    0xAE00,  // KVM
    0x1200,  // block devices
    0x5300,  // CD-ROM
    0x5400,  // terminals, and all descriptors: FIONBIO
    0x8900,  // sockets
});
constexpr std::uint32_t request_type = 0xFF00;

/// The request of XFS, and of what else has it, for the alignment of direct reads.
constexpr std::uint32_t direct_alignment = _IOC(_IOC_READ, 'X', 30, 3 * sizeof(std::uint32_t));

constexpr std::uint32_t namespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

/// A program of the kernel's for its filter: a list of tests, each of which ends in a verdict or leads to the
/// next.
class Filter {
 public:
  Filter() {
    load(offsetof(seccomp_data, arch));
    jump(BPF_JEQ, architecture, 1, 0);
    end(SECCOMP_RET_KILL_PROCESS);
    load(offsetof(seccomp_data, nr));
#ifdef __x86_64__  // where the same calls have other numbers too: x32
    jump(BPF_JGE, 0x40000000, 0, 1);
    end(SECCOMP_RET_KILL_PROCESS);
#endif
  }

  void refuse(std::span<const int> calls, std::uint32_t error) {
    for (const int call : calls) {
      jump(BPF_JEQ, number(call), 0, 1);
      end(SECCOMP_RET_ERRNO | error);
    }
  }

  /// Refuses the call if its argument has any of these bits.
  /// @param argument  which of its arguments, from 0
  void refuse_bits(int call, unsigned argument, std::uint32_t bits) {
    look_at(call, argument, 2);
    jump(BPF_JSET, bits, 0, 1);
    end(denied);
    load(offsetof(seccomp_data, nr));
  }

  /// Refuses the call if its argument is one of these.
  void refuse_values(int call, unsigned argument, std::span<const std::uint32_t> values) {
    look_at(call, argument, 2 * values.size());
    for (const auto value : values) {
      jump(BPF_JEQ, value, 0, 1);
      end(denied);
    }
    load(offsetof(seccomp_data, nr));
  }

  /// Refuses the call unless its argument is one of these, or has one of the kinds in the bits for it.
  void allow_kinds(int call, unsigned argument, std::span<const std::uint32_t> values, std::uint32_t bits,
                   std::span<const std::uint32_t> kinds) {
    look_at(call, argument, values.size() + kinds.size() + 2);
    for (std::size_t left = values.size(); left > 0; --left)
      jump(BPF_JEQ, values[values.size() - left], left + kinds.size() + 1, 0);
    code_.push_back(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, bits));
    for (std::size_t left = kinds.size(); left > 0; --left)
      jump(BPF_JEQ, kinds[kinds.size() - left], left, 0);
    end(denied);
    load(offsetof(seccomp_data, nr));
  }

  /// Refuses the call unless its argument is one of these.
  void allow_values(int call, unsigned argument, std::span<const std::uint32_t> values) {
    look_at(call, argument, values.size() + 1);
    for (std::size_t left = values.size(); left > 0; --left)
      jump(BPF_JEQ, values[values.size() - left], left, 0);
    end(denied);
    load(offsetof(seccomp_data, nr));
  }

  bool install() {
    end(SECCOMP_RET_ALLOW);
    const sock_fprog program{.len = static_cast<unsigned short>(code_.size()), .filter = code_.data()};
    return ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) == 0;
  }

 private:
  static constexpr std::uint32_t denied = SECCOMP_RET_ERRNO | EACCES;

  static std::uint32_t number(int call) {
    return static_cast<std::uint32_t>(call);
  }

  void load(std::size_t offset) {
    code_.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
  }
  void end(std::uint32_t verdict) {
    code_.push_back(BPF_STMT(BPF_RET | BPF_K, verdict));
  }
  /// Skips as many instructions as are told for either outcome of the test.
  void jump(unsigned test, std::uint32_t value, std::size_t if_true, std::size_t if_false) {
    code_.push_back(BPF_JUMP(static_cast<std::uint16_t>(BPF_JMP | test | BPF_K), value,
                             static_cast<std::uint8_t>(if_true), static_cast<std::uint8_t>(if_false)));
  }
  /// Loads an argument of the call, whose low half comes first. Of another call it skips the test too, which
  /// has that many instructions, and the one after it, which loads the call's number again.
  void look_at(int call, unsigned argument, std::size_t test) {
    jump(BPF_JEQ, number(call), 0, test + 2);
    load(offsetof(seccomp_data, args) + argument * sizeof(std::uint64_t));
  }

  std::vector<sock_filter> code_;
};

using Values = std::vector<std::uint32_t>;

}  // namespace

bool filter_calls(bool network) {
  if (architecture == 0) {
    errno = ENOSYS;
    return false;
  }
  const auto self = static_cast<std::uint32_t>(::getpid());
  Filter filter;
  filter.refuse(refused, EACCES);
  filter.refuse(unknown, ENOSYS);
  filter.refuse_bits(SYS_clone, 0, namespaces);
  filter.allow_values(SYS_tgkill, 0, Values{self});
  filter.allow_values(SYS_prlimit64, 0, Values{0, self});
  filter.refuse_bits(SYS_openat, 2, O_TRUNC);  // as truncate
#ifdef SYS_open
  filter.refuse_bits(SYS_open, 1, O_TRUNC);
#endif
  // to have the kernel signal another process, to make others wait for a file, and to watch it
  filter.refuse_values(SYS_fcntl, 1,
                       Values{F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE, set_delegation, F_NOTIFY});
  // to have the kernel signal another process, and to type into a terminal
  filter.refuse_values(SYS_ioctl, 1, Values{FIOSETOWN, SIOCSPGRP, TIOCSTI, TIOCLINUX});
  filter.allow_kinds(SYS_ioctl, 1, Values{FICLONE, FICLONERANGE, direct_alignment}, request_type,
                     request_types);
  filter.allow_values(SYS_socket, 0, network ? Values{AF_INET, AF_INET6} : Values{});
  // One for datagrams sends them to any name.
  filter.allow_values(SYS_socketpair, 1,
                      Values{SOCK_STREAM, SOCK_STREAM | SOCK_CLOEXEC, SOCK_STREAM | SOCK_NONBLOCK,
                             SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK});
  return filter.install();
}

bool drop_capabilities() {
  constexpr std::uint32_t kept = 1U << CAP_DAC_OVERRIDE | 1U << CAP_DAC_READ_SEARCH;
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // Who may not do that gains none by becoming a program either, since the process has no_new_privs.
  for (unsigned long each = 0; ::prctl(PR_CAPBSET_READ, each, 0, 0, 0) >= 0; ++each)
    if (each >= 32 || (kept >> each & 1U) == 0) ::prctl(PR_CAPBSET_DROP, each, 0, 0, 0);
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, _LINUX_CAPABILITY_U32S_3> sets{};
  if (::syscall(SYS_capget, &header, sets.data()) != 0) return false;
  const std::uint32_t left = sets[0].permitted & kept;
  sets = {};
  sets[0].permitted = sets[0].effective = left;
  return ::syscall(SYS_capset, &header, sets.data()) == 0;
}

}  // namespace appliance
