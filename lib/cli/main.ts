#!/usr/bin/env node
import "../node-version.js";

import { Command } from "commander";
import { demoCommand } from "./demo.js";
import { doctorCommand } from "./doctor.js";
import { encodeCommand } from "./encode.js";
import { evaluateCommand } from "./evaluate.js";
import { reportFailure } from "./failure.js";
import { watchOutputs } from "./interrupt.js";
import { reconstructCommand } from "./reconstruct.js";
import { sampleCommand } from "./sample.js";
import { scoreCommand } from "./score.js";
import { trainCommand } from "./train.js";
import { packageVersion } from "./version.js";

const program = new Command("node-vae")
  .description("Variational autoencoders for Node.js, trained by a native core.")
  .version(packageVersion(), "-V, --version", "print the version")
  .helpOption("-h, --help", "print help")
  .option("--debug", "print where an error comes from")
  .showHelpAfterError("(add --help for the options)")
  .showSuggestionAfterError();

for (const command of [
  trainCommand(),
  sampleCommand(),
  reconstructCommand(),
  encodeCommand(),
  evaluateCommand(),
  scoreCommand(),
  doctorCommand(),
  demoCommand(),
]) {
  program.addCommand(command.copyInheritedSettings(program));
}

watchOutputs();

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = reportFailure(error, program.opts<{ debug?: boolean }>().debug === true);
}
