// Values attached to ranges of addresses.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <utility>

namespace nodevae::cuda {

template <class Value> class IntervalMap {
public:
  // Calls visit(value) for each of the pieces that [begin, end) consists of. Pieces are cut where a range that was
  // asked for begins or ends, so that what is done to a piece concerns all of its addresses; what is new has a fresh
  // value.
  template <class Visit> void visit(uint64_t begin, uint64_t end, const Visit& visit) {
    if (begin >= end) return;
    cut(begin);
    cut(end);
    auto piece = pieces_.lower_bound(begin);
    for (uint64_t at = begin; at < end; at = piece++->second.end) {
      if (piece == pieces_.end() || piece->first > at) {
        const uint64_t gap_end = piece == pieces_.end() ? end : std::min(end, piece->first);
        piece = pieces_.emplace_hint(piece, at, Piece{gap_end, Value{}});
      }
      visit(piece->second.value);
    }
  }

private:
  struct Piece {
    uint64_t end;
    Value value;
  };

  void cut(uint64_t at) {
    auto piece = pieces_.upper_bound(at);
    if (piece == pieces_.begin() || (--piece)->first == at || piece->second.end <= at) return;
    pieces_.emplace_hint(std::next(piece), at, piece->second);
    piece->second.end = at;
  }

  std::map<uint64_t, Piece> pieces_; // by their first address
};

} // namespace nodevae::cuda
