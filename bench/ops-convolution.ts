// The convolutions of the benchmark's networks, each in its three directions.
import { conv2dInputGradient, conv2dWeightGradient, convolve2d, input, type Shape, sizeOf, type Tensor } from "node-vae/graph";
import { filled, type Sample } from "./sample.js";
import { type ConvolutionLayer, layersOf, outputSize, type Workload, workloads } from "./workload.js";

/** Of a layer: forward, gradient of the input, gradient of the weight. */
type Directions = readonly [forward: number, inputGradient: number | undefined, weightGradient: number];

/**
 * GFLOP/s of oneDNN 2.6 on one thread of a Cascade Lake with an FMA peak of 145, by kind, kernel, channels and filters. The
 * prototypes' measurements: not of this machine, and so a scale, not a race.
 */
const oneDnn: Readonly<Record<string, Directions>> = {
  "conv 3×3 32-64": [98, 85, 80],
  "transposed 3×3 64-64": [95, 67, 61],
  "transposed 3×3 64-32": [65, 63, 91],
  "conv 3×3 32-1": [6, 6, 6],
  "conv 4×4 3-32": [62, 17, 62],
  "conv 4×4 32-32": [104, 69, 54],
  "conv 4×4 32-64": [107, 106, 96],
  "conv 4×4 64-64": [78, 81, 88],
};

export function convolutionSamples(): Sample[] {
  return Object.values(workloads).flatMap((workload) =>
    layersOf(workload).flatMap((layer, index) => (layer.kind === "dense" ? [] : samplesOf(workload, layer, index === 0))),
  );
}

/** The directions as the layer sees them: forward of a transposed convolution is the kernel for gradients of inputs. */
function samplesOf({ name, batch }: Workload, layer: ConvolutionLayer, first: boolean): Sample[] {
  const { kind, kernel, stride, size, channels, filters } = layer;
  const forwards = kind === "conv";
  // As the convolution sees it, from the larger image to the smaller one.
  const [wide, narrow] = forwards ? [size, outputSize(layer)] : [outputSize(layer), size];
  const [wideChannels, narrowChannels] = forwards ? [channels, filters] : [filters, channels];
  const x = input("x", [batch, wide, wide, wideChannels]);
  const y = input("y", [batch, narrow, narrow, narrowChannels]);
  const weight = input("weight", [kernel, kernel, wideChannels, narrowChannels]);
  const down = { output: convolve2d(x, weight, { stride }), used: [x, weight] };
  const up = { output: conv2dInputGradient(y, weight, { stride, inputSize: [wide, wide] }), used: [y, weight] };
  const across = { output: conv2dWeightGradient(x, y, { stride, kernelSize: [kernel, kernel] }), used: [x, y] };
  const label = `${kind} ${kernel}×${kernel} ${channels}-${filters}`;
  const published = oneDnn[label];
  const sample = (form: string, { output, used }: { output: Tensor; used: Tensor[] }, direction: 0 | 1 | 2): Sample => ({
    name: `${kind}: ${name} ${label.slice(kind.length + 1)} from ${size}×${size} ${form}`,
    outputs: [output],
    data: Object.fromEntries(used.map((tensor) => [String(tensor.attributes.name), filled(tensor)])),
    oneDnn: published?.[direction],
  });
  return [
    sample("forward", forwards ? down : up, 0),
    ...(first ? [] : [sample("input gradient", forwards ? up : down, 1)]),
    sample("weight gradient", across, 2),
  ];
}

/** The floating-point operations of a convolution in any direction; padding counts, as it does for everybody. */
export function convolutionOperations(op: string, inputs: readonly Tensor[], shape: Shape): number {
  const [first, second] = inputs as readonly [Tensor, Tensor];
  // Every place of the smaller image has as many products as its filters' weights have elements.
  const [places, filter] =
    op === "conv2d" ? [shape, second.shape] : op === "conv2d_input_gradient" ? [first.shape, second.shape] : [second.shape, shape];
  return 2 * sizeOf(places) * sizeOf(filter.slice(0, -1));
}
