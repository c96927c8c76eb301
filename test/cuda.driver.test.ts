// Asking for CUDA where it cannot be had, and what a plan is lowered to: neither needs a GPU, a driver or the emulator.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { encodePlan } from "../lib/compile/encode.js";
import { vae } from "../lib/model.js";
import { dense } from "../lib/nn/index.js";
import { Device } from "../lib/runtime/device.js";
import { addonPath, loadAddon } from "../lib/runtime/native.js";
import type { VaeOptions } from "../lib/vae/index.js";
import { doublingPlan, gatherPlan, mapPlan, matmulPlan, randomPlan } from "./support/plans.js";

const failure = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });
const nowhere = join(tmpdir(), "no", "libcuda.so");
process.env.NODE_VAE_CUDA_DRIVER = nowhere; // a driver that was opened once stays: none may be, on machines that have one
const compiled = loadAddon().info().cuda.compiled;
const sizes: VaeOptions = { input: [4], latent: 2, likelihood: "bernoulli", encoder: [dense(3)], decoder: [dense(3)] };

afterEach(() => vi.unstubAllEnvs());

describe("without a driver", () => {
  const reason = compiled ? /no CUDA driver: .*libcuda\.so could not be opened \(.+\)/ : /has no CUDA backend/;

  test("there are no devices, and info says why", () => {
    const { devices, problem } = loadAddon().info().cuda;
    expect(devices).toEqual([]);
    expect(problem).toMatch(reason);
  });

  test('"cuda" is an error that says what is missing', () => {
    for (const device of ["cuda", "cuda:0", "cuda:3"] as const)
      expect(() => Device.open({ device })).toThrow(failure("device", new RegExp(`"${device}" is not usable: ${reason.source}`)));
  });

  test('"auto" is the CPU, and tells why', () => {
    using device = Device.open({ device: "auto" });
    expect(device).toMatchObject({ name: "cpu", precision: "float32", fallback: expect.stringMatching(reason) });
    using asked = Device.open({ device: "cpu" });
    expect(asked.fallback).toBeUndefined();
    using model = vae(sizes);
    expect(model).toMatchObject({ device: "cpu", precision: "float32", fallback: expect.stringMatching(reason) });
  });

  test("precisions are checked, and the CPU has one", () => {
    const open = (precision: string) => () => Device.open({ device: "cpu", precision: precision as "tf32" });
    expect(open("float16")).toThrow(failure("argument", /"float32", "tf32", "bfloat16"; received float16/));
    for (const precision of ["tf32", "bfloat16"]) {
      expect(open(precision)).toThrow(failure("argument", new RegExp(`float32 alone, not in ${precision}`)));
      expect(() => Device.open({ precision: precision as "tf32" })).toThrow(failure("argument", /CUDA is not usable/));
      expect(() => vae({ ...sizes, device: "cpu", precision: precision as "tf32" })).toThrow(failure("argument", /float32 alone/));
    }
    expect(() => vae({ ...sizes, precision: 3 as never })).toThrow(failure("argument", /precision/));
  });
});

describe.skipIf(!compiled)("a driver that will not do", () => {
  test("is a library without the functions", () => {
    vi.stubEnv("NODE_VAE_CUDA_DRIVER", "libc.so.6");
    if (process.platform === "linux") expect(loadAddon().info().cuda.problem).toMatch(/libc\.so\.6 is too old: it has no cuInit/);
  });

  // The emulator as a driver, in a process of its own, as a driver that was opened stays.
  const emulator = process.env.NODE_VAE_CUDA_EMULATOR ?? join(import.meta.dirname, "..", "build", "emulator", "libcuda_emulator.so");
  test.skipIf(!existsSync(emulator))("has a device that is too old", () => {
    const code = `process.stdout.write(require(${JSON.stringify(addonPath())}).info().cuda.problem)`;
    const env = { ...process.env, NODE_VAE_CUDA_DRIVER: emulator, EMULATED_CAPABILITY: "70" };
    const { stdout } = spawnSync(process.execPath, ["-e", code], { env, encoding: "utf8" });
    expect(stdout).toMatch(/has compute capability 7\.0; 7\.5 \(Turing\) or later is needed/);
  });
});

describe.skipIf(!compiled)("lowering", () => {
  const lower = (plan: Parameters<typeof encodePlan>[0], capability = 80, precision: "float32" | "tf32" | "bfloat16" = "float32") =>
    loadAddon().lowerCuda(encodePlan(plan, loadAddon().info()), capability, precision);

  test("gives launches for every step, with the kernels' text", () => {
    for (const written of [mapPlan(1000), doublingPlan(), gatherPlan(50, 20, 7, true), randomPlan(100), matmulPlan(40, 30, 20)]) {
      const steps = lower(written);
      expect(steps.length).toBe(written.steps.length);
      for (const { entry, grid, threads, sharedBytes, ptx } of steps.flat()) {
        expect(ptx).toMatch(new RegExp(`\\.entry ${entry}\\b`));
        for (const blocks of grid) expect(blocks).toBeGreaterThan(0);
        expect(threads).toBe(256);
        expect(sharedBytes).toBeLessThanOrEqual(99 * 1024);
      }
    }
  });

  test("tensor cores need compute capability 8.0", () => {
    for (const precision of ["tf32", "bfloat16"] as const) {
      expect(lower(matmulPlan(64, 64, 64), 80, precision).length).toBe(2);
      expect(() => lower(matmulPlan(64, 64, 64), 75, precision)).toThrow(/plan step 0 \(matmul\): .*compute capability 8\.0/);
    }
    expect(() => lower(mapPlan(8), 80, "half" as never)).toThrow(failure("argument", /unknown precision "half"/));
    expect(() => lower(mapPlan(8), 70)).toThrow(/compute capability 7\.0/);
  });

  // The texts are handed to the driver as PTX ISA 7.8 (native/cuda/modules.cc), which must be enough for them.
  const assembler = spawnSync("ptxas", ["--version"], { encoding: "utf8" }).status === 0;
  test.skipIf(!assembler)("every text is PTX ISA 7.8, for all GPUs from then to now", () => {
    const folder = mkdtempSync(join(tmpdir(), "node-vae-"));
    try {
      const file = join(folder, "kernels.ptx");
      for (const [capability, precision, architectures] of [
        [75, "float32", ["sm_75"]],
        [80, "tf32", ["sm_80", "sm_90", "sm_120"]],
        [80, "bfloat16", ["sm_80", "sm_100"]],
      ] as const) {
        const plans = [mapPlan(1000), gatherPlan(50, 20, 7, true), randomPlan(100), matmulPlan(64, 64, 64)];
        const texts = new Set(
          plans.flatMap((written) => lower(written, capability, precision).flatMap((launches) => launches.map(({ ptx }) => ptx))),
        );
        for (const text of texts) {
          writeFileSync(file, text.replace(/^\.version .*$/m, ".version 7.8"));
          for (const architecture of architectures) {
            const { status, stderr } = spawnSync("ptxas", [`-arch=${architecture}`, "-o", join(folder, "out"), file], { encoding: "utf8" });
            expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
          }
        }
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
