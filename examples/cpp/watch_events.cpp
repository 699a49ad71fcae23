// Shows what happens in a handle while it works on an empty disk: watch_events
#include <guestkit/guestkit.hpp>
#include <iostream>

using guestkit::Event;
using guestkit::EventMessage;
using guestkit::printable;

int main() try {
  guestkit::Guestfs g;
  g.set_verbose(true);
  // Callbacks run on the thread of the call, inside the call: be short.
  const auto console = g.set_event_callback(Event::appliance | Event::library, [](const EventMessage& event) {
    std::cerr << printable(event.text) << '\n';  // the appliance runs what the guest's disk has: hostile text
  });
  const auto life = g.set_event_callback(Event::launch_done | Event::close, [](const EventMessage& event) {
    std::cout << (event.event == Event::close ? "close" : "launch_done") << std::endl;
  });
  g.add_drive_scratch(64 << 20);
  g.launch();
  {
    const auto calls = g.set_event_callback(
        Event::enter, [](const EventMessage& event) { std::cout << "enter " << event.text << '\n'; });
    g.mkfs("ext4", "/dev/sda");
    g.mount("/dev/sda", "/");
  }  // the end of the subscription ends the calls
  g.umount_all();
  g.close();
} catch (const guestkit::Error& e) {
  std::cerr << printable(e.what()) << '\n';
  return 1;
}
