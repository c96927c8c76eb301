// Loads, stores and elementwise functions of a program, as PTX.
#include <cctype>
#include <stdexcept>

#include "program_writer.h"

namespace nodevae::cuda {

namespace {

std::string offset(const std::string& at, int64_t bytes) {
  return "[" + at + (bytes < 0 ? "" : "+") + std::to_string(bytes) + "]";
}

std::string joined(const std::vector<std::string>& names) {
  std::string text = "{";
  for (const std::string& name : names) text += (text.size() > 1 ? ", " : "") + name;
  return text + "}";
}

} // namespace

// Elements beyond the first are `stride` bytes further, or part of one access of 4. Integers become floats.
void ProgramWriter::load(int value, const std::string& at) {
  const ResolvedOperand& source = operand(instructions_[static_cast<size_t>(value)].a);
  if (source.noise) return draw(value, at);
  const int count = lanes(spreads_[static_cast<size_t>(value)]);
  const bool whole = count == 4 && program_.whole(source);
  const int64_t step = source.strides[kColumns] * static_cast<int64_t>(dtype_size(source.dtype));
  std::vector<std::string> out(static_cast<size_t>(count)), raw;
  for (int v = 0; v < count; ++v) out[static_cast<size_t>(v)] = name(value, v);
  if (source.dtype == DType::float32)
    raw = out;
  else
    for (int v = 0; v < count; ++v) raw.push_back(temporary("b32"));
  const std::string type = source.dtype == DType::float32 ? "f32" : source.dtype == DType::int32 ? "b32" : "u8";
  if (whole && source.dtype == DType::uint8) {
    const std::string bytes = temporary("b32");
    line("ld.global.b32 \t" + bytes + ", [" + at + "];");
    for (int v = 0; v < count; ++v)
      line("bfe.u32 \t" + raw[static_cast<size_t>(v)] + ", " + bytes + ", " + std::to_string(8 * v) + ", 8;");
  } else if (whole) {
    line("ld.global.v4." + type + " \t" + joined(raw) + ", [" + at + "];");
  } else {
    for (int v = 0; v < count; ++v)
      line("ld.global." + type + " \t" + raw[static_cast<size_t>(v)] + ", " + offset(at, v * step) + ";");
  }
  if (source.dtype == DType::float32) return;
  const char* convert = source.dtype == DType::int32 ? "cvt.rn.f32.s32 \t" : "cvt.rn.f32.u32 \t";
  for (size_t v = 0; v < out.size(); ++v) line(convert + out[v] + ", " + raw[v] + ";");
}

// Noise, where `at` is the number of the first lane's element: neighbours that make up a block of Philox are drawn
// together, others one by one.
void ProgramWriter::draw(int value, const std::string& at) {
  const ResolvedOperand& source = operand(instructions_[static_cast<size_t>(value)].a);
  const int count = lanes(spreads_[static_cast<size_t>(value)]);
  const bool whole = count == 4 && program_.whole(source);
  const std::string function = source.noise->normal ? "noise_normal" : "noise_uniform";
  const std::string stream = temporary("b32");
  line("mov.b32 \t" + stream + ", " + std::to_string(source.noise->stream) + ";");
  for (int v = 0; v < (whole ? 1 : count); ++v) {
    const std::string number = temporary("b64"), block = temporary("b32"), lane = temporary("b32");
    line("add.s64 \t" + number + ", " + at + ", " + std::to_string(v * source.strides[kColumns]) + ";");
    line("cvt.u32.u64 \t" + lane + ", " + number + ";");
    line("and.b32 \t" + lane + ", " + lane + ", 3;");
    line("shr.u64 \t" + number + ", " + number + ", 2;");
    line("cvt.u32.u64 \t" + block + ", " + number + ";");
    std::vector<std::string> arguments = {block, stream}, results = {name(value, v)};
    for (int i = 0; i < 4; ++i) arguments.push_back("%program_run" + std::to_string(i));
    if (!whole) arguments.push_back(lane);
    for (int i = 1; whole && i < 4; ++i) results.push_back(name(value, i));
    text_ += body(function + (whole ? "_block" : "_lane"), arguments, results);
  }
}

// Floats become integers as in native/cpu/transfer.inc: rounded towards zero, the nearest value where out of range
// (cvt saturates; the largest float below 2^31 is 2147483520), 0 for NaN.
void ProgramWriter::store(const Instruction& instruction) {
  const ResolvedOperand& target = operand(instruction.b);
  const std::string at = "%program_at" + std::to_string(instruction.b);
  const bool whole = program_.whole(target);
  const int64_t step = target.strides[kColumns] * static_cast<int64_t>(dtype_size(target.dtype));
  std::vector<std::string> values;
  for (int v = 0; v < program_.vector_; ++v) {
    const std::string value = name(instruction.a, v);
    if (target.dtype == DType::float32) {
      values.push_back(value[0] == '%' ? value : temporary("f32"));
      if (value[0] != '%') line("mov.f32 \t" + values.back() + ", " + value + ";");
      continue;
    }
    values.push_back(temporary("b32"));
    const std::string& integer = values.back();
    const std::string rounded = temporary("f32");
    line("mov.f32 \t" + rounded + ", " + value + ";");
    line("cvt.rzi.s32.f32 \t" + integer + ", " + rounded + ";");
    if (target.dtype == DType::int32) {
      line("min.s32 \t" + integer + ", " + integer + ", 2147483520;");
    } else {
      line("max.s32 \t" + integer + ", " + integer + ", 0;");
      line("min.s32 \t" + integer + ", " + integer + ", 255;");
    }
  }
  const std::string type = target.dtype == DType::float32 ? "f32" : target.dtype == DType::int32 ? "b32" : "u8";
  if (whole && target.dtype == DType::uint8) {
    for (int v = 1; v < 4; ++v)
      line("bfi.b32 \t" + values[0] + ", " + values[static_cast<size_t>(v)] + ", " + values[0] + ", " +
           std::to_string(8 * v) + ", 8;");
    line("st.global.b32 \t[" + at + "], " + values[0] + ";");
  } else if (whole) {
    line("st.global.v4." + type + " \t[" + at + "], " + joined(values) + ";");
  } else {
    for (size_t v = 0; v < values.size(); ++v)
      line("st.global." + type + " \t" + offset(at, static_cast<int64_t>(v) * step) + ", " + values[v] + ";");
  }
}

void ProgramWriter::apply(int value) {
  const Instruction& i = instructions_[static_cast<size_t>(value)];
  const int32_t sources[3] = {i.a, i.b, i.c};
  for (int v = 0; v < lanes(spreads_[static_cast<size_t>(value)]); ++v) {
    std::vector<std::string> arguments;
    for (int j = 0; j < opcode_arity(i.op); ++j) arguments.push_back(name(sources[j], v));
    text_ += body(std::string("op_") + opcode_name(i.op), arguments, {name(value, v)});
  }
}

// The body of a function of functions.cu in place of a call: as a scope of its own for its registers, with labels
// that no other copy has.
std::string ProgramWriter::body(const std::string& function, const std::vector<std::string>& arguments,
                                const std::vector<std::string>& results) {
  const std::string& source = functions_.function_body(function);
  const std::string copy = std::to_string(inlined_++), end = "$program_end" + copy;
  std::string text = "\t{\n";
  bool jumps = false;
  size_t at = 0;
  while (at < source.size()) {
    const size_t line_end = std::min(source.find('\n', at), source.size());
    std::string line = source.substr(at, line_end - at);
    at = line_end + 1;
    const size_t code = line.find_first_not_of(" \t");
    if (code == std::string::npos) continue;
    const size_t load = line.find("ld.param."), store = line.find("st.param."), leave = line.find("ret;");
    if (load != std::string::npos) { // ld.param.f32 %f1, [op_add_param_0]; or .u32 %r1, where only the bits are used,
                                     // or .u32 %rd1, which fills the register up with zeros
      const size_t place = line.find("_param_", load) + 7;
      const size_t argument = std::stoul(line.substr(place));
      if (argument >= arguments.size()) throw std::runtime_error("program: more parameters in " + function);
      const char* move = line.find("%rd") != std::string::npos ? "\tcvt.u64.u32 \t" : "\tmov.b32 \t";
      line = move + line.substr(line.find('%'), line.find('[') - line.find('%')) + arguments[argument] + ";";
    } else if (store != std::string::npos) { // st.param.f32 [func_retval0+4], %f4; or .v2.f32 [...], {%f4, %f5};
      size_t result = std::stoul(line.substr(line.find('+', store) + 1)) / sizeof(float);
      std::string moves;
      for (size_t from = line.find('%'); from != std::string::npos; from = line.find('%', from + 1)) {
        if (result >= results.size()) throw std::runtime_error("program: more results of " + function);
        const std::string value = line.substr(from, line.find_first_of(",};", from) - from);
        moves += (moves.empty() ? "" : "\n") + ("\tmov.b32 \t" + results[result++] + ", " + value + ";");
      }
      line = moves;
    } else if (leave != std::string::npos) {
      if (line[code] != '@' && source.find_first_not_of(" \t\n", at) >= source.size()) break; // falls out of the end
      line.replace(leave, 4, "bra \t" + end + ";");
      jumps = true;
    }
    for (size_t label = line.find("$L__BB"); label != std::string::npos; label = line.find("$L__BB", label + 1)) {
      size_t after = label + 6;
      while (after < line.size() && (std::isdigit(static_cast<unsigned char>(line[after])) != 0 || line[after] == '_'))
        ++after;
      line.insert(after, "_" + copy);
    }
    text += line + "\n";
  }
  if (jumps) text += end + ":\n";
  return text + "\t}\n";
}

// Every marker line is replaced, as often as the compiler has copied it.
std::shared_ptr<const std::string> Program::splice(const std::string& file, int capability, const std::string& entry,
                                                   size_t arguments_offset) const {
  const PtxFile::Kernel kernel = ptx_file(file, capability).kernel(entry);
  ProgramWriter writer(*this, ptx_file("functions", capability), entry + "_param_0", arguments_offset);
  std::string text = kernel.before + writer.registers();
  size_t at = 0;
  int elements = 0;
  while (at < kernel.body.size()) {
    const size_t line_end = std::min(kernel.body.find('\n', at), kernel.body.size());
    const std::string line = kernel.body.substr(at, line_end - at);
    at = line_end + 1;
    const size_t marker = line.find("//@");
    if (marker == std::string::npos) {
      if (line.find("inline asm") == std::string::npos) text += line + "\n";
      continue;
    }
    std::vector<std::string> words;
    size_t word = marker + 3;
    while (word < line.size()) {
      const size_t word_end = std::min(line.find(' ', word), line.size());
      if (word_end > word) words.push_back(line.substr(word, word_end - word));
      word = word_end + 1;
    }
    const std::string name = words.front();
    elements += name == "element" ? 1 : 0;
    words.erase(words.begin());
    text += writer.marker(name, words);
  }
  if (elements == 0) throw std::runtime_error("program: kernel " + entry + " has no place for a program");
  return std::make_shared<const std::string>(text + "}\n");
}

} // namespace nodevae::cuda
