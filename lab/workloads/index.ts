/** Built-in workloads by the name after "weft workload". */
export {
  type EchoAnswer,
  type EchoOptions,
  type EchoServer,
  echoOptions,
  runEcho,
  startEcho,
} from "./echo.ts";
