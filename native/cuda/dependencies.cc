#include "dependencies.h"

#include <algorithm>
#include <functional>

namespace nodevae::cuda {

std::vector<size_t> Dependencies::add(const std::vector<Access>& accesses) {
  const size_t task = before_.size();
  std::vector<size_t> found;
  for (const Access& access : accesses)
    memory_.visit(access.begin, access.end, [&](const Users& users) {
      if (users.written) found.push_back(users.writer);
      if (access.writes) found.insert(found.end(), users.readers.begin(), users.readers.end());
    });
  // The latest first: whoever comes before one of those is waited for already (Aho, Garey and Ullman 1972).
  std::sort(found.begin(), found.end(), std::greater<>());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  std::vector<uint64_t> before(task / 64 + 1, 0);
  std::vector<size_t> direct;
  for (const size_t other : found) {
    if ((before[other / 64] >> other % 64 & 1) != 0) continue;
    direct.push_back(other);
    for (size_t word = 0; word < before_[other].size(); ++word) before[word] |= before_[other][word];
    before[other / 64] |= uint64_t{1} << other % 64;
  }
  before_.push_back(std::move(before));

  for (const Access& access : accesses)
    if (!access.writes)
      memory_.visit(access.begin, access.end, [&](Users& users) {
        auto& readers = users.readers;
        const auto covered = [&](size_t reader) { return reader == task || comes_after(task, reader); };
        readers.erase(std::remove_if(readers.begin(), readers.end(), covered), readers.end());
        readers.push_back(task);
      });
  for (const Access& access : accesses)
    if (access.writes) memory_.visit(access.begin, access.end, [&](Users& users) { users = {true, task, {}}; });
  return direct;
}

} // namespace nodevae::cuda
