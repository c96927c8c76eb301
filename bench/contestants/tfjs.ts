// TensorFlow.js: the configuration is the backend, cpu, wasm or node (tfjs-node, where it is installed).
import { createRequire } from "node:module";
import type { Tensor, Tensor2D, Tensor4D } from "@tensorflow/tfjs";
import { type Contestant, compete, type Task } from "../protocol.js";
import { fanIn, type Layer, layersOf, outputSize, outputsOf } from "../workload.js";
import { randomRows, readFloats } from "./data.js";

const require = createRequire(import.meta.url);

await compete(async (task: Task): Promise<Contestant> => {
  const backend = task.configuration;
  const { input, encoder, decoder, batch } = task.workload;
  const tf = require(backend === "node" ? "@tensorflow/tfjs-node" : "@tensorflow/tfjs") as typeof import("@tensorflow/tfjs");
  if (backend === "wasm") {
    const wasm = require("@tensorflow/tfjs-backend-wasm") as typeof import("@tensorflow/tfjs-backend-wasm");
    wasm.setThreadsCount(task.threads);
  }
  await tf.setBackend(backend === "node" ? "tensorflow" : backend);
  await tf.ready();

  const floats = readFloats(task);
  const rows = floats.length / input;
  const data = tf.tensor2d(floats, [rows, input]);
  const layers = layersOf(task.workload);
  const parameters = layers.map((layer) => {
    const bound = Math.sqrt(1 / fanIn(layer));
    const shape = weightShape(layer);
    const biases = layer.kind === "dense" ? layer.outputs : layer.filters;
    return { weight: tf.variable(tf.randomUniform([...shape], -bound, bound)), bias: tf.variable(tf.zeros([biases])) };
  });
  const apply = (x: Tensor, index: number): Tensor => {
    const { weight, bias } = parameters[index]!;
    const layer = layers[index]!;
    const result = tf.add(product(x, weight, layer), bias);
    return layer.relu ? tf.relu(result) : result;
  };
  const product = (x: Tensor, weight: Tensor, layer: Layer): Tensor => {
    if (layer.kind === "dense") return tf.matMul(tf.reshape(x, [batch, layer.inputs]) as Tensor2D, weight as Tensor2D);
    const { kind, size, channels, stride, filters } = layer;
    const images = tf.reshape(x, [batch, size, size, channels]) as Tensor4D;
    if (kind === "conv") return tf.conv2d(images, weight as Tensor4D, stride, "same");
    const side = outputSize(layer);
    return tf.conv2dTranspose(images, weight as Tensor4D, [batch, side, side, filters], stride, "same");
  };
  const optimizer = tf.train.adam(1e-3);

  function loss(x: Tensor): Tensor {
    let h = x;
    for (let index = 0; index < encoder.length; index++) h = apply(h, index);
    const [mean, logVariance] = [apply(h, encoder.length), apply(h, encoder.length + 1)];
    h = tf.add(mean, tf.mul(tf.randomNormal(mean.shape as [number, number]), tf.exp(tf.mul(logVariance, 0.5))));
    for (let index = encoder.length + 2; index < layers.length; index++) h = apply(h, index);
    const logits = tf.reshape(h, [batch, outputsOf(decoder.at(-1)!)]);
    // BCE with logits, the form that does not overflow: max(l, 0) − l x + log(1 + e^−|l|).
    const crossEntropy = tf.sum(tf.add(tf.sub(tf.relu(logits), tf.mul(logits, x)), tf.log1p(tf.exp(tf.neg(tf.abs(logits))))));
    const kl = tf.mul(-0.5, tf.sum(tf.sub(tf.add(1, logVariance), tf.add(tf.square(mean), tf.exp(logVariance)))));
    return tf.add(crossEntropy, kl);
  }

  return {
    library: backend === "node" ? `tfjs-node ${tf.version.tfjs}` : `tfjs ${tf.version.tfjs} ${backend}`,
    async advance() {
      const value = tf.tidy(() => {
        const x = tf.gather(data, tf.tensor1d(randomRows(rows, batch), "int32"));
        return optimizer.minimize(() => loss(x).asScalar(), true)!.dataSync()[0]!;
      });
      return { steps: 1, loss: value / batch };
    },
  };
});

function weightShape(layer: Layer): readonly number[] {
  if (layer.kind === "dense") return [layer.inputs, layer.outputs];
  const { kind, kernel, channels, filters } = layer;
  return [kernel, kernel, ...(kind === "conv" ? [channels, filters] : [filters, channels])];
}
