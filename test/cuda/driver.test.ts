// Asking for CUDA where it cannot be had, and what a plan is lowered to: neither needs a GPU, a driver or the emulator.
import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, test, vi } from "vitest";
import { encodePlan } from "../../lib/compile/encode.js";
import { compile } from "../../lib/compile/index.js";
import { vae } from "../../lib/model.js";
import { adam, dense } from "../../lib/nn/index.js";
import { Device } from "../../lib/runtime/device.js";
import { addonPath, loadAddon } from "../../lib/runtime/native.js";
import { architectureOf } from "../../lib/vae/architecture.js";
import { parseConfig, presets, type VaeOptions } from "../../lib/vae/index.js";
import { trainingGraph } from "../support/graphs.js";
import { doublingPlan, gatherPlan, mapPlan, matmulPlan, randomPlan } from "../support/plans.js";

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
  const emulator = process.env.NODE_VAE_CUDA_EMULATOR ?? join(import.meta.dirname, "..", "..", "build", "emulator", "libcuda_emulator.so");
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
  test.skipIf(!assembler).each([
    [75, "float32", ["sm_75"]],
    [80, "float32", ["sm_80", "sm_86", "sm_89", "sm_90a", "sm_100", "sm_120"]],
    [80, "tf32", ["sm_80", "sm_90a", "sm_120"]],
    [80, "bfloat16", ["sm_89", "sm_100"]],
  ] as const)("a training step for %i in %s is PTX ISA 7.8 that ptxas takes for %j", async (capability, precision, architectures) => {
    const { encoder, decoder } = presets.image({ size: [12, 10, 3], filters: [8, 20] });
    const options = { input: [12, 10, 3], latent: 5, encoder, decoder, likelihood: "bernoulli" } as const;
    const step = { rows: 50, dtype: "uint8", batchSize: 7, shuffle: true, optimizer: adam(), optimizerStart: 0 } as const;
    const launches = lower(compile(trainingGraph(architectureOf(parseConfig(options, "test")), step)), capability, precision).flat();
    const texts = [...new Set(launches.map(({ ptx }) => ptx))].filter((ptx) => precision === "float32" || ptx.includes("mma.sync"));
    expect(texts.length).toBeGreaterThan(5);
    const folder = mkdtempSync(join(tmpdir(), "node-vae-"));
    try {
      const jobs = texts.flatMap((text, i) =>
        architectures.map((architecture) => ({ text, architecture, file: join(folder, `${i}-${architecture}`) })),
      );
      const assemble = async () => {
        for (let job = jobs.pop(); job !== undefined; job = jobs.pop()) {
          const { text, architecture, file } = job;
          writeFileSync(file, text.replace(/^\.version .*$/m, ".version 7.8"));
          // A failure's message holds what ptxas said.
          await promisify(execFile)("ptxas", [`-arch=${architecture}`, "-o", `${file}.out`, file]);
        }
      };
      await Promise.all(Array.from({ length: availableParallelism() }, assemble));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
