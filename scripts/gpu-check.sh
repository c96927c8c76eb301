#!/usr/bin/env bash
# Checks the CUDA backend on a GPU, then times it, in one call of under 8 minutes: `npm run gpu:check`, or, on a machine that
# has Node but no npm, with what `npm run gpu:build` made elsewhere (dist, build/Release, build/bench, build/gpu and
# node_modules/commander):
#   scripts/gpu-check.sh [folder for results; default bench/results]
# Correctness comes first and decides the exit status. Peers are timed where python3 has PyTorch; compute-sanitizer runs where
# it is on the PATH.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-bench/results}
date=$(date -u +%Y-%m-%d-%H-%M)
mkdir -p "$out"
export NODE_VAE_ADDON=$PWD/build/Release/node_vae.node
status=0

echo "== the device"
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader || echo "nvidia-smi is not there"

echo "== correctness (at most 150 s)"
timeout 150 node build/gpu/test/gpu/check.js --json "$out/gpu-check-$date.json" || { status=$?; echo "FAILED: correctness, exit $status"; }

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    echo "== compute-sanitizer $tool on every 12th op case (at most 60 s)"
    timeout 60 compute-sanitizer --tool $tool --error-exitcode 9 --print-limit 5 \
      node build/gpu/test/gpu/check.js --every 12 --skip-training || { status=$?; echo "FAILED: $tool, exit $status (124: out of time)"; }
  done
else
  echo "== compute-sanitizer is not here"
fi

if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  echo "== timing beside PyTorch (about 180 s)"
  timeout 260 node build/bench/main.js gpu --minutes 2.5 --json "$out/gpu-$date.json" || echo "the timing ended with $?"
else
  echo "== no PyTorch with CUDA: nobody to compare with"
fi

for workload in W1 W4; do
  echo "== where the microseconds of $workload go"
  timeout 40 node build/bench/main.js profile --device cuda --precision tf32 --workload $workload --seconds 1 | tee "$out/gpu-profile-$workload-$date.txt"
done
exit $status
