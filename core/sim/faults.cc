#include "core/sim/faults.h"

namespace weir::sim {

Faults Faults::Rough() {
  Faults faults;
  faults.short_receive = 0.2;
  faults.short_send = 0.2;
  faults.short_write = 0.2;
  faults.late_completion = 0.1;
  faults.late_cancel = 0.5;
  faults.starved = 0.05;
  faults.source_ends = 0.05;
  faults.no_fd = 0.01;
  faults.late_segment = 0.01;
  faults.reset = 0.0005;
  faults.connect_refused = 0.02;
  faults.connect_lost = 0.01;
  faults.stall = 0.001;
  return faults;
}

Faults Faults::Drawn(Random& random, bool may_break) {
  Faults faults;
  const auto draw = [&random](double& probability, double mild, double frequent) {
    const uint32_t choice = random.Below(3);
    probability = choice == 0 ? 0 : choice == 1 ? mild : frequent;
  };
  draw(faults.short_receive, 0.05, 0.6);
  draw(faults.short_send, 0.05, 0.6);
  draw(faults.short_write, 0.05, 0.6);
  draw(faults.late_completion, 0.02, 0.4);
  draw(faults.late_cancel, 0.1, 0.9);
  draw(faults.starved, 0.01, 0.3);
  draw(faults.source_ends, 0.02, 0.5);
  draw(faults.no_fd, 0.002, 0.05);
  draw(faults.late_segment, 0.001, 0.03);
  draw(faults.connect_lost, 0.002, 0.05);
  draw(faults.stall, 0.0002, 0.005);
  if (may_break) {
    draw(faults.reset, 0.0001, 0.003);
    draw(faults.connect_refused, 0.01, 0.1);
  }
  return faults;
}

}  // namespace weir::sim
