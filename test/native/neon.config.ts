// Vitest with its test processes on an emulated arm64 Node; see neon.sh, which sets what is read here.
import { chmodSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const root = fileURLToPath(new URL("../../", import.meta.url));
const { NODE_ARM64 } = process.env;
if (!NODE_ARM64) throw new Error("NODE_ARM64 is not set: run test/native/neon.sh");

// Vitest forks `process.execPath` for every test file, and has no option for another program.
const emulated = `${root}build/neon/node.sh`;
writeFileSync(emulated, `#!/bin/sh\nexec qemu-aarch64 "${NODE_ARM64}" "$@"\n`);
chmodSync(emulated, 0o755);
process.execPath = emulated;

export default defineConfig({
  root,
  test: { include: ["test/**/*.test.ts"], testTimeout: 600_000, hookTimeout: 600_000, pool: "forks", fileParallelism: false },
});
