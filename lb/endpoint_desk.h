// EndpointDesk: what operators say of endpoints through the admin listener.
//  drain, down, and ready again become part of the one view that all shards go by (lb/health/publisher.h),
//  next to what checks say: each has bits of its own, so that an endpoint takes requests when nobody is
//  against it; but "ready" ends the ejection of an outlier, as that is only a guess until somebody knows
//  better. The view is kept by a reload for as long as the endpoint is configured; who is removed and
//  added later is a new one.
//  Another weight, an endpoint more or one less make the next generation (lb/config/endpoint_overlay.h).
//
// Each change is told on standard error, with who asked. Owner: the server, on the control shard.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "lb/admin/endpoint_call.h"
#include "lb/config/endpoint_overlay.h"
#include "lb/generation.h"
#include "lb/health/outliers.h"
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
  // Makes the next generation; `then` when every shard goes by it (a status of 200), or with why not.
  using EditInForce = std::function<void(Reply, const Generation& newest)>;
  using AskEdit = std::function<void(EndpointEdit edit, EditInForce then)>;

  // `news` may be null: nobody is told; `outliers` too: nobody is ejected.
  EndpointDesk(Publisher& publisher, EndpointNews* news, AskEdit ask, Outliers* outliers = nullptr)
      : publisher_(publisher), news_(news), ask_(std::move(ask)), outliers_(outliers) {}

  // `target`: of a POST, or (`removes`) a DELETE; `who` asks. The answer comes at once, or when every shard
  // goes by it.
  void Change(const Generation& generation, bool removes, std::string_view target, std::string_view who,
              Answer answer);

 private:
  void Edit(EndpointCall call, std::string who, Answer answer);
  // `before`: what has been done already, for the answer.
  void SetState(const Generation& generation, const EndpointCall& call, std::string_view who,
                std::string before, Answer answer);

  Publisher& publisher_;
  EndpointNews* const news_;
  const AskEdit ask_;
  Outliers* const outliers_;
};

}  // namespace weir::lb
