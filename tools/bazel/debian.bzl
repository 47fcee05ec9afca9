"""C++ libraries of Debian packages as Bazel targets.

Each library becomes its own repository, so that a BUILD file names it as it would name a source dependency:

    @abseil//:abseil (and aliases: status, statusor, strings, str_format, flags, ...)
    @googletest//:gtest, @googletest//:gtest_main      (GoogleMock is included in both)
    @benchmark//:benchmark, @benchmark//:benchmark_main
    @liburing//:liburing
    @crypt//:crypt
    @re2//:re2
    @yaml_cpp//:yaml_cpp

pkg-config supplies what to link. Headers stay in /usr/include, where the compiler looks anyhow and treats them as
system headers (no warnings from them).
"""

def _pkg_config(ctx, modules):
    tool = ctx.which("pkg-config")
    if not tool:
        fail("pkg-config is missing: run tools/setup")
    result = ctx.execute([tool, "--libs-only-l", "--static"] + modules)
    if result.return_code != 0:
        fail("pkg-config knows no " + ", ".join(modules) + ": run tools/setup\n" + result.stderr)
    libs = []
    for flag in result.stdout.split(" "):
        flag = flag.strip()
        if flag and flag not in libs:
            libs.append(flag)
    return libs

def _impl(ctx):
    groups = {}
    for target, modules in ctx.attr.targets.items():
        # "module" is asked of pkg-config, "-lname" is taken as it stands (not all libraries come with a .pc file).
        asked = [m for m in modules if not m.startswith("-l")]
        libs = [m for m in modules if m.startswith("-l")]
        libs += [l for l in (_pkg_config(ctx, asked) if asked else []) if l not in libs]
        groups[target] = libs

    build = ["package(default_visibility = [\"//visibility:public\"])"]
    for target, libs in groups.items():
        if ctx.attr.static:
            # The archives refer to each other both ways: hence a group.
            linkopts = ["-Wl,--start-group", "-Wl,-Bstatic"] + libs + ["-Wl,-Bdynamic", "-Wl,--end-group"]
        else:
            linkopts = libs
        build.append("cc_library(name = %r, linkopts = %r, deps = %r)" % (
            target,
            linkopts + ["-pthread"],
            ctx.attr.target_deps.get(target, []),
        ))
    for alias, target in ctx.attr.aliases.items():
        build.append("alias(name = %r, actual = %r)" % (alias, ":" + target))
    ctx.file("WORKSPACE", "workspace(name = %r)\n" % ctx.name)
    ctx.file("BUILD.bazel", "\n".join(build) + "\n")

debian_library = repository_rule(
    implementation = _impl,
    attrs = {
        "targets": attr.string_list_dict(mandatory = True),
        "target_deps": attr.string_list_dict(),
        "aliases": attr.string_dict(),
        "static": attr.bool(default = True),
    },
    # Looked at again in each new server: a package upgrade may change what pkg-config says.
    local = True,
)

_ABSEIL_MODULES = [
    "absl_status",
    "absl_statusor",
    "absl_strings",
    "absl_str_format",
    "absl_cord",
    "absl_time",
    "absl_hash",
    "absl_flat_hash_map",
    "absl_flat_hash_set",
    "absl_inlined_vector",
    "absl_span",
    "absl_base",
    "absl_cleanup",
    "absl_function_ref",
    "absl_flags",
    "absl_flags_parse",
    "absl_flags_usage",
    "absl_flags_usage_internal",
    "absl_flags_reflection",
    "absl_symbolize",
    "absl_stacktrace",
    "absl_failure_signal_handler",
]

def debian_libraries():
    # One group for all of Abseil: from static archives the linker takes only what is used, so finer targets would
    # change nothing but the link line. The aliases say in a BUILD file what a target uses.
    debian_library(
        name = "abseil",
        targets = {"abseil": _ABSEIL_MODULES},
        aliases = {m[len("absl_"):]: "abseil" for m in _ABSEIL_MODULES},
    )
    debian_library(
        name = "googletest",
        targets = {
            "gtest": ["-lgmock", "-lgtest"],
            "gtest_main": ["-lgmock_main", "-lgmock", "-lgtest"],
        },
    )
    debian_library(
        name = "benchmark",
        # Debian has the library only as a shared one (it calls itself a debug build: that note can be ignored).
        static = False,
        targets = {
            "benchmark": ["-lbenchmark"],
            "benchmark_main": ["-lbenchmark_main", "-lbenchmark"],
        },
    )
    debian_library(
        name = "liburing",
        targets = {"liburing": ["-luring"]},
    )
    debian_library(
        name = "crypt",
        targets = {"crypt": ["-lcrypt"]},
    )
    debian_library(
        name = "yaml_cpp",
        targets = {"yaml_cpp": ["yaml-cpp"]},
    )
    debian_library(
        name = "re2",
        targets = {"re2": ["re2"]},
    )
