#include "tests/sim/story.h"

#include <algorithm>
#include <cstdio>

#include "core/clock.h"
#include "core/sim/peer.h"

namespace weir::lb::trial {
namespace {

uint64_t DrawLength(Random& random, uint64_t most) {
  switch (random.Below(5)) {
    case 0:
      return 0;
    case 1:
      return 1 + random.Below(20);
    case 2:
      return 1 + random.Below(3'000);
    default:
      return 1 + random.Below(static_cast<uint32_t>(most));
  }
}

uint32_t DrawChunk(Random& random) {
  constexpr uint32_t kMost[] = {1, 20, 1'000, 10'000, 40'000};
  return kMost[random.Below(std::size(kMost))];
}

void DrawAnswer(Random& random, const Taste& taste, const Plan& plan, AnswerPlan& answer) {
  constexpr int kStatus[] = {200, 200, 200, 201, 404, 500};
  answer.status = kStatus[random.Below(std::size(kStatus))];
  if (taste.bodyless && random.OneIn(10)) answer.status = random.OneIn(2) ? 204 : 304;
  answer.minor = taste.old_origins && random.OneIn(8) ? 0 : 1;
  const uint32_t framing = random.Below(10);
  answer.body.framing = framing < 5                        ? BodyPlan::Framing::kLength
                        : framing < 9 && answer.minor == 1 ? BodyPlan::Framing::kChunked
                                                           : BodyPlan::Framing::kUntilClose;
  answer.body.length = DrawLength(random, taste.most_body_bytes);
  answer.body.most_chunk_bytes = DrawChunk(random);
  if (answer.body.most_chunk_bytes < 100) answer.body.length = std::min<uint64_t>(answer.body.length, 3'000);
  answer.body.trailers = answer.body.framing == BodyPlan::Framing::kChunked && random.OneIn(4);
  answer.close = random.OneIn(8);
  if (random.OneIn(8)) answer.pad_bytes = random.Below(taste.most_pad_bytes);
  if (taste.interims && answer.minor == 1 && random.OneIn(6)) answer.interims = 1 + random.Below(7);
  if (taste.slow_origins && random.OneIn(4)) answer.delay_ns = random.Below(2'000) * kNsPerMs;
  if (taste.slow_origins && random.OneIn(8)) answer.pause_ns = random.Below(500) * kNsPerMs;
  if (taste.early_answers && plan.HasBody() && random.OneIn(2)) {
    answer.when = random.OneIn(2) ? AnswerPlan::When::kAfterHead : AnswerPlan::When::kAfterSome;
    answer.some_bytes = random.Below(static_cast<uint32_t>(plan.body.length));
    answer.reads_on = random.OneIn(2);
    answer.says_continue = answer.reads_on && random.OneIn(2);
    if (!answer.reads_on) answer.close = true;
  }
}

void DrawBrokenEnd(Random& random, bool no_body, AnswerPlan& answer) {
  constexpr AnswerPlan::End kEnds[] = {AnswerPlan::End::kFin, AnswerPlan::End::kReset, AnswerPlan::End::kHang,
                                       AnswerPlan::End::kBadChunk};
  answer.end = kEnds[random.Below(std::size(kEnds))];
  answer.interims = 0;
  answer.cut_in_head = no_body || answer.body.length == 0 || random.OneIn(3);
  answer.cut = random.Below(answer.cut_in_head ? 60 : static_cast<uint32_t>(answer.body.length));
  const bool chunked = answer.body.framing == BodyPlan::Framing::kChunked && !answer.cut_in_head;
  if (answer.end == AnswerPlan::End::kBadChunk && !chunked) answer.end = AnswerPlan::End::kFin;
  // The end of a connection is a right end of a body that is delimited by it.
  if (answer.body.framing == BodyPlan::Framing::kUntilClose && !answer.cut_in_head)
    answer.end = AnswerPlan::End::kReset;
}

}  // namespace

Plan DrawPlan(Random& random, const Taste& taste) {
  Plan plan;
  constexpr const char* kSafe[] = {"GET", "GET", "GET", "OPTIONS"};
  constexpr const char* kAny[] = {"GET", "POST", "PUT", "DELETE", "PATCH"};
  plan.method = kSafe[random.Below(std::size(kSafe))];
  if (taste.bodyless && random.OneIn(8)) plan.method = "HEAD";
  plan.minor = taste.old_clients && random.OneIn(8) ? 0 : 1;
  plan.keep_alive = !random.OneIn(8);
  if (taste.uploads && random.OneIn(2)) {
    plan.method = kAny[random.Below(std::size(kAny))];
    if (!taste.posts && !plan.Idempotent()) plan.method = "PUT";
    plan.body.framing =
        plan.minor == 0 || random.OneIn(2) ? BodyPlan::Framing::kLength : BodyPlan::Framing::kChunked;
    plan.body.length = DrawLength(random, taste.most_body_bytes);
    plan.body.most_chunk_bytes = DrawChunk(random);
    if (plan.body.most_chunk_bytes < 100) plan.body.length = std::min<uint64_t>(plan.body.length, 3'000);
    plan.body.trailers = plan.body.framing == BodyPlan::Framing::kChunked && random.OneIn(4);
    plan.expect = taste.expects && plan.minor == 1 && plan.HasBody() && random.OneIn(4);
    if (random.OneIn(6)) plan.pause_ns = random.Below(1'000) * kNsPerMs;
  }
  plan.te_trailers = plan.minor == 1 && random.OneIn(2);
  plan.own_request_id = random.OneIn(2);
  plan.named_field = random.OneIn(4);
  plan.absolute = random.OneIn(8);
  if (random.OneIn(8)) plan.pad_bytes = random.Below(taste.most_pad_bytes);
  DrawAnswer(random, taste, plan, plan.answer);
  if (taste.broken_answers && random.OneIn(3)) DrawBrokenEnd(random, plan.AnswerHasNoBody(), plan.answer);
  if (taste.one_bad_attempt && !plan.HasBody() && plan.Idempotent() && random.OneIn(3)) {
    plan.bad_attempts = 1;
    plan.bad.end = random.OneIn(2) ? AnswerPlan::End::kFin : AnswerPlan::End::kReset;
    plan.bad.cut_in_head = true;
  }
  if (taste.upgrades && plan.minor == 1 && !plan.HasBody() && plan.method == "GET" && random.OneIn(2)) {
    plan.body = {};
    plan.bad_attempts = 0;
    plan.answer.switches = !random.OneIn(4);
    plan.answer.end = AnswerPlan::End::kWhole;
    plan.answer.interims = 0;
    plan.answer.minor = plan.answer.switches ? 1 : plan.answer.minor;
    plan.echo_bytes = 1 + random.Below(static_cast<uint32_t>(taste.most_body_bytes));
  }
  return plan;
}

std::string FrameBytes(uint64_t stream, uint64_t offset, uint64_t length, const BodyPlan& body) {
  if (body.framing != BodyPlan::Framing::kChunked) return sim::StreamBytes(stream, offset, length);
  std::string text;
  for (uint64_t done = 0; done < length;) {
    // Sizes that differ, the same at every call.
    const uint64_t draw = 1 + (stream * 7 + offset + done * 13) % body.most_chunk_bytes;
    const uint64_t size = std::min(draw, length - done);
    char hex[20];
    std::snprintf(hex, sizeof(hex), (stream + done) % 2 == 0 ? "%llx" : "%llX",
                  static_cast<unsigned long long>(size));
    text += hex;
    if ((stream + done) % 5 == 0) text += ";note=\"a;b\"";
    text += "\r\n" + sim::StreamBytes(stream, offset + done, size) + "\r\n";
    done += size;
  }
  return text;
}

std::string FrameEnd(uint64_t id, const BodyPlan& body) {
  if (body.framing != BodyPlan::Framing::kChunked) return {};
  return body.trailers ? "0\r\nX-Trailer: " + std::to_string(id) + "\r\n\r\n" : "0\r\n\r\n";
}

const char* NameOf(Record::Outcome outcome) {
  constexpr const char* kNames[] = {"unsent", "pending", "whole", "local", "truncated", "lost", "aborted"};
  return kNames[static_cast<size_t>(outcome)];
}

std::string Story::ToString(const Record& record) const {
  const Plan& plan = record.plan;
  const auto body = [](const BodyPlan& of) {
    constexpr const char* kNames[] = {"none", "length", "chunked", "until close"};
    return std::string(kNames[static_cast<size_t>(of.framing)]) + " " + std::to_string(of.length) +
           (of.trailers ? " with trailers" : "");
  };
  std::string text = "request " + std::to_string(plan.id) + ": " + plan.method + " 1." +
                     std::to_string(plan.minor) + (plan.keep_alive ? "" : " close") +
                     (plan.expect ? " expect" : "") + ", body " + body(plan.body);
  text += "; answer " + std::to_string(plan.answer.status) + " 1." + std::to_string(plan.answer.minor) +
          ", body " + body(plan.answer.body) + ", " + std::to_string(plan.answer.interims) + " interims" +
          (plan.answer.close ? ", close" : "") + ", when " +
          std::to_string(static_cast<int>(plan.answer.when)) + ", end " +
          std::to_string(static_cast<int>(plan.answer.end)) + (plan.answer.cut_in_head ? " in head" : "") +
          " at " + std::to_string(plan.answer.cut) + (plan.answer.switches ? ", switches" : "") +
          ", bad attempts " + std::to_string(plan.bad_attempts);
  text += "; " + std::string(NameOf(record.outcome));
  if (record.local_status != 0)
    text += " " + std::to_string(record.local_status) + " '" + record.local_text + "'";
  text += ", sent " + std::to_string(record.sent_times) + " times, attempts " +
          std::to_string(record.attempts) + ", whole at the origin " + std::to_string(record.bodies_whole) +
          ", answers begun " + std::to_string(record.answers_begun) + ", whole " +
          std::to_string(record.answers_whole) + ", took " +
          std::to_string((record.over_ns - record.sent_ns) / kNsPerMs) + " ms";
  if (!record.end.empty()) text += "; " + record.end;
  return text;
}

}  // namespace weir::lb::trial
