// ForEachSeed: runs a scenario under many seeds and stops at the first that fails. 20 by default, 100 with
// WEIR_FULL=1 in the environment, some with WEIR_SEED=n or WEIR_SEED=n-m. Every seed is announced before it
// runs, so that even a crash tells which one it was.
#pragma once

#include <cstdint>
#include <functional>

namespace weir::lb::trial {

void ForEachSeed(const std::function<void(uint64_t seed)>& run);
// Somebody asked for certain seeds: what happens only under some of them need not happen.
bool SeedsWereChosen();

}  // namespace weir::lb::trial
