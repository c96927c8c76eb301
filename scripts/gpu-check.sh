#!/usr/bin/env bash
# Checks the CUDA backend on a GPU, then times it, in one call of under 8 minutes: `npm run gpu:check`. A machine that has Node
# but no npm needs what `npm run gpu:build` made elsewhere: dist, build/Release, build/bench, build/gpu, and of node_modules
# commander and csv-parse. There:
#   scripts/gpu-check.sh [folder for results; default bench/results]
# Correctness comes first and decides the exit status. Peers are timed where python3 has PyTorch; compute-sanitizer runs where
# it is on the PATH. Whatever is cut short keeps the results that it has.
set -uo pipefail
cd "$(dirname "$0")/.."
out=${1:-bench/results}
date=$(date -u +%Y-%m-%d-%H-%M)
mkdir -p "$out"
export NODE_VAE_ADDON=$PWD/build/Release/node_vae.node
# The driver keeps what it compiled here: the second run of a kernel costs nothing.
export CUDA_CACHE_PATH=$PWD/build/cuda-cache CUDA_CACHE_MAXSIZE=1073741824
status=0

echo "== the device"
nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader || echo "nvidia-smi is not there"

echo "== correctness (at most 200 s)"
timeout 200 node build/gpu/test/gpu/check.js --json "$out/gpu-check-$date.json" --log "$out/gpu-check-$date.log" ||
  { status=$?; echo "FAILED: correctness, exit $status (124: out of time); the last case begun: $(tail -1 "$out/gpu-check-$date.log")"; }

if command -v compute-sanitizer >/dev/null; then
  for tool in memcheck racecheck; do
    echo "== compute-sanitizer $tool on every 40th op case (at most 30 s)"
    timeout 30 compute-sanitizer --tool $tool --error-exitcode 9 --print-limit 5 \
      node build/gpu/test/gpu/check.js --precision float32 --every 40 --only-cases
    case $? in
      0) ;;
      124) echo "out of time: $tool found nothing until then" ;;
      *) status=1; echo "FAILED: $tool" ;;
    esac
  done
else
  echo "== compute-sanitizer is not here"
fi

if python3 -c 'import torch; assert torch.cuda.is_available()' 2>/dev/null; then
  echo "== timing beside PyTorch (at most 170 s)"
  timeout 170 node build/bench/main.js gpu --seconds 1 --rounds 3 --minutes 2.2 --json "$out/gpu-$date.json" || echo "the timing ended with $?"
else
  echo "== no PyTorch with CUDA: nobody to compare with"
fi

for workload in W1 W4; do
  echo "== where the microseconds of $workload go"
  timeout 25 node build/bench/main.js profile --device cuda --precision tf32 --workload $workload --seconds 1 | tee "$out/gpu-profile-$workload-$date.txt"
done
exit $status
