// What a reduction of a program runs over. Without any include: instruction tiers of the CPU use it as well.
#pragma once

namespace nodevae {

enum ReductionAxes : int { over_rows = 1, over_columns = 2, over_both = 3 };

} // namespace nodevae
