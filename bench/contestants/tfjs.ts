// TensorFlow.js: the configuration is the backend, cpu, wasm or node (tfjs-node, where it is installed).
import { createRequire } from "node:module";
import type { Tensor, Tensor2D } from "@tensorflow/tfjs";
import { type Contestant, compete, type Task } from "../protocol.js";
import { denseLayers } from "../workload.js";
import { randomRows, readFloats } from "./data.js";

const require = createRequire(import.meta.url);

await compete(async (task: Task): Promise<Contestant> => {
  const backend = task.configuration;
  const { input, hidden, batch } = task.workload;
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
  const parameters = denseLayers(task.workload).map(([inputs, outputs]) => {
    const bound = Math.sqrt(1 / inputs);
    return { weight: tf.variable(tf.randomUniform([inputs, outputs], -bound, bound)), bias: tf.variable(tf.zeros([outputs])) };
  });
  const layer = (x: Tensor, index: number): Tensor =>
    tf.add(tf.matMul(x as Tensor2D, parameters[index]!.weight as Tensor2D), parameters[index]!.bias);
  const optimizer = tf.train.adam(1e-3);

  function loss(x: Tensor): Tensor {
    let h = x;
    for (let index = 0; index < hidden.length; index++) h = tf.relu(layer(h, index));
    const [mean, logVariance] = [layer(h, hidden.length), layer(h, hidden.length + 1)];
    h = tf.add(mean, tf.mul(tf.randomNormal(mean.shape as [number, number]), tf.exp(tf.mul(logVariance, 0.5))));
    for (let index = hidden.length + 2; index < parameters.length - 1; index++) h = tf.relu(layer(h, index));
    const logits = layer(h, parameters.length - 1);
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
