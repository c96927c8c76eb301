// Cutting PTX as nvcc writes it: one kernel out of a file, the body of a function.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace nodevae::cuda {

class PtxFile {
public:
  explicit PtxFile(const std::string& text);

  // What a module needs for the kernel `entry`: directives, variables, the functions that it calls, and the kernel.
  // The kernel's body comes apart, so that it can be changed: everything before it (with its opening brace), the
  // body, and the closing brace. Throws std::runtime_error when there is no such kernel.
  struct Kernel {
    std::string before, body;
  };
  Kernel kernel(const std::string& entry) const;
  // Between the braces of a function. Throws std::runtime_error when there is none.
  const std::string& function_body(const std::string& name) const;

private:
  struct Function {
    std::string name, declaration, body;
    bool entry;
  };
  const Function& find(const std::string& name, bool entry) const;

  std::string header_; // everything that is not a function
  std::vector<Function> functions_;
};

// Parsed once per text.
const PtxFile& ptx_file(const std::string& file, int capability);

// The module of one kernel of a file as it was written. Made once.
std::shared_ptr<const std::string> kernel_text(const std::string& file, int capability, const std::string& entry);

} // namespace nodevae::cuda
