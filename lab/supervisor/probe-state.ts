/**
 * What probes of one container have come to: kubelet's counting (Kubernetes documentation, "Configure Liveness, Readiness
 * and Startup Probes"). Pure.
 *
 *   startup    until it has succeeded, the others are not asked, and the container is not ready
 *   readiness  not ready until it has succeeded; so it stays when there is none
 *   liveness   fine until it has failed failureThreshold times in a row: then the container is restarted
 */
import type { Container, Probe } from "../controllers/objects.ts";

export type ProbeKind = "startup" | "readiness" | "liveness";

/** Of one probe of one run of a container. */
export interface ProbeState {
  /** What counts; undefined while nothing does. */
  readonly result: boolean | undefined;
  readonly last: boolean | undefined;
  /** How often `last` came in a row. */
  readonly run: number;
}

export const UNKNOWN: ProbeState = { result: undefined, last: undefined, run: 0 };

/** Numbers that a probe may leave out, as the API fills them in. */
export function thresholds(kind: ProbeKind, { successThreshold = 1, failureThreshold = 3 }: Probe) {
  return {
    success: kind === "readiness" ? Math.max(1, successThreshold) : 1,
    failure: Math.max(1, failureThreshold),
  };
}

/** The state after one more answer. */
export function probed(state: ProbeState, kind: ProbeKind, probe: Probe, ok: boolean): ProbeState {
  const run = state.last === ok ? state.run + 1 : 1;
  const { success, failure } = thresholds(kind, probe);
  const counts = ok ? run >= success : run >= failure;
  return { result: counts ? ok : state.result, last: ok, run };
}

export const probeOf = (container: Container, kind: ProbeKind): Probe | undefined =>
  kind === "startup"
    ? container.startupProbe
    : kind === "readiness"
      ? container.readinessProbe
      : container.livenessProbe;

/** Port number of a probe, which may name a port of its container. */
export function portOf(container: Container, port: number | string): number | undefined {
  if (typeof port === "number") return port;
  if (/^\d{1,5}$/.test(port)) return Number(port);
  return container.ports?.find(({ name }) => name === port)?.containerPort;
}
