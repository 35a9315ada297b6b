// Serves better-auth with one process a core, under one that starts and ends them.

import cluster from "node:cluster";
import { createServer } from "node:http";
import { availableParallelism } from "node:os";

if (cluster.isPrimary) {
  let ending = false;
  for (const signal of ["SIGTERM", "SIGINT"]) {
    process.on(signal, () => {
      ending = true;
      for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGTERM");
    });
  }
  cluster.on("exit", () => {
    if (!ending) cluster.fork();
  });
  const workers = Number(process.env.WORKERS ?? availableParallelism());
  for (let i = 0; i < workers; i += 1) cluster.fork();
} else {
  // Not loaded by the process above, which has no need of it.
  const { auth } = await import("./auth.js");
  const { toNodeHandler } = await import("better-auth/node");
  const answer = toNodeHandler(auth);

  createServer((request, response) => {
    if (request.url === "/health") {
      response.end("ok");
    } else {
      answer(request, response);
    }
  }).listen(Number(process.env.PORT), "127.0.0.1");
}
