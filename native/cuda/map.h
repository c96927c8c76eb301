// The parameters of the map kernel.
#pragma once

#include "program_arguments.h"

namespace nodevae::cuda {

struct MapParameters {
  ProgramArguments program;
  int32_t tile_rows, tile_columns;
  int32_t lanes_log2;
};

} // namespace nodevae::cuda
