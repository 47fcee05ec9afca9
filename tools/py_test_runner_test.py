"""Does the runner report each method, and a failure as a failure?"""

import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

import runfiles

EXAMPLE = '''
import unittest

class Example(unittest.TestCase):
    def test_good(self): pass
    def test_bad(self): self.fail("a < b & \\x01")
    def test_error(self): raise ValueError("oops")
    @unittest.skip("not here")
    def test_skipped(self): pass
    def test_sub(self):
        for i in range(3):
            with self.subTest(i=i):
                self.assertNotEqual(i, 1)
'''
BROKEN_CLASS = '''
import unittest

class Broken(unittest.TestCase):
    @classmethod
    def setUpClass(cls): raise RuntimeError("no")
    def test_never(self): pass
'''


def run(source, *arguments):
    """The runner's exit code and, of each case, its name and the kind of its outcome."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "example_test.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(source)
        report = os.path.join(folder, "test.xml")
        environment = dict(os.environ, XML_OUTPUT_FILE=report)
        environment.pop("TESTBRIDGE_TEST_ONLY", None)
        command = [sys.executable, runfiles.path("tools/py_test_runner.py"), path, *arguments]
        code = subprocess.run(command, env=environment, capture_output=True, check=False).returncode
        cases = {}
        for case in xml.etree.ElementTree.parse(report).iter("testcase"):
            cases[case.get("name")] = case[0].tag if len(case) else "passed"
        return code, cases


class Runner(unittest.TestCase):
    def test_each_method_is_a_case(self):
        code, cases = run(EXAMPLE)
        self.assertEqual(code, 1)
        self.assertEqual(
            cases,
            {
                "test_good": "passed",
                "test_bad": "failure",
                "test_error": "failure",
                "test_skipped": "skipped",
                "test_sub": "failure",
            },
        )

    def test_one_method_can_be_chosen(self):
        self.assertEqual(run(EXAMPLE, "Example.test_good"), (0, {"test_good": "passed"}))

    def test_failing_class_set_up_is_reported(self):
        code, cases = run(BROKEN_CLASS)
        self.assertEqual(code, 1)
        self.assertEqual(list(cases.values()), ["failure"])

    def test_a_file_without_tests_fails(self):
        self.assertEqual(run("x = 1\n"), (1, {}))


if __name__ == "__main__":
    unittest.main()
