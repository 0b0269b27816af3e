/**
 * ServiceCIDR: the ranges that addresses of Services are taken from, for those who must keep out of them (address pools,
 * node ranges) or translate them. Here they are what the server was started with: there is one object, which says so,
 * and nobody makes or changes one.
 */
import { forbidden } from "../errors.ts";
import { builtIn, column } from "../resource.ts";
import type { Store } from "../storage/store.ts";
import { AGE, joined } from "../table/cells.ts";
import { type ApiObject, at, ensure, equal, items, timestamp } from "../values.ts";
import { create, update, type WriteOptions } from "../write/writer.ts";

const NAME = "kubernetes";
const WHY = "ranges of services are those that the server was started with (--service-range)";

export const SERVICE_CIDRS = builtIn({
  group: "networking.k8s.io",
  kind: "ServiceCIDR",
  plural: "servicecidrs",
  namespaced: false,
  status: "on-create",
  permanent: [NAME],
  columns: [column.name, column.text("CIDRs", (o) => joined(items(at(o, "spec", "cidrs")))), AGE],
  admit(object, _old, _tx, { services }) {
    if (object.metadata.name !== NAME || !equal(at(object, "spec", "cidrs"), [...services.ranges])) {
      throw forbidden(SERVICE_CIDRS, object.metadata.name, WHY);
    }
  },
});

/** Makes the object, or has it say what the ranges are now. */
export async function tellServiceRanges(store: Store, options: WriteOptions): Promise<void> {
  const { now, services } = options.context;
  const cidrs = [...services.ranges];
  if (store.get(SERVICE_CIDRS.storage, NAME) !== undefined) {
    const change = (object: ApiObject): ApiObject => {
      ensure(object, "spec")["cidrs"] = cidrs;
      return object;
    };
    await update(store, SERVICE_CIDRS, NAME, NAME, change, {
      ...options,
      subresource: undefined,
      unconditional: true,
    });
    return;
  }
  const ready = {
    type: "Ready",
    status: "True",
    reason: "",
    message: "Kubernetes Service CIDR is ready",
    lastTransitionTime: timestamp(now),
  };
  const object = {
    apiVersion: "networking.k8s.io/v1",
    kind: "ServiceCIDR",
    metadata: { name: NAME },
    spec: { cidrs },
    status: { conditions: [ready] },
  };
  await create(store, SERVICE_CIDRS, object, undefined, options);
}
