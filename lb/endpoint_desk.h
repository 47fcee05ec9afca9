// EndpointDesk: what operators say of endpoints through the admin listener: drain, down, and ready again. It
// becomes part of the one view that all shards go by (lb/health/publisher.h), next to what checks say: each
// has bits of its own, so that an endpoint takes requests when nobody is against it. The view is kept by a
// reload for as long as the endpoint is configured; who is removed and added later is a new one.
//
// Each change is told on standard error, with who asked. Owner: the server, on the control shard.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "lb/admin/endpoint_call.h"
#include "lb/generation.h"
#include "lb/health/publisher.h"
#include "lb/upstream/endpoint_news.h"

namespace weir::lb {

class EndpointDesk {
 public:
  struct Reply {
    uint16_t status = 200;
    std::string text;
  };
  using Answer = std::function<void(Reply)>;

  // `news` may be null: nobody is told.
  EndpointDesk(Publisher& publisher, EndpointNews* news) : publisher_(publisher), news_(news) {}

  // `target`: of a POST; `who` asks. The answer comes at once, or when every shard goes by it.
  void Change(const Generation& generation, std::string_view target, std::string_view who, Answer answer);

 private:
  Publisher& publisher_;
  EndpointNews* const news_;
};

}  // namespace weir::lb
