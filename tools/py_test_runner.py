"""Runs one file of Python unit tests and reports each method to Bazel as a test case.

usage: py_test_runner.py FILE [unittest options, such as Class.method]

Bazel takes a test for a single case unless the test itself writes JUnit XML to $XML_OUTPUT_FILE: this does.
"""

import faulthandler
import importlib.util
import os
import signal
import sys
import time
import unittest
from xml.sax.saxutils import escape, quoteattr


class Result(unittest.TextTestResult):
    """Remembers each method's outcome and time."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.cases = {}  # test id -> [seconds, kind of outcome or None, text]
        self.started = {}

    def startTest(self, test):
        super().startTest(test)
        self.started[test.id()] = time.monotonic()
        self.cases[test.id()] = [0.0, None, ""]

    def stopTest(self, test):
        super().stopTest(test)
        self.cases[test.id()][0] = time.monotonic() - self.started[test.id()]

    def _note(self, test, kind, text):
        # A failing setUpClass has no method that was started: it becomes a case of its own.
        case = self.cases.setdefault(test.id(), [0.0, None, ""])
        if case[1] != "failure":
            case[1] = kind
        case[2] += text

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self._note(test, "failure", self._exc_info_to_string(err, test))

    def addError(self, test, err):
        super().addError(test, err)
        self._note(test, "failure", self._exc_info_to_string(err, test))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._note(test, "failure", f"{subtest}\n{self._exc_info_to_string(err, test)}")

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self._note(test, "skipped", reason)

    def addUnexpectedSuccess(self, test):
        super().addUnexpectedSuccess(test)
        self._note(test, "failure", "unexpected success")


def to_xml(suite, cases):
    failures = sum(1 for case in cases.values() if case[1] == "failure")
    skipped = sum(1 for case in cases.values() if case[1] == "skipped")
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>"]
    lines.append(
        f'<testsuite name={quoteattr(suite)} tests="{len(cases)}" failures="{failures}" skipped="{skipped}">'
    )
    for name, (seconds, kind, text) in cases.items():
        group, _, method = name.rpartition(".")
        head = f'<testcase classname={quoteattr(group)} name={quoteattr(method)} time="{seconds:.3f}"'
        if kind is None:
            lines.append(head + "/>")
        else:
            clean = "".join(c if c >= " " or c in "\n\t" else "?" for c in text)
            lines.append(f"{head}><{kind}>{escape(clean)}</{kind}></testcase>")
    lines += ["</testsuite>", "</testsuites>", ""]
    return "\n".join(lines)


def main(argv):
    # Bazel ends a test that takes too long with SIGTERM: then show where each thread was.
    faulthandler.register(signal.SIGTERM, all_threads=True, chain=True)

    path = os.path.abspath(argv[1])
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:0] = [os.path.dirname(path), here]
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)

    runner = unittest.TextTestRunner(stream=sys.stdout, verbosity=2, resultclass=Result)
    # --test_filter=Class.method arrives in this variable; it means the same as naming it on the command line.
    chosen = argv[2:] or os.environ.get("TESTBRIDGE_TEST_ONLY", "").split()
    program = unittest.main(module=module, argv=[argv[0]] + chosen, testRunner=runner, exit=False)

    xml = os.environ.get("XML_OUTPUT_FILE")
    if xml:
        with open(xml, "w", encoding="utf-8") as file:
            file.write(to_xml(name, program.result.cases))
    sys.stdout.flush()
    ran_something = bool(program.result.cases)
    if not ran_something:
        print("no tests were found", file=sys.stderr)
    return 0 if program.result.wasSuccessful() and ran_something else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv))
