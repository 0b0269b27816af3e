/** What one pod and its namespace ask for, read from the API: for a pod that no watch has told of yet. */
import { isNotFound } from "@weft/base";
import type { AddressRequest } from "@weft/model";
import { readAsks } from "../asks.ts";
import { isMapping } from "../field.ts";
import type { ApiClient } from "./http.ts";
import { type KubernetesObject, NAMESPACES, PODS } from "./resource.ts";
import { ApiError } from "./status-error.ts";
import { type CallOptions, getObject } from "./write.ts";

export interface PodAsks {
  readonly uid: string | undefined;
  readonly pod: AddressRequest | undefined;
  readonly namespace: {
    readonly name: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly asks?: AddressRequest;
  };
}

/** Undefined when there is no such pod. Rejects with WeftError. */
export async function readPodAsks(
  client: ApiClient,
  place: { readonly namespace: string; readonly name: string },
  options: CallOptions,
): Promise<PodAsks | undefined> {
  let pod: KubernetesObject;
  try {
    pod = await getObject(client, PODS, place, options);
  } catch (error) {
    if (error instanceof ApiError && isNotFound(error)) return undefined;
    throw error;
  }
  const namespace = await getObject(client, NAMESPACES, { name: place.namespace }, options);
  const asks = readAsks(namespace.metadata["annotations"], false);
  return {
    uid: pod.metadata.uid,
    pod: readAsks(pod.metadata["annotations"], true),
    namespace: {
      name: place.namespace,
      labels: textsOf(namespace.metadata["labels"]),
      ...(asks === undefined ? {} : { asks }),
    },
  };
}

function textsOf(value: unknown): Record<string, string> {
  if (!isMapping(value)) return {};
  return Object.fromEntries(
    Object.entries(value).filter((e): e is [string, string] => typeof e[1] === "string"),
  );
}
