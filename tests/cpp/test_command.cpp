// appliance/command.hpp: which launches a template fits.
#define BOOST_TEST_MODULE command
#include <algorithm>
#include <boost/test/unit_test.hpp>
#include <string>
#include <vector>

#include "../../appliance/command.hpp"

namespace {

using appliance::Parameters;
using appliance::Words;

/// What libguestfs 1.48 gives QEMU, shortened.
Words launch(const Words& disks = {}, const std::string& append = "panic=1 root=UUID=1 quiet TERM=xterm") {
  Words words{"-nodefaults", "-machine", "accel=tcg",
              "-m",          "1280",     "-kernel",
              "/a/kernel",   "-device",  "virtio-scsi-pci,id=scsi"};
  words.insert(words.end(), disks.begin(), disks.end());
  for (const char* word :
       {"-drive", "file=/a/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw", "-device",
        "scsi-hd,drive=appliance", "-chardev", "socket,path=/tmp/1/guestfsd.sock,id=channel0", "-append"})
    words.emplace_back(word);
  words.push_back(append);
  words.insert(words.end(), {"-name", "guestkit-1-1"});
  return words;
}

Words disk(const std::string& drive, const std::string& device = "scsi-hd,drive=hd0") {
  return {"-drive", drive, "-device", device};
}

std::string difference(const Words& given) {
  return appliance::difference(appliance::options(launch()), appliance::options(given));
}

/// The template's command line or, for a launch, that of a restored machine.
Words command(const std::vector<appliance::Option>& recorded, const std::vector<appliance::Option>* given) {
  const appliance::Machine machine{.root = "/r", .memory = "", .qmp = 5, .port = 6};
  return given != nullptr ? appliance::restored_command(recorded, *given, machine)
                          : appliance::template_command(recorded, machine);
}

Words replaced(Words words, const std::string& old, const std::string& fresh) {
  std::replace(words.begin(), words.end(), old, fresh);
  return words;
}

}  // namespace

BOOST_AUTO_TEST_CASE(parameters_are_read_as_qemu_reads_them) {
  const Parameters given("scsi-hd,file=/x,,id=appliance,,b.img,id=hd0,readonly");
  BOOST_TEST(given[""] == "scsi-hd");
  BOOST_TEST(given["file"] == "/x,id=appliance,b.img");
  BOOST_TEST(given["id"] == "hd0");
  BOOST_TEST(given["readonly"] == "on");
  BOOST_TEST(given["missing"] == "");
  BOOST_TEST(Parameters("")[""] == "");
}

BOOST_AUTO_TEST_CASE(a_launch_of_the_same_machine_fits) {
  BOOST_TEST(difference(launch()) == "");
  BOOST_TEST(difference(launch(disk("file=/d.img,cache=writeback,format=raw,id=hd0,if=none"))) == "");
  BOOST_TEST(difference(launch(disk("file=/x,,id=appliance,,b.img,format=qcow2,id=hd0,if=none",
                                    "scsi-hd,drive=hd0,serial=label,physical_block_size=4096"))) == "");
  BOOST_TEST(difference(launch({}, "panic=1 root=UUID=1 guestfs_verbose=1 TERM=vt100")) == "");
  BOOST_TEST(difference(replaced(launch(), "accel=tcg", "accel=tcg,graphics=off")) == "");
  BOOST_TEST(difference(replaced(launch(), "guestkit-1-1", "guestkit-22-3")) == "");
  BOOST_TEST(difference(replaced(launch(), "socket,path=/tmp/1/guestfsd.sock,id=channel0",
                                 "socket,path=/run/a,,b.sock,id=channel0")) == "");
}

BOOST_AUTO_TEST_CASE(anything_else_does_not) {
  const auto differs = [](const Words& given) { return !difference(given).empty(); };
  BOOST_TEST(differs(replaced(launch(), "1280", "2048")));
  BOOST_TEST(differs(replaced(launch(), "accel=tcg", "accel=kvm:tcg")));
  BOOST_TEST(differs(replaced(launch(), "/a/kernel", "/b/kernel")));
  BOOST_TEST(differs(replaced(launch(), "guestkit-1-1", "another,process=x")));
  BOOST_TEST(differs(launch({}, "panic=1 root=UUID=2 quiet")));
  BOOST_TEST(differs(launch({}, "panic=1 root=UUID=1 guestfs_network=1")));
  BOOST_TEST(differs(launch({}, "panic=1 root=UUID=1 user=1")));
  BOOST_TEST(differs(launch({}, "panic=1")));
  for (const char* unknown : {"-smp", "-object", "-netdev", "-snapshot"}) {
    auto given = launch();
    given.insert(given.end(), {unknown, "2"});
    BOOST_TEST(differs(given), unknown);
  }
  auto fewer = launch();
  fewer.erase(fewer.begin());
  BOOST_TEST(differs(fewer));
}

BOOST_AUTO_TEST_CASE(how_far_qemu_is_confined_is_the_launch_s_and_not_the_template_s) {
  const auto with = [](const std::string& rules) {
    auto words = launch();
    words.insert(words.end(), {"-sandbox", rules});
    return words;
  };
  BOOST_TEST(difference(with("on")) == "");
  const auto plain = appliance::options(launch());
  for (const auto& recorded : {launch(), with("on,spawn=allow")}) {
    const auto machine = appliance::options(recorded);
    const auto fault = appliance::difference(machine, plain);
    BOOST_TEST(fault == "");
    const auto rules = [&](const std::vector<appliance::Option>* given) {
      const auto words = command(machine, given);
      const auto at = std::find(words.begin(), words.end(), "-sandbox");
      BOOST_TEST(std::count(words.begin(), words.end(), "-sandbox") <= 1);
      return at == words.end() ? "" : *(at + 1);
    };
    const auto confined = appliance::options(with("on,spawn=deny"));
    BOOST_TEST(rules(&plain) == "");
    BOOST_TEST(rules(&confined) == "on,spawn=deny");
    BOOST_TEST(rules(nullptr) == (recorded == launch() ? "" : "on,spawn=allow"));
  }
}

BOOST_AUTO_TEST_CASE(only_files_and_devices_of_the_host_can_be_given) {
  const auto fits = [](const std::string& drive, const std::string& device = "scsi-hd,drive=hd0") {
    return difference(launch(disk(drive, device))).empty();
  };
  BOOST_TEST(fits("file=/d,format=raw,id=hd0,if=none"));
  BOOST_TEST(
      fits("file.file.filename=/o.qcow2,file.driver=qcow2,file.backing.file.locking=off,cache=unsafe,"
           "id=hd0,if=none"));
  BOOST_TEST(!fits("file=nbd:localhost:1,format=raw,id=hd0,if=none"));
  BOOST_TEST(!fits("file=json:{},format=raw,id=hd0,if=none"));
  BOOST_TEST(!fits("file=/d,format=vmdk,id=hd0,if=none"));
  BOOST_TEST(!fits("file=/d,format=raw,id=hd0,if=virtio"));
  BOOST_TEST(!fits("file=/d,format=raw,id=hd0,if=none,throttling.bps-total=1"));
  BOOST_TEST(!fits("file=/d,file=/e,format=raw,id=hd0,if=none"));
  BOOST_TEST(!fits("file=/d,format=raw,id=hd0,if=none", "virtio-blk-pci,drive=hd0"));
  BOOST_TEST(!fits("file=/d,format=raw,id=hd0,if=none", "scsi-hd,drive=hd0,bus=x"));
  BOOST_TEST(!difference(launch({"-drive", "file=/d,format=raw,id=hd0,if=none"})).empty());
}

BOOST_AUTO_TEST_CASE(the_restored_machine_has_the_launch_s_disks_where_a_boot_has_them) {
  const auto given = appliance::options(
      launch(disk("file=/x,,id=appliance,,b.img,format=raw,id=hd0,if=none"), "another line"));
  const auto words = appliance::restored_command(
      appliance::options(launch()), given,
      {.root = "/t,1/root", .memory = "/proc/self/fd/4", .shared = false, .qmp = 5, .port = 6});
  const auto at = [&](const std::string& word) {
    return std::find(words.begin(), words.end(), word) - words.begin();
  };
  const auto size = static_cast<std::ptrdiff_t>(words.size());
  BOOST_TEST(at("virtio-scsi-pci,id=scsi") < at("scsi-hd,drive=hd0"));
  BOOST_TEST(at("scsi-hd,drive=hd0") < at("virtio-blk-pci,drive=appliance"));
  BOOST_TEST(at("file=/x,,id=appliance,,b.img,format=raw,id=hd0,if=none") < size);
  BOOST_TEST(at("scsi-hd,drive=appliance") == size);
  BOOST_TEST(at("accel=tcg,memory-backend=guestkit.ram") < size);
  BOOST_TEST(at("panic=1 root=UUID=1 quiet TERM=xterm") < size);  // the template's: fw_cfg's size is saved
  BOOST_TEST(at("file=/t,,1/root,id=appliance,cache=unsafe,if=none,format=qcow2,snapshot=on") < size);
  BOOST_TEST(at("memory-backend-file,id=guestkit.ram,size=1342177280,mem-path=/proc/self/fd/4,share=off") <
             size);
  BOOST_TEST(words.back() == "defer");
}

BOOST_AUTO_TEST_CASE(qemu_10_ended_because_it_no_longer_knows_a_default_of_libguestfs) {
  auto recorded = launch();
  recorded.insert(recorded.begin(),
                  {"-global", "virtio-blk-pci.scsi=off", "-global", "kvm-pit.lost=discard"});
  const auto options = appliance::options(recorded);
  const auto fit = appliance::difference(options, options);
  BOOST_TEST(fit == "");
  for (const auto* given : {static_cast<decltype(&options)>(nullptr), &options}) {
    const auto words = command(options, given);
    BOOST_TEST(std::count(words.begin(), words.end(), "virtio-blk-pci.scsi=off") == 0);
    BOOST_TEST(std::count(words.begin(), words.end(), "-global") == 1);
    BOOST_TEST(std::count(words.begin(), words.end(), "kvm-pit.lost=discard") == 1);
  }
}
