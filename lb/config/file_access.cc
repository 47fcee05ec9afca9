// Networks that the configuration file allows and denies.
#include <cerrno>
#include <cstring>

#include "absl/strings/match.h"
#include "lb/config/file_keys.h"
#include "lb/config/read_file.h"

namespace weir::lb::file {

void Reader::ReadNetworks(const ConfigNode& node, NetworkDraft& draft) {
  std::vector<Place> places;
  Texts(node, draft.texts, places);
  draft.place = node.place;
  for (size_t i = 0; i < draft.texts.size(); ++i) {
    const std::string& text = draft.texts[i];
    Network network;
    std::string expected;
    if (absl::StartsWith(text, "file:")) {
      ReadNetworkFile(text.substr(5), places[i], draft);
    } else if (text == "unix") {
      draft.unix_sockets = true;
    } else if (ParseNetwork(text, &network, &expected)) {
      draft.networks.push_back(network);
    } else {
      Error(places[i], absl::StrCat("\"", text, "\": ", expected, ", or file:PATH, or unix"));
    }
  }
}

std::string Reader::FileBeside(const std::string& path, const Place& place) const {
  const std::string& from = problems_.files[place.file];
  const size_t slash = from.rfind('/');
  return absl::StartsWith(path, "/") || slash == std::string::npos ? path : from.substr(0, slash + 1) + path;
}

void Reader::ReadNetworkFile(const std::string& path, const Place& place, NetworkDraft& draft) {
  const std::string whole = FileBeside(path, place);
  const std::optional<std::string> text = ReadWholeFile(whole);
  if (!text) return Error(place, absl::StrCat("\"", whole, "\": cannot be read: ", std::strerror(errno)));
  problems_.AddContent("files of networks", *text);
  const size_t before = draft.networks.size();
  Place line{static_cast<uint32_t>(problems_.files.size()), 0, 1};
  problems_.files.push_back(whole);
  for (std::string_view rest = *text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view entry = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    ++line.line;
    entry = entry.substr(0, entry.find('#'));
    const size_t begin = entry.find_first_not_of(" \t\r");
    if (begin == std::string_view::npos) continue;
    entry = entry.substr(begin, entry.find_last_not_of(" \t\r") + 1 - begin);
    Network network;
    std::string expected;
    if (ParseNetwork(entry, &network, &expected)) {
      draft.networks.push_back(network);
    } else {
      Error(line, absl::StrCat("\"", Absl(entry), "\": ", expected));
    }
  }
  // A list that was to be filled and was not would let everybody in, or nobody.
  if (draft.networks.size() == before) Error(place, absl::StrCat("\"", whole, "\": has no networks"));
}

AccessSettings Reader::Access(NetworkDraft allow, NetworkDraft deny) {
  AccessSettings access;
  if (allow.networks.size() + deny.networks.size() > NetworkSet::kMaxNetworks) {
    Error(allow.networks.empty() ? deny.place : allow.place,
          absl::StrCat("more than ", NetworkSet::kMaxNetworks, " networks"));
    return access;
  }
  if (!allow.texts.empty() || !deny.texts.empty()) {
    access.list =
        std::make_shared<const AccessList>(!allow.texts.empty(), allow.networks, deny.networks,
                                           !deny.unix_sockets && (allow.unix_sockets || allow.texts.empty()));
  }
  access.allow = std::move(allow.texts);
  access.deny = std::move(deny.texts);
  return access;
}

}  // namespace weir::lb::file
