/** For the tests of those who use the client: an API server in this process, with faults on demand. */
export { type Call, FakeApi, failure } from "./fake-api.ts";
export { serveApi } from "./setup.ts";
