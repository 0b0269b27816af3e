/**
 * What a pod says of itself in the API, from what runs: a kubelet's view (Kubernetes documentation, "Pod Lifecycle").
 * Pure. Conditions of others, the scheduler's above all, stay as they are.
 */
import {
  type Condition,
  type ContainerState,
  type ContainerStatus,
  conditionOf,
  type PodObject,
  type PodStatus,
  timestamp,
  withCondition,
} from "../controllers/objects.ts";

export interface RunView {
  /** It runs, since then. */
  readonly runningSince: number | undefined;
  readonly lastEnd:
    | {
        readonly exitCode: number;
        readonly signal: number | undefined;
        readonly startedAt: number;
        readonly endedAt: number;
      }
    | undefined;
  /** It will not be started again. */
  readonly over: boolean;
  readonly restarts: number;
  readonly started: boolean;
  readonly ready: boolean;
  /** Why it could not be started. */
  readonly startError: string | undefined;
}

export interface PodView {
  /** Undefined until it has a network. */
  readonly addresses: readonly string[] | undefined;
  readonly hostAddresses: readonly string[];
  /** By name; empty until they are started. */
  readonly runs: ReadonlyMap<string, RunView>;
  /** What keeps it from being started, and whether that stays so until the pod is another one. */
  readonly error: string | undefined;
  readonly hopeless: boolean;
  /** When the node took it, in milliseconds since the epoch. */
  readonly takenAt: number;
  /** Names what runs in container ids: one for each network of the pod. */
  readonly instance: string;
  /** Of an earlier run of the same pod: its containers are started anew, and their restarts go on counting. */
  readonly carried: ReadonlyMap<string, ContainerStatus>;
}

export function podStatusOf(pod: PodObject, view: PodView, now: number): PodStatus {
  const statuses = pod.spec.containers.map(({ name, image }) => containerStatus(name, image, view));
  const phase = phaseOf(statuses, view);
  const before = pod.status ?? {};
  let conditions = before.conditions;
  const set = (condition: Condition): void => {
    conditions = withCondition(conditions, condition, now);
  };
  const isOver = phase === "Succeeded" || phase === "Failed";
  set({ type: "PodReadyToStartContainers", status: bool(view.addresses !== undefined && !isOver) });
  set({ type: "Initialized", status: "True", ...(phase === "Succeeded" ? COMPLETED : {}) });
  const unready = statuses.filter((s) => !s.ready).map((s) => s.name);
  const why = phase === "Succeeded" ? COMPLETED : notReady(unready);
  const containersReady = unready.length === 0 && phase === "Running";
  set({ type: "ContainersReady", status: bool(containersReady), ...(containersReady ? {} : why) });
  const gate = missingGate(pod);
  const ready = containersReady && gate === undefined;
  set({
    type: "Ready",
    status: bool(ready),
    ...(ready ? {} : gate !== undefined && containersReady ? gate : why),
  });
  // A pod bound by its own nodeName has met no scheduler.
  if (conditionOf(pod, "PodScheduled")?.status !== "True") set({ type: "PodScheduled", status: "True" });
  const [podIP] = view.addresses ?? [];
  const [hostIP] = view.hostAddresses;
  return {
    ...before,
    phase,
    conditions: conditions ?? [],
    ...(hostIP === undefined ? {} : { hostIP, hostIPs: view.hostAddresses.map((ip) => ({ ip })) }),
    ...(podIP === undefined
      ? { podIP: undefined, podIPs: undefined }
      : { podIP, podIPs: (view.addresses ?? []).map((ip) => ({ ip })) }),
    startTime: before.startTime ?? timestamp(view.takenAt),
    containerStatuses: statuses,
  } as PodStatus;
}

const COMPLETED = { reason: "PodCompleted" };
const bool = (value: boolean): string => (value ? "True" : "False");
const notReady = (names: readonly string[]): { reason: string; message: string } => ({
  reason: "ContainersNotReady",
  message: `containers with unready status: [${names.join(" ")}]`,
});

function missingGate(pod: PodObject): { reason: string; message: string } | undefined {
  const gates = (pod.spec["readinessGates"] ?? []) as readonly { readonly conditionType: string }[];
  const missing = gates.find(({ conditionType }) => conditionOf(pod, conditionType)?.status !== "True");
  if (missing === undefined) return undefined;
  const message = `corresponding condition of pod readiness gate "${missing.conditionType}" does not exist or is not True.`;
  return { reason: "ReadinessGatesNotReady", message };
}

export function phaseOf(statuses: readonly ContainerStatus[], view: PodView): string {
  const runs = [...view.runs.values()];
  const over = runs.length > 0 && runs.every((run) => run.over);
  if (over) return runs.every((run) => run.lastEnd?.exitCode === 0) ? "Succeeded" : "Failed";
  const hasRun = statuses.some(
    ({ state, lastState }) => (state.running ?? state.terminated ?? lastState.terminated) !== undefined,
  );
  return view.addresses !== undefined && hasRun ? "Running" : "Pending";
}

function containerStatus(name: string, image: string, view: PodView): ContainerStatus {
  const run = view.runs.get(name);
  const carried = view.carried.get(name);
  const id = (at: number): string => `weft-lab://${view.instance}-${name}-${at}`;
  const ended = run?.lastEnd === undefined ? undefined : terminated(run.lastEnd, id(run.lastEnd.startedAt));
  const state: ContainerState =
    run?.runningSince !== undefined
      ? { running: { startedAt: timestamp(run.runningSince) } }
      : run?.over === true && ended !== undefined
        ? { terminated: ended }
        : { waiting: waiting(view, run) };
  const last = run?.over === true ? undefined : ended;
  return {
    name,
    image,
    imageID: image,
    ...(run?.runningSince === undefined ? {} : { containerID: id(run.runningSince) }),
    ready: run?.ready ?? false,
    started: run?.started ?? false,
    restartCount: (run?.restarts ?? 0) + restartsBefore(carried),
    state,
    lastState: last !== undefined ? { terminated: last } : lostState(carried),
  };
}

/** A container that ran when its supervisor was killed is started once more. */
const restartsBefore = (carried: ContainerStatus | undefined): number =>
  carried === undefined ? 0 : carried.restartCount + (hasRun(carried) ? 1 : 0);
const hasRun = ({ state }: ContainerStatus): boolean => (state.running ?? state.terminated) !== undefined;

/** Of one whose end nobody saw. */
function lostState(carried: ContainerStatus | undefined): ContainerState {
  if (carried === undefined) return {};
  const { state, lastState } = carried;
  if (state.terminated !== undefined) return { terminated: state.terminated };
  if (state.running === undefined) return lastState;
  const { startedAt } = state.running;
  return {
    terminated: {
      exitCode: 137,
      reason: "ContainerStatusUnknown",
      message: "The container was not there any more when the lab's supervisor was started again",
      ...(startedAt === undefined ? {} : { startedAt }),
    },
  };
}

function terminated(
  end: NonNullable<RunView["lastEnd"]>,
  containerID: string,
): NonNullable<ContainerState["terminated"]> {
  return {
    exitCode: end.exitCode,
    ...(end.signal === undefined ? {} : { signal: end.signal }),
    reason: end.exitCode === 0 ? "Completed" : "Error",
    startedAt: timestamp(end.startedAt),
    finishedAt: timestamp(end.endedAt),
    containerID,
  };
}

function waiting(view: PodView, run: RunView | undefined): { reason: string; message?: string } {
  if (run?.startError !== undefined) return { reason: "RunContainerError", message: run.startError };
  if (run?.lastEnd !== undefined) {
    return { reason: "CrashLoopBackOff", message: "back-off restarting failed container" };
  }
  if (view.hopeless) return { reason: "CreateContainerConfigError", message: view.error ?? "" };
  return { reason: "ContainerCreating", ...(view.error === undefined ? {} : { message: view.error }) };
}
