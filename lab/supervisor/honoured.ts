/** Fields that the lab honours, and the readers of rows do not: they know the network's part of an object only. Pure. */

const HONOURED: readonly RegExp[] = [
  // A pod's life is its runner's, its place the scheduler's.
  /^spec\.(restartPolicy|terminationGracePeriodSeconds|readinessGates)$/,
  /^spec\.(nodeSelector|affinity|tolerations|schedulerName)$/,
  /^spec\.containers\[\d+\]\.(livenessProbe|readinessProbe|startupProbe|lifecycle)$/,
  // The agents'.
  /^metadata\.annotations\[weft\.network\/(pools|addresses)\]$/,
  /^spec\.containers\[\d+\]\.ports\[\d+\]\.(hostPort|hostIP)$/,
  // A Service's: slices are made of it.
  /^spec\.(selector|publishNotReadyAddresses|hostname|subdomain)$/,
  // A Node's.
  /^spec\.(taints|unschedulable)$/,
];

export const honoured = (path: string): boolean => HONOURED.some((pattern) => pattern.test(path));
