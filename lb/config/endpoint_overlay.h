// EndpointOverlay: what operators changed of upstreams' endpoints while Weir runs: added, removed, another
// weight. It lies on top of what the file (or the flags) have of them, is part of the settings, and like
// these never changes: an edit makes the next settings, and a reload takes it along. So who goes by a
// generation goes by one list of endpoints, and nothing is locked.
//
// Endpoints are told apart by their addresses: a name stands for those it has at the moment. A restart
// forgets all of it. Made on the loader's thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/address.h"
#include "lb/config/settings.h"

namespace weir::lb {

struct EndpointOverlay {
  enum class Kind : uint8_t { kAdded, kWeight, kRemoved };
  // kAdded: the file has none of that address; the others: it has.
  struct Entry {
    Kind kind = Kind::kWeight;
    SocketAddress address;
    uint32_t weight = 1;  // not of kRemoved

    bool operator==(const Entry&) const = default;
  };
  struct Upstream {
    std::vector<EndpointSettings> file;  // the endpoints without all this
    std::vector<Entry> entries;          // one for an address; in the order in which they were said
  };

  // Null: nothing was changed of an upstream of that name.
  const Upstream* Find(std::string_view upstream) const {
    const auto at = upstreams.find(upstream);
    return at == upstreams.end() ? nullptr : &at->second;
  }

  std::map<std::string, Upstream, std::less<>> upstreams;  // each with entries
};

struct EndpointEdit {
  enum class Kind : uint8_t { kAdd, kWeight, kRemove };

  Kind kind = Kind::kWeight;
  std::string upstream;
  std::string endpoint;   // kWeight, kRemove: its name or address
  SocketAddress address;  // kAdd
  uint32_t weight = 0;    // kAdd: 0: what the file has of it, else 1
};

struct EditedSettings {
  uint16_t status = 200;             // as HTTP has it
  std::string text;                  // what has become of it, or why it cannot be: a sentence a line
  std::optional<Settings> settings;  // empty: nothing changes
};
// `running` with one edit more.
EditedSettings EditEndpoints(const Settings& running, const EndpointEdit& edit);

// `settings`, read anew, get what operators had changed in `running`. What the file says as well is dropped,
// and what it has no place for any more; `messages` gets a sentence a line about that. False: too many
// endpoints, and `messages` says so.
bool KeepEdits(const Settings& running, Settings& settings, std::string* messages);

}  // namespace weir::lb
