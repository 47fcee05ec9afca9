"""Where a test finds the files it named in `data`."""

import os


def path(relative):
    """The absolute path of a file in the source tree or of a built target, such as "lb/weir".

    Inside `bazel test` this is the runfiles tree. Run by hand, it is the source tree or, for what is built, bazel-bin.
    """
    if "TEST_SRCDIR" in os.environ:
        roots = [os.path.join(os.environ["TEST_SRCDIR"], os.environ.get("TEST_WORKSPACE", "weir"))]
    else:
        top = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
        roots = [os.path.join(top, "bazel-bin"), top]
    for root in roots:
        candidate = os.path.join(root, relative)
        if os.path.exists(candidate):
            return candidate
    raise FileNotFoundError(f"{relative} is neither built nor in the test's data (looked in {', '.join(roots)})")
