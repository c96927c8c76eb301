import { Command } from "commander";
import type { Evaluation } from "../index.js";
import { addModelArgument, openDataFor, openModel } from "./model.js";
import { addDataOptions, addDeviceOptions, addExamples, type DataOptions, type DeviceChoice, wholeNumber } from "./options.js";

interface EvaluateOptions extends DataOptions, DeviceChoice {
  readonly importanceSamples: number;
  readonly seed?: number;
  readonly json?: boolean;
}

/** `node-vae evaluate` */
export function evaluateCommand(): Command {
  const command = addModelArgument(new Command("evaluate")).description("Measure a model on data, in nats per row.");
  addDataOptions(command)
    .option(
      "--importance-samples <count>",
      "also estimate the negative log-likelihood with so many draws per row; 5000 is usual",
      wholeNumber(0),
      0,
    )
    .option("--seed <number>", "of the draws (default: the model's) and of the rows that --limit draws (default: 1)", wholeNumber(0))
    .option("--json", "print JSON instead of a table");
  const examples = [
    ["the test digits", "node-vae evaluate digits.vae --data mnist-test"],
    [
      "the likelihood of 1,000 of them, for a program to read",
      "node-vae evaluate digits.vae --data mnist-test --limit 1000 --importance-samples 500 --json",
    ],
  ] as const;
  return addExamples(addDeviceOptions(command), examples).action(evaluate);
}

async function evaluate(path: string, options: EvaluateOptions): Promise<void> {
  using model = await openModel(path, options);
  const data = await openDataFor(model, options);
  const { importanceSamples, seed, json } = options;
  const evaluation = await model.evaluate(data, { importanceSamples, ...(seed === undefined ? {} : { seed }) });
  process.stdout.write(json ? `${toJson(evaluation)}\n` : table(evaluation, model.config.latent, model.config.prepare !== undefined));
}

function toJson({ klPerDimension, ...rest }: Evaluation): string {
  return JSON.stringify({ ...rest, klPerDimension: [...klPerDimension] }, null, 2);
}

function table(evaluation: Evaluation, latent: number, standardized: boolean): string {
  const { rows, elbo, reconstruction, kl, activeUnits, negativeLogLikelihood } = evaluation;
  const nats = (value: number): string => `${value.toFixed(3)} nats`;
  const lines: (readonly string[])[] = [
    ["rows", rows.toLocaleString("en-US")],
    ["loss (negative ELBO)", nats(-elbo)],
    ["reconstruction, E[log p(x|z)]", nats(reconstruction)],
    ["KL(q(z|x) to p(z))", nats(kl)],
    ...(negativeLogLikelihood === undefined ? [] : [["negative log-likelihood", nats(negativeLogLikelihood)]]),
    ["active latent dimensions", `${activeUnits} of ${latent}`],
  ];
  if (standardized) lines.push(["of", "standardized columns"]);
  const [nameWidth, valueWidth] = [0, 1].map((column) => Math.max(...lines.map((line) => line[column]!.length)));
  return lines.map(([name, value]) => `${name!.padEnd(nameWidth!)}  ${value!.padStart(valueWidth!)}\n`).join("");
}
