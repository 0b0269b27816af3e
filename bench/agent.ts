export const benchAgent = undefined as never;
