"""What was measured, for people: a table for the terminal, a page with plots, and what changed since another run."""

import base64
import html
import io
import math
import re
import statistics
import textwrap

import proxies
import verdicts

COLOURS = ["#1b7f79", "#b5651d", "#4a6fa5", "#8a4f7d", "#6b8e23", "#777777"]


def summarise(rounds):
    """Medians of a contender's rounds, with the spread of the figure that counts."""
    out = {}
    for key in ("us_per_request", "cpu_us_per_request", "user_us_per_request", "requests_per_s", "proxy_cpu_busy",
                "load_cpu_busy", "steal", "foreign", "load_foreign"):
        values = [r.get(key, 0.0) for r in rounds]
        out[key] = statistics.median(values)
        if key == "us_per_request":
            out["us_min"], out["us_max"] = min(values), max(values)
    out["requests"] = sum(r["requests"] for r in rounds)
    for key in ("failed", "unanswered", "reconnects"):
        out[key] = sum(r[key] for r in rounds)
    out["first_wrong"] = next((r["first_wrong"] for r in rounds if r.get("first_wrong")), "")
    out["rounds"] = len(rounds)
    out["rate"] = rounds[0].get("rate", 0.0)  # 0: closed loop
    counts = [r["all_instructions"] for r in rounds if "all_instructions" in r]
    if counts:
        out["all_instructions"] = statistics.median(counts)
    if "beside_mib_per_s" in rounds[0]:
        out["beside_mib_per_s"] = statistics.median(r["beside_mib_per_s"] for r in rounds)
    names = rounds[0]["latency_us"]
    for key, pick in (("latency_us", statistics.median), ("latency_min_us", min), ("latency_max_us", max)):
        out[key] = {name: pick([r["latency_us"].get(name, 0) for r in rounds]) for name in names}
    return out


def best_peer(results, key, peers):
    values = {name: results[name][key] for name in peers if name in results}
    return min(values, key=values.get) if values else None


warnings_of = verdicts.warnings_of


def _spread(result):
    return f"{result['us_min']:.2f}-{result['us_max']:.2f}" if result["rounds"] > 1 else "one round"


def _with_verdict(lines, verdict):
    return "\n".join(lines + ["  " + line for line in verdicts.lines(verdict)])


def table(scenario, results, peers, verdict):
    best = best_peer(results, "us_per_request", peers)
    counts = [(title, key) for title, key in (("instr", "user_instructions"), ("all instr", "all_instructions"))
              if any(key in r for r in results.values())]
    width = max(10, *map(len, results))
    lines = [f"{scenario.name}: {scenario.about}",
             f"  {'':{width}} {'us/request':>10} {'spread':>13} {'user':>6} {'ratio':>6}"
             + "".join(f" {title:>9}" for title, _ in counts) + f" {'req/s':>9} {'p50':>8} {'p99':>8} {'p99.9':>8}"]
    for name, r in results.items():
        latency = r["latency_us"]
        cost = "" if name == "direct" else f"{r['us_per_request']:10.2f}"
        spread = "" if name == "direct" else _spread(r)
        user = "" if name == "direct" else f"{r['user_us_per_request']:.2f}"
        ratio = f"{r['us_per_request'] / results[best]['us_per_request']:.2f}" if best and name != "direct" else ""
        count = "".join(f" {r[key]:9.0f}" if key in r else f" {'' if name == 'direct' else 'n/a':>9}" for _, key in counts)
        tail = "".join(f" {latency[p]:8.0f}" if p in latency else f" {'':8}" for p in ("p50", "p99", "p99.9"))
        said = warnings_of(name, r)
        lines.append(f"  {name:{width}} {cost:>10} {spread:>13} {user:>6} {ratio:>6}{count} {r['requests_per_s']:9.0f}{tail}"
                     + (f"  ({'; '.join(said)})" if said else ""))
    return _with_verdict(lines, verdict)


def latency_table(scenario, rates, results, verdict):
    width = max(10, *(len(name) for by_name in results.values() for name in by_name))
    lines = [f"{scenario.name}: {scenario.about} (us, from when each request was due)",
             f"  {'':{width}} {'rate':>9} {'answered':>9} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'p99.99':>8}"]
    for percent, rate in rates.items():
        for name, r in results[percent].items():
            latency = r["latency_us"]
            tail = "".join(f" {latency.get(p, 0):8.0f}" for p in ("p50", "p90", "p99", "p99.9", "p99.99"))
            said = warnings_of(name, r)
            lines.append(f"  {name:{width}} {rate:9.0f} {r['requests_per_s']:9.0f}{tail}"
                         + (f"  ({'; '.join(said)})" if said else ""))
    return _with_verdict(lines, verdict)


def idle_table(scenario, results, verdict):
    lines = [f"{scenario.name}: {scenario.about}", f"  {'':10} {'user bytes':>10} {'kernel, both ends':>18} {'whole process':>14}"]
    for name, r in results.items():
        lines.append(f"  {name:10} {r['user_bytes']:10.0f} {r['kernel_bytes_both_ends']:18.0f} {r['process_bytes'] / 2**20:11.1f} MiB")
    lines.append("  measured once: no spread")
    return _with_verdict(lines, verdict)


STEP_UNITS = {"growth": "connections", "endpoints": "endpoints", "scaling": "shards"}


def step_ratios(results):
    """Cost at the last step over that at the first, of those who have both; with the widest and narrowest of their rounds."""
    first, last = list(results.values())[0], list(results.values())[-1]
    return {name: {**dict(zip(("ratio", "min", "max"), verdicts.ratio(last[name], first[name]))),
                   "rounds": min(first[name]["rounds"], last[name]["rounds"])}
            for name in first if name in last}


def step_table(scenario, results, verdict):
    steps = list(results)
    ratios = step_ratios(results)
    title = f"{steps[-1]}/{steps[0]}"
    lines = [f"{scenario.name}: {scenario.about} (us of CPU per request, spread)",
             f"  {STEP_UNITS[scenario.kind] + ':':12}" + "".join(f" {step:>8} {'':13}" for step in steps) + f" {title:>8}"]
    for name in {name: None for by_name in results.values() for name in by_name}:
        cells, said = "", []
        for step in steps:
            r = results[step].get(name)
            cells += f" {r['us_per_request']:8.2f} {_spread(r):13}" if r else f" {'n/a':>8} {'':13}"
            said += [f"at {step}: {'; '.join(warnings)}" for warnings in [warnings_of(name, r) if r else []] if warnings]
        ratio = ""
        if name in ratios:
            ratio = f"{ratios[name]['ratio']:.2f}" + (f" ({ratios[name]['min']:.2f}-{ratios[name]['max']:.2f})"
                                                      if ratios[name]["rounds"] > 1 else "")
        lines.append(f"  {name:12}{cells} {ratio:>8}")
        if said:
            lines.append(f"  {'':12} ({', '.join(said)})")
    return _with_verdict(lines, verdict)


def efficiency_table(results):
    """Closed loop: requests per second with N shards over N times those with one."""
    lines = [f"  scaling efficiency, closed loop: {'':6}" + "".join(f" {step + ' shards':>20}" for step in results)]
    for name, one in results["1"].items():
        cells, said = "", []
        for step, by_name in results.items():
            if name in by_name:
                r = by_name[name]
                cells += f" {r['requests_per_s']:9.0f}/s ({r['requests_per_s'] / one['requests_per_s'] / int(step):5.0%})"
                said += [f"{step}: {text}" for text in warnings_of(name, r)]
        lines.append(f"  {name:39}{cells}" + (f"  ({'; '.join(said)})" if said else ""))
    return "\n".join(lines)


# What changed.


def _figures(scenario):
    """Of a report's scenario: (what, contender) -> (figure, least, most, that of the better peer, None where unknown; what
    disturbed it)."""
    found = {}

    def add(what, results, value, span=None):  # with what disturbed it
        values = {name: value(r) for name, r in results.items() if name != "direct"}
        values = {name: figure for name, figure in values.items() if figure is not None}
        peer = min((values[name] for name in proxies.PEERS if name in values), default=None)
        for name, figure in values.items():
            least, most = span(results[name]) if span else (None, None)
            found[what, name] = (figure, least, most, peer, warnings_of(name, results[name]))

    def cost_span(r):
        return (r["us_min"], r["us_max"]) if r["rounds"] > 1 else (None, None)

    kind, results = scenario["kind"], scenario["results"]
    if kind in ("load", "connect"):
        add("", results, lambda r: r["us_per_request"], cost_span)
        for key, title in (("user_instructions", "instr"), ("all_instructions", "all instr")):
            add(title, results, lambda r, k=key: r.get(k))
    elif kind == "idle":
        add("user bytes", results, lambda r: r["user_bytes"])
    elif kind in ("latency", "uneven", "fairness"):
        for percent, by_name in results.items():
            for q in ("p50", "p99", "p99.9"):
                add(f"{percent}% {q}" if percent else q, by_name, lambda r, q=q: r["latency_us"].get(q) or None,
                    lambda r, q=q: (r["latency_min_us"][q], r["latency_max_us"][q]) if r["rounds"] > 1 and "latency_min_us" in r
                    else (None, None))
    else:
        for step, by_name in results.items():
            add(step, by_name, lambda r: r["us_per_request"], cost_span)
    return found


def _apart(old, new, before, scenario):
    """What makes figures of two runs of a scenario no comparison; empty: nothing."""
    def light(report, one):
        return one.get("generator", "light" if report["generator"].startswith("light") or one["kind"] != "load" else "wrk")

    pairs = [("kind", before["kind"], scenario["kind"]), ("generator", light(old, before), light(new, scenario)),
             ("connections", before.get("connections"), scenario.get("connections")),
             ("question", before["about"], scenario["about"])]
    return "; ".join(f"{what} {was} then, {now} now" for what, was, now in pairs if None not in (was, now) and was != now)


def _only(old, new):
    for text, here, there in (("then", old, new), ("now", new, old)):
        names = [name for name in here["scenarios"] if name not in there["scenarios"]]
        if names:
            yield f"  only {text}: {', '.join(names)}"


def change(old, new):
    """Lines that compare two reports, scenario by scenario."""
    lines = [f"against the run of {old['date']} ({old['machine']['cpu']}, {old['machine']['kernel']}):",
             f"  {'':22} {'':10} {'then':>8} {'now':>8} {'change':>8} {'ratio then':>11} {'now':>6}"]
    head = len(lines)
    if 1 in (old.get("rounds"), new.get("rounds")):
        lines.append("  one of the two had one round: whether spreads overlap is not known")
        head += 1
    for name, scenario in new["scenarios"].items():
        before = old["scenarios"].get(name)
        if before is None:
            continue
        apart = _apart(old, new, before, scenario)
        if apart:
            lines.append(f"  {name}: not compared: {apart}")
            continue
        lengths = ""
        if "seconds" in old and old["seconds"] != new["seconds"]:
            lengths = f"  rounds of {old['seconds']:g} s then, {new['seconds']:g} s now"
        then, now = _figures(before), _figures(scenario)
        for key, (figure, least, most, peer, disturbed) in now.items():
            if key not in then or not then[key][0]:
                continue
            was, was_least, was_most, was_peer, was_disturbed = then[key]
            said = lengths
            if None not in (least, was_least) and least <= was_most and was_least <= most:
                said += "  the spreads overlap"
            when = [text for text, marks in (("then", was_disturbed), ("now", disturbed)) if marks]
            if when:
                said += f"  disturbed {' and '.join(when)}"
            numbers = [f"{value:8.2f}" if value < 100 else f"{value:8.0f}" for value in (was, figure)]
            ratios = [f"{value / other:.2f}" if other else "" for value, other in ((was, was_peer), (figure, peer))]
            lines.append(f"  {(name + ' ' + key[0]).strip():22} {key[1]:10} {numbers[0]} {numbers[1]} {figure / was - 1:+8.1%} "
                         f"{ratios[0]:>11} {ratios[1]:>6}{said}")
    if len(lines) == head:
        lines.append("  the two have no scenario in common that can be compared")
    lines += _only(old, new)
    return "\n".join(lines)


# Plots.


def _pyplot():
    try:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return None
    return pyplot


def can_plot():
    return _pyplot() is not None


HATCH = "////"
DISTURBED = "* disturbed: see the table"


def _title(figure, text, rounds=None):
    """Above everything, in as many lines as the figure's width asks for."""
    if rounds == 1:
        text += " (one round: no spread)"
    figure.suptitle(textwrap.fill(text, int(figure.get_figwidth() * 11)), fontsize=11)
    figure.tight_layout()


def _bars(pyplot, title, label, groups, names, value, errors=None, disturbed=None, rounds=None):
    from matplotlib.patches import Patch

    figure, axes = pyplot.subplots(figsize=(max(6, 1.3 * len(groups) + 2), 3.8))
    width = 0.8 / max(len(names), 1)
    any_disturbed = False
    for i, name in enumerate(names):
        at = [g + (i - (len(names) - 1) / 2) * width for g in range(len(groups))]
        values = [value(group, name) for group in groups]
        marks = [disturbed is not None and disturbed(group, name) for group in groups]
        any_disturbed |= any(marks)
        bars = axes.bar(at, [v or 0 for v in values], width * 0.95, color=COLOURS[i % len(COLOURS)])
        for bar, mark in zip(bars, marks):
            if mark:
                bar.set_hatch(HATCH)
                bar.set_edgecolor("white")
        if errors is not None and rounds != 1:
            spans = [errors(group, name) for group in groups]
            axes.errorbar(at, [v or 0 for v in values], yerr=[[s[0] for s in spans], [s[1] for s in spans]], fmt="none",
                          ecolor="#333333", elinewidth=0.8, capsize=2)
        texts = [f"{v:.2f}" if v and v < 10 else f"{v:.0f}" if v else "" for v in values]
        axes.bar_label(bars, [text + "*" * mark for text, mark in zip(texts, marks)], fontsize=7, padding=3)
    legend = [Patch(color=COLOURS[i % len(COLOURS)], label=name) for i, name in enumerate(names)]
    if any_disturbed:
        legend.append(Patch(facecolor="#bbbbbb", edgecolor="white", hatch=HATCH, label=DISTURBED))
    axes.set_xticks(range(len(groups)), groups)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.15)
    axes.legend(handles=legend, fontsize=8, frameon=False, ncols=len(legend), loc="upper left", bbox_to_anchor=(0, -0.1))
    _title(figure, title, rounds)
    return figure


def _mark_lines(axes, points):
    """A star on each disturbed point, and what it means."""
    if points:
        axes.plot([x for x, _ in points], [y for _, y in points], linestyle="none", marker="*", markersize=11, color="#333333",
                  markerfacecolor="none", label=DISTURBED)


def latency_curve(latency):
    """(nines, us) by percentile, p50 on: on an axis of nines each further one has the same room."""
    quantiles = sorted(float(name[1:]) for name in latency if re.fullmatch(r"p[\d.]+", name))
    return [(-math.log10(1 - q / 100), latency[f"p{q:g}"]) for q in quantiles if q < 100]


def _latency(pyplot, scenario, rounds):
    from matplotlib.ticker import LogLocator, NullFormatter

    percents = list(scenario["results"])
    figure, row = pyplot.subplots(1, len(percents), figsize=(4.2 * len(percents), 4), sharey=True, squeeze=False)
    ticks = ["p50", "p90", "p99", "p99.9", "p99.99"]
    for axes, percent in zip(row[0], percents):
        disturbed = []
        for i, (contender, r) in enumerate(scenario["results"][percent].items()):
            curve = latency_curve(r["latency_us"])
            colour = COLOURS[i % len(COLOURS)]
            axes.plot([x for x, _ in curve], [y for _, y in curve], marker="o", markersize=3, label=contender, color=colour)
            if r["rounds"] > 1:
                axes.fill_between([x for x, _ in curve], [y for _, y in latency_curve(r["latency_min_us"])],
                                  [y for _, y in latency_curve(r["latency_max_us"])], color=colour, alpha=0.15, linewidth=0)
            disturbed += curve if warnings_of(contender, r) else []
        _mark_lines(axes, disturbed)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:.0f}")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks([-math.log10(1 - float(name[1:]) / 100) for name in ticks], ticks, fontsize=8)
        axes.set_title(f"{percent} % ({scenario['rates'][percent]:.0f}/s)" if percent else f"{scenario['rates'][percent]:.0f}/s",
                       fontsize=10)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
    row[0][0].set_ylabel("latency, us")
    said = ("Latency at fixed rates of the better peer's maximum" if scenario["kind"] == "latency" else
            f"Latency, {scenario['about']}")
    _title(figure, f"{said} (median and spread of rounds; less is better)", rounds)
    return figure


def _steps(pyplot, name, scenario, rounds):
    steps = list(scenario["results"])
    figure, axes = pyplot.subplots(figsize=(6, 3.8))
    disturbed = []
    for i, contender in enumerate(scenario["results"][steps[0]]):
        points = [(int(step), scenario["results"][step][contender]) for step in steps if contender in scenario["results"][step]]
        costs = [r["us_per_request"] for _, r in points]
        axes.errorbar([x for x, _ in points], costs, yerr=[[r["us_per_request"] - r["us_min"] for _, r in points],
                                                           [r["us_max"] - r["us_per_request"] for _, r in points]],
                      marker="o", markersize=3, capsize=2, elinewidth=0.8, label=contender, color=COLOURS[i % len(COLOURS)])
        disturbed += [(x, r["us_per_request"]) for x, r in points if warnings_of(contender, r)]
    _mark_lines(axes, disturbed)
    axes.set_xscale("log")
    axes.set_xticks([int(step) for step in steps], steps)
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.set_xlabel(STEP_UNITS[scenario["kind"]])
    axes.set_ylabel("us/request")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)
    _title(figure, f"{name}: {scenario['about']} (less is better)", rounds)
    return figure


def figures(report):
    """Name -> figure. Empty when python3-matplotlib is missing."""
    pyplot = _pyplot()
    if pyplot is None:
        return {}
    made, rounds = {}, report["rounds"]
    measured = {n: s for n, s in report["scenarios"].items() if s["results"]}
    loads = {n: s for n, s in measured.items() if s["kind"] in ("load", "connect") and s["best_peer"]}
    if loads:
        names = [n for n in report["contenders"] if n != "direct"]

        def relative(group, name):
            r = loads[group]["results"]
            return r[name]["us_per_request"] / r[loads[group]["best_peer"]]["us_per_request"] if name in r else None

        def spread(group, name):
            r = loads[group]["results"]
            if name not in r:
                return (0, 0)
            ratio, least, most = verdicts.ratio(r[name], r[loads[group]["best_peer"]])
            return (ratio - least, most - ratio)

        def disturbed(group, name):
            r = loads[group]["results"]
            return name in r and bool(warnings_of(name, r[name]))

        made["cpu"] = _bars(pyplot, "CPU time per request / that of the better peer (less is better)", "ratio", list(loads),
                               names, relative, spread, disturbed, rounds)
    counted = {n: s for n, s in loads.items() if any("user_instructions" in r for r in s["results"].values())}
    if counted:
        made["instructions"] = _bars(pyplot, "User instructions per request (less is better)", "instructions", list(counted),
                                        [n for n in report["contenders"] if n != "direct"],
                                        lambda group, name: counted[group]["results"].get(name, {}).get("user_instructions"))
    for name, scenario in measured.items():
        if scenario["kind"] in ("latency", "uneven", "fairness"):
            made[name] = _latency(pyplot, scenario, rounds)
        elif scenario["kind"] == "idle":
            made["memory" + name.removeprefix("idle")] = _bars(
                pyplot, "User memory of an idle connection (measured once; less is better)", "bytes", [name],
                list(scenario["results"]), lambda group, contender, s=scenario: s["results"][contender]["user_bytes"])
        elif scenario["kind"] in STEP_UNITS:
            made[name] = _steps(pyplot, name, scenario, rounds)
    return made


def plots(report):
    """Name -> PNG; name -> why it failed."""
    out, failed = {}, {}
    try:
        made = figures(report)
    except Exception as error:  # a library's, whatever it be: the figures are there without it
        return {}, {"of all": repr(error)}
    for name, figure in made.items():
        data = io.BytesIO()
        try:
            figure.savefig(data, format="png", dpi=110)
            out[name] = data.getvalue()
        except Exception as error:  # as above
            failed[name] = repr(error)
        _pyplot().close(figure)
    return out, failed


def binary_text(binary):
    return f"{binary['version']}, {binary['path']}, SHA-256 {binary['sha256']}"


PAGE = """<!doctype html>
<html lang=en><meta charset=utf-8><title>Proxies side by side, {date}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:64em;padding:0 1em}}
pre{{font:13px/1.45 ui-monospace,monospace;background:#f6f6f4;padding:1em;overflow-x:auto}}img{{max-width:100%}}
.note{{background:#fff4d6;padding:.5em 1em}}</style>
<h1>Proxies side by side</h1>
<p>{date}. {cpu}, {cpus} CPUs, Linux {kernel}, {memory} GiB. Proxy on CPU {proxy_cpus}, generator and origin on CPU {load_cpu}
({generator}); {rounds} interleaved rounds of {seconds} s, medians. A request's cost is the proxy's CPU time (user and system,
all its threads) divided by requests answered, in µs; <em>spread</em> is from the lowest to the highest round, <em>user</em>
the part spent in user mode (by clock ticks: rough for short rounds), <em>ratio</em> that against the better of HAProxy and
nginx; p50 to p99.99 are latencies in µs as the generator saw them. <em>direct</em> is the generator asking its own origin.
<em>instr</em>, where it was asked for, are instructions in user mode (callgrind), <em>all instr</em> those of the kernel too.
A <em>goal</em> is what Weir aims at, as a ratio to the better peer if nothing else is said; what was
reached is followed by the least and the most that a round of Weir and a round of the peer make. What stands in parentheses behind a
line disturbed a figure: believe it less; plots mark it with a star.{one_round}</p>
<p>{versions}</p>
{notes}
{body}
<p>Made by <code>{command}</code></p></html>
"""


def page(report, images):
    def image(name):
        if name not in images:
            return ""
        return f'<p><img alt="{name}" src="data:image/png;base64,{base64.b64encode(images[name]).decode()}">'

    body = [image(name) for name in images]
    body += [f"<pre>{html.escape(s['table'])}</pre>" for s in report["scenarios"].values()]
    if report.get("change"):
        body.append(f"<pre>{html.escape(report['change'])}</pre>")
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in report["notes"])
    notes += "".join(f"<p class=note>{html.escape(name)}: {html.escape(why)}</p>" for name, why in report.get("skipped", {}).items())
    m = report["machine"]
    binaries = report.get("binaries", {})
    versions = "<br>".join(f"{html.escape(n)}: {html.escape(binary_text(binaries[n]) if n in binaries else v)}"
                           for n, v in report["contenders"].items() if v)
    return PAGE.format(date=html.escape(report["date"]), cpu=html.escape(m["cpu"]), cpus=m["cpus"], kernel=html.escape(m["kernel"]),
                       memory=m["memory_gib"], proxy_cpus=report["proxy_cpus"], load_cpu=report["load_cpu"],
                       generator=html.escape(report["generator"]), rounds=report["rounds"], seconds=report["seconds"],
                       one_round=" This was one round: no spread is known." if report["rounds"] == 1 else "",
                       versions=versions, notes=notes, body="\n".join(body), command=html.escape(report["command"]))
