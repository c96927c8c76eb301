#include "ptx.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <mutex>
#include <stdexcept>

#include "embedded.h"

namespace nodevae::cuda {

namespace {

bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$'; }

// Whether `name` stands in `text` as a word of its own.
bool mentions(const std::string& text, const std::string& name) {
  for (size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1))
    if ((at == 0 || !is_name(text[at - 1])) && (at + name.size() == text.size() || !is_name(text[at + name.size()])))
      return true;
  return false;
}

// The name before the parameter list of `.visible .entry name(` or `.func (.param .b32 result) name(`.
std::string declared_name(const std::string& declaration, size_t after_keyword) {
  size_t at = declaration.find_first_not_of(" \t\n", after_keyword);
  if (at != std::string::npos && declaration[at] == '(') // the result
    at = declaration.find_first_not_of(" \t\n", declaration.find(')', at) + 1);
  size_t end = at;
  while (end < declaration.size() && is_name(declaration[end])) ++end;
  return declaration.substr(at, end - at);
}

} // namespace

PtxFile::PtxFile(const std::string& text) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t line_end = std::min(text.find('\n', at), text.size() - 1) + 1;
    const std::string line = text.substr(at, line_end - at);
    const bool comment = line.find_first_not_of(" \t") == line.find("//");
    const size_t entry = line.find(".entry"), function = line.find(".func");
    if (comment || (entry == std::string::npos && function == std::string::npos)) {
      if (!comment) header_ += line;
      at = line_end;
      continue;
    }
    const size_t end = text.find_first_of("{;", at);
    if (end == std::string::npos) throw std::runtime_error("PTX: a function without an end");
    if (text[end] == ';') { // declared only
      header_ += text.substr(at, end + 1 - at) + "\n";
      at = end + 1;
      continue;
    }
    size_t close = end + 1;
    for (int depth = 1; depth > 0; ++close) {
      if (close == text.size()) throw std::runtime_error("PTX: a function without an end");
      depth += text[close] == '{' ? 1 : text[close] == '}' ? -1 : 0;
    }
    const bool is_entry = entry != std::string::npos;
    const std::string declaration = text.substr(at, end - at);
    functions_.push_back({declared_name(declaration, is_entry ? entry + 6 : function + 5), declaration,
                          text.substr(end + 1, close - end - 2), is_entry});
    at = close;
  }
}

const PtxFile::Function& PtxFile::find(const std::string& name, bool entry) const {
  for (const Function& function : functions_)
    if (function.entry == entry && function.name == name) return function;
  throw std::runtime_error("PTX: no " + std::string(entry ? "kernel " : "function ") + name);
}

PtxFile::Kernel PtxFile::kernel(const std::string& entry) const {
  const Function& kernel = find(entry, true);
  std::vector<const Function*> needed = {&kernel};
  for (size_t i = 0; i < needed.size(); ++i)
    for (const Function& function : functions_) {
      bool known = function.entry || !mentions(needed[i]->body, function.name);
      for (const Function* other : needed) known = known || other == &function;
      if (!known) needed.push_back(&function);
    }
  std::string before = header_;
  for (size_t i = needed.size() - 1; i > 0; --i) // callees first
    before += needed[i]->declaration + "{" + needed[i]->body + "}\n";
  return {before + kernel.declaration + "{", kernel.body};
}

const std::string& PtxFile::function_body(const std::string& name) const { return find(name, false).body; }

const PtxFile& ptx_file(const std::string& file, int capability) {
  static std::mutex mutex;
  // Never destroyed, as the one below: a queue's thread may be at work while the process exits.
  static auto& files = *new std::map<const std::string*, std::unique_ptr<PtxFile>>;
  const std::string& text = ptx_source(file, capability);
  const std::lock_guard lock(mutex);
  std::unique_ptr<PtxFile>& parsed = files[&text];
  if (!parsed) parsed = std::make_unique<PtxFile>(text);
  return *parsed;
}

std::shared_ptr<const std::string> kernel_text(const std::string& file, int capability, const std::string& entry) {
  static std::mutex mutex;
  static auto& texts = *new std::map<std::pair<const PtxFile*, std::string>, std::shared_ptr<const std::string>>;
  const PtxFile& source = ptx_file(file, capability);
  const std::lock_guard lock(mutex);
  std::shared_ptr<const std::string>& text = texts[{&source, entry}];
  if (!text) {
    const PtxFile::Kernel kernel = source.kernel(entry);
    text = std::make_shared<const std::string>(kernel.before + kernel.body + "}\n");
  }
  return text;
}

} // namespace nodevae::cuda
