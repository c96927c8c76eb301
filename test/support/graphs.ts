// Graphs of a model as tests ask for them: a training step by one optimizer, programs for batches of one element type.
import type { DType } from "../../lib/graph/index.js";
import type { Optimizer } from "../../lib/nn/index.js";
import type { SessionGraph } from "../../lib/runtime/session.js";
import { type Program, programGraph } from "../../lib/train/program.js";
import { oneOptimizer } from "../../lib/train/state.js";
import { probeGraph as probe, type TrainingStep, trainingGraph as training } from "../../lib/train/step.js";
import { rowsState } from "../../lib/train/weights.js";
import type { Architecture } from "../../lib/vae/architecture.js";
import { elboProgram, encodeProgram, importanceProgram, sampleProgram } from "../../lib/vae/programs.js";

/** The resident that holds the rows of x. */
export const DATA = rowsState("x");

export interface Step {
  readonly rows: number;
  readonly dtype: DType;
  readonly batchSize: number;
  readonly shuffle: boolean;
  readonly optimizer: Optimizer;
  readonly optimizerStart: number;
}

function stepOf(architecture: Architecture, { dtype, optimizer, optimizerStart, ...step }: Step): TrainingStep {
  return { ...step, dtypes: { x: dtype }, courses: oneOptimizer(architecture, optimizer, optimizerStart), transforms: [] };
}

export const trainingGraph = (architecture: Architecture, step: Step): SessionGraph => training(architecture, stepOf(architecture, step));
export const probeGraph = (architecture: Architecture, step: Step): SessionGraph => probe(architecture, stepOf(architecture, step));

const ofProgram = (architecture: Architecture, program: Program, batch: number, dtype: DType = "float32"): SessionGraph =>
  programGraph({ trainable: architecture }, program, batch, { x: dtype });

export const encodeGraph = (architecture: Architecture, batch: number, dtype: DType): SessionGraph =>
  ofProgram(architecture, encodeProgram(architecture), batch, dtype);
export const elboGraph = (architecture: Architecture, batch: number, dtype: DType): SessionGraph =>
  ofProgram(architecture, elboProgram(architecture), batch, dtype);
export const sampleGraph = (architecture: Architecture, batch: number): SessionGraph =>
  ofProgram(architecture, sampleProgram(architecture), batch);
export const importanceGraph = (architecture: Architecture, batch: number, samples: number): SessionGraph =>
  ofProgram(architecture, importanceProgram(architecture, samples), batch);
