#include "embedded.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace nodevae::cuda {

// Defined by the file that cmake/EmbedPtx.cmake writes; ends with a null file. Texts come in parts, as compilers
// limit the length of literals.
struct EmbeddedPtx {
  const char* file;
  int capability;
  const char* const* parts; // ends with a null
};
extern const EmbeddedPtx kEmbeddedPtx[];

// Hints of nvcc about which bytes of a load are used: only PTX ISA 8.3 and later know the word.
static void drop_hints(std::string& text) {
  size_t to = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string_view line(text.data() + at, end - at);
    if (line.find(".pragma \"used_bytes_mask") == std::string_view::npos) {
      std::copy(line.begin(), line.end(), text.begin() + static_cast<std::ptrdiff_t>(to));
      to += line.size();
    }
    at = end;
  }
  text.resize(to);
}

const std::string& ptx_source(const std::string& file, int capability) {
  static std::mutex mutex;
  static auto& texts = *new std::map<std::pair<std::string, int>, std::string>; // never destroyed, as in ptx.cc
  const EmbeddedPtx* best = nullptr;
  for (const EmbeddedPtx* ptx = kEmbeddedPtx; ptx->file != nullptr; ++ptx)
    if (file == ptx->file && ptx->capability <= capability && (best == nullptr || ptx->capability > best->capability))
      best = ptx;
  if (best == nullptr)
    throw std::runtime_error("no kernels " + file + " for compute capability " + std::to_string(capability / 10) + "." +
                             std::to_string(capability % 10));
  const std::lock_guard lock(mutex);
  std::string& text = texts[{file, best->capability}];
  if (text.empty()) {
    for (const char* const* part = best->parts; *part != nullptr; ++part) text += *part;
    drop_hints(text);
  }
  return text;
}

} // namespace nodevae::cuda
