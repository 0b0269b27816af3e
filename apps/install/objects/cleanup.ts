/**
 * The pod that makes a node as it was before Weft, and ends. One a node, bound to it without a scheduler, because the
 * node may be tainted with all that there is by then.
 */
import type { KubernetesObject } from "@weft/cluster/client";
import { CAPABILITIES, securityContext } from "../capabilities.ts";
import type { InstallOptions } from "../options.ts";
import { hostPath } from "./agent.ts";
import { NAMES, selectorOf } from "./labels.ts";
import { SECURITY, TEMPORARY } from "./pod.ts";

export type CleanupPodOptions = Pick<
  InstallOptions,
  "namespace" | "image" | "imagePullPolicy" | "cniBinDir" | "cniConfDir"
> & { readonly force: boolean };

export function cleanupPod(node: string, options: CleanupPodOptions): KubernetesObject {
  const { namespace, image, imagePullPolicy, cniBinDir, cniConfDir, force } = options;
  return {
    apiVersion: "v1",
    kind: "Pod",
    // A node's name is no longer than a pod's may be: what makes them differ is a digest of its own.
    metadata: { name: podName(node), namespace, labels: selectorOf("cleanup") },
    spec: {
      nodeName: node,
      hostNetwork: true,
      dnsPolicy: "Default",
      restartPolicy: "Never",
      priorityClassName: "system-node-critical",
      tolerations: [{ operator: "Exists" }],
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 1,
      securityContext: SECURITY,
      containers: [
        {
          name: "cleanup",
          image,
          imagePullPolicy,
          command: ["/bin/weft", "agent", "cleanup", "--root", "/host", ...(force ? ["--force"] : [])],
          terminationMessagePolicy: "FallbackToLogsOnError",
          securityContext: securityContext(CAPABILITIES.cleanup),
          volumeMounts: [
            { name: "cni-bin", mountPath: "/host/opt/cni/bin" },
            { name: "cni-conf", mountPath: "/host/etc/cni/net.d" },
            { name: "run", mountPath: "/host/run" },
            { name: "lib", mountPath: "/host/var/lib" },
            TEMPORARY.mount,
          ],
        },
      ],
      volumes: [
        hostPath("cni-bin", cniBinDir, "DirectoryOrCreate"),
        hostPath("cni-conf", cniConfDir, "DirectoryOrCreate"),
        hostPath("run", "/run", "Directory"),
        hostPath("lib", "/var/lib", "Directory"),
        TEMPORARY.volume,
      ],
    },
  };
}

const podName = (node: string): string =>
  `${NAMES.cleanup}-${new Bun.CryptoHasher("sha256").update(node).digest("hex").slice(0, 12)}`;
