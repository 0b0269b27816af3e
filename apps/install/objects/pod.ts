/** What Weft's pods have in common. */
import type { InstallOptions } from "../options.ts";

/** The runtime's own filter of system calls; it allows what the capabilities stand for. */
export const SECURITY = { seccompProfile: { type: "RuntimeDefault" } } as const;

/** Where the native module is unpacked: the root file system is for reading only. */
export const TEMPORARY = {
  volume: { name: "tmp", emptyDir: {} },
  mount: { name: "tmp", mountPath: "/tmp" },
} as const;

/** Instead of the service's address, which the kubelet puts there and which needs somebody to provide services. */
export const apiServerEnvironment = ({ apiServer }: InstallOptions): object[] =>
  apiServer === undefined
    ? []
    : [
        { name: "KUBERNETES_SERVICE_HOST", value: apiServer.host },
        { name: "KUBERNETES_SERVICE_PORT", value: String(apiServer.port) },
      ];
