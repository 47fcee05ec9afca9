"""weir_py_test: a Python unit test, each method counted as a case.

    load("//tools/bazel:py.bzl", "weir_py_test")

    weir_py_test(
        name = "proxy_test",
        size = "medium",                # small 60 s, medium 300 s, large 900 s
        srcs = ["proxy_test.py", "origin.py"],  # the first is the test, the others can be imported from it
        data = ["//lb:weir"],
        tags = ["e2e"],                 # e2e tests are left out of the sanitizers' runs
    )

In the test:

    import unittest
    import runfiles                     # tools/runfiles.py

    class Proxy(unittest.TestCase):
        def test_starts(self):
            weir = runfiles.path("lb/weir")    # the binary of //lb:weir
            scratch = os.environ["TEST_TMPDIR"]

One method: bazel test //tests/e2e:proxy_test --test_filter=Proxy.test_starts
By hand:    python3 tools/py_test_runner.py tests/e2e/proxy_test.py Proxy.test_starts   (takes bazel-bin/lb/weir)
"""

def weir_py_test(name, srcs, data = [], tags = [], size = "medium", **kwargs):
    native.sh_test(
        name = name,
        size = size,
        srcs = ["//tools:py_test.sh"],
        args = ["$(rootpath %s)" % srcs[0]],
        data = srcs + data + [
            "//tools:py_test_runner.py",
            "//tools:runfiles.py",
        ],
        # There is nothing compiled in the test itself for a sanitizer to look at.
        tags = tags + ["nosan"],
        **kwargs
    )
