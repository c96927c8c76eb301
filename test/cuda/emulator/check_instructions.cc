// Single instructions against the same operation on the CPU, for ordinary and for special operands.
#include "check.h"

#include <cfenv>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <type_traits>

namespace {

template <class To, class From> To as(From value) {
  To result{};
  std::memcpy(&result, &value, std::min(sizeof result, sizeof value));
  return result;
}

float f(uint64_t bits) { return as<float>(static_cast<uint32_t>(bits)); }
double d(uint64_t bits) { return as<double>(bits); }
uint64_t bits(float value) { return value == value ? as<uint32_t>(value) : 0x7fffffffu; }
uint64_t bits(double value) { return as<uint64_t>(value); }
uint32_t u(uint64_t value) { return static_cast<uint32_t>(value); }
int32_t s(uint64_t value) { return static_cast<int32_t>(static_cast<uint32_t>(value)); }
int64_t l(uint64_t value) { return static_cast<int64_t>(value); }

uint64_t directed(int rounding, float a, float b, float c) { // a * b + c
  std::fesetround(rounding);
  volatile float x = a, y = b, z = c;
  volatile float result = std::fma(float{x}, float{y}, float{z});
  std::fesetround(FE_TONEAREST);
  return bits(float{result});
}

using Reference = std::function<uint64_t(uint64_t a, uint64_t b, uint64_t c)>;
struct Case {
  const char* text; // %xN: 64 bits, %wN: 32 bits, %hN: 16 bits; 0 is the result, 1 to 3 are the operands
  Reference expected;
  int width; // bits of the result that are compared
};

// Rounds to a format with `digits` significant bits by searching the neighbours: slow, and without tricks.
uint16_t nearest_narrow(long double value, const std::vector<std::pair<long double, uint16_t>>& grid) {
  auto above = std::lower_bound(grid.begin(), grid.end(), std::make_pair(value, uint16_t{0}),
                                [](const auto& x, const auto& y) { return x.first < y.first; });
  if (above == grid.begin()) return above->second;
  auto below = above - 1;
  if (above == grid.end()) return below->second;
  long double up = above->first - value, down = value - below->first;
  if (up != down) return up < down ? above->second : below->second;
  return above->second & 1 ? below->second : above->second;
}
// Positive numbers of f16 (bfloat: bf16), and infinity at the place of the number that would come next.
std::vector<std::pair<long double, uint16_t>> make_grid(bool bfloat) {
  std::vector<std::pair<long double, uint16_t>> grid;
  int fraction = bfloat ? 7 : 10, bias = bfloat ? 127 : 15, end = bfloat ? 0x7f80 : 0x7c00;
  for (int i = 0; i <= end; ++i) {
    int exponent = i >> fraction, part = i & ((1 << fraction) - 1);
    long double value = exponent
                            ? std::ldexp(1.0L + std::ldexp(static_cast<long double>(part), -fraction), exponent - bias)
                            : std::ldexp(static_cast<long double>(part), 1 - bias - fraction);
    grid.push_back({value, static_cast<uint16_t>(i)});
  }
  return grid;
}
uint64_t narrow(long double value, bool bfloat) {
  static const auto half = make_grid(false), bf = make_grid(true);
  if (value != value) return 0x7fff;
  uint64_t sign = std::signbit(value) ? 0x8000 : 0;
  return sign | nearest_narrow(std::fabs(value), bfloat ? bf : half);
}
long double wide(uint64_t value, bool bfloat) {
  int fraction = bfloat ? 7 : 10, bias = bfloat ? 127 : 15, most = bfloat ? 255 : 31;
  int exponent = static_cast<int>(value >> fraction) & most, part = static_cast<int>(value) & ((1 << fraction) - 1);
  long double magnitude =
      exponent == most ? (part ? NAN : INFINITY)
      : exponent       ? std::ldexp(1.0L + std::ldexp(static_cast<long double>(part), -fraction), exponent - bias)
                       : std::ldexp(static_cast<long double>(part), 1 - bias - fraction);
  return value & 0x8000 ? -magnitude : magnitude;
}

template <class To, class From> uint64_t to_integer(From value, From rounded) {
  if (value != value)
    return sizeof(To) == 8 || sizeof(From) == 8 ? static_cast<To>(uint64_t{1} << (8 * sizeof(To) - 1)) : 0;
  if (rounded <= static_cast<From>(std::numeric_limits<To>::min()))
    return static_cast<uint64_t>(std::numeric_limits<To>::min());
  if (rounded >= static_cast<From>(std::ldexp(1.0, std::numeric_limits<To>::digits)))
    return static_cast<uint64_t>(std::numeric_limits<To>::max());
  return static_cast<uint64_t>(static_cast<To>(rounded));
}

uint64_t extract(uint64_t a, uint32_t position, uint32_t length, int width,
                 bool is_signed) { // as the PTX manual has it
  position &= 255, length &= 255;
  int top = width - 1;
  uint64_t sign = !is_signed || length == 0 ? 0 : a >> std::min<int>(static_cast<int>(position + length) - 1, top) & 1,
           result = 0;
  for (int i = 0; i <= top; ++i)
    result |= (i < static_cast<int>(length) && static_cast<int>(position) + i <= top
                   ? a >> (position + static_cast<uint32_t>(i)) & 1
                   : sign)
              << i;
  return result;
}

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"mul.hi.s32 %w0, %w1, %w2;",
       [](auto a, auto b, auto) { return static_cast<uint64_t>(int64_t{s(a)} * s(b) >> 32); }, 32},
      {"mul.hi.s64 %x0, %x1, %x2;",
       [](auto a, auto b, auto) { return static_cast<uint64_t>(static_cast<__int128>(l(a)) * l(b) >> 64); }, 64},
      {"mad.hi.u32 %w0, %w1, %w2, %w3;", [](auto a, auto b, auto c) { return (uint64_t{u(a)} * u(b) >> 32) + u(c); },
       32},
      {"mad.wide.s32 %x0, %w1, %w2, %x3;",
       [](auto a, auto b, auto c) { return static_cast<uint64_t>(int64_t{s(a)} * s(b)) + c; }, 64},
      {"mul.wide.u16 %w0, %h1, %h2;", [](auto a, auto b, auto) { return (a & 0xffff) * (b & 0xffff); }, 32},
      {"mul.lo.s16 %h0, %h1, %h2;", [](auto a, auto b, auto) { return a * b; }, 16},
      {"sad.s32 %w0, %w1, %w2, %w3;",
       [](auto a, auto b, auto c) { return u(c) + static_cast<uint64_t>(std::abs(int64_t{s(a)} - s(b))); }, 32},
      {"min.s16 %h0, %h1, %h2;",
       [](auto a, auto b, auto) {
         return static_cast<uint64_t>(std::min(static_cast<int16_t>(a), static_cast<int16_t>(b)));
       },
       16},
      {"max.u64 %x0, %x1, %x2;", [](auto a, auto b, auto) { return std::max(a, b); }, 64},
      {"abs.s32 %w0, %w1;", [](auto a, auto, auto) { return static_cast<uint64_t>(std::abs(int64_t{s(a)})); }, 32},
      {"add.sat.s32 %w0, %w1, %w2;",
       [](auto a, auto b, auto) {
         return static_cast<uint64_t>(std::min<int64_t>(std::max<int64_t>(int64_t{s(a)} + s(b), INT32_MIN), INT32_MAX));
       },
       32},
      {"shl.b32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return u(b) > 31 ? 0 : uint64_t{u(a)} << u(b); }, 32},
      {"shr.s64 %x0, %x1, %w2;",
       [](auto a, auto b, auto) { return static_cast<uint64_t>(l(a) >> std::min(u(b), 63u)); }, 64},
      {"shr.u16 %h0, %h1, %w2;", [](auto a, auto b, auto) { return u(b) > 15 ? 0 : (a & 0xffff) >> u(b); }, 16},
      {"bfe.s32 %w0, %w1, %w2, %w3;", [](auto a, auto b, auto c) { return extract(u(a), u(b), u(c), 32, true); }, 32},
      {"bfe.u64 %x0, %x1, %w2, %w3;", [](auto a, auto b, auto c) { return extract(a, u(b), u(c), 64, false); }, 64},
      {"bfe.s64 %x0, %x1, %w2, %w3;", [](auto a, auto b, auto c) { return extract(a, u(b), u(c), 64, true); }, 64},
      {"shf.r.clamp.b32 %w0, %w1, %w2, %w3;",
       [](auto a, auto b, auto c) { return (uint64_t{u(b)} << 32 | u(a)) >> std::min(u(c), 32u); }, 32},
      {"shf.l.clamp.b32 %w0, %w1, %w2, %w3;",
       [](auto a, auto b, auto c) { return u(c) > 31 ? u(a) : (uint64_t{u(b)} << 32 | u(a)) << u(c) >> 32; }, 32},
      {"lop3.b32 %w0, %w1, %w2, %w3, 0xca;", [](auto a, auto b, auto c) { return (a & b) | (~a & c); }, 32},
      {"lop3.b32 %w0, %w1, %w2, %w3, 0x1d;",
       [](auto a, auto b, auto c) {
         uint64_t r = 0;
         for (int i = 0; i < 32; ++i)
           r |= uint64_t{0x1du >> ((a >> i & 1) << 2 | (b >> i & 1) << 1 | (c >> i & 1)) & 1} << i;
         return r;
       },
       32},
      {"bfind.s32 %w0, %w1;",
       [](auto a, auto, auto) {
         uint32_t x = s(a) < 0 ? ~u(a) : u(a);
         return x ? uint64_t(31 - __builtin_clz(x)) : ~uint64_t{0};
       },
       32},
      {"clz.b64 %w0, %x1;", [](auto a, auto, auto) { return uint64_t(a ? __builtin_clzll(a) : 64); }, 32},
      {"set.gt.u32.s32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return s(a) > s(b) ? ~uint64_t{0} : 0; }, 32},
      {"set.neu.f32.f32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return bits(f(a) == f(b) ? 0.0f : 1.0f); }, 32},
      {"set.lt.u32.f64 %w0, %x1, %x2;", [](auto a, auto b, auto) { return d(a) < d(b) ? ~uint64_t{0} : 0; }, 32},
      {"slct.b32.f32 %w0, %w1, %w2, %w3;", [](auto a, auto b, auto c) { return f(c) >= 0 ? a : b; }, 32},
      {"add.rn.f32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return bits(f(a) + f(b)); }, 32},
      {"mul.ftz.f32 %w0, %w1, %w2;",
       [](auto a, auto b, auto) {
         auto flush = [](float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; };
         return bits(flush(flush(f(a)) * flush(f(b))));
       },
       32},
      {"div.rn.f32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return bits(f(a) / f(b)); }, 32},
      {"fma.rn.f32 %w0, %w1, %w2, %w3;", [](auto a, auto b, auto c) { return bits(std::fma(f(a), f(b), f(c))); }, 32},
      {"fma.rn.f64 %x0, %x1, %x2, %x3;",
       [](auto a, auto b, auto c) {
         double r = std::fma(d(a), d(b), d(c));
         return r == r ? bits(r) : 0xfff8000000000000u;
       },
       64},
      {"max.f32 %w0, %w1, %w2;",
       [](auto a, auto b, auto) {
         return f(a) != f(a)   ? bits(f(b))
                : f(b) != f(b) ? bits(f(a))
                : f(a) == f(b) ? a & b
                               : bits(std::max(f(a), f(b)));
       },
       32},
      {"add.rm.f32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return directed(FE_DOWNWARD, f(a), 1, f(b)); }, 32},
      {"sub.rp.f32 %w0, %w1, %w2;", [](auto a, auto b, auto) { return directed(FE_UPWARD, f(a), 1, -f(b)); }, 32},
      {"fma.rz.f32 %w0, %w1, %w2, %w3;",
       [](auto a, auto b, auto c) { return directed(FE_TOWARDZERO, f(a), f(b), f(c)); }, 32},
      {"fma.rm.f32 %w0, %w1, %w2, %w3;", [](auto a, auto b, auto c) { return directed(FE_DOWNWARD, f(a), f(b), f(c)); },
       32},
      {"cvt.rp.f32.f64 %w0, %x1;",
       [](auto a, auto, auto) {
         std::fesetround(FE_UPWARD);
         volatile double value = d(a);
         volatile float result = static_cast<float>(value);
         std::fesetround(FE_TONEAREST);
         return bits(float{result});
       },
       32},
      {"cvt.rzi.s32.f32 %w0, %w1;", [](auto a, auto, auto) { return to_integer<int32_t>(f(a), std::trunc(f(a))); }, 32},
      {"cvt.rni.u32.f32 %w0, %w1;", [](auto a, auto, auto) { return to_integer<uint32_t>(f(a), std::nearbyint(f(a))); },
       32},
      {"cvt.rmi.s64.f64 %x0, %x1;", [](auto a, auto, auto) { return to_integer<int64_t>(d(a), std::floor(d(a))); }, 64},
      {"cvt.rpi.u64.f32 %x0, %w1;", [](auto a, auto, auto) { return to_integer<uint64_t>(f(a), std::ceil(f(a))); }, 64},
      {"cvt.rn.f32.u64 %w0, %x1;", [](auto a, auto, auto) { return bits(static_cast<float>(a)); }, 32},
      {"cvt.rz.f32.s32 %w0, %w1;",
       [](auto a, auto, auto) {
         float r = static_cast<float>(s(a));
         if (std::fabs(double{r}) > std::fabs(double{static_cast<double>(s(a))})) r = std::nextafter(r, 0.0f);
         return bits(r);
       },
       32},
      {"cvt.rn.f32.f64 %w0, %x1;", [](auto a, auto, auto) { return bits(static_cast<float>(d(a))); }, 32},
      {"cvt.sat.u8.s32 %w0, %w1;",
       [](auto a, auto, auto) { return static_cast<uint64_t>(std::min(std::max(s(a), 0), 255)); }, 32},
      {"cvt.s64.s16 %x0, %h1;",
       [](auto a, auto, auto) { return static_cast<uint64_t>(int64_t{static_cast<int16_t>(a)}); }, 64},
      {"cvt.rn.f16.f32 %h0, %w1;", [](auto a, auto, auto) { return narrow(f(a), false); }, 16},
      {"cvt.rn.bf16.f32 %h0, %w1;", [](auto a, auto, auto) { return narrow(f(a), true); }, 16},
      {"cvt.rn.bf16x2.f32 %w0, %w1, %w2;",
       [](auto a, auto b, auto) { return narrow(f(a), true) << 16 | narrow(f(b), true); }, 32},
      {"cvt.f32.f16 %w0, %h1;", [](auto a, auto, auto) { return bits(static_cast<float>(wide(a & 0xffff, false))); },
       32},
      {"cvt.rna.tf32.f32 %w0, %w1;",
       [](auto a, auto, auto) {
         if (f(a) != f(a)) return uint64_t{0x7fffffff};
         return std::isinf(f(a)) ? a : uint64_t{(u(a) + 0x1000u) & 0xffffe000u};
       },
       32},
      {"fma.rn.bf16 %h0, %h1, %h2, %h3;",
       [](auto a, auto b, auto c) {
         long double product = wide(a & 0xffff, true) * wide(b & 0xffff, true), term = wide(c & 0xffff, true),
                     sum = product + term;
         if (sum - product != term)
           sum = std::nextafter(sum, term > 0 ? INFINITY : -INFINITY); // what was lost breaks a tie
         return narrow(sum, true);
       },
       16},
      {"add.f16 %h0, %h1, %h2;",
       [](auto a, auto b, auto) { return narrow(wide(a & 0xffff, false) + wide(b & 0xffff, false), false); }, 16},
      {"mul.f16x2 %w0, %w1, %w2;",
       [](auto a, auto b, auto) {
         auto part = [&](int i) { return narrow(wide(a >> i & 0xffff, false) * wide(b >> i & 0xffff, false), false); };
         return part(16) << 16 | part(0);
       },
       32},
      {"fma.rn.f16 %h0, %h1, %h2, %h3;",
       [](auto a, auto b, auto c) {
         return narrow(wide(a & 0xffff, false) * wide(b & 0xffff, false) + wide(c & 0xffff, false), false);
       },
       16},
      {"set.lt.u32.f16 %w0, %h1, %h2;",
       [](auto a, auto b, auto) { return wide(a & 0xffff, false) < wide(b & 0xffff, false) ? ~uint64_t{0} : 0; }, 32},
      {"prmt.b32 %w0, %w1, %w2, %w3;",
       [](auto a, auto b, auto c) {
         uint64_t both = uint64_t{u(b)} << 32 | u(a), r = 0;
         for (int i = 0; i < 4; ++i) {
           uint64_t pick = c >> (4 * i) & 15, byte = both >> (8 * (pick & 7)) & 255;
           r |= (pick & 8 ? (byte >> 7) * 255 : byte) << (8 * i);
         }
         return r;
       },
       32},
      {"rem.s32 %w0, %w1, %w2;",
       [](auto a, auto b, auto) { return s(b) == 0 ? a : static_cast<uint64_t>(int64_t{s(a)} % s(b)); }, 32},
  };
  return all;
}

uint64_t draw(std::mt19937_64& random) { // anything, small numbers, and numbers of floating point with their limits
  static const float special[] = {0.0f,    -0.0f,    1.0f,     -1.5f,   2.5f,    INFINITY, -INFINITY, NAN,     1e-40f,
                                  -1e-45f, 65504.0f, 65520.0f, 3.4e38f, 0x1p31f, -0x1p31f, 0x1p-24f,  0x1p-25f};
  std::normal_distribution<double> normal(0, 3);
  switch (random() % 6) {
  case 0:
    return random();
  case 1:
    return random() % 70;
  case 2:
    return 0 - random() % 70;
  case 3:
    return bits(static_cast<float>(normal(random))) * 0x100000001u;
  case 4:
    return as<uint64_t>(normal(random) * std::exp(normal(random) * 3));
  default:
    return uint64_t{as<uint32_t>(special[random() % 17])} * (random() % 2 ? 1 : 0x100000001u);
  }
}

} // namespace

void check_instructions(int capability) {
  constexpr int n = 4096;
  std::mt19937_64 random(11);
  std::vector<uint64_t> operands(3 * n);
  for (uint64_t& value : operands) value = draw(random);
  Device<uint64_t> in(operands), out(n);
  for (const Case& one : cases()) {
    std::string text = ".version 8.0\n.target sm_" + std::to_string(capability) +
                       "\n.address_size 64\n"
                       ".visible .entry one(.param .u64 in, .param .u64 out) {\n"
                       ".reg .b64 %x<4>, %a<4>; .reg .b32 %w<4>, %t<3>; .reg .b16 %h<4>;\n"
                       "mov.u32 %t0, %ctaid.x; mov.u32 %t1, %tid.x; mad.lo.u32 %t0, %t0, 128, %t1;\n"
                       "ld.param.u64 %a0, [in]; ld.param.u64 %a1, [out]; mad.wide.u32 %a2, %t0, 24, %a0; mad.wide.u32 "
                       "%a3, %t0, 8, %a1;\n"
                       "mov.b64 %x0, 0; mov.b32 %w0, 0; mov.b16 %h0, 0;\n";
    for (int i = 1; i < 4; ++i) {
      std::string x = "%x" + std::to_string(i), w = "%w" + std::to_string(i), h = "%h" + std::to_string(i);
      text += "ld.global.b64 " + x + ", [%a2+" + std::to_string(8 * (i - 1)) + "]; cvt.u32.u64 " + w + ", " + x +
              "; cvt.u16.u64 " + h + ", " + x + ";\n";
    }
    text += std::string(one.text) + "\n";
    std::string result = std::strchr(one.text, ' ') + 1;
    text += result[1] == 'x' ? "" : result[1] == 'w' ? "cvt.u64.u32 %x0, %w0;\n" : "cvt.u64.u16 %x0, %h0;\n";
    text += "st.global.b64 [%a3], %x0;\nret;\n}\n";
    bool ampere = std::strstr(one.text, "bf16") || std::strstr(one.text, "tf32");
    if (ampere && capability < 80) continue;
    load_text(text);
    run("one", {n / 128}, 128, 0, nullptr, in.address, out.address);
    std::vector<uint64_t> got = out.read();
    uint64_t keep = one.width == 64 ? ~uint64_t{0} : (uint64_t{1} << one.width) - 1;
    int wrong = 0;
    for (size_t i = 0; i < n && wrong < 3; ++i) {
      const uint64_t* at = &operands[3 * i];
      uint64_t want = one.expected(at[0], at[1], at[2]) & keep;
      if ((got[i] & keep) != want) ++wrong;
      CHECK((got[i] & keep) == want, "%s of %llx, %llx, %llx: %llx, expected %llx", one.text, (unsigned long long)at[0],
            (unsigned long long)at[1], (unsigned long long)at[2], (unsigned long long)got[i], (unsigned long long)want);
    }
  }
}
