"""What was measured, for people: a table for the terminal, a page with plots, and what changed since another run."""

import base64
import html
import io
import statistics

COLOURS = ["#1b7f79", "#b5651d", "#4a6fa5", "#8a4f7d", "#6b8e23", "#777777"]


def summarise(rounds):
    """Medians of a contender's rounds, with the spread of the figure that counts."""
    out = {}
    for key in ("us_per_request", "cpu_us_per_request", "user_us_per_request", "requests_per_s", "proxy_cpu_busy",
                "load_cpu_busy", "steal", "foreign"):
        values = [r[key] for r in rounds]
        out[key] = statistics.median(values)
        if key == "us_per_request":
            out["us_min"], out["us_max"] = min(values), max(values)
    out["requests"] = sum(r["requests"] for r in rounds)
    for key in ("failed", "unanswered", "reconnects"):
        out[key] = sum(r[key] for r in rounds)
    out["rounds"] = len(rounds)
    names = rounds[0]["latency_us"]
    out["latency_us"] = {name: statistics.median(r["latency_us"].get(name, 0) for r in rounds) for name in names}
    return out


def best_peer(results, key, peers):
    values = {name: results[name][key] for name in peers if name in results}
    return min(values, key=values.get) if values else None


def warnings_of(name, result):
    said = []
    if result["failed"]:
        said.append(f"{result['failed']} FAILED")
    if result["unanswered"]:
        said.append(f"{result['unanswered']} not answered at the end")
    if result["reconnects"]:
        said.append(f"{result['reconnects']} RECONNECTS")
    if result.get("lost_rounds"):
        said.append(f"{result['lost_rounds']} ROUNDS LOST")
    if result["load_cpu_busy"] > 0.97 and result["proxy_cpu_busy"] < 0.90 and name != "direct":
        said.append("the generator is the bottleneck")
    if result["steal"] > 0.01:
        said.append(f"{result['steal']:.0%} stolen")
    if result["foreign"] > 0.05:
        said.append(f"{result['foreign']:.0%} other load")
    return said


def table(scenario, results, peers):
    best = best_peer(results, "us_per_request", peers)
    lines = [f"{scenario.name}: {scenario.about}",
             f"  {'':10} {'us/request':>10} {'spread':>13} {'user':>6} {'ratio':>6} {'req/s':>9} {'p50':>8} {'p99':>8} {'p99.9':>8}"]
    for name, r in results.items():
        latency = r["latency_us"]
        cost = "" if name == "direct" else f"{r['us_per_request']:10.2f}"
        spread = "" if name == "direct" else f"{r['us_min']:.2f}-{r['us_max']:.2f}"
        user = "" if name == "direct" else f"{r['user_us_per_request']:.2f}"
        ratio = f"{r['us_per_request'] / results[best]['us_per_request']:.2f}" if best and name != "direct" else ""
        tail = "".join(f" {latency[p]:8.0f}" if p in latency else f" {'':8}" for p in ("p50", "p99", "p99.9"))
        said = warnings_of(name, r)
        lines.append(f"  {name:10} {cost:>10} {spread:>13} {user:>6} {ratio:>6} {r['requests_per_s']:9.0f}{tail}"
                     + (f"  ({'; '.join(said)})" if said else ""))
    return "\n".join(lines)


def latency_table(scenario, rates, results):
    lines = [f"{scenario.name}: {scenario.about} (us, from when each request was due)",
             f"  {'':10} {'rate':>9} {'answered':>9} {'p50':>8} {'p90':>8} {'p99':>8} {'p99.9':>8} {'p99.99':>8}"]
    for percent, rate in rates.items():
        for name, r in results[percent].items():
            latency = r["latency_us"]
            tail = "".join(f" {latency.get(p, 0):8.0f}" for p in ("p50", "p90", "p99", "p99.9", "p99.99"))
            troubles = [text for text in warnings_of(name, r) if "bottleneck" not in text]
            said = f"  ({'; '.join(troubles)})" if troubles else ""
            lines.append(f"  {name:10} {rate:9.0f} {r['requests_per_s']:9.0f}{tail}{said}")
    return "\n".join(lines)


def idle_table(scenario, results):
    lines = [f"{scenario.name}: {scenario.about}", f"  {'':10} {'user bytes':>10} {'kernel, both ends':>18} {'whole process':>14}"]
    for name, r in results.items():
        lines.append(f"  {name:10} {r['user_bytes']:10.0f} {r['kernel_bytes_both_ends']:18.0f} {r['process_bytes'] / 2**20:11.1f} MiB")
    return "\n".join(lines)


def change(old, new):
    """Lines that compare two reports, scenario by scenario."""
    lines = [f"against the run of {old['date']} ({old['machine']['cpu']}, {old['machine']['kernel']}):",
             f"  {'':10} {'':10} {'then':>8} {'now':>8} {'change':>8} {'ratio then':>11} {'now':>6}"]
    for name, scenario in new["scenarios"].items():
        before = old["scenarios"].get(name)
        if before is None or scenario["kind"] not in ("load", "connect") or before["kind"] != scenario["kind"]:
            continue
        for contender, r in scenario["results"].items():
            was = before["results"].get(contender)
            if was is None or contender == "direct":
                continue
            by = r["us_per_request"] / was["us_per_request"] - 1
            overlap = r["us_min"] <= was["us_max"] and was["us_min"] <= r["us_max"]
            said = "  the spreads overlap" if overlap else ""

            def ratio(s, value):
                return f"{value / s['results'][s['best_peer']]['us_per_request']:.2f}" if s["best_peer"] else ""

            lines.append(f"  {name:10} {contender:10} {was['us_per_request']:8.2f} {r['us_per_request']:8.2f} {by:+8.1%} "
                         f"{ratio(before, was['us_per_request']):>11} {ratio(scenario, r['us_per_request']):>6}{said}")
    if len(lines) == 2:
        lines.append("  the two have no scenario in common that can be compared")
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


def _bars(pyplot, title, label, groups, names, value, errors=None):
    figure, axes = pyplot.subplots(figsize=(max(6, 1.3 * len(groups) + 2), 3.6))
    width = 0.8 / max(len(names), 1)
    for i, name in enumerate(names):
        at = [g + (i - (len(names) - 1) / 2) * width for g in range(len(groups))]
        values = [value(group, name) for group in groups]
        bars = axes.bar(at, [v or 0 for v in values], width * 0.95, label=name, color=COLOURS[i % len(COLOURS)])
        if errors is not None:
            spans = [errors(group, name) for group in groups]
            axes.errorbar(at, [v or 0 for v in values], yerr=[[s[0] for s in spans], [s[1] for s in spans]], fmt="none",
                          ecolor="#333333", elinewidth=0.8, capsize=2)
        axes.bar_label(bars, [f"{v:.2f}" if v and v < 10 else f"{v:.0f}" if v else "" for v in values], fontsize=7, padding=3)
    axes.set_xticks(range(len(groups)), groups)
    axes.set_title(title, fontsize=11, loc="left")
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.15)
    axes.legend(fontsize=8, frameon=False, ncols=max(len(names), 1), loc="upper left", bbox_to_anchor=(0, -0.1))
    figure.tight_layout()
    return figure


def plots(report):
    """Name -> PNG. Empty when python3-matplotlib is missing."""
    pyplot = _pyplot()
    if pyplot is None:
        return {}
    figures = {}
    loads = {n: s for n, s in report["scenarios"].items() if s["kind"] in ("load", "connect") and s["best_peer"]}
    if loads:
        names = [n for n in report["contenders"] if n != "direct"]

        def relative(group, name):
            r = loads[group]["results"]
            return r[name]["us_per_request"] / r[loads[group]["best_peer"]]["us_per_request"] if name in r else None

        def spread(group, name):
            r = loads[group]["results"]
            if name not in r:
                return (0, 0)
            best = r[loads[group]["best_peer"]]["us_per_request"]
            return ((r[name]["us_per_request"] - r[name]["us_min"]) / best, (r[name]["us_max"] - r[name]["us_per_request"]) / best)

        figures["cpu"] = _bars(pyplot, "CPU time per request / that of the better peer",
                               "ratio", list(loads), names, relative, spread)
    for name, scenario in report["scenarios"].items():
        if scenario["kind"] == "latency":
            percents = list(scenario["results"])
            figure, axes = pyplot.subplots(1, len(percents), figsize=(4 * len(percents), 3.6), sharey=True, squeeze=False)
            quantiles = ["p50", "p90", "p99", "p99.9", "p99.99"]
            for at, percent in zip(axes[0], percents):
                for i, (contender, r) in enumerate(scenario["results"][percent].items()):
                    at.plot(quantiles, [r["latency_us"].get(q, 0) for q in quantiles], marker="o", markersize=3,
                            label=contender, color=COLOURS[i % len(COLOURS)])
                at.set_yscale("log")
                at.set_title(f"{percent} % ({scenario['rates'][percent]:.0f}/s)", fontsize=10)
                at.spines[["top", "right"]].set_visible(False)
            axes[0][0].set_ylabel("latency, us")
            axes[0][0].legend(fontsize=8, frameon=False)
            figure.suptitle("Latency at fixed rates (less is better)", fontsize=11)
            figure.tight_layout()
            figures["latency"] = figure
        elif scenario["kind"] == "idle":
            figures["memory"] = _bars(pyplot, "User memory of an idle connection (less is better)", "bytes", [name],
                                      list(scenario["results"]),
                                      lambda group, contender, s=scenario: s["results"][contender]["user_bytes"])
    out = {}
    for name, figure in figures.items():
        data = io.BytesIO()
        figure.savefig(data, format="png", dpi=110)
        pyplot.close(figure)
        out[name] = data.getvalue()
    return out


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
What stands in parentheses disturbed a figure: believe it less.</p>
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

    body = [image("cpu"), image("latency"), image("memory")]
    body += [f"<pre>{html.escape(s['table'])}</pre>" for s in report["scenarios"].values()]
    if report.get("change"):
        body.append(f"<pre>{html.escape(report['change'])}</pre>")
    notes = "".join(f"<p class=note>{html.escape(note)}</p>" for note in report["notes"])
    m = report["machine"]
    versions = ", ".join(f"{html.escape(n)} {html.escape(v)}" for n, v in report["contenders"].items() if v)
    return PAGE.format(date=html.escape(report["date"]), cpu=html.escape(m["cpu"]), cpus=m["cpus"], kernel=html.escape(m["kernel"]),
                       memory=m["memory_gib"], proxy_cpus=report["proxy_cpus"], load_cpu=report["load_cpu"],
                       generator=html.escape(report["generator"]), rounds=report["rounds"], seconds=report["seconds"],
                       versions=versions, notes=notes, body="\n".join(body), command=html.escape(report["command"]))
