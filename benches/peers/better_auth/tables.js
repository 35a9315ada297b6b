// Makes the tables that are missing.

import { getMigrations } from "better-auth/db/migration";

import { options } from "./auth.js";

const { runMigrations } = await getMigrations(options);
await runMigrations();
await options.database.end();
