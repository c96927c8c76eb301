// The CUDA driver emulator of test/cuda/emulator, where it was built.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { loadAddon } from "../../lib/runtime/native.js";

const built = fileURLToPath(new URL("../../build/emulator/libcuda_emulator.so", import.meta.url));

/**
 * Lets this process take the emulator for its CUDA driver. To be called before the first CUDA device is opened or asked for.
 *
 * @returns why that cannot be, or undefined
 */
export function useEmulator(): string | undefined {
  const path = process.env.NODE_VAE_CUDA_EMULATOR ?? built;
  if (!existsSync(path)) return `no emulator at ${path}: there was no CUDA toolkit when \`npm test\` built it`;
  process.env.NODE_VAE_CUDA_DRIVER = path;
  if (!loadAddon().info().cuda.compiled) return "this build has no CUDA backend: there was no nvcc";
  return undefined;
}
