"""What was reached, beside what was aimed at: a dict for the report, and lines for people."""

TAILS = ("p99", "p99.9")
WEIR = "weir"
NOISE = 0.05  # of a CPU


def warnings_of(name, result):
    """What disturbed a figure."""
    said = []
    if "failed" not in result:  # memory
        return said
    if result["failed"]:
        first = result.get("first_wrong")
        said.append(f"{result['failed']} FAILED" + (f", the first: {first}" if first else ""))
    if result["unanswered"]:
        said.append(f"{result['unanswered']} not answered at the end")
    if result["reconnects"]:
        said.append(f"{result['reconnects']} RECONNECTS")
    if result.get("lost_rounds"):
        said.append(f"{result['lost_rounds']} ROUNDS LOST")
    others = result.get("load_foreign", 0.0)
    # (In the open loop the generator turns without rest.)
    if others <= NOISE and result["load_cpu_busy"] > 0.97 and result["proxy_cpu_busy"] < 0.90 and name != "direct" and not result.get("rate"):
        said.append("the generator is the bottleneck")
    if result["steal"] > 0.01:
        said.append(f"{result['steal']:.0%} stolen")
    if result["foreign"] > NOISE:
        said.append(f"{result['foreign']:.0%} other load")
    if others > NOISE:
        said.append(f"{others:.0%} other load on the generator's CPU")
    return said


def disturbed(results, *names):
    """Those of these whose figures something disturbed."""
    return [name for name in names if name in results and warnings_of(name, results[name])]


def ratio(mine, other):
    """One's cost over another's; then the least and the most that a round of the one and a round of the other make."""
    return (mine["us_per_request"] / other["us_per_request"], mine["us_min"] / other["us_max"], mine["us_max"] / other["us_min"])


def tails(results, peers):
    """p99 and p99.9 of Weir and of the peer that is better there."""
    found = {}
    for name in TAILS:
        others = {peer: results[peer] for peer in peers if peer in results and name in results[peer]["latency_us"]}
        if WEIR not in results or name not in results[WEIR]["latency_us"] or not others:
            continue
        best = min(others, key=lambda peer, q=name: others[peer]["latency_us"][q])
        mine, other = results[WEIR], others[best]
        above = mine["latency_us"][name] > other["latency_us"][name]
        within = None
        if above and min(mine["rounds"], other["rounds"]) > 1:
            within = mine["latency_min_us"][name] <= other["latency_max_us"][name]
        found[name] = {"us": mine["latency_us"][name], "peer": best, "peer_us": other["latency_us"][name], "above": above,
                       "within_spread": within, "disturbed": disturbed(results, WEIR, best)}
    return found


def of_load(scenario, results, peers):
    found = {"goal": scenario.goal if WEIR in results else None, "tails": tails(results, peers)}
    if found["goal"] is not None:
        costs = {peer: results[peer]["us_per_request"] for peer in peers if peer in results}
        if costs:
            peer = min(costs, key=costs.get)
            found["peer"] = peer
            found["reached"], found["reached_min"], found["reached_max"] = ratio(results[WEIR], results[peer])
            found["rounds"] = min(results[WEIR]["rounds"], results[peer]["rounds"])
            found["disturbed"] = disturbed(results, WEIR, peer)
    return found


def of_idle(scenario, results):
    return {"goal": scenario.goal, "reached": results[WEIR]["user_bytes"]} if WEIR in results else {}


def of_latency(results, peers):
    return {"tails": {step: tails(by_contender, peers) for step, by_contender in results.items()}}


def of_uneven(scenario, results, peers):
    """The p99 of whichever of Weir's policies is best there, beside the better peer's."""
    def least(names):
        return min(names, key=lambda name: results[name]["latency_us"]["p99"], default=None)

    return of_p99(scenario, results, least([name for name in results if name.startswith(f"{WEIR}-")]),
                  least([name for name in peers if name in results]))


def of_fairness(scenario, results, peers):
    peer = min([name for name in peers if name in results], key=lambda name: results[name]["latency_us"]["p99"], default=None)
    return of_p99(scenario, results, WEIR if WEIR in results else None, peer)


def of_p99(scenario, results, mine, peer):
    found = {"goal": scenario.goal if mine else None, "p99 of": mine}
    if mine and peer:
        a, b = results[mine], results[peer]
        found |= {"peer": peer, "reached": a["latency_us"]["p99"] / b["latency_us"]["p99"],
                  "reached_min": a["latency_min_us"]["p99"] / b["latency_max_us"]["p99"],
                  "reached_max": a["latency_max_us"]["p99"] / b["latency_min_us"]["p99"],
                  "rounds": min(a["rounds"], b["rounds"]), "disturbed": disturbed(results, mine, peer)}
    return found


def of_steps(scenario, ratios, results):
    if WEIR not in ratios:
        return {}
    found = ratios[WEIR]
    return {"goal": scenario.goal, "reached": found["ratio"], "reached_min": found["min"], "reached_max": found["max"],
            "rounds": found["rounds"], "disturbed": [f"{WEIR} at {step}" for step in (list(results)[0], list(results)[-1])
                                                     if disturbed(results[step], WEIR)]}


def _disturbed_text(found):
    return f" (disturbed: {', '.join(found['disturbed'])})" if found.get("disturbed") else ""


def _tail_text(name, tail):
    if not tail["above"]:
        return f"{name} {tail['us']:.0f} us, not above {tail['peer']}'s {tail['peer_us']:.0f}{_disturbed_text(tail)}"
    spread = {True: ", within the spread", False: "", None: " (one round: no spread)"}[tail["within_spread"]]
    return f"{name} {tail['us']:.0f} us, above {tail['peer']}'s {tail['peer_us']:.0f}{spread}{_disturbed_text(tail)}"


def lines(verdict):
    """For the table, without indentation."""
    out = []
    if verdict.get("goal") is not None:
        goal = f"{verdict['goal']:.2f}" if verdict["goal"] < 100 else f"{verdict['goal']:.0f} B"
        if verdict.get("reached") is None:
            out.append(f"goal {goal}: there was no peer to relate to")
        else:
            reached = f"{verdict['reached']:.2f}" if verdict["goal"] < 100 else f"{verdict['reached']:.0f} B"
            spread = ""
            if verdict.get("rounds", 0) > 1:
                spread = f" ({verdict['reached_min']:.2f}-{verdict['reached_max']:.2f})"
            elif "rounds" in verdict:
                spread = " (one round: no spread)"
            what = f" by {verdict['p99 of']}'s p99" if "p99 of" in verdict else ""
            out.append(f"goal {goal}, reached {reached}{spread}{what}" + (f", beside {verdict['peer']}" if "peer" in verdict else "")
                       + (": met" if verdict["reached"] <= verdict["goal"] else ": missed") + _disturbed_text(verdict))
    found = verdict.get("tails", {})
    if found and not set(found) & set(TAILS):  # by rate
        out += [f"{step} %: " + "; ".join(_tail_text(*pair) for pair in tail.items()) for step, tail in found.items() if tail]
    elif found:
        out.append("; ".join(_tail_text(*pair) for pair in found.items()))
    return out
