// Where the arena's buffers lie. A plan packs them as tightly as steps that run one after the other allow, which
// orders steps that could run side by side: one may not write what an earlier one reads of another buffer there. A GPU
// has memory to spare and multiprocessors to fill.
#pragma once

#include "../plan.h"

namespace nodevae::cuda {

// The same plan with memory of its own for every arena buffer; but buffers through which a value passes, written as
// the one and read as the other, stay as they lie to each other. Where that takes too much memory, the plan as it is.
Plan spread_arena(Plan plan);

} // namespace nodevae::cuda
