// What the published SDK for JavaScript does at a gateway; prints one JSON value. Called with a workflow and a picture.
import { readFile } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { Comfy } from "@comfyorg/sdk";

const [workflowPath, loadPath, picturePath] = process.argv.slice(2);
const client = new Comfy({ apiKey: process.env.TEST_TOKEN });
const told = {};

const picture = new Uint8Array(await readFile(picturePath));
const asset = client.assets.fromBytes(picture, { filename: "cat.png", contentType: "image/png" });
const id = await asset.commit();
told.hash = await asset.hash();
const again = client.assets.fromBytes(picture, { filename: "other.png", contentType: "image/png" });
await again.commit();
told.createdNew = [asset.createdNew, again.createdNew];
told.sameAsset = (await client.assets.get(id)).id === id;

const workflow = await client.workflows.fromFile(workflowPath);
const job = await client.submit(workflow);
const seen = [];
for await (const event of job.events()) seen.push(event.type ?? event.constructor.name);
told.events = seen;
await job.refresh();
told.status = job.status;
const [output] = job.outputs;
const data = await output.toBytes();
told.output = { name: output.name, type: output.type, size: output.sizeBytes, contentType: output.contentType };
told.bytes = data.length;
told.head = Buffer.from(data.slice(0, 8)).toString("hex");
told.range = (await output.toBytes({ range: [0, 9] })).length;
told.workflow = Object.keys((await job.getWorkflow()).workflow).length;
told.found = (await client.jobs.get(job.id)).status;

const load = await client.workflows.fromFile(loadPath);
load.setInput("1", "image", asset);
const loaded = await client.run(load);
told.loaded = [loaded.status, loaded.outputs.length];

const key = randomUUID();
const first = await client.submit(workflow, { idempotencyKey: key });
const second = await client.submit(workflow, { idempotencyKey: key });
told.replayed = first.id === second.id;

await asset.delete();
told.missing = await client.assets.get(id).then(() => "there", (error) => error.constructor.name);
console.log(JSON.stringify(told));
