"""Local stand-ins for the repositories that Bazel itself would download.

Bazel's own tool packages load @rules_cc, @platforms, @rules_java, @rules_proto and @remote_coverage_tools. Declaring
those names first in WORKSPACE keeps Bazel from fetching them, so that a build works without a network.
"""

_RULES_CC_DEFS = '''
# The native rules are the whole of what Bazel 4 needs. Debian's own rules_cc is written for a later Bazel.
load("@bazel_tools//tools/cpp:compiler_flag.bzl", _compiler_flag = "compiler_flag")
load("@bazel_tools//tools/cpp:cc_flags_supplier.bzl", _cc_flags_supplier = "cc_flags_supplier")

cc_library = native.cc_library
cc_binary = native.cc_binary
cc_test = native.cc_test
cc_import = native.cc_import
cc_proto_library = native.cc_proto_library
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
fdo_prefetch_hints = native.fdo_prefetch_hints
fdo_profile = native.fdo_profile
objc_import = native.objc_import
objc_library = native.objc_library
compiler_flag = _compiler_flag
cc_flags_supplier = _cc_flags_supplier
'''

def _rules_cc_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = \"rules_cc\")\n")
    ctx.file("BUILD.bazel", "")
    ctx.file("cc/BUILD.bazel", "")
    ctx.file("cc/defs.bzl", _RULES_CC_DEFS)

_rules_cc = repository_rule(implementation = _rules_cc_impl, local = True)

def _coverage_tools_impl(ctx):
    ctx.file("WORKSPACE", "workspace(name = \"remote_coverage_tools\")\n")
    ctx.file(
        "BUILD.bazel",
        "package(default_visibility = [\"//visibility:public\"])\n" +
        "[filegroup(name = n) for n in [\"coverage_report_generator\", \"lcov_merger\"]]\n",
    )

# Every test depends on these two targets, although only `bazel coverage` runs them.
_coverage_tools = repository_rule(implementation = _coverage_tools_impl, local = True)

def offline_repositories():
    _rules_cc(name = "rules_cc")
    _coverage_tools(name = "remote_coverage_tools")
    native.local_repository(name = "platforms", path = "/usr/share/bazel/tools/platforms")
    native.local_repository(name = "rules_java", path = "/usr/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = "/usr/share/bazel/rules/proto")
