// Generates the PTX of a program: what stands in place of the markers of program.cuh.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "program.h"
#include "ptx.h"

namespace nodevae::cuda {

// Registers, all named %program_*:
//   at function level: `base` (address of each operand at the tile's outer index), `once` (values that are the same
//   everywhere in a tile), `sum` (a thread's part of each reduction, per column), `run` (where there is noise: step and
//   seed, their low halves first);
//   within an element: `value`, `at` (addresses), `index` (of the dimensions), and what single accesses need.
class ProgramWriter {
public:
  // `parameters` is the kernel's parameter, with the ProgramArguments at `arguments_offset`.
  ProgramWriter(const Program& program, const PtxFile& functions, std::string parameters, size_t arguments_offset);

  // Declarations for the start of the kernel.
  std::string registers() const;
  // What replaces a marker: its name and the registers that it names.
  std::string marker(const std::string& name, const std::vector<std::string>& arguments);

private:
  // Of a value: the same everywhere in a tile (of one outer index); the same in the neighbouring columns that a
  // thread has at a time; its own in each.
  enum class Spread { once, element, column };

  void find_spreads();
  void find_needed();
  std::string constant(const std::string& name, const std::string& result) const;
  std::string begin(const std::string& outer);
  std::string element(const std::vector<std::string>& arguments);
  std::string flush(int group, const std::string& address) const;

  std::string name(int value, int lane) const;
  int lanes(Spread spread) const { return spread == Spread::column ? program_.vector_ : 1; }
  void indices(const std::string& number, int last);
  void scaled(const std::string& at, const std::string& index, int64_t stride);
  void address(int operand, const std::string& row, const std::string& column);
  void load(int value, const std::string& at);
  void draw(int value, const std::string& at);
  void store(const Instruction& instruction);
  void apply(int value);
  void reduce(const Program::Reduction& reduction, int number);
  std::string body(const std::string& function, const std::vector<std::string>& arguments,
                   const std::vector<std::string>& results);
  void line(const std::string& text) { text_ += "\t" + text + "\n"; }
  bool noisy() const;
  const ResolvedOperand& operand(int number) const { return program_.space_.operands[static_cast<size_t>(number)]; }
  std::string temporary(const char* type);

  const Program& program_;
  const PtxFile& functions_;
  const std::string parameters_;
  const size_t arguments_offset_;
  const std::vector<Instruction>& instructions_;
  std::vector<Spread> spreads_;
  std::vector<bool> needed_;             // values that a store or a reduction depends on
  std::vector<std::string> accumulator_; // registers of the element at hand
  std::vector<std::string> index_;       // of the dimensions, where rows are numbered through
  std::string text_;
  int temporaries_ = 0, inlined_ = 0;
};

} // namespace nodevae::cuda
