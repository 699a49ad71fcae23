// Shows what happens in a handle while it works on an empty disk: watch_events
#include <guestkit/guestkit.hpp>
#include <iostream>

using guestkit::Event;
using guestkit::EventMessage;
using guestkit::printable;

int main() try {
  guestkit::Guestfs g;
  g.set_verbose(true);
  // Callbacks run inside the call, on its thread: be brief.
  const auto console = g.set_event_callback(Event::appliance | Event::library, [](const EventMessage& event) {
    std::cerr << printable(event.text) << '\n';  // a guest's disk can influence this: hostile text
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
  }  // the subscription ends here, and with it the callbacks
  g.umount_all();
  g.close();
} catch (const guestkit::Error& e) {
  std::cerr << printable(e.what()) << '\n';
  return 1;
}
