// `npm run bench`: see bench/README.md.
import { Command, InvalidArgumentError } from "commander";
import type { DeviceOptions } from "#lib/runtime/device.js";
import { type FashionOptions, fashion } from "./fashion.js";
import { type GpuSettings, gpu } from "./gpu.js";
import { growth } from "./growth.js";
import { ops } from "./ops.js";
import { profile } from "./profile.js";
import { defaultFolder, type StreamingSettings, streaming } from "./streaming.js";
import { redraw, train } from "./train.js";
import { gpuWorkloads, parseNetwork, type Workload, workloads } from "./workload.js";

const QUICK = { workloads: ["W1"], seconds: 0.2, rounds: 3 };
const FULL = { workloads: Object.keys(workloads), seconds: 1, rounds: 5 };

interface TrainFlags {
  readonly workloads?: string[];
  readonly network?: string;
  readonly batch: number;
  readonly contestants: string[];
  readonly threads: number[];
  readonly seconds?: number;
  readonly rounds?: number;
  readonly rows: number;
  readonly python: string[];
  readonly quick: boolean;
  readonly json?: string;
  readonly chart?: string;
  readonly data?: string;
}

interface KernelFlags {
  readonly tier: string;
  readonly threads: number;
  readonly quick: boolean;
  readonly json?: string;
}

const command = process.argv.slice(2);
const program = new Command("npm run bench --").description("How fast node-vae is, and where the time goes.");

program
  .command("train", { isDefault: true })
  .description("training steps of node-vae beside every other library on this machine, in alternated rounds")
  .option("--workloads <names>", `which of ${FULL.workloads.join(", ")}; default all, with --quick W1`, names)
  .option("--network <widths>", "a dense network of your own instead, as input-hidden-latent: 37-113-5", String)
  .option("--batch <rows>", "batch size of --network", whole, 128)
  .option("--contestants <names>", "only those whose names begin so: node-vae-avx512,pytorch", names, [])
  .option("--threads <counts>", "thread counts of node-vae", counts, [1, 2])
  .option("--seconds <seconds>", `of a turn; default ${FULL.seconds}, with --quick ${QUICK.seconds}`, positive)
  .option("--rounds <count>", `turns of each; default ${FULL.rounds}, with --quick ${QUICK.rounds}`, whole)
  .option("--rows <count>", "rows of synthetic data", whole, 10_000)
  .option("--data <folder>", "train on train-images-idx3-ubyte of this folder instead")
  .option("--python <commands>", "interpreters to look for PyTorch in", names, ["python3", "/usr/bin/python3"])
  .option("--quick", "under a minute; writes no file unless asked to", false)
  .option("--json <file>", "where the result goes; default bench/results/train-DATE.json")
  .option("--chart <file>", "draw an SVG")
  .action(async (flags: TrainFlags) => {
    const pace = flags.quick ? QUICK : FULL;
    const chosen =
      flags.network === undefined ? (flags.workloads ?? pace.workloads).map(byName) : [parseNetwork(flags.network, flags.batch)];
    const { seconds = pace.seconds, rounds = pace.rounds } = flags;
    await train({ ...flags, pythons: flags.python, workloads: chosen, seconds, rounds, command });
  });

kernelOptions(program.command("ops"))
  .description("every kernel by itself, forward and derivative, against the machine's limits")
  .option("--filter <text>", "only those with this in their names", "")
  .action((flags: KernelFlags & { readonly filter: string }) => ops({ ...flags, command }));

kernelOptions(program.command("growth"))
  .description("speed and memory against batch size, width and rows of the data set")
  .action((flags: KernelFlags) => growth({ ...flags, command }));

program
  .command("streaming")
  .description("rows that are streamed from a file beside the same rows resident: speed, memory, and whether the losses are the same")
  .option("--gigabytes <count>", "size of the file, which is removed afterwards", positive, 2)
  .option("--threads <count>", "threads", whole, 1)
  .option("--seconds <seconds>", "of each training, after the losses that are compared", positive, 5)
  .option("--rounds <count>", "trainings of each", whole, 3)
  .option("--folder <folder>", "where the file is written", defaultFolder)
  .option("--quick", "writes no result unless asked to", false)
  .option("--json <file>", "where the result goes; default bench/results/streaming-DATE.json")
  .action((flags: Omit<StreamingSettings, "command">) => streaming({ ...flags, command }));

program
  .command("profile")
  .description("the time of one training step of node-vae, kernel call by kernel call")
  .option("--workload <name>", `one of ${FULL.workloads.join(", ")}`, "W1")
  .option("--network <widths>", "a dense network of your own instead", String)
  .option("--batch <rows>", "batch size of --network", whole, 128)
  .option("--device <name>", "cpu, or cuda, cuda:1, …", "cpu")
  .option("--precision <name>", "on CUDA: float32, tf32 or bfloat16", "float32")
  .option("--tier <name>", "instruction tier; default the best", "")
  .option("--threads <count>", "threads", whole, 1)
  .option("--seconds <seconds>", "how long", positive, 2)
  .action((flags: { workload: string; network?: string; batch: number; seconds: number } & DeviceOptions) => {
    const { network, batch, seconds, device = "cpu", precision = "float32", tier = "", threads = 1 } = flags;
    const workload = network === undefined ? byName(flags.workload) : parseNetwork(network, batch);
    return profile({ workload, device: { device, precision, tier, threads }, seconds });
  });

program
  .command("gpu")
  .description("training steps on a CUDA device beside PyTorch's, eager and compiled in a CUDA graph, in alternated rounds")
  .option("--workloads <names>", `which of ${Object.keys(gpuWorkloads).join(", ")}`, names, ["W1", "W3b", "W4", "W2", "W1b", "W3"])
  .option("--precisions <names>", "float32, tf32, bfloat16", names, ["tf32"])
  .option("--seconds <seconds>", "of a turn", positive, 2)
  .option("--rounds <count>", "turns of each", whole, 5)
  .option("--minutes <minutes>", "no workload is begun after this time", positive, 60)
  .option("--rows <count>", "rows of synthetic data", whole, 10_000)
  .option("--python <command>", "the interpreter that has PyTorch", "python3")
  .option("--json <file>", "where the result goes; default bench/results/gpu-DATE.json")
  .action((flags: Omit<GpuSettings, "command" | "workloads"> & { readonly workloads: string[] }) =>
    gpu({ ...flags, workloads: flags.workloads.map(byName), command }),
  );

program
  .command("fashion")
  .description("a convolutional VAE beside a dense one of as many parameters on Fashion-MNIST, after equal time")
  .requiredOption("--data <folder>", "folder with train-images-idx3-ubyte.gz and t10k-images-idx3-ubyte.gz")
  .option("--seconds <seconds>", "training time of each", positive, 120)
  .option("--threads <count>", "threads", whole, 2)
  .option("--seeds <list>", "seeds", counts, [1])
  .action((flags: FashionOptions) => fashion(flags));

program
  .command("chart <json> <svg>")
  .description("draw a result again")
  .action((json: string, svg: string) => redraw(json, svg));

try {
  await program.parseAsync();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

function kernelOptions(command: Command): Command {
  return command
    .option("--tier <name>", "instruction tier; default the best", "")
    .option("--threads <count>", "threads", whole, 1)
    .option("--quick", "a quick look; writes no file unless asked to", false)
    .option("--json <file>", "where the result goes; default under bench/results");
}

function byName(name: string): Workload {
  const workload = gpuWorkloads[name];
  if (workload === undefined) throw new RangeError(`workloads are ${Object.keys(gpuWorkloads).join(", ")}; received ${name}`);
  return workload;
}

function names(list: string): string[] {
  return list.split(",").filter((name) => name !== "");
}

function counts(list: string): number[] {
  return names(list).map(whole);
}

function whole(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new InvalidArgumentError("a whole number of at least 1");
  return value;
}

function positive(text: string): number {
  const value = Number(text);
  if (!(value > 0)) throw new InvalidArgumentError("a number above 0");
  return value;
}
