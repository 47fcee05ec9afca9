"""Counts test cases, not test targets, from what `bazel test` reported.

usage: test_results.py [--cases PASSED,FAILED,NAME]... [--guest LOG]... [RUN:EXIT_CODE:BUILD_EVENTS]...
       test_results.py --executables BUILD_EVENTS

Each BUILD_EVENTS is the file of one `bazel test --build_event_json_file=…`: it names the targets of this very run and
their test.xml, so that results of earlier runs cannot slip in. LOG is what tools/test-on-debian-kernel's machine printed. What
comes from neither is given with --cases. With --executables it prints each built target and its binary instead.

It prints what failed, and last one line "N passed, M failed"; the exit code is 0 only if nothing failed and something
passed.

A target counts as one failed case if it was not built, has no results, or failed in a way none of its cases shows (a
crash after the last one, a leak report, a time limit).
"""

import dataclasses
import json
import sys
import urllib.parse
import xml.etree.ElementTree

# bazel's exit codes that the events explain: success, tests failed, no tests found.
_EXPLAINED = {0, 3, 4}


@dataclasses.dataclass
class Count:
    passed: int = 0
    failed: list = dataclasses.field(default_factory=list)  # names

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed


def local_path(uri):
    return urllib.parse.unquote(urllib.parse.urlparse(uri).path)


def count_xml(text):
    """The cases of one test.xml: GoogleTest's, Bazel's own single case, or a test's own JUnit XML."""
    count = Count()
    for case in xml.etree.ElementTree.fromstring(text).iter("testcase"):
        name = ".".join(filter(None, [case.get("classname"), case.get("name")]))
        if case.find("failure") is not None or case.find("error") is not None:
            count.failed.append(name)
        elif case.get("status") == "notrun" or case.get("result") == "skipped" or case.find("skipped") is not None:
            pass  # disabled, filtered out, in another shard, or not possible on this machine
        else:
            count.passed += 1
    return count


def _read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _results_of(label, events, read):
    """Sums the shards and repetitions of one test target; of several attempts the last one counts."""
    last = {}
    for event in events:
        where = event["id"]["testResult"]
        key = (where.get("run"), where.get("shard"))
        if key not in last or where.get("attempt", 1) >= last[key]["id"]["testResult"].get("attempt", 1):
            last[key] = event
    total, seen_cases = Count(), False
    for event in last.values():
        result = event["testResult"]
        count = Count()
        files = [f["uri"] for f in result.get("testActionOutput", []) if f["name"] == "test.xml"]
        if files:
            try:
                text = read(local_path(files[0]))
                count = count_xml(text)
                seen_cases = seen_cases or "<testcase" in text
            except (OSError, xml.etree.ElementTree.ParseError):
                pass  # as if there were none: reported below
        if result.get("status") != "PASSED" and not count.failed:
            count.failed.append(result.get("status", "NO_STATUS").lower())
        total.add(count)
    if not seen_cases and not total.failed:
        total.failed.append("no results")
    total.failed = [f"{label} {name}" for name in total.failed]
    return total


def count_run(lines, exit_code, read=_read):
    """One `bazel test`: lines of its build event file."""
    tests, results, broken = set(), {}, {}
    for line in lines:
        if not line.strip():
            continue
        event = json.loads(line)
        what = event["id"]
        if "targetConfigured" in what and "testSize" in event.get("configured", {}):
            tests.add(what["targetConfigured"]["label"])
        elif "testResult" in what and "testResult" in event:
            results.setdefault(what["testResult"]["label"], []).append(event)
        elif "targetCompleted" in what:
            label = what["targetCompleted"]["label"]
            if "aborted" in event:
                if event["aborted"].get("reason") != "SKIPPED":
                    broken[label] = "not built"
            elif not event.get("completed", {}).get("success"):
                broken[label] = "not built"
    total = Count()
    for label in sorted(results):
        total.add(_results_of(label, results[label], read))
    for label in sorted(tests - set(results) - set(broken)):
        # Without a filter every configured test runs. Filtered ones are configured only if something else needs them.
        broken[label] = "no results"
    # A test whose results exist has been built; a failed test has no "success" either.
    total.failed += [f"{label} {why}" for label, why in sorted(broken.items()) if label not in results]
    if exit_code not in _EXPLAINED and not total.failed:
        total.failed.append(f"bazel ended with exit code {exit_code}")
    return total


def count_guest(text):
    """What a guest printed: for each test "@@ test NAME", its output, "@@ xml" and its test.xml if it wrote one,
    "@@ exit CODE"; and at the very end "@@ done". A test without XML prints "ok CASE" and "not ok CASE" lines."""
    total = Count()
    name, report, printed = None, None, Count()
    for line in text.splitlines():
        if line.startswith("@@ test "):
            name, report, printed = line[len("@@ test ") :], None, Count()
        elif line == "@@ xml":
            report = []
        elif line.startswith("@@ exit ") and name is not None:
            count = printed
            if report is not None:
                try:
                    count = count_xml("\n".join(report))
                except xml.etree.ElementTree.ParseError:
                    count = Count(0, ["no results"])
            code = line[len("@@ exit ") :]
            if code != "0" and not count.failed:
                count.failed.append(f"exit code {code}")
            if count.passed == 0 and not count.failed:
                count.failed.append("no results")
            total.add(Count(count.passed, [f"{name} {case}" for case in count.failed]))
            name = None
        elif report is not None:
            report.append(line)
        elif line.startswith("ok "):
            printed.passed += 1
        elif line.startswith("not ok "):
            printed.failed.append(line[len("not ok ") :])
    if name is not None:
        total.failed.append(f"{name} did not end")
    elif "\n@@ done" not in text:
        total.failed.append("the guest did not come to its end")
    return total


def executables(lines):
    """label -> path of the first output of each target built."""
    found = {}
    for line in lines:
        event = json.loads(line) if line.strip() else {"id": {}}
        if "targetCompleted" in event["id"] and event.get("completed", {}).get("success"):
            outputs = event["completed"].get("importantOutput", [])
            if outputs:
                found[event["id"]["targetCompleted"]["label"]] = local_path(outputs[0]["uri"])
    return found


def main(argv):
    total = Count()
    arguments = iter(argv[1:])
    for argument in arguments:
        if argument == "--executables":
            with open(next(arguments), encoding="utf-8") as file:
                for label, path in sorted(executables(file).items()):
                    print(label, path)
            return 0
        if argument == "--cases":
            passed, failed, name = next(arguments).split(",", 2)
            count = Count(int(passed), [name] * int(failed))
        elif argument == "--guest":
            try:
                count = count_guest(_read(next(arguments)))
            except OSError:
                count = Count(0, ["no results"])
            count.failed = [f"[debian kernel] {what}" for what in count.failed]
        else:
            name, exit_code, path = argument.split(":", 2)
            try:
                with open(path, encoding="utf-8") as file:
                    count = count_run(file, int(exit_code))
            except OSError:
                count = Count(0, [f"bazel ended with exit code {exit_code} and left no report"])
            count.failed = [f"[{name}] {what}" for what in count.failed]
        total.add(count)
    if total.failed:
        print("\nfailed:")
        for what in total.failed:
            print(f"  {what}")
    print(f"{total.passed} passed, {len(total.failed)} failed")
    return 1 if total.failed or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
