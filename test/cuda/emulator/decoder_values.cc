// Types, immediates and special registers.
#include <cstring>

#include "decoder.h"

namespace emulator {

Type type_named(const std::string& name) {
  static const std::unordered_map<std::string, Type> types = {
      {"pred", Type::pred}, {"b8", Type::b8},         {"b16", Type::b16},   {"b32", Type::b32}, {"b64", Type::b64},
      {"u8", Type::u8},     {"u16", Type::u16},       {"u32", Type::u32},   {"u64", Type::u64}, {"s8", Type::s8},
      {"s16", Type::s16},   {"s32", Type::s32},       {"s64", Type::s64},   {"f16", Type::f16}, {"f16x2", Type::f16x2},
      {"bf16", Type::bf16}, {"bf16x2", Type::bf16x2}, {"tf32", Type::tf32}, {"f32", Type::f32}, {"f64", Type::f64}};
  auto found = types.find(name);
  return found == types.end() ? Type::none : found->second;
}

const char* type_name(Type type) {
  static const char* const names[] = {"none", ".pred",  ".b8",   ".b16",    ".b32",  ".b64", ".u8",
                                      ".u16", ".u32",   ".u64",  ".s8",     ".s16",  ".s32", ".s64",
                                      ".f16", ".f16x2", ".bf16", ".bf16x2", ".tf32", ".f32", ".f64"};
  return names[static_cast<int>(type)];
}

namespace {
uint32_t log2_of(uint32_t size) { return static_cast<uint32_t>(__builtin_ctz(size)); }
} // namespace

uint64_t Decoder::immediate(const Operand& operand, Type type) const {
  bool bits_type = type >= Type::b8 && type <= Type::b64;
  switch (operand.kind) {
  case Operand::Kind::integer:
    if (type == Type::f32 || type == Type::f64) error("an integer where a number of floating point is expected");
    return size_of(type) == 8 ? operand.bits : operand.bits & ((uint64_t{1} << (8 * size_of(type))) - 1);
  case Operand::Kind::real32:
    if (type == Type::f64) {
      float narrow;
      std::memcpy(&narrow, &operand.bits, 4);
      double wide = narrow;
      uint64_t bits;
      std::memcpy(&bits, &wide, 8);
      return bits;
    }
    if (size_of(type) != 4 || (!is_float(type) && !bits_type))
      error("a 32-bit float for the type " + std::string(type_name(type)));
    return operand.bits;
  case Operand::Kind::real64:
    if (type == Type::f32) {
      double wide;
      std::memcpy(&wide, &operand.bits, 8);
      float narrow = static_cast<float>(wide);
      uint32_t bits;
      std::memcpy(&bits, &narrow, 4);
      return bits;
    }
    if (type != Type::f64 && type != Type::b64) error("a 64-bit float for the type " + std::string(type_name(type)));
    return operand.bits;
  default:
    error("expected a register or a number");
  }
}

uint32_t Decoder::constant(uint32_t size, uint64_t bits) {
  auto [entry, added] = constants_[log2_of(size)].emplace(bits, 0);
  if (added) {
    entry->second = temporary(size);
    program_->constants.push_back({entry->second, size, bits});
  }
  return entry->second;
}

bool Decoder::special(std::string_view name, Type type, uint32_t& row) {
  static const std::unordered_map<std::string_view, Special> specials = {
      {"%tid.x", Special::tid_x},
      {"%tid.y", Special::tid_y},
      {"%tid.z", Special::tid_z},
      {"%ntid.x", Special::ntid_x},
      {"%ntid.y", Special::ntid_y},
      {"%ntid.z", Special::ntid_z},
      {"%ctaid.x", Special::ctaid_x},
      {"%ctaid.y", Special::ctaid_y},
      {"%ctaid.z", Special::ctaid_z},
      {"%nctaid.x", Special::nctaid_x},
      {"%nctaid.y", Special::nctaid_y},
      {"%nctaid.z", Special::nctaid_z},
      {"%laneid", Special::laneid},
      {"%warpid", Special::warpid},
      {"%nwarpid", Special::nwarpid},
      {"%smid", Special::smid},
      {"%nsmid", Special::nsmid},
      {"%gridid", Special::gridid},
      {"%lanemask_eq", Special::lanemask_eq},
      {"%lanemask_le", Special::lanemask_le},
      {"%lanemask_lt", Special::lanemask_lt},
      {"%lanemask_ge", Special::lanemask_ge},
      {"%lanemask_gt", Special::lanemask_gt},
      {"%dynamic_smem_size", Special::dynamic_smem_size},
      {"%total_smem_size", Special::total_smem_size}};
  auto found = specials.find(name);
  if (found == specials.end()) return false;
  uint32_t size = found->second == Special::gridid ? 8 : 4;
  if (size_of(type) != size) error("'" + std::string(name) + "' has " + std::to_string(8 * size) + " bits");
  auto [entry, added] = special_rows_.emplace(static_cast<uint32_t>(found->second), 0);
  if (added) {
    entry->second = temporary(size);
    program_->specials.push_back({entry->second, size, found->second});
  }
  row = entry->second;
  return true;
}

} // namespace emulator
