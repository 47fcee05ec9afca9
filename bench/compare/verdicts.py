"""What was reached, beside what was aimed at: a dict for the report, and lines for people."""

TAILS = ("p99", "p99.9")
WEIR = "weir"


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
                       "within_spread": within}
    return found


def of_load(scenario, results, peers):
    found = {"goal": scenario.goal if WEIR in results else None, "tails": tails(results, peers)}
    if found["goal"] is not None:
        beside = [scenario.goal_to] if scenario.goal_to else peers
        costs = {peer: results[peer]["us_per_request"] for peer in beside if peer in results}
        if costs:
            peer = min(costs, key=costs.get)
            found["peer"] = peer
            found["reached"], found["reached_min"], found["reached_max"] = ratio(results[WEIR], results[peer])
            found["rounds"] = min(results[WEIR]["rounds"], results[peer]["rounds"])
    return found


def of_idle(scenario, results):
    return {"goal": scenario.goal, "reached": results[WEIR]["user_bytes"]} if WEIR in results else {}


def of_latency(results, peers):
    return {"tails": {step: tails(by_contender, peers) for step, by_contender in results.items()}}


def of_steps(scenario, ratios):
    if WEIR not in ratios:
        return {}
    found = ratios[WEIR]
    return {"goal": scenario.goal, "reached": found["ratio"], "reached_min": found["min"], "reached_max": found["max"],
            "rounds": found["rounds"]}


def _tail_text(name, tail):
    if not tail["above"]:
        return f"{name} {tail['us']:.0f} us, not above {tail['peer']}'s {tail['peer_us']:.0f}"
    spread = {True: ", within the spread", False: "", None: " (one round: no spread)"}[tail["within_spread"]]
    return f"{name} {tail['us']:.0f} us, above {tail['peer']}'s {tail['peer_us']:.0f}{spread}"


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
            out.append(f"goal {goal}, reached {reached}{spread}" + (f", beside {verdict['peer']}" if "peer" in verdict else ""))
    found = verdict.get("tails", {})
    if found and not set(found) & set(TAILS):  # by rate
        out += [f"{step} %: " + "; ".join(_tail_text(*pair) for pair in tail.items()) for step, tail in found.items() if tail]
    elif found:
        out.append("; ".join(_tail_text(*pair) for pair in found.items()))
    return out
