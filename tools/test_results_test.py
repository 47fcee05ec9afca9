"""Does the count show what happened? Each event below has the form that Bazel writes."""

import json
import unittest

import test_results

GTEST = """<testsuites tests="4" failures="1"><testsuite name="Ring">
  <testcase name="Opens" status="run" result="completed" classname="Ring"/>
  <testcase name="Closes" status="run" result="completed" classname="Ring"><failure message="x"/></testcase>
  <testcase name="DISABLED_Later" status="notrun" result="suppressed" classname="Ring"/>
  <testcase name="NeedsKernel" status="run" result="skipped" classname="Ring"><skipped message="old"/></testcase>
</testsuite></testsuites>"""
ONE_GOOD = '<testsuites><testsuite><testcase name="a" status="run"/></testsuite></testsuites>'
NO_CASE = '<testsuites><testsuite name="a"/></testsuites>'


def configured(label, test=True):
    return {"id": {"targetConfigured": {"label": label}}, "configured": {"testSize": "SMALL"} if test else {}}


def completed(label, success=True):
    return {"id": {"targetCompleted": {"label": label}}, "completed": {"success": True} if success else {}}


def result(label, xml="good.xml", status="PASSED", shard=1, attempt=1):
    outputs = [{"name": "test.log", "uri": "file:///log"}]
    if xml:
        outputs.append({"name": "test.xml", "uri": f"file:///{xml}"})
    return {
        "id": {"testResult": {"label": label, "run": 1, "shard": shard, "attempt": attempt}},
        "testResult": {"status": status, "testActionOutput": outputs},
    }


def read(path):
    files = {"/good.xml": ONE_GOOD, "/gtest.xml": GTEST, "/empty.xml": NO_CASE, "/cut.xml": ONE_GOOD[:30]}
    if path not in files:
        raise FileNotFoundError(path)
    return files[path]


def count(*events, exit_code=0):
    total = test_results.count_run([json.dumps(e) for e in events], exit_code, read)
    return total.passed, total.failed


class CountXml(unittest.TestCase):
    def test_cases_are_counted_each(self):
        total = test_results.count_xml(GTEST)
        self.assertEqual((total.passed, total.failed), (1, ["Ring.Closes"]))


class CountRun(unittest.TestCase):
    def test_passed(self):
        self.assertEqual(count(configured("//a"), completed("//a"), result("//a")), (1, []))

    def test_failed_case_counts_once_although_the_target_failed_too(self):
        events = [configured("//a"), completed("//a"), result("//a", "gtest.xml", "FAILED")]
        self.assertEqual(count(*events, exit_code=3), (1, ["//a Ring.Closes"]))

    def test_failure_that_no_case_shows(self):
        events = [configured("//a"), completed("//a"), result("//a", "good.xml", "FAILED")]
        self.assertEqual(count(*events, exit_code=3), (1, ["//a failed"]))

    def test_time_limit(self):
        self.assertEqual(count(result("//a", None, "TIMEOUT"), exit_code=3), (0, ["//a timeout"]))

    def test_shards_are_added(self):
        self.assertEqual(count(result("//a", shard=1), result("//a", shard=2)), (2, []))

    def test_an_empty_shard_is_no_failure(self):
        self.assertEqual(count(result("//a", shard=1), result("//a", "empty.xml", shard=2)), (1, []))

    def test_last_attempt_counts(self):
        events = [result("//a", "gtest.xml", "FAILED", attempt=1), result("//a", attempt=2)]
        self.assertEqual(count(*events), (1, []))

    def test_a_test_without_any_case_has_failed(self):
        self.assertEqual(count(result("//a", "empty.xml")), (0, ["//a no results"]))

    def test_xml_missing_or_cut_off(self):
        self.assertEqual(count(result("//a", None)), (0, ["//a no results"]))
        self.assertEqual(count(result("//a", "cut.xml")), (0, ["//a no results"]))
        self.assertEqual(count(result("//a", "gone.xml")), (0, ["//a no results"]))

    def test_test_that_was_not_built(self):
        events = [configured("//a"), completed("//a", success=False), result("//b")]
        self.assertEqual(count(*events, exit_code=1), (1, ["//a not built"]))

    def test_library_that_was_not_built(self):
        events = [configured("//a", test=False), completed("//a", success=False)]
        self.assertEqual(count(*events, exit_code=1), (0, ["//a not built"]))

    def test_test_that_never_ran(self):
        self.assertEqual(count(configured("//a"), completed("//a")), (0, ["//a no results"]))

    def test_broken_build_file(self):
        self.assertEqual(count(exit_code=1), (0, ["bazel ended with exit code 1"]))

    def test_no_tests_in_a_narrow_run(self):
        self.assertEqual(count(exit_code=4), (0, []))

    def test_aborted_target(self):
        event = {"id": {"targetCompleted": {"label": "//a"}}, "aborted": {"reason": "ANALYSIS_FAILURE"}}
        self.assertEqual(count(event, exit_code=1), (0, ["//a not built"]))


class CountGuest(unittest.TestCase):
    def check(self, lines, passed, failed):
        total = test_results.count_guest("\n".join(["booting", *lines]) + "\n")
        self.assertEqual((total.passed, total.failed), (passed, failed))

    def test_xml_and_printed_cases(self):
        lines = ["@@ test //a", "[ OK ] x", "ok x", "@@ xml", *GTEST.splitlines(), "@@ exit 1"]
        lines += ["@@ test smoke", "ok starts", "not ok stops", "ok answers", "@@ exit 1", "@@ done"]
        self.check(lines, 3, ["//a Ring.Closes", "smoke stops"])

    def test_crash_and_silence(self):
        lines = ["@@ test //a", "@@ exit 139", "@@ test //b", "@@ exit 0", "@@ done"]
        self.check(lines, 0, ["//a exit code 139", "//b no results"])

    def test_cut_off(self):
        self.check(["@@ test //a", "ok 1"], 0, ["//a did not end"])
        self.check(["@@ test //a", "ok 1", "@@ exit 0"], 1, ["the guest did not come to its end"])
        self.check(["Kernel panic"], 0, ["the guest did not come to its end"])

    def test_report_cut_in_the_middle(self):
        self.check(["@@ test //a", "@@ xml", "<testsuites", "@@ exit 0", "@@ done"], 0, ["//a no results"])


class Executables(unittest.TestCase):
    def test_first_output_of_what_was_built(self):
        built = completed("//f:fuzz")
        built["completed"]["importantOutput"] = [{"name": "f/fuzz", "uri": "file:///out/f/my%20fuzz"}]
        lines = [json.dumps(built), json.dumps(completed("//f:bad", success=False))]
        self.assertEqual(test_results.executables(lines), {"//f:fuzz": "/out/f/my fuzz"})


if __name__ == "__main__":
    unittest.main()
