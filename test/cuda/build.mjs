// Builds the driver emulator that the CUDA tests run on, into build/emulator. Without a CUDA toolkit there is nothing to
// build, and those tests are skipped, each saying so.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const toolkits = [process.env.CUDA_PATH, process.env.CUDA_HOME, "/usr/local/cuda"].filter((path) => path !== undefined);
const toolkit = toolkits.find((path) => existsSync(join(path, "include", "cuda.h")));
if (toolkit === undefined) {
  console.log("no CUDA toolkit: the CUDA backend is not built, and its tests will be skipped");
  process.exit(0);
}
const folder = join(root, "build", "emulator");
const cmake = (...args) => {
  const { status, error } = spawnSync("cmake", args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (error || status !== 0) {
    console.error(`the emulator could not be built: ${error?.message ?? `cmake ${args.join(" ")} failed`}`);
    process.exit(1);
  }
};
cmake("-S", join("test", "cuda", "emulator"), "-B", folder, `-DCMAKE_BUILD_TYPE=Release`, `-DNODE_VAE_CUDA_ROOT=${toolkit}`);
cmake("--build", folder, "--target", "cuda_emulator", "--parallel", "2");
