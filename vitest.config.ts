import { defineConfig } from "vitest/config";

// Two cores: a file at a time keeps timing tests honest and memory tests alone in their process.
export default defineConfig({
  test: { include: ["test/**/*.test.ts"], testTimeout: 120_000, hookTimeout: 120_000, pool: "forks", fileParallelism: false },
});
