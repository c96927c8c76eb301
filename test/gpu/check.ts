// Checks the CUDA backend on a machine that may have neither a test runner nor a network: every op case against the float64
// evaluation, derivatives of derivatives, and whole training runs beside the CPU's. A plain program:
//   node build/gpu/test/gpu/check.js [--device cuda:0] [--precision tf32] [--filter text] [--every n] [--only-cases]
//     [--json file] [--log file: the title of every case before it is run]
// Exits with 1 when anything is wrong. See scripts/gpu-check.sh.
import { appendFileSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { opCases } from "../../lib/graph/index.js";
import { Device, type DeviceOptions } from "../../lib/runtime/device.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { conformance, TOLERANCES } from "../support/conformance.js";
import { higherOrder, higherOrderConformance } from "../support/convolutional-vae.js";
import { trainingAgreement, trainingRepeats } from "./training.js";

const { values: flags } = parseArgs({
  options: {
    device: { type: "string", default: "cuda:0" },
    filter: { type: "string", default: "" },
    every: { type: "string", default: "1" },
    precision: { type: "string", multiple: true, default: ["float32", "tf32", "bfloat16"] },
    "only-cases": { type: "boolean", default: false },
    json: { type: "string" },
    log: { type: "string" },
  },
});

const device = flags.device as NonNullable<DeviceOptions["device"]>;

interface Section {
  readonly name: string;
  readonly seconds: number;
  readonly checked: number;
  readonly problems: readonly string[];
}

const sections: Section[] = [];

async function section(
  name: string,
  check: () => Promise<{ readonly checked: number; readonly problems: readonly string[] }>,
): Promise<void> {
  const begin = performance.now();
  let outcome: { readonly checked: number; readonly problems: readonly string[] };
  try {
    outcome = await check();
  } catch (error) {
    outcome = { checked: 0, problems: [error instanceof Error ? error.message : String(error)] };
  }
  const seconds = (performance.now() - begin) / 1000;
  sections.push({ name, seconds, ...outcome });
  console.log(`${outcome.problems.length === 0 ? "ok    " : "FAILED"} ${name}: ${outcome.checked} checked in ${seconds.toFixed(1)} s`);
  for (const problem of outcome.problems.slice(0, 20)) console.log(`       ${problem}`);
  if (outcome.problems.length > 20) console.log(`       and ${outcome.problems.length - 20} more`);
  writeReport();
}

/** After every section, so that a run that is cut short leaves what it found. */
function writeReport(): void {
  if (flags.json === undefined) return;
  const { cuda, version, compiler } = loadAddon().info();
  const report = { benchmark: "gpu-check", date: new Date().toISOString(), version, compiler, device, devices: cuda.devices, sections };
  writeFileSync(flags.json, `${JSON.stringify(report, null, 2)}\n`);
}

function log(title: string): void {
  if (flags.log !== undefined) appendFileSync(flags.log, `${title}\n`);
}

/** A device that has met an illegal address answers nothing but that from then on. */
const LOST = /CUDA_ERROR_(ILLEGAL|LAUNCH_FAILED|LAUNCH_TIMEOUT|MISALIGNED|HARDWARE|INVALID_PC|ASSERT)/;

const every = Number(flags.every);
const samples = opCases()
  .filter(({ title }) => title.includes(flags.filter))
  .filter((_, i) => i % every === 0);

const precisions = (["float32", "tf32", "bfloat16"] as const).filter((name) => flags.precision.includes(name));

for (const precision of precisions) {
  // Only products and convolutions know of precision.
  const able = samples.filter(({ title }) => precision === "float32" || /^(matmul|conv|depthwise)/i.test(title));
  await section(`op cases, ${precision}`, async () => {
    using there = Device.open({ device, precision });
    const problems: string[] = [];
    let checked = 0;
    for (const sample of able) {
      log(`${precision} ${sample.title}`);
      checked++;
      try {
        problems.push(...(await conformance(there, sample, TOLERANCES[precision])).map((problem) => `${sample.title}: ${problem}`));
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        problems.push(`${sample.title}: ${message}`);
        if (LOST.test(message)) {
          problems.push("the device is lost: the cases behind this one were not run");
          break;
        }
      }
    }
    return { checked, problems };
  });
}

if (!flags["only-cases"]) {
  await section("derivatives of derivatives through a convolutional VAE", async () => {
    using there = Device.open({ device });
    const problems: string[] = [];
    for (const [name, by, build] of higherOrder) {
      problems.push(...(await higherOrderConformance(there, by, build)).map((problem) => `${name}: ${problem}`));
    }
    return { checked: higherOrder.length, problems };
  });

  for (const precision of precisions) {
    await section(`100 training steps beside the CPU's, ${precision}`, () => trainingAgreement(device, precision));
  }
  await section("the same run twice, bit for bit", () => trainingRepeats(device));
}

process.exitCode = sections.every(({ problems }) => problems.length === 0) ? 0 : 1;
