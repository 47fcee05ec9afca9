// Directed scenes: what proxies fall into and only time brings about (RFC 9110 and 9112). Each is played
// under every seed, which cuts the bytes elsewhere and orders the completions otherwise.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>

#include "tests/sim/seeds.h"
#include "tests/sim/stage.h"

namespace weir::lb::trial {
namespace {

void Play(const std::function<void(Stage&)>& scene, const Stage::Options& options = {}) {
  ForEachSeed([&](uint64_t seed) {
    Stage::Options mine = options;
    // Every other run tells completions late and moves bytes in small pieces.
    if (seed % 2 == 0) {
      mine.faults.late_completion = 0.3;
      mine.faults.late_cancel = 0.5;
      mine.faults.short_receive = 0.3;
      mine.faults.short_send = 0.3;
    }
    Stage stage(seed, std::move(mine));
    scene(stage);
  });
}

Stage::Options With(const std::function<void(Settings&)>& change, uint32_t endpoints = 1) {
  Stage::Options options;
  options.settings = Rig::Defaults(endpoints);
  change(options.settings);
  return options;
}

std::string Chunks(size_t count, size_t bytes) {
  std::string text;
  char size[20];
  std::snprintf(size, sizeof(size), "%zx\r\n", bytes);
  for (size_t i = 0; i < count; ++i) text += size + std::string(bytes, 'a') + "\r\n";
  return text;
}

constexpr std::string_view kChunked = "Transfer-Encoding: chunked\r\n";

// Clients that leave.

// A receive that stays armed ends by itself when much comes at once, perhaps after all of it was taken.
TEST(ClientsThatLeave, AreNoticedHoweverTheirRequestCame) {
  Stage::Options options;
  options.faults.late_completion = 0.9;
  options.faults.most_completion_delay_ns = 5 * kNsPerMs;
  Play(
      [](Stage& stage) {
        stage.Origin(0, [](Speaker&) {});
        Speaker& client = stage.Client("");
        stage.Run(50);
        client.Say("GET / HT");
        for (const std::string_view piece : {"TP/1.1\r\n", "Host: a\r\n", "A: b\r\n", "C: d\r\n", "\r\n"}) {
          client.Say(piece);
          stage.world().RunFor(kNsPerUs * 300);
        }
        stage.Run(500);
        ASSERT_EQ(stage.origins().size(), 1u);
        EXPECT_FALSE(stage.origin(0).over());
        client.peer.Reset();
        stage.Run(500);
        EXPECT_TRUE(stage.origin(0).over());
      },
      options);
}

// Pooled upstream connections.

TEST(PooledConnections, AreReused) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(50);
    client.Say(Get("/2"));
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    EXPECT_EQ(stage.origins().size(), 1u);
    EXPECT_EQ(stage.counters().upstream_reused.Get(), 1u);
  });
}

TEST(PooledConnections, BytesBeforeARequestEndThem) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(50);
    stage.origin(0).Say("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    stage.Run(50);
    EXPECT_TRUE(stage.origin(0).over());
    client.Say(Get("/2"));
    stage.Run(50);
    EXPECT_EQ(client.Count("\r\n\r\nok"), 2u) << client.heard;
    EXPECT_FALSE(client.Heard("evil"));
    EXPECT_EQ(stage.origins().size(), 2u);
  });
}

TEST(PooledConnections, BytesBehindAnAnswerEndThem) {
  for (const char* answer :
       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokevil", "HTTP/1.1 204 No Content\r\n\r\nevil",
        "HTTP/1.1 304 Not Modified\r\n\r\nevil",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nevil"}) {
    Play([answer](Stage& stage) {
      stage.Origin(0, [answer, &stage](Speaker& origin) {
        origin.Say(stage.origins().size() == 1 ? std::string_view(answer) : kOk);
      });
      Speaker& client = stage.Client(Get("/1"));
      stage.Run(50);
      EXPECT_TRUE(stage.origin(0).over());
      client.Say(Get("/2"));
      stage.Run(50);
      EXPECT_EQ(client.Count("HTTP/1.1 "), 2u) << client.heard;
      EXPECT_TRUE(client.heard.ends_with(kOk.substr(kOk.size() - 6))) << client.heard;
      EXPECT_FALSE(client.Heard("evil"));
      EXPECT_EQ(stage.origins().size(), 2u);
    });
  }
}

TEST(PooledConnections, A408OnAnIdleOneIsAnIdleClose) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(50);
    stage.origin(0).Say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stage.origin(0).peer.Finish();
    stage.Run(50);
    client.Say(Get("/2"));
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    EXPECT_FALSE(client.Heard("408"));
  });
}

// The same 408, crossing the next request: the origin did not read it.
TEST(PooledConnections, A408ThatCrossesAGetIsTriedAgain) {
  Play([](Stage& stage) {
    stage.Origin(0, [&stage](Speaker& origin) {
      if (stage.origins().size() == 1 && origin.Heard("/2")) {
        origin.Say("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        origin.peer.Finish();
      } else {
        SayOk(origin);
      }
    });
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(50);
    client.Say(Get("/2"));
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    EXPECT_EQ(stage.origins().size(), 2u);
  });
}

// The origin ends the idle connection while our request is on its way to it.
TEST(PooledConnections, AStaleOneCostsAGetNothingAndIsNoSecondPost) {
  for (const bool post : {false, true}) {
    for (const bool reset : {false, true}) {
      Play([post, reset](Stage& stage) {
        stage.Origin(0, [&stage, reset](Speaker& origin) {
          if (stage.origins().size() > 1 || origin.Count("\r\n\r\n") == 1) {
            SayOk(origin);
          } else if (reset) {
            origin.peer.Reset();
          } else {
            origin.peer.Finish();
          }
        });
        Speaker& client = stage.Client(Get("/1"));
        stage.Run(50);
        client.Say(post ? Post("/2", "Content-Length: 3\r\n", "abc") : Get("/2"));
        stage.Run(50);
        if (post) {
          EXPECT_EQ(client.Count("HTTP/1.1 502"), 1u) << client.heard;
          EXPECT_EQ(stage.origins().size(), 1u);
        } else {
          EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
          EXPECT_EQ(stage.origins().size(), 2u);
        }
      });
    }
  }
}

// The end came before our request: nothing was sent, so a POST is as safe as anything.
TEST(PooledConnections, OneThatEndedIdleCostsAPostNothing) {
  for (const bool reset : {false, true}) {
    Play([reset](Stage& stage) {
      stage.Origin(0, SayOk);
      Speaker& client = stage.Client(Get("/1"));
      stage.Run(50);
      if (reset) {
        stage.origin(0).peer.Reset();
      } else {
        stage.origin(0).peer.Close();
      }
      stage.Run(50);
      client.Say(Post("/2", "Content-Length: 3\r\n", "abc"));
      stage.Run(50);
      EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    });
  }
}

TEST(PooledConnections, AreClosedWhenTheyAreOld) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    stage.Client(Get("/1"));
    stage.Run(54'000);
    EXPECT_FALSE(stage.origin(0).over());
    stage.Run(2'000);
    EXPECT_TRUE(stage.origin(0).ended());
    EXPECT_EQ(stage.counters().upstream_open.Get(), 0u);
  });
}

// Answers that are not whole.

TEST(TruncatedAnswers, DoNotLookWhole) {
  constexpr std::string_view kHeads[] = {
      "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"};
  for (const std::string_view head : kHeads) {
    for (const bool reset : {false, true}) {
      Play([head, reset](Stage& stage) {
        stage.Origin(0, [head](Speaker& origin) { origin.Say(head); });
        Speaker& client = stage.Client(Get("/"));
        stage.Run(20);
        if (reset) {
          stage.origin(0).peer.Reset();
        } else {
          stage.origin(0).peer.Finish();
        }
        stage.Run(100);
        EXPECT_TRUE(client.over());
        EXPECT_TRUE(client.Heard("HTTP/1.1 200")) << client.heard;
        EXPECT_FALSE(client.Heard("0\r\n\r\n"));
        EXPECT_EQ(stage.counters().upstream_open.Get(), 0u);
      });
    }
  }
}

TEST(TruncatedAnswers, AlsoInTheTrailersOrBecauseOfThem) {
  for (const char* rest : {"0\r\nX-Good: yes\r\n", "0\r\nBad trailer: no\r\n\r\n", "0\r\n", "0", "-1\r\n"}) {
    Play([rest](Stage& stage) {
      stage.Origin(0, [rest](Speaker& origin) {
        origin.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + Chunks(1, 3'000) + rest);
        origin.peer.Finish();
      });
      Speaker& client = stage.Client(Get("/"));
      stage.Run(100);
      EXPECT_EQ(client.Count("HTTP/1.1 "), 1u) << client.heard;
      // If all of it was there before the head left, a broken chunk is a 502.
      EXPECT_TRUE(client.ended() || client.Heard("HTTP/1.1 502")) << client.heard;
      EXPECT_FALSE(client.heard.ends_with("0\r\n\r\n")) << client.heard;
      EXPECT_EQ(stage.counters().upstream_open.Get(), 0u);
    });
  }
}

TEST(TruncatedAnswers, OfHttp10EndInAReset) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n");
    });
    Speaker& client = stage.Client("GET / HTTP/1.0\r\n\r\n");
    stage.Run(20);
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nhalf")) << client.heard;
    stage.origin(0).peer.Finish();
    stage.Run(100);
    EXPECT_FALSE(client.ended());
    EXPECT_EQ(client.error(), ECONNRESET);
  });
}

TEST(TruncatedAnswers, UntilCloseEndWithAResetOnly) {
  for (const bool reset : {false, true}) {
    Play([reset](Stage& stage) {
      stage.Origin(0, [](Speaker& origin) { origin.Say("HTTP/1.1 200 OK\r\n\r\nall of it"); });
      Speaker& client = stage.Client(Get("/"));
      stage.Run(20);
      if (reset) {
        stage.origin(0).peer.Reset();
      } else {
        stage.origin(0).peer.Finish();
      }
      stage.Run(100);
      EXPECT_EQ(client.Heard("0\r\n\r\n"), !reset) << client.heard;
      EXPECT_EQ(client.over(), reset);
    });
  }
}

// The answer has come whole from the origin, its last piece waits for a client that does not read, and then
// the request breaks off: whoever reads until the end must not take what fitted for everything.
TEST(TruncatedAnswers, OfHttp10DoNotEndCleanlyInTheLastPiece) {
  Stage::Options options;
  options.most_window_bytes = 16 * 1024;
  constexpr size_t kBytes = 12'000;
  int cut_short = 0;
  Play(
      [&cut_short](Stage& stage) {
        stage.Origin(0, [](Speaker& origin) {
          origin.Say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + Chunks(1, kBytes) +
                     "0\r\n\r\n");
        });
        Speaker& client = stage.Client("POST / HTTP/1.0\r\nContent-Length: 1000\r\n\r\nhalf");
        client.peer.StopReading();
        stage.Run(1'000);
        client.peer.Finish();
        stage.Run(5'000);
        client.peer.ReadAgain();
        stage.Run(1'000);
        EXPECT_TRUE(client.over());
        const size_t head = client.heard.find("\r\n\r\n");
        const size_t body = head == std::string::npos ? 0 : client.heard.size() - head - 4;
        EXPECT_TRUE(client.error() != 0 || body == kBytes) << body;
        cut_short += body < kBytes ? 1 : 0;
      },
      options);
  if (!SeedsWereChosen()) EXPECT_GT(cut_short, 0);
}

TEST(TruncatedAnswers, InTheHeadAre502) {
  for (const bool interim : {false, true}) {
    Play(
        [interim](Stage& stage) {
          const auto begin = [interim](Speaker& origin) {
            origin.Say(interim ? "HTTP/1.1 103 Early Hints\r\n\r\n" : "HTTP/1.1 200 O");
            origin.peer.Finish();
          };
          stage.Origin(0, begin);
          stage.Origin(1, begin);
          Speaker& client = stage.Client(Get("/"));
          stage.Run(100);
          EXPECT_EQ(client.Count("HTTP/1.1 502"), 1u) << client.heard;
          EXPECT_EQ(stage.origins().size(), 1u) << "bytes of an answer were there: no second try";
        },
        With([](Settings&) {}, 2));
  }
}

// The reset may be told to the send of the request's body: to the receive it then looks like a clean end.
TEST(TruncatedAnswers, ToAnUploadThatIsStuckDoNotLookWhole) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.peer.StopReading();
      origin.Say("HTTP/1.1 200 OK\r\n\r\nsome of it");
    });
    Speaker& client = stage.Client(Post("/", kChunked, Chunks(100, 10'000)));
    stage.Run(500);
    EXPECT_TRUE(client.Heard("200 OK")) << client.heard;
    stage.origin(0).peer.Reset();
    stage.Run(5'000);
    EXPECT_TRUE(client.over());
    EXPECT_FALSE(client.heard.ends_with("0\r\n\r\n")) << client.heard;
  });
}

// A connection that ends without an answer says little about its endpoint: a single one is asked again.
TEST(TruncatedAnswers, NoneAtAllIsAskedForAgain) {
  for (const bool post : {false, true}) {
    Play([post](Stage& stage) {
      stage.Origin(0, [&stage](Speaker& origin) {
        if (stage.origins().size() < 2 || origin.Heard("/deadly")) {
          origin.peer.Reset();
        } else {
          SayOk(origin);
        }
      });
      Speaker& client = stage.Client(post ? Post("/", "Content-Length: 1\r\n", "a") : Get("/"));
      stage.Run(500);
      // What may have been done already is not done twice.
      EXPECT_EQ(client.Count(post ? "HTTP/1.1 502" : "HTTP/1.1 200"), 1u) << client.heard;
      EXPECT_EQ(stage.origins().size(), post ? 1u : 2u);
      EXPECT_EQ(stage.counters().upstream_resets.Get(), 1u);
      if (post) return;
      // And what ends every connection is not tried for ever.
      Speaker& deadly = stage.Client(Get("/deadly"));
      stage.Run(500);
      EXPECT_EQ(deadly.Count("HTTP/1.1 502"), 1u) << deadly.heard;
      size_t times = 0;
      for (auto& origin : stage.origins()) times += origin->Heard("/deadly") ? 1 : 0;
      EXPECT_EQ(times, 2u);
    });
  }
}

// Uploads.

TEST(Uploads, AnEarlyAnswerArrivesWhileTheBodyIsOnItsWay) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    });
    Speaker& client = stage.Client(Post("/", "Content-Length: 100000\r\n", std::string(1000, 'a')));
    stage.Run(100);
    EXPECT_TRUE(client.Heard("413 Content Too Large") && client.heard.ends_with("big")) << client.heard;
    // It was not much: the rest still goes up, and the connection serves another request.
    EXPECT_FALSE(client.Heard("Connection: close"));
    client.Say(std::string(99'000, 'a') + Get("/next"));
    stage.Run(200);
    EXPECT_EQ(client.Count("HTTP/1.1 413"), 2u) << client.heard;
    EXPECT_EQ(stage.origin(0).heard.find("/next") == std::string::npos, stage.origins().size() > 1);
  });
}

TEST(Uploads, AnEarlyAnswerToALongBodyCloses) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    });
    Speaker& client = stage.Client(Post("/", "Content-Length: 100000000\r\n", std::string(500'000, 'a')));
    stage.Run(1000);
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nbig")) << client.heard;
    EXPECT_TRUE(client.Heard("Connection: close"));
    EXPECT_TRUE(client.ended()) << client.error();
  });
}

// An origin that answers and closes at once, as one does who has not read the body: its reset must not eat
// its answer.
TEST(Uploads, AnEarlyAnswerSurvivesTheOriginsClose) {
  Play([](Stage& stage) {
    stage.Origin(0, [&stage](Speaker& origin) {
      origin.peer.StopReading();
      origin.Say("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
      stage.world().After(20 * kNsPerMs, [&origin] { origin.peer.Close(); });
    });
    Speaker& client = stage.Client(Post("/", "Content-Length: 2000000\r\n", std::string(2'000'000, 'a')));
    stage.Run(3'000);
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nno")) << client.heard;
    EXPECT_TRUE(client.ended());
  });
}

// It has refused and reads no more: its end is seen, though the upload is stuck.
TEST(Uploads, ARefusalAndAFinEndAStuckUpload) {
  int kept = 0;
  Play([&kept](Stage& stage) {
    stage.Origin(0, [&stage](Speaker& origin) {
      if (stage.origins().size() > 1) {
        SayOk(origin);
        return;
      }
      origin.Say("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
      origin.peer.StopReading();
      origin.peer.Finish();
    });
    // It may fit into what is on its way, or get stuck there.
    const size_t bytes = 1 + stage.world().random().Below(200'000);
    Speaker& client = stage.Client(
        Post("/1", "Content-Length: " + std::to_string(bytes) + "\r\n", std::string(bytes, 'a')) + Get("/2"));
    stage.Run(3'000);
    EXPECT_EQ(client.Count("HTTP/1.1 413"), 1u) << client.heard;
    if (client.Heard("HTTP/1.1 200")) {
      ++kept;
    } else {
      EXPECT_TRUE(client.ended());
    }
  });
  if (!SeedsWereChosen()) EXPECT_GT(kept, 0) << "whose request came whole keeps its connection";
}

// Who has only finished speaking may still be listening.
TEST(Uploads, AnEarlySuccessAndAFinLoseNothingOfTheUpload) {
  Play([](Stage& stage) {
    stage.Origin(0, [&stage](Speaker& origin) {
      SayOk(origin);
      if (stage.origins().size() == 1) origin.peer.Finish();
    });
    const std::string body(1 + stage.world().random().Below(200'000), 'a');
    Speaker& client =
        stage.Client(Post("/1", "Content-Length: " + std::to_string(body.size()) + "\r\n", body));
    stage.Run(5'000);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 1u) << client.heard;
    EXPECT_TRUE(stage.origin(0).heard.ends_with("\r\n\r\n" + body)) << stage.origin(0).heard.size();
  });
}

// A client that asks for the end gets it at once; but behind a body it may have said CRLF.
TEST(Endings, ThatTheClientAskedFor) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& close = stage.Client("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    Speaker& old = stage.Client("GET / HTTP/1.0\r\n\r\n");
    Speaker& post = stage.Client("POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na");
    const bool late = stage.world().random().OneIn(2);
    if (late) EXPECT_TRUE(stage.Until([&] { return post.Heard("200 OK"); }, 2'000));
    post.Say("\r\n");
    stage.Run(1'000);
    for (Speaker* client : {&close, &old, &post}) {
      EXPECT_EQ(client->Count("HTTP/1.1 200"), 1u) << client->heard;
      EXPECT_TRUE(client->heard.ends_with("ok")) << client->heard;
      EXPECT_TRUE(client->ended());
      EXPECT_EQ(client->error(), 0);
    }
  });
}

TEST(Uploads, BodyBytesThatCameWithTheHeadAreCheckedFirst) {
  int untouched = 0;
  Play([&untouched](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Post("/", kChunked, "3\r\nabcXX"));
    stage.Run(100);
    EXPECT_EQ(client.Count("HTTP/1.1 400"), 1u) << client.heard;
    EXPECT_EQ(client.Count("HTTP/1.1 "), 1u) << client.heard;
    EXPECT_TRUE(client.ended());
    // Cut elsewhere, the head may have left before; then its connection is reset.
    untouched += stage.origins().empty() ? 1 : 0;
    for (auto& origin : stage.origins()) EXPECT_FALSE(origin->ended());
  });
  if (!SeedsWereChosen()) EXPECT_GT(untouched, 0);
}

TEST(Uploads, ABadChunkLaterResetsTheUpstreamAndIs400) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Post("/", kChunked, Chunks(3, 5'000)));
    stage.Run(50);
    ASSERT_EQ(stage.origins().size(), 1u);
    EXPECT_TRUE(stage.origin(0).Heard("aaaa"));
    client.Say("-1\r\nevil");
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 400"), 1u) << client.heard;
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(stage.origin(0).error(), ECONNRESET);
    EXPECT_FALSE(stage.origin(0).Heard("evil"));
    EXPECT_FALSE(stage.origin(0).Heard("0\r\n\r\n"));
  });
}

TEST(Uploads, ABadTrailerIsA400Too) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Post("/", kChunked, Chunks(2, 3'000) + "0\r\nX-Good: yes\r\n"));
    stage.Run(50);
    client.Say("Bad trailer: no\r\n\r\n");
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 400"), 1u) << client.heard;
    EXPECT_EQ(stage.origin(0).error(), ECONNRESET);
    EXPECT_FALSE(stage.origin(0).Heard("X-Good"));
  });
}

TEST(Uploads, AClientThatEndsInTheBodyResetsTheUpstream) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Post("/", "Content-Length: 10\r\n", "half"));
    client.peer.Finish();
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 400"), 1u) << client.heard;
    for (auto& origin : stage.origins())
      EXPECT_FALSE(origin->ended()) << "an end that could pass for the request's";
    EXPECT_EQ(stage.counters().upstream_open.Get(), 0u);
  });
}

// Expect.

TEST(Expectations, The100ComesFromTheOrigin) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      if (origin.Count("\r\n\r\n") == 1) origin.Say("HTTP/1.1 100 Continue\r\n\r\n");
    });
    Speaker& client = stage.Client(Post("/", "Expect: 100-continue\r\nContent-Length: 4\r\n", ""));
    stage.Run(50);
    EXPECT_TRUE(client.heard.starts_with("HTTP/1.1 100 Continue\r\n")) << client.heard;
    client.Say("body");
    stage.Run(50);
    EXPECT_TRUE(stage.origin(0).heard.ends_with("\r\n\r\nbody"));
    stage.origin(0).Say(kOk);
    stage.Run(50);
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nok")) << client.heard;
    EXPECT_FALSE(client.over());
  });
}

TEST(Expectations, AFinalAnswerWithout100Closes) {
  Play([](Stage& stage) {
    stage.Origin(
        0, [](Speaker& origin) { origin.Say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"); });
    Speaker& client = stage.Client(Post("/", "Expect: 100-continue\r\nContent-Length: 4\r\n", ""));
    stage.Run(50);
    EXPECT_TRUE(client.Heard("401 Unauthorized")) << client.heard;
    EXPECT_TRUE(client.Heard("Connection: close"));
    EXPECT_TRUE(client.ended());
    EXPECT_TRUE(stage.origin(0).over()) << "it still waits for a body: no other request may follow";
  });
}

TEST(Expectations, TheBodyTimeoutWaitsForThe100) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Post("/", "Expect: 100-continue\r\nContent-Length: 4\r\n", ""));
    stage.Run(50'000);
    EXPECT_FALSE(client.Heard("HTTP"));
    stage.Run(12'000);
    EXPECT_TRUE(client.Heard("504 Gateway Timeout")) << client.heard;
  });
}

// Interim answers.

TEST(Interims, EightPassNineAre502) {
  for (const int count : {8, 9}) {
    Play([count](Stage& stage) {
      stage.Origin(0, [count](Speaker& origin) {
        for (int i = 0; i < count; ++i) origin.Say("HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n");
        origin.Say(kOk);
      });
      Speaker& client = stage.Client(Get("/"));
      stage.Run(100);
      EXPECT_EQ(client.Count("HTTP/1.1 103"), 8u) << client.heard;
      EXPECT_EQ(client.Count("HTTP/1.1 200"), count == 8 ? 1u : 0u);
      EXPECT_EQ(client.Count("HTTP/1.1 502"), count == 8 ? 0u : 1u);
      EXPECT_EQ(stage.origin(0).over(), count == 9);
    });
  }
}

TEST(Interims, AreNotForHttp10) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n");
      origin.Say(kOk);
    });
    Speaker& client = stage.Client("GET / HTTP/1.0\r\n\r\n");
    stage.Run(100);
    EXPECT_EQ(client.Count("HTTP/1.1 "), 1u) << client.heard;
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nok"));
    EXPECT_TRUE(client.ended());
  });
}

// Routes.

// A long target in many lines would be megabytes of a shard's memory, for a head that nobody could be sent.
TEST(Routes, WhatNoHeadCouldTakeIsNotWritten) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    stage.rig().Reload([](Settings& settings) {
      RouteList& list = settings.routes.emplace_back();
      list.matches.resize(1);
      RouteSettings& route = list.routes.emplace_back(settings.listeners[0].direct);
      route.response_variables = true;
      std::string text;
      for (int i = 0; i < 20; ++i) text += "${uri}";
      std::string error;
      for (int i = 0; i < 60; ++i) {
        HeaderChanges::Line& line = route.response.added.emplace_back();
        line.name = "X-" + std::to_string(i);
        ASSERT_TRUE(Template::Parse(text, &line.value, &error, Template::Use::kResponse)) << error;
      }
      std::vector<RouteProblem> problems;
      list.table = RouteTable::Build(list.matches, {}, problems);
      settings.listeners[0].routes = 0;
    });
    stage.Run(50);
    Speaker& client = stage.Client(Get("/" + std::string(7'000, 'x')));
    ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n\r\n"); }, 1000));
    EXPECT_TRUE(client.Heard("HTTP/1.1 431"));
    EXPECT_LE(stage.rig().proxy(0).route_scratch().response_lines.capacity(), 64u * 1024);
    Speaker& other = stage.Client(Get("/x"));
    ASSERT_TRUE(stage.Until([&] { return other.Heard("\r\n\r\nok"); }, 1000));
    EXPECT_TRUE(other.Heard("X-59: /x/x"));
  });
}

// Upgrades.

TEST(Upgrades, A101NobodyAskedForIs502) {
  constexpr std::string_view kFields[] = {"", "Connection: upgrade\r\nUpgrade: chat\r\n"};
  for (const std::string_view fields : kFields) {
    Play([fields](Stage& stage) {
      stage.Origin(0, [](Speaker& origin) {
        origin.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: evil\r\n\r\n");
      });
      Speaker& client = stage.Client(Get("/", fields));
      stage.Run(50);
      EXPECT_EQ(client.Count("HTTP/1.1 502"), 1u) << client.heard;
      EXPECT_FALSE(client.Heard("101"));
      EXPECT_TRUE(stage.origin(0).over());
    });
  }
}

TEST(Upgrades, WhatFollowsTheRequestWaitsForThe101) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Get("/", "Connection: upgrade\r\nUpgrade: chat\r\n") + "early words");
    stage.Run(500);
    ASSERT_EQ(stage.origins().size(), 1u);
    EXPECT_TRUE(stage.origin(0).heard.ends_with("\r\n\r\n")) << stage.origin(0).heard;
    stage.origin(0).Say(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\nfirst");
    stage.Run(50);
    EXPECT_TRUE(stage.origin(0).heard.ends_with("\r\n\r\nearly words")) << stage.origin(0).heard;
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nfirst")) << client.heard;
    client.Say(" and more");
    stage.origin(0).Say(" second");
    stage.Run(50);
    EXPECT_TRUE(stage.origin(0).heard.ends_with("early words and more"));
    EXPECT_TRUE(client.heard.ends_with("first second"));
    EXPECT_EQ(stage.counters().upgrades.Get(), 1u);
    // Half-close goes through, each way by itself.
    client.peer.Finish();
    stage.Run(50);
    EXPECT_TRUE(stage.origin(0).ended());
    stage.origin(0).Say(" last");
    stage.origin(0).peer.Finish();
    stage.Run(50);
    EXPECT_TRUE(client.heard.ends_with("first second last"));
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(stage.counters().open_connections.Get(), 0u);
  });
}

TEST(Upgrades, OneThatIsRefusedIsARequestLikeAnyOther) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client(Get("/1", "Connection: upgrade\r\nUpgrade: chat\r\n") + Get("/2"));
    stage.Run(100);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    EXPECT_EQ(stage.origins().size(), 1u);
  });
}

TEST(Upgrades, AResetOnOneSideIsOneOnTheOther) {
  for (const bool by_client : {false, true}) {
    Play([by_client](Stage& stage) {
      stage.Origin(0, [](Speaker& origin) {
        origin.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
      });
      Speaker& client = stage.Client(Get("/", "Connection: upgrade\r\nUpgrade: chat\r\n"));
      stage.Run(50);
      (by_client ? client : stage.origin(0)).peer.Reset();
      stage.Run(50);
      EXPECT_EQ((by_client ? stage.origin(0) : client).error(), ECONNRESET);
    });
  }
}

// Pipelining and ends.

TEST(Pipelines, AreAnsweredInOrder) {
  Play([](Stage& stage) {
    stage.Origin(0, [&stage](Speaker& origin) {
      const size_t number = origin.Count("\r\n\r\n");
      stage.world().After((10 - 2 * static_cast<int64_t>(number)) * kNsPerMs, [&origin, number] {
        const std::string body = "answer " + std::to_string(number);
        origin.Say("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
      });
    });
    Speaker& client = stage.Client(Get("/1") + Get("/2") + Get("/3"));
    stage.Run(100);
    EXPECT_EQ(stage.origins().size(), 1u);
    const size_t one = client.heard.find("answer 1");
    const size_t two = client.heard.find("answer 2");
    const size_t three = client.heard.find("answer 3");
    EXPECT_TRUE(one < two && two < three && three != std::string::npos) << client.heard;
  });
}

TEST(Pipelines, AnErrorLeavesAfterTheEarlierAnswers) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Get("/1") + "G@T / HTTP/1.1\r\n\r\n");
    stage.Run(500);
    EXPECT_EQ(client.heard, "");
    SayOk(stage.origin(0));
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 "), 2u) << client.heard;
    EXPECT_TRUE(client.heard.starts_with("HTTP/1.1 200 OK")) << client.heard;
    EXPECT_TRUE(client.Heard("400 Bad Request"));
    EXPECT_TRUE(client.ended());
  });
}

TEST(Pipelines, OneEmptyLineBeforeARequestIsLetPass) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client("\r\n" + Get("/1") + "\r\n" + Get("/2") + "\r\n\r\n" + Get("/3"));
    stage.Run(100);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    EXPECT_EQ(client.Count("HTTP/1.1 400"), 1u) << client.heard;
  });
}

TEST(Pipelines, WhatWeirAnswersItselfKeepsItsPlace) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client =
        stage.Client(Get("/1") + "TRACE /t HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n" + Get("/2") +
                     "OPTIONS * HTTP/1.1\r\nHost: a.test\r\nMax-Forwards: 0\r\n\r\n" + Get("/3"));
    stage.Run(100);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 5u) << client.heard;
    EXPECT_EQ(client.Count("\r\n\r\nok"), 3u);
    const size_t trace = client.heard.find("TRACE /t HTTP/1.1");
    EXPECT_LT(client.heard.find("ok"), trace);
    EXPECT_LT(trace, client.heard.find("Allow:"));
    EXPECT_TRUE(client.heard.ends_with("\r\n\r\nok"));
    EXPECT_EQ(stage.origins().size(), 1u);
  });
}

TEST(Ends, AnErrorIsReadThoughTheBodyStillComes) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client("GET / HTTP/1.1\r\n\r\n" + std::string(600'000, 'a'));  // no Host
    stage.Run(3'000);
    EXPECT_TRUE(client.Heard("400 Bad Request")) << client.heard;
    EXPECT_TRUE(client.ended()) << client.error();
    EXPECT_EQ(client.peer.bytes_queued(), 0u) << "what still came was to be read and dropped";
  });
}

TEST(Ends, WhoTalksOnForEverIsCutOff) {
  Play([](Stage& stage) {
    Speaker& client = stage.Client("GET / HTTP/1.1\r\n\r\n");
    stage.Run(20);
    EXPECT_TRUE(client.ended());
    for (int i = 0; i < 40; ++i) {
      if (client.error() != 0) break;
      client.Say("and another thing\r\n");
      stage.Run(100);
    }
    EXPECT_NE(client.error(), 0);
    EXPECT_GE(stage.now_ms(), 2'000);
    EXPECT_LE(stage.now_ms(), 2'500);
    EXPECT_EQ(stage.counters().open_connections.Get(), 0u);
  });
}

TEST(Ends, AFinBehindAWholeRequestStillGetsTheAnswer) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Get("/1") + Get("/2"));
    client.peer.Finish();
    stage.Run(1'000);
    EXPECT_EQ(client.heard, "");
    SayOk(stage.origin(0));
    stage.Run(50);
    SayOk(stage.origin(0));
    stage.Run(50);
    EXPECT_EQ(client.Count("HTTP/1.1 200"), 2u) << client.heard;
    EXPECT_TRUE(client.ended());
    EXPECT_FALSE(stage.origin(0).over()) << "the upstream connection is as good as ever";
  });
}

TEST(Ends, AClientsResetAbortsTheUpstream) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Get("/"));
    stage.Run(50);
    ASSERT_EQ(stage.origins().size(), 1u);
    EXPECT_FALSE(stage.origin(0).over());
    client.peer.Reset();
    stage.Run(50);
    EXPECT_TRUE(stage.origin(0).over());
    EXPECT_EQ(stage.counters().client_aborts.Get(), 1u);
    EXPECT_EQ(stage.counters().open_connections.Get(), 0u);
  });
}

TEST(Ends, AClientsResetDuringTheConnectIsNoticed) {
  Play([](Stage& stage) {
    stage.world().faults().connect_lost = 1;
    stage.Origin(0);
    stage.world().faults().connect_lost = 0;
    Speaker& client = stage.Client(Get("/"));
    stage.Until([&] { return stage.counters().accepted.Get() == 1; }, 10);
    stage.world().faults().connect_lost = 1;
    stage.Run(500);
    client.peer.Reset();
    stage.Run(50);
    EXPECT_EQ(stage.counters().open_connections.Get(), 0u);
    EXPECT_EQ(stage.counters().upstream_open.Get(), 0u);
    stage.world().faults().connect_lost = 0;
  });
}

// Timeouts.

TEST(Timeouts, AHeadHasTenSeconds) {
  for (const bool trickles : {false, true}) {
    Play([trickles](Stage& stage) {
      Speaker& client = stage.Client("GET / HTTP/1.1\r\nHost: a");
      for (int i = 0; i < 9 && trickles; ++i) {
        stage.Run(1'000);
        client.Say("a");
      }
      stage.Run(trickles ? 900 : 9'900);
      EXPECT_FALSE(client.over());
      stage.Run(200);
      EXPECT_TRUE(client.Heard("408 Request Timeout")) << client.heard;
      EXPECT_TRUE(client.Heard("Connection: close"));
      EXPECT_TRUE(client.ended());
      EXPECT_EQ(stage.counters().client_timeouts.Get(), 1u);
    });
  }
}

TEST(Timeouts, WhoNeverSaysAnythingIsClosed) {
  Play([](Stage& stage) {
    Speaker& client = stage.Client();
    stage.Run(9'900);
    EXPECT_FALSE(client.over());
    stage.Run(200);
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(client.heard, "");
  });
}

TEST(Timeouts, ALaterHeadHasItsOwnTenSeconds) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(40'000);
    EXPECT_FALSE(client.over());
    client.Say("GET /2 HTTP/1.1\r\n");
    stage.Run(9'900);
    EXPECT_FALSE(client.over());
    stage.Run(200);
    EXPECT_TRUE(client.Heard("408 Request Timeout")) << client.heard;
  });
}

TEST(Timeouts, AnIdleConnectionHasSixtySeconds) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(59'900);
    EXPECT_FALSE(client.over());
    stage.Run(200);
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(client.Count("HTTP/1.1 "), 1u);
  });
}

TEST(Timeouts, ARequestBodyMayPauseThirtySeconds) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Post("/", "Content-Length: 100\r\n", "aaaa"));
    for (int i = 0; i < 3; ++i) {
      stage.Run(25'000);
      EXPECT_FALSE(client.over());
      client.Say("bbbb");
    }
    stage.Run(29'000);
    EXPECT_FALSE(client.over());
    stage.Run(1'100);
    EXPECT_TRUE(client.Heard("408 Request Timeout")) << client.heard;
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(stage.origin(0).error(), ECONNRESET);
  });
}

TEST(Timeouts, AnAnswersHeadHasSixtySeconds) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client(Get("/"));
    stage.Run(59'900);
    EXPECT_FALSE(client.Heard("HTTP"));
    stage.Run(200);
    EXPECT_TRUE(client.Heard("504 Gateway Timeout")) << client.heard;
    EXPECT_EQ(stage.origin(0).error(), ECONNRESET);
    EXPECT_EQ(stage.counters().upstream_timeouts.Get(), 1u);
    // The request was whole: the connection takes the next.
    EXPECT_FALSE(client.over());
    client.Say(Get("/2"));
    stage.Run(50);
    EXPECT_EQ(stage.origins().size(), 2u);
  });
}

TEST(Timeouts, AnAnswersBodyMayPauseThirtySeconds) {
  Play([](Stage& stage) {
    stage.Origin(0,
                 [](Speaker& origin) { origin.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\naaaa"); });
    Speaker& client = stage.Client(Get("/"));
    for (int i = 0; i < 3; ++i) {
      stage.Run(29'000);
      stage.origin(0).Say("bbbb");
    }
    stage.Run(29'000);
    EXPECT_FALSE(client.over());
    EXPECT_EQ(client.Count("bbbb"), 3u);
    stage.Run(1'100);
    EXPECT_TRUE(client.ended());
    EXPECT_FALSE(client.Heard("504"));
    EXPECT_TRUE(stage.origin(0).over());
  });
}

TEST(Timeouts, AConnectHasThreeSecondsThenAnotherEndpointIsTried) {
  Play(
      [](Stage& stage) {
        stage.Origin(0, SayOk);
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        stage.Run(10);
        stage.world().faults().connect_lost = 1;
        client.Say(Get("/"));
        stage.Run(2'900);
        stage.world().faults().connect_lost = 0;
        stage.Run(50);
        EXPECT_FALSE(client.Heard("HTTP"));
        stage.Run(200);
        EXPECT_EQ(client.Count("HTTP/1.1 200"), 1u) << client.heard;
      },
      With([](Settings&) {}, 2));
}

TEST(Timeouts, WhenNoConnectIsAnsweredItIs504) {
  Play(
      [](Stage& stage) {
        stage.Origin(0, SayOk);
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        stage.Run(10);
        stage.world().faults().connect_lost = 1;
        client.Say(Get("/"));
        stage.Run(5'900);
        EXPECT_FALSE(client.Heard("HTTP"));
        stage.Run(300);
        EXPECT_TRUE(client.Heard("504 Gateway Timeout")) << client.heard;
        EXPECT_EQ(stage.counters().upstream_connect_failures.Get(), 2u);
        stage.world().faults().connect_lost = 0;
      },
      With([](Settings&) {}, 2));
}

TEST(Timeouts, TheWholeRequestHasItsTime) {
  Play(
      [](Stage& stage) {
        stage.Origin(0,
                     [](Speaker& origin) { origin.Say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\na"); });
        Speaker& client = stage.Client(Get("/"));
        for (int i = 0; i < 4; ++i) {
          stage.Run(1'000);
          EXPECT_FALSE(client.over());
          stage.origin(0).Say("b");
        }
        stage.Run(1'200);
        EXPECT_TRUE(client.ended());
        EXPECT_LE(stage.MsOf(client.over_ns()), 5'100);
      },
      With([](Settings& settings) { settings.timeouts.request_ms = 5'000; }));
}

TEST(Timeouts, AReaderThatDoesNotReadHasThirtySeconds) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n" + std::string(10'000'000, 'a'));
    });
    Speaker& client = stage.Client(Get("/"));
    client.keep = false;
    client.peer.StopReading();
    stage.Run(25'000);
    // What it does not read, nobody reads: windows and a few slices is all that is on its way.
    EXPECT_LT(stage.origin(0).peer.bytes_acknowledged(), 1'000'000u);
    EXPECT_EQ(stage.counters().open_connections.Get(), 1u);
    stage.Run(40'000);
    EXPECT_EQ(stage.counters().open_connections.Get(), 0u);
    EXPECT_EQ(stage.counters().client_timeouts.Get(), 1u);
    EXPECT_TRUE(stage.origin(0).over());
  });
}

// Slowly is not the same as not at all.
TEST(Timeouts, AReaderThatReadsSlowlyIsServed) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      origin.Say("HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + std::string(200'000, 'a'));
    });
    Speaker& client = stage.Client(Get("/"));
    client.peer.manner = {64, 100 * kNsPerMs, 0, 600};
    EXPECT_TRUE(stage.Until([&] { return client.heard_bytes > 200'000; }, 1'200'000)) << client.heard_bytes;
    EXPECT_FALSE(client.over());
  });
}

// Endpoints.

TEST(Endpoints, OneThatRefusesIsSetAside) {
  Play(
      [](Stage& stage) {
        stage.Origin(1, SayOk);
        Speaker& client = stage.Client();
        for (int i = 0; i < 6; ++i) {
          client.Say(Post("/" + std::to_string(i), "Content-Length: 3\r\n", "abc"));
          stage.Run(100);
        }
        EXPECT_EQ(client.Count("HTTP/1.1 200"), 6u) << client.heard;
        EXPECT_EQ(stage.counters().upstream_connect_failures.Get(), 1u);
        EXPECT_EQ(stage.counters().retries.Get(), 1u);
      },
      With([](Settings&) {}, 2));
}

TEST(Endpoints, WhenNoneIsThereItIs502ThenNoneIsAvailable) {
  Play([](Stage& stage) {
    Speaker& client = stage.Client(Get("/1"));
    stage.Run(100);
    EXPECT_EQ(client.Count("HTTP/1.1 502"), 1u) << client.heard;
    Speaker& next = stage.Client(Get("/2"));
    stage.Run(100);
    EXPECT_EQ(next.Count("HTTP/1.1 503"), 1u) << next.heard;
    EXPECT_TRUE(next.Heard("Retry-After: 1\r\n"));
    stage.Origin(0, SayOk);
    stage.Run(2'000);
    Speaker& last = stage.Client(Get("/3"));
    stage.Run(100);
    EXPECT_EQ(last.Count("HTTP/1.1 200"), 1u) << last.heard;
  });
}

// TCP.

TEST(Tcp, EachDirectionEndsByItself) {
  Play([](Stage& stage) {
    stage.Origin(0);
    Speaker& client = stage.Client("up", kTcpAddress);
    stage.Run(20);
    EXPECT_EQ(stage.origin(0).heard, "up");
    client.peer.Finish();
    stage.Run(20);
    EXPECT_TRUE(stage.origin(0).ended());
    stage.origin(0).Say("down");
    stage.Run(5'000);
    EXPECT_EQ(client.heard, "down");
    EXPECT_FALSE(client.over());
    stage.origin(0).peer.Finish();
    stage.Run(20);
    EXPECT_TRUE(client.ended());
    EXPECT_EQ(stage.counters().open_connections.Get(), 0u);
  });
}

TEST(Tcp, AResetOnOneSideIsOneOnTheOther) {
  for (const bool by_client : {false, true}) {
    Play([by_client](Stage& stage) {
      stage.Origin(0);
      Speaker& client = stage.Client("up", kTcpAddress);
      stage.Run(20);
      stage.origin(0).Say("down");
      stage.Run(20);
      (by_client ? client : stage.origin(0)).peer.Reset();
      stage.Run(20);
      EXPECT_EQ((by_client ? stage.origin(0) : client).error(), ECONNRESET);
    });
  }
}

TEST(Tcp, ARefusedConnectIsTriedElsewhere) {
  Play(
      [](Stage& stage) {
        stage.Origin(2);
        for (int i = 0; i < 6; ++i) stage.Client("up", kTcpAddress);
        stage.Run(50);
        EXPECT_EQ(stage.origins().size(), 6u);
        EXPECT_EQ(stage.counters().tcp_failures.Get(), 0u);
        // The two that refuse are soon left alone.
        const uint64_t failures = stage.counters().upstream_connect_failures.Get();
        for (int i = 0; i < 6; ++i) stage.Client("up", kTcpAddress);
        stage.Run(50);
        EXPECT_EQ(stage.origins().size(), 12u);
        EXPECT_EQ(stage.counters().upstream_connect_failures.Get(), failures);
      },
      With([](Settings&) {}, 3));
}

TEST(Tcp, WhenNobodyAnswersTheClientIsReset) {
  for (const bool refused : {false, true}) {
    Play([refused](Stage& stage) {
      if (!refused) stage.Origin(0);
      Speaker& client = stage.Client("", kTcpAddress);
      stage.Until([&] { return stage.counters().accepted.Get() == 1; }, 10);
      stage.world().faults().connect_lost = 1;
      stage.Run(refused ? 50 : 2'900);
      EXPECT_EQ(client.over(), refused);
      stage.Run(200);
      EXPECT_EQ(client.error(), ECONNRESET);
      EXPECT_EQ(stage.counters().tcp_failures.Get(), 1u);
      stage.world().faults().connect_lost = 0;
    });
  }
}

TEST(Tcp, WhoOnlyFinishedSpeakingIsNotTheOneWhoFailed) {
  Play([](Stage& stage) {
    stage.Client("", kTcpAddress).peer.Finish();
    stage.Run(100);
    EXPECT_EQ(stage.counters().tcp_failures.Get(), 1u);
    Speaker& client = stage.Client("all I have to say", kTcpAddress);
    client.peer.Finish();
    stage.Run(2'000);
    EXPECT_TRUE(client.over());
    EXPECT_EQ(stage.counters().tcp_failures.Get(), 2u);
  });
}

TEST(Tcp, AnIdleConnectionEnds) {
  Play(
      [](Stage& stage) {
        stage.Origin(0);
        Speaker& client = stage.Client("up", kTcpAddress);
        for (int i = 0; i < 5; ++i) {
          stage.Run(9'000);
          (i % 2 == 0 ? client : stage.origin(0)).Say("still here");
        }
        EXPECT_FALSE(client.over());
        stage.Run(10'500);
        EXPECT_TRUE(client.ended());
        EXPECT_TRUE(stage.origin(0).ended());
      },
      With([](Settings& settings) { settings.timeouts.tcp_idle_ms = 10'000; }));
}

// What one side does not read, nobody reads from the other.
TEST(Tcp, ASlowSideSlowsTheOther) {
  for (const bool client_reads_not : {false, true}) {
    Play([client_reads_not](Stage& stage) {
      stage.Origin(0);
      Speaker& client = stage.Client("up", kTcpAddress);
      stage.Run(20);
      Speaker& reader = client_reads_not ? client : stage.origin(0);
      Speaker& writer = client_reads_not ? stage.origin(0) : client;
      reader.keep = false;
      reader.peer.StopReading();
      writer.Say(std::string(5'000'000, 'a'));
      stage.Run(10'000);
      EXPECT_LT(writer.peer.bytes_acknowledged(), 1'000'000u);
      reader.peer.ReadAgain();
      EXPECT_TRUE(stage.Until([&] { return reader.heard_bytes >= 5'000'000; }, 60'000));
    });
  }
}

// Limits.

TEST(Limits, OneConnectionTooManyIsTold) {
  Play(
      [](Stage& stage) {
        stage.Origin(0, SayOk);
        Speaker& one = stage.Client(Get("/1"));
        Speaker& two = stage.Client("", kTcpAddress);
        stage.Run(20);
        Speaker& http = stage.Client(Get("/3"));
        Speaker& tcp = stage.Client("up", kTcpAddress);
        stage.Run(50);
        EXPECT_TRUE(http.heard.starts_with("HTTP/1.1 503")) << http.heard;
        EXPECT_TRUE(http.Heard("Retry-After: 1\r\n"));
        EXPECT_TRUE(http.ended());
        EXPECT_TRUE(tcp.over());
        EXPECT_EQ(stage.counters().rejected_at_limit.Get(), 2u);
        EXPECT_FALSE(one.over() || two.over());
        one.peer.Close();
        http.peer.Close();
        stage.Run(50);
        EXPECT_EQ(stage.counters().open_connections.Get(), 1u);
        Speaker& next = stage.Client(Get("/4"));
        stage.Run(50);
        EXPECT_TRUE(next.Heard("200 OK")) << next.heard;
      },
      With([](Settings& settings) { settings.max_connections = 2; }));
}

// An origin that hangs: its kernel still accepts, and nobody answers.
TEST(Limits, AHungOriginCostsItsTimeOnly) {
  Play([](Stage& stage) {
    sim::PeerServer& server = stage.Origin(0, SayOk);
    server.Pause();
    Speaker& client = stage.Client(Get("/"));
    stage.Run(60'100);
    EXPECT_TRUE(client.Heard("504 Gateway Timeout")) << client.heard;
    server.Resume();
    client.Say(Get("/2"));
    stage.Run(100);
    EXPECT_TRUE(client.Heard("200 OK")) << client.heard;
  });
}

// Draining.

TEST(Drains, AnswerWhatRunsAndCloseWhatIsIdle) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      if (!origin.Heard("/slow")) SayOk(origin);
    });
    Speaker& idle = stage.Client(Get("/1"));
    stage.Run(50);
    Speaker& busy = stage.Client(Get("/slow"));
    stage.Run(50);
    stage.rig().Drain();
    stage.Run(500);
    EXPECT_TRUE(idle.ended()) << idle.error();
    EXPECT_FALSE(busy.over());
    EXPECT_FALSE(stage.rig().drained());
    for (auto& origin : stage.origins()) {
      if (origin->Heard("/slow")) SayOk(*origin);
    }
    stage.Run(50);
    EXPECT_TRUE(busy.Heard("200 OK") && busy.Heard("Connection: close")) << busy.heard;
    EXPECT_TRUE(busy.ended());
    busy.peer.Close();
    idle.peer.Close();
    stage.Run(500);
    EXPECT_TRUE(stage.rig().drained());
    Speaker& late = stage.Client(Get("/late"));
    stage.Run(5'000);
    EXPECT_EQ(late.error(), ECONNREFUSED);
  });
}

// The lame duck: who is there and who comes is served, and told with the answer that it was the last. Nobody
// is closed who was not told.
TEST(Drains, AreAnnouncedByTheAnswersBefore) {
  Play([](Stage& stage) {
    bool hang = true;
    stage.Origin(0, [&hang](Speaker& origin) {
      if (!hang || !origin.Heard("/slow")) SayOk(origin);
    });
    Speaker& idle = stage.Client(Get("/1"));
    Speaker& quiet = stage.Client(Get("/2"));
    Speaker& tunnel = stage.Client("bytes\r\n\r\n", kTcpAddress);
    stage.Run(50);
    Speaker& busy = stage.Client(Get("/slow"));
    stage.Run(50);
    EXPECT_FALSE(idle.Heard("Connection: close"));
    stage.rig().SayClose();
    hang = false;
    stage.Run(500);
    EXPECT_FALSE(idle.over() || quiet.over() || busy.over());
    idle.Say(Get("/3") + Get("/not-read"));
    Speaker& late = stage.Client(Get("/4"));
    Speaker& old = stage.Client("GET /5 HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n");
    Speaker& refused = stage.Client(Get("/%zz"));
    for (auto& origin : stage.origins()) {
      if (origin->Heard("/slow")) origin->Say(kOk);
    }
    stage.Run(100);
    EXPECT_EQ(idle.Count("HTTP/1.1 200 OK"), 2u) << idle.heard;
    for (Speaker* told : {&idle, &late, &busy, &refused}) {
      EXPECT_EQ(told->Count("Connection: close"), 1u) << told->heard;
      EXPECT_TRUE(told->ended()) << told->error();
    }
    EXPECT_TRUE(old.Heard("200 OK") && !old.Heard("keep-alive") && old.ended()) << old.heard;
    EXPECT_FALSE(quiet.over() || tunnel.over());
    EXPECT_FALSE(quiet.Heard("Connection: close"));
    stage.rig().Drain();
    stage.Run(100);
    EXPECT_TRUE(quiet.ended()) << quiet.error();
  });
}

// Accept pauses while descriptors are short; the drain that begins in such a pause is not overlooked.
TEST(Drains, BeginThoughDescriptorsAreShort) {
  Play([](Stage& stage) {
    stage.Origin(0, SayOk);
    stage.Client(Get("/1"));
    stage.Run(50);
    stage.world().set_fd_limit(stage.world().open_fds());
    Speaker& waiting = stage.Client(Get("/2"));
    stage.Run(20 + static_cast<int64_t>(stage.world().random().Below(60)));
    stage.rig().Drain();
    stage.Run(10);
    stage.world().set_fd_limit(4096);
    EXPECT_TRUE(stage.Until([&] { return stage.rig().drained(); }, 5'000));
    EXPECT_FALSE(stage.rig().cut());
    EXPECT_TRUE(waiting.over());
  });
}

TEST(Drains, CutWhatDoesNotEnd) {
  Play([](Stage& stage) {
    stage.Origin(0, [](Speaker& origin) {
      if (origin.Heard("upgrade")) {
        origin.Say("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
      }
    });
    Speaker& tunnel = stage.Client(Get("/", "Connection: upgrade\r\nUpgrade: chat\r\n"));
    Speaker& waiting = stage.Client(Get("/"));
    Speaker& uploading = stage.Client(Post("/", "Content-Length: 100\r\n", "a"));
    Speaker& unread = stage.Client("GET / HTTP/1.1\r\n\r\n");  // lingers
    stage.Run(50);
    stage.rig().Drain();
    stage.Run(29'900);
    EXPECT_FALSE(tunnel.over());
    EXPECT_FALSE(waiting.over());
    EXPECT_TRUE(unread.over());
    stage.Run(300);
    EXPECT_NE(tunnel.error(), 0);
    EXPECT_NE(waiting.error(), 0);
    EXPECT_TRUE(uploading.over());
    EXPECT_TRUE(stage.rig().drained());
    EXPECT_TRUE(stage.rig().cut());
  });
}

// Buffers.

// Requests that wait behind one that hangs hold a buffer each: as many as there are buffers, and a shard
// stands still unless it takes some back.
TEST(Buffers, ThatPipelinesHoldAreTakenBack) {
  Stage::Options options;
  options.buffers = 16;
  Play(
      [](Stage& stage) {
        stage.Origin(0, [](Speaker& origin) {
          if (!origin.Heard("/hang")) SayOk(origin);
        });
        for (int i = 0; i < 40; ++i) stage.Client(Get("/hang") + Get("/next"));
        stage.Run(100);
        Speaker& quick = stage.Client(Get("/quick"));
        EXPECT_TRUE(stage.Until([&] { return quick.Heard("200 OK"); }, 5'000)) << quick.heard;
        EXPECT_GT(stage.counters().resets_for_buffers.Get(), 0u);
      },
      options);
}

// The same for connections whose other end does not read.
TEST(Buffers, ThatRelaysHoldAreTakenBack) {
  Stage::Options options;
  options.buffers = 16;
  Play(
      [](Stage& stage) {
        stage.Origin(0, [](Speaker& origin) {
          if (origin.Heard("stuck")) {
            origin.peer.StopReading();
          } else {
            SayOk(origin);
          }
        });
        for (int i = 0; i < 40; ++i) stage.Client("stuck\r\n\r\n" + std::string(1'000'000, 'a'), kTcpAddress);
        stage.Run(500);
        Speaker& quick = stage.Client("quick\r\n\r\n", kTcpAddress);
        EXPECT_TRUE(stage.Until([&] { return quick.Heard("200 OK"); }, 10'000));
        EXPECT_GT(stage.counters().resets_for_buffers.Get(), 0u);
      },
      options);
}

// Asks for `seconds`, ten times a second.
void AskFor(Stage& stage, int seconds) {
  for (int i = 0; i < seconds * 10; ++i) {
    Speaker& client = stage.Client(Get("/", "Connection: close\r\n"));
    stage.Until([&] { return client.over(); }, 1'000);
    client.peer.Finish();
    stage.Run(100);
  }
}

TEST(SetAside, LongerAndLongerWhileOthersAreLeft) {
  Stage::Options options;
  options.settings = Rig::Defaults(2);
  Stage stage(1, std::move(options));
  stage.Origin(1, SayOk);
  AskFor(stage, 20);
  const uint64_t times = stage.counters().endpoints_set_aside.Get();
  EXPECT_GE(times, 4u);
  EXPECT_LE(times, 5u) << "1, 2, 4, 8, 16 s";
  EXPECT_EQ(stage.counters().none_available.Get(), 0u);
}

TEST(SetAside, TheLastOneIsLookedAtSoonAgain) {
  Stage stage(1);
  AskFor(stage, 20);
  EXPECT_GE(stage.counters().endpoints_set_aside.Get(), 15u);
  stage.Origin(0, SayOk);
  stage.Run(stage.rig().settings().upstreams[0].set_aside_ms + 50);
  Speaker& client = stage.Client(Get("/"));
  ASSERT_TRUE(stage.Until([&] { return client.Heard("\r\n"); }, 1'000));
  EXPECT_TRUE(client.Heard("200 OK"));
}

}  // namespace
}  // namespace weir::lb::trial
