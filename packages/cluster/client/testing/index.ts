/** For tests of whoever uses the client: an API server in memory, and a client of it without a socket. */

export type { Rates } from "./dice.ts";
export { type Call, FakeApi, failure } from "./fake-api.ts";
export {
  createFaultProxy,
  type Fault,
  type FaultProxy,
  type FaultProxyOptions,
  type Injected,
  type RequestFault,
} from "./fault-proxy.ts";
export type { EventFault } from "./faulty-events.ts";
export { type KubeconfigParts, writeKubeconfig } from "./kubeconfig.ts";
export { anonymous, directClient, serveApi, until } from "./setup.ts";
