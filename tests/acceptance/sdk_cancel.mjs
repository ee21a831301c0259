// Submits a job with the published SDK for JavaScript, cancels it while it runs, and prints how it ended.
import { Comfy } from "@comfyorg/sdk";

const client = new Comfy({ apiKey: process.env.TEST_TOKEN });
const job = await client.submit(await client.workflows.fromFile(process.argv[2]));
while (job.status === "queued") await job.refresh();
await job.cancel();
await job.wait(30_000);
console.log(JSON.stringify({ status: job.status }));
