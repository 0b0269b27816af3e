/**
 * Fields that Kubernetes knows and this room does nothing with. Each that would have an effect is named in a
 * warning; a field that Kubernetes does not know either is named as unknown, which is how misspellings show.
 */
import { type Fault, type Field, pathText } from "./field.ts";

/** What is said of an object's fields apart from faults. */
export interface Notes {
  /** Paths of fields that are there and have no effect. */
  readonly unhonoured: string[];
  readonly unknown: string[];
  /** Parts that are wrong and left out, where the rest of the object is used all the same. */
  readonly ignored: Fault[];
}

export const noNotes = (): Notes => ({ unhonoured: [], unknown: [], ignored: [] });

/** Notes every field of a mapping that is neither `used` nor without effect. */
export function noteOthers(
  field: Field,
  used: readonly string[],
  known: readonly string[],
  notes: Notes,
): void {
  for (const key of field.keys()) {
    if (used.includes(key)) continue;
    const inner = field.at(key);
    if (!known.includes(key)) notes.unknown.push(pathText(inner.path));
    else if (hasEffect(inner.value)) notes.unhonoured.push(pathText(inner.path));
  }
}

/** False for what Kubernetes treats as if it were not there. */
export function hasEffect(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === "") return false;
  if (typeof value === "object") return Object.keys(value).length > 0;
  return true;
}

const words = (text: string): readonly string[] => text.split(/\s+/);

/** Of metadata: what describes the object's life in a cluster and asks for nothing. */
export const METADATA_INFORMATION = words(
  "name namespace uid labels annotations creationTimestamp resourceVersion generation selfLink managedFields " +
    "ownerReferences finalizers deletionTimestamp deletionGracePeriodSeconds",
);
export const METADATA_KNOWN = words("generateName");

/** Annotations that ask something of a pod's network. */
export const NETWORK_ANNOTATIONS = words(
  "k8s.v1.cni.cncf.io/networks v1.multus-cni.io/default-network " +
    "kubernetes.io/ingress-bandwidth kubernetes.io/egress-bandwidth",
);

export const NODE_SPEC_KNOWN = words("taints unschedulable configSource");

export const POD_SPEC_KNOWN = words(
  "activeDeadlineSeconds affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks " +
    "ephemeralContainers hostAliases hostIPC hostPID hostUsers hostname hostnameOverride imagePullSecrets " +
    "initContainers nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates " +
    "resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext " +
    "serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain " +
    "terminationGracePeriodSeconds tolerations topologySpreadConstraints volumes workloadRef",
);

export const CONTAINER_KNOWN = words(
  "envFrom imagePullPolicy lifecycle livenessProbe readinessProbe resizePolicy resources restartPolicy " +
    "restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath " +
    "terminationMessagePolicy tty volumeDevices volumeMounts workingDir",
);

export const PORT_KNOWN = words("hostPort hostIP");

/** Of a Service: what asks something of a controller, which is not here to make addresses, ports or slices of it. */
export const SERVICE_SPEC_KNOWN = words(
  "selector loadBalancerIP loadBalancerClass publishNotReadyAddresses trafficDistribution",
);
