/** "2026-01-02T03:04:05Z": whole seconds, as Kubernetes writes times (metav1.Time). Takes milliseconds since the epoch. */
export const timestamp = (milliseconds: number): string =>
  `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
