"""What the machine is and what it does besides: CPU times of processes and CPUs, memory, other load."""

import os
import pathlib
import platform
import re

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Sample:
    """CPU time until now: of some processes (all threads), and of all CPUs."""

    def __init__(self, pids):
        self.process_s = self.user_ticks = self.system_ticks = 0
        self.seen = set()  # those that had not ended
        for pid in pids:
            try:
                tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
            except OSError:
                continue
            self.seen.add(pid)
            for task in tasks:
                try:
                    self.process_s += int((task / "schedstat").read_text().split()[0]) / 1e9
                    fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
                except OSError:  # this thread has just ended
                    continue
                self.user_ticks += int(fields[11])
                self.system_ticks += int(fields[12])
        self.busy_s, self.steal_s, self.total_s = {}, {}, {}
        for line in pathlib.Path("/proc/stat").read_text().splitlines():
            match = re.match(r"cpu(\d+) (.*)", line)
            if match:
                user, nice, system, idle, iowait, irq, softirq, steal = (int(x) for x in match[2].split()[:8])
                cpu = int(match[1])
                self.busy_s[cpu] = (user + nice + system + irq + softirq) * TICK_S
                self.steal_s[cpu] = steal * TICK_S
                self.total_s[cpu] = self.busy_s[cpu] + self.steal_s[cpu] + (idle + iowait) * TICK_S


class Spent:
    """Between two samples."""

    def __init__(self, before, after, proxy_cpus, load_cpus, load_s):
        """`load_s`: CPU time of generator and origin."""
        self.process_s = after.process_s - before.process_s
        user, system = after.user_ticks - before.user_ticks, after.system_ticks - before.system_ticks
        self.user_share = user / (user + system) if user + system > 0 else 0.0

        def over(cpus, name):
            return sum(getattr(after, name)[cpu] - getattr(before, name)[cpu] for cpu in cpus)

        total = over(proxy_cpus, "total_s")
        self.cpu_s = over(proxy_cpus, "busy_s")
        self.proxy_busy = self.cpu_s / total if total > 0 else 0.0
        load_total = over(load_cpus, "total_s")
        self.load_busy = over(load_cpus, "busy_s") / load_total if load_total > 0 else 0.0
        everywhere = list(after.total_s)
        all_total = over(everywhere, "total_s")
        self.steal = over(everywhere, "steal_s") / all_total if all_total > 0 else 0.0
        # Work of others, where only the proxy should run, and where only generator and origin should. Where these share CPUs:
        # on all of them.
        if set(load_cpus) & set(proxy_cpus):
            both = {*load_cpus, *proxy_cpus}
            self.foreign = max(over(both, "busy_s") - self.process_s - load_s, 0) / max(over(both, "total_s"), TICK_S)
            self.load_foreign = 0.0
        else:
            self.foreign = max(self.cpu_s - self.process_s, 0) / total if total > 0 else 0.0
            self.load_foreign = max(over(load_cpus, "busy_s") - load_s, 0) / load_total if load_total > 0 else 0.0


def private_bytes(pids):
    """What belongs to these processes alone."""
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(kb) for kb in re.findall(r"^Private_(?:Clean|Dirty|Hugetlb):\s+(\d+) kB", text, re.M)) * 1024
    return total


def kernel_bytes():
    """Best effort: slabs (sockets, io_uring requests) and what sockets hold, of the whole machine."""
    slab = int(re.search(r"Slab:\s+(\d+) kB", pathlib.Path("/proc/meminfo").read_text())[1]) * 1024
    pages = int(re.search(r"TCP:.* mem (\d+)", pathlib.Path("/proc/net/sockstat").read_text())[1])
    return slab + pages * os.sysconf("SC_PAGE_SIZE")


def describe():
    info = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.*)", info)
    control = pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control")
    return {
        "kernel": platform.release(),
        "cpu": model[1] if model else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1),
        "congestion_control": control.read_text().strip() if control.exists() else "",
        "load_average": os.getloadavg()[0],
    }
