#include "program_writer.h"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

namespace nodevae::cuda {

namespace {

constexpr const char* kReg = "%program_";

std::string number(int64_t x) { return std::to_string(x); }
std::string reg(const char* kind, int64_t i) { return std::string(kReg) + kind + number(i); }
std::string float_bits(int32_t bits) {
  char text[12];
  std::snprintf(text, sizeof text, "0f%08X", static_cast<unsigned>(bits));
  return text;
}
// What a stride of 1 adds to an address, or to the number of an element of noise.
int64_t step_size(const ResolvedOperand& operand) {
  return operand.noise ? 1 : static_cast<int64_t>(dtype_size(operand.dtype));
}
std::string identity(bool maximum) { return maximum ? "0fFF800000" : "0f00000000"; }

} // namespace

ProgramWriter::ProgramWriter(const Program& program, const PtxFile& functions, std::string parameters,
                             size_t arguments_offset)
    : program_(program), functions_(functions), parameters_(std::move(parameters)), arguments_offset_(arguments_offset),
      instructions_(program.space_.program) {
  find_spreads();
  find_needed();
}

void ProgramWriter::find_spreads() {
  for (const Instruction& i : instructions_) {
    Spread spread = Spread::once;
    if (i.op == Opcode::accumulator) spread = Spread::column;
    if (i.op == Opcode::load) {
      const ResolvedOperand& source = operand(i.a);
      const int64_t* strides = source.strides;
      const bool outer = std::any_of(strides, strides + kOuter, [](int64_t stride) { return stride != 0; });
      if (strides[kColumns] != 0)
        spread = Spread::column;
      else if (strides[kRows] != 0 || (program_.options_.flattened && outer))
        spread = Spread::element;
    }
    const int32_t arguments[3] = {i.a, i.b, i.c};
    for (int j = 0; j < opcode_arity(i.op); ++j) spread = std::max(spread, spreads_[static_cast<size_t>(arguments[j])]);
    spreads_.push_back(spread);
  }
}

void ProgramWriter::find_needed() {
  needed_.assign(instructions_.size(), false);
  for (size_t i = instructions_.size(); i-- > 0;) {
    const Instruction& instruction = instructions_[i];
    if (instruction.op == Opcode::store || is_reduction(instruction))
      needed_[static_cast<size_t>(instruction.a)] = true;
    const int32_t arguments[3] = {instruction.a, instruction.b, instruction.c};
    for (int j = 0; needed_[i] && j < opcode_arity(instruction.op); ++j)
      needed_[static_cast<size_t>(arguments[j])] = true;
  }
}

std::string ProgramWriter::registers() const {
  const size_t operands = program_.space_.operands.size(), sums = program_.reductions_.size() * 4;
  return "\n\t.reg .b64 \t" + std::string(kReg) + "base<" + std::to_string(operands + 1) + ">;\n\t.reg .f32 \t" + kReg +
         "once<" + std::to_string(instructions_.size() + 1) + ">;\n\t.reg .f32 \t" + kReg + "sum<" +
         std::to_string(sums + 1) + ">;\n" + (noisy() ? std::string("\t.reg .b32 \t") + kReg + "run<4>;\n" : "");
}

bool ProgramWriter::noisy() const {
  const std::vector<ResolvedOperand>& operands = program_.space_.operands;
  return std::any_of(operands.begin(), operands.end(), [](const auto& operand) { return operand.noise.has_value(); });
}

std::string ProgramWriter::temporary(const char* type) {
  const std::string result = reg("t", temporaries_++);
  line(std::string(".reg .") + type + " \t" + result + ";");
  return result;
}

// The register (or, of a constant, the literal) of a value in one of the thread's columns.
std::string ProgramWriter::name(int value, int lane) const {
  const Instruction& i = instructions_[static_cast<size_t>(value)];
  if (i.op == Opcode::constant) return float_bits(i.a);
  if (i.op == Opcode::accumulator) return accumulator_[static_cast<size_t>(lane)];
  const Spread spread = spreads_[static_cast<size_t>(value)];
  if (spread == Spread::once) return reg("once", value);
  return reg("value", value * program_.vector_ + (spread == Spread::column ? lane : 0));
}

std::string ProgramWriter::marker(const std::string& name, const std::vector<std::string>& arguments) {
  text_.clear();
  if (name == "constant" && arguments.size() == 2) return constant(arguments[0], arguments[1]);
  const size_t expected = name == "element" ? 2 + static_cast<size_t>(program_.vector_) : 1;
  if (arguments.size() != expected)
    throw std::runtime_error("program: marker " + name + " was expected to name " + std::to_string(expected) +
                             " registers, received " + std::to_string(arguments.size()));
  if (name == "begin") return begin(arguments[0]);
  if (name == "element") return element(arguments);
  if (name == "flush_rows") return flush(0, arguments[0]);
  if (name == "flush_columns") return flush(1, arguments[0]);
  if (name == "flush_both") return flush(2, arguments[0]);
  throw std::runtime_error("program: unknown marker " + name);
}

// rows_first: the walk over a tile finishes a row of chunks before the next, for reductions over columns.
std::string ProgramWriter::constant(const std::string& name, const std::string& result) const {
  const int* groups = program_.groups_;
  const std::map<std::string, int64_t> values = {
      {"rows_end", groups[1]},
      {"columns_end", groups[2]},
      {"both_end", groups[3]},
      {"rows_first", groups[1] == 0 && groups[2] > 0 ? 1 : 0},
      {"row_parts", program_.row_parts_},
      {"column_parts", program_.column_parts_},
  };
  const auto found = values.find(name);
  if (found == values.end()) throw std::runtime_error("program: unknown constant " + name);
  return "\tmov.b32 \t" + result + ", " + number(found->second) + ";\n";
}

// Splits a number over the dimensions [0, last] into their indices: index_[d], empty where the extent is 1.
void ProgramWriter::indices(const std::string& all, int last) {
  index_.assign(kDims, "");
  int first = 0;
  while (first < last && program_.space_.extent[first] == 1) ++first;
  std::string rest = all;
  for (int d = last; d >= first; --d) {
    const int64_t extent = program_.space_.extent[d];
    if (extent <= 1) continue;
    if (d == first) {
      index_[static_cast<size_t>(d)] = rest;
      break;
    }
    const std::string quotient = temporary("b32"), index = temporary("b32");
    line("div.u32 \t" + quotient + ", " + rest + ", " + number(extent) + ";");
    line("mul.lo.s32 \t" + index + ", " + quotient + ", " + number(extent) + ";");
    line("sub.s32 \t" + index + ", " + rest + ", " + index + ";");
    index_[static_cast<size_t>(d)] = index;
    rest = quotient;
  }
}

// at += index * stride.
void ProgramWriter::scaled(const std::string& at, const std::string& index, int64_t stride) {
  if (stride == 0 || index.empty()) return;
  if (stride >= INT32_MIN && stride <= INT32_MAX) {
    line("mad.wide.s32 \t" + at + ", " + index + ", " + number(stride) + ", " + at + ";");
  } else {
    const std::string wide = temporary("b64");
    line("cvt.s64.s32 \t" + wide + ", " + index + ";");
    line("mad.lo.s64 \t" + at + ", " + wide + ", " + number(stride) + ", " + at + ";");
  }
}

// Once per tile: addresses at its outer index, and what does not change within it.
std::string ProgramWriter::begin(const std::string& outer) {
  text_ += "\t{\n";
  const bool flattened = program_.options_.flattened;
  if (!flattened) indices(outer, kOuter - 1);
  const auto parameter = [&](const std::string& result, size_t offset) {
    line("ld.param.u64 \t" + result + ", [" + parameters_ + "+" + std::to_string(arguments_offset_ + offset) + "];");
  };
  if (noisy()) {
    const std::string state = temporary("b64");
    parameter(state, offsetof(ProgramArguments, state));
    line("cvta.to.global.u64 \t" + state + ", " + state + ";");
    const auto halves = [&](int low, size_t offset) {
      line("ld.global.v2.u32 \t{" + reg("run", low) + ", " + reg("run", low + 1) + "}, [" + state + "+" +
           std::to_string(offset) + "];");
    };
    halves(0, offsetof(RunState, step));
    halves(2, offsetof(RunState, seed));
  }
  for (const Instruction& i : instructions_) {
    if (i.op != Opcode::load && i.op != Opcode::store) continue;
    const int which = i.op == Opcode::load ? i.a : i.b;
    const std::string base = reg("base", which);
    parameter(base, offsetof(ProgramArguments, operands) + 8 * static_cast<size_t>(which));
    if (!operand(which).noise) line("cvta.to.global.u64 \t" + base + ", " + base + ";");
    const int64_t size = step_size(operand(which));
    for (int d = 0; d < kOuter && !flattened; ++d)
      scaled(base, index_[static_cast<size_t>(d)], operand(which).strides[d] * size);
  }
  for (size_t i = 0; i < instructions_.size(); ++i) {
    const Opcode op = instructions_[i].op;
    if (spreads_[i] != Spread::once || !needed_[i]) continue;
    if (op == Opcode::load)
      load(static_cast<int>(i), reg("base", instructions_[i].a));
    else if (opcode_arity(op) > 0)
      apply(static_cast<int>(i));
  }
  for (size_t r = 0; r < program_.reductions_.size(); ++r)
    for (int v = 0; v < program_.vector_; ++v)
      line("mov.f32 \t" + reg("sum", static_cast<int64_t>(r) * 4 + v) + ", " +
           identity(program_.reductions_[r].maximum) + ";");
  return text_ + "\t}\n";
}

// The address of an operand's element, or its number in a draw; index_ is there when rows are numbered through.
void ProgramWriter::address(int which, const std::string& row, const std::string& column) {
  const ResolvedOperand& view = operand(which);
  const std::string at = reg("at", which);
  const int64_t size = step_size(view);
  line("mov.b64 \t" + at + ", " + reg("base", which) + ";");
  if (program_.options_.flattened)
    for (int d = 0; d <= kRows; ++d) scaled(at, index_[static_cast<size_t>(d)], view.strides[d] * size);
  else
    scaled(at, row, view.strides[kRows] * size);
  scaled(at, column, view.strides[kColumns] * size);
}

// For `vector()` columns: every load first, and every store last, so that an operand may be written in place.
std::string ProgramWriter::element(const std::vector<std::string>& arguments) {
  const std::string &row = arguments[0], &column = arguments[1];
  text_ += "\t{\n";
  // Copied: the bodies of functions are scopes with registers of their own, which may bear the kernel's names.
  accumulator_.clear();
  line(".reg .f32 \t" + std::string(kReg) + "accumulator<" + number(program_.vector_) + ">;");
  for (int v = 0; v < program_.vector_; ++v) {
    accumulator_.push_back(reg("accumulator", v));
    line("mov.b32 \t" + accumulator_.back() + ", " + arguments[2 + static_cast<size_t>(v)] + ";");
  }
  const int count = static_cast<int>(instructions_.size());
  line(".reg .f32 \t" + std::string(kReg) + "value<" + number(count * program_.vector_ + 1) + ">;");
  line(".reg .b64 \t" + std::string(kReg) + "at<" + number(static_cast<int64_t>(program_.space_.operands.size()) + 1) +
       ">;");
  if (program_.options_.flattened) indices(row, kRows);
  for (int i = 0; i < count; ++i) {
    const Instruction& instruction = instructions_[static_cast<size_t>(i)];
    const size_t at = static_cast<size_t>(i);
    if (instruction.op != Opcode::load || spreads_[at] == Spread::once || !needed_[at]) continue;
    address(instruction.a, row, column);
    load(i, reg("at", instruction.a));
  }
  for (int i = 0; i < count; ++i)
    if (needed_[static_cast<size_t>(i)] && spreads_[static_cast<size_t>(i)] != Spread::once &&
        opcode_arity(instructions_[static_cast<size_t>(i)].op) > 0)
      apply(i);
  for (size_t r = 0; r < program_.reductions_.size(); ++r) reduce(program_.reductions_[r], static_cast<int>(r));
  for (const Instruction& i : instructions_)
    if (i.op == Opcode::store) {
      address(i.b, row, column);
      store(i);
    }
  return text_ + "\t}\n";
}

// Adds to the thread's part of a reduction. The maximum propagates NaN, as v_max of native/cpu/math.inc.
void ProgramWriter::reduce(const Program::Reduction& reduction, int which) {
  for (int v = 0; v < program_.vector_; ++v) {
    const std::string sum = reg("sum", which * 4 + v), x = name(reduction.value, v);
    if (!reduction.maximum) {
      line("add.rn.f32 \t" + sum + ", " + sum + ", " + x + ";");
      continue;
    }
    const std::string larger = temporary("pred"), invalid = temporary("pred");
    line("setp.gt.f32 \t" + larger + ", " + sum + ", " + x + ";");
    line("setp.nan.f32 \t" + invalid + ", " + sum + ", " + sum + ";");
    line("or.pred \t" + larger + ", " + larger + ", " + invalid + ";");
    line("selp.f32 \t" + sum + ", " + sum + ", " + x + ", " + larger + ";");
  }
}

// Hands a group of reductions to shared memory and starts them anew. Reductions over rows keep the columns apart.
std::string ProgramWriter::flush(int group, const std::string& address) const {
  std::string text = "\t{\n\t.reg .f32 \t%program_a, %program_b;\n\t.reg .pred \t%program_p, %program_q;\n";
  const int vector = program_.vector_, first = program_.groups_[group];
  const auto combine = [&](const std::string& out, const std::string& a, const std::string& b, bool maximum) {
    if (!maximum) {
      text += "\tadd.rn.f32 \t" + out + ", " + a + ", " + b + ";\n";
      return;
    }
    text += "\tsetp.gt.f32 \t%program_p, " + a + ", " + b + ";\n\tsetp.nan.f32 \t%program_q, " + a + ", " + a +
            ";\n\tor.pred \t%program_p, %program_p, %program_q;\n\tselp.f32 \t" + out + ", " + a + ", " + b +
            ", %program_p;\n";
  };
  for (int r = first; r < program_.groups_[group + 1]; ++r) {
    const bool maximum = program_.reductions_[static_cast<size_t>(r)].maximum;
    std::string sums[4];
    for (int v = 0; v < vector; ++v) sums[v] = reg("sum", r * 4 + v);
    const int slot = (r - first) * kBlockThreads * static_cast<int>(sizeof(float));
    if (vector == 1) {
      text += "\tst.shared.f32 \t[" + address + "+" + number(slot) + "], " + sums[0] + ";\n";
    } else if (group == 0) {
      text += "\tst.shared.v4.f32 \t[" + address + "+" + number(slot * 4) + "], {" + sums[0] + ", " + sums[1] + ", " +
              sums[2] + ", " + sums[3] + "};\n";
    } else {
      combine("%program_a", sums[0], sums[1], maximum);
      combine("%program_b", sums[2], sums[3], maximum);
      combine("%program_a", "%program_a", "%program_b", maximum);
      text += "\tst.shared.f32 \t[" + address + "+" + number(slot) + "], %program_a;\n";
    }
    for (int v = 0; v < vector; ++v) text += "\tmov.f32 \t" + sums[v] + ", " + identity(maximum) + ";\n";
  }
  return text + "\t}\n";
}

} // namespace nodevae::cuda
