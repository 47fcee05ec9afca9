// The main() of every *_seeds_test: feeds each file of a corpus folder once to the fuzz function, as one test
// case. So what fuzzing once found stays found, in configurations and on machines where libFuzzer does not
// run.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

class Seed : public testing::Test {
 public:
  explicit Seed(std::string input) : input_(std::move(input)) {}

  void TestBody() override {
    // A copy of exactly this size on the heap: AddressSanitizer then sees a read one past the end.
    std::unique_ptr<uint8_t[]> data(new uint8_t[input_.size()]);
    std::copy(input_.begin(), input_.end(), data.get());
    LLVMFuzzerTestOneInput(data.get(), input_.size());
  }

 private:
  std::string input_;
};

void Register(const std::string& name, std::string input) {
  testing::RegisterTest("Seed", name.c_str(), nullptr, nullptr, __FILE__, __LINE__,
                        [input = std::move(input)]() -> testing::Test* { return new Seed(input); });
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  Register("empty", "");
  if (argc > 1 && std::filesystem::is_directory(argv[1])) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[1])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    for (const auto& path : files) {
      std::ifstream file(path, std::ios::binary);
      Register(path.filename().string(), std::string(std::istreambuf_iterator<char>(file), {}));
    }
  }
  return RUN_ALL_TESTS();
}
