"""weir_fuzz_test: one function fed with hostile input, in two ways.

    load("//tools/bazel:fuzz.bzl", "weir_fuzz_test")

    weir_fuzz_test(
        name = "request_fuzz",
        srcs = ["request_fuzz.cc"],     # defines extern "C" int LLVMFuzzerTestOneInput(const uint8_t*, size_t)
        deps = ["//lb/http:parser"],
    )

makes two targets:

    :request_fuzz              libFuzzer's binary (manual; `bazel build --config=fuzz`); tools/test runs it for seconds
    :request_fuzz_seeds_test   an ordinary test that feeds each file of the corpus once, in every configuration

The corpus is the folder corpus/request_fuzz next to the BUILD file, one input per file. An input that once found a bug
goes there, with a name that says which.
"""

def weir_fuzz_test(name, srcs, deps = [], data = [], **kwargs):
    corpus = native.glob(["corpus/%s/**" % name], allow_empty = True)
    native.cc_binary(
        name = name,
        testonly = True,
        srcs = srcs,
        data = data + corpus,
        deps = deps,
        # Brings libFuzzer's main(); links only with --config=fuzz.
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["fuzz", "manual"],
        **kwargs
    )
    native.cc_test(
        name = name + "_seeds_test",
        size = "small",
        srcs = srcs + ["//tools/fuzz:replay.cc"],
        args = ["%s/corpus/%s" % (native.package_name(), name)],
        data = data + corpus,
        deps = deps + ["@googletest//:gtest"],
        **kwargs
    )
