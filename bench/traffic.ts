export const benchTraffic = undefined as never;
