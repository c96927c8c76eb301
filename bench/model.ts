import { conv2d, convTranspose2d, dense, type Layer as NodeVaeLayer, reshape, type VaeOptions } from "node-vae";
import type { Layer, Workload } from "./workload.js";

/** A workload's network in node-vae; the heads for mean and log-variance are derived, as one product. */
export function modelOptions({ input, image, latent, encoder, decoder }: Workload): VaeOptions {
  const shape = image ?? [input];
  return {
    input: shape,
    latent,
    encoder: encoder.flatMap((layer, i) => layersFor(layer, i === 0 ? image !== undefined : encoder[i - 1]!.kind !== "dense")),
    decoder: decoder.flatMap((layer, i) => layersFor(layer, i > 0 && decoder[i - 1]!.kind !== "dense")),
    likelihood: "bernoulli",
  };
}

/** @param onImages whether what comes before gives images already */
function layersFor(layer: Layer, onImages: boolean): NodeVaeLayer[] {
  const activation = layer.relu ? "relu" : "linear";
  if (layer.kind === "dense") return [dense(layer.outputs, { activation })];
  const { kind, kernel, stride, size, channels, filters } = layer;
  const convolution = (kind === "conv" ? conv2d : convTranspose2d)(filters, kernel, { stride, activation });
  return onImages ? [convolution] : [reshape([size, size, channels]), convolution];
}
