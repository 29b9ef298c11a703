// dockerode: containers, streams, execs, archives, events, as its users do them.
import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { text } from "node:stream/consumers";
import test from "node:test";
import Docker from "dockerode";

const docker = new Docker();

test("a container is run, its output comes by stream, its code by the answer", async () => {
  const out = new PassThrough();
  const err = new PassThrough();
  const [[answer, container]] = [await docker.run("busybox", ["sh", "-c", "echo out; echo err >&2; exit 3"], [out, err], { Tty: false })];
  out.end();
  err.end();
  assert.equal(answer.StatusCode, 3);
  assert.equal(await text(out), "out\n");
  assert.equal(await text(err), "err\n");
  await container.remove();
});

test("input goes through an attached stream", async () => {
  const container = await docker.createContainer({ Image: "busybox", Cmd: ["cat"], OpenStdin: true, StdinOnce: true });
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, hijack: true });
  const out = new PassThrough();
  container.modem.demuxStream(stream, out, out);
  stream.on("end", () => out.end());
  await container.start();
  stream.write("through\n");
  stream.end();
  assert.equal(await text(out), "through\n");
  assert.equal((await container.wait()).StatusCode, 0);
  await container.remove();
});

test("an exec, an archive, logs and events", async () => {
  const events = await docker.getEvents({ filters: JSON.stringify({ type: ["container"] }) });
  const container = await docker.createContainer({ Image: "busybox", Cmd: ["sleep", "1000"], name: "node", StopSignal: "KILL" });
  await container.start();
  const exec = await container.exec({ Cmd: ["sh", "-c", "echo here; exit 5"], AttachStdout: true });
  const stream = await exec.start({});
  const out = new PassThrough();
  docker.modem.demuxStream(stream, out, out);
  stream.on("end", () => out.end());
  assert.equal(await text(out), "here\n");
  assert.equal((await exec.inspect()).ExitCode, 5);
  const archive = await container.getArchive({ path: "/etc/passwd" });
  await container.putArchive(archive, { path: "/tmp" });
  const again = await container.exec({ Cmd: ["test", "-s", "/tmp/passwd"] });
  (await again.start({ Detach: true })).resume();
  assert.equal((await container.inspect()).Name, "/node");
  await container.stop();
  await container.remove();
  let seen = "";
  for await (const chunk of events) {
    seen += chunk;
    if (seen.includes('"destroy"')) break;
  }
  assert.match(seen, /"create"[^]*"start"[^]*"die"[^]*"destroy"/);
});

test("images, networks, volumes and what is not there", async () => {
  assert.equal((await docker.getImage("busybox").inspect()).RepoTags[0], "busybox:latest");
  const network = await docker.createNetwork({ Name: "nodenet" });
  assert.equal((await network.inspect()).Name, "nodenet");
  await network.remove();
  const volume = await docker.createVolume({ Name: "nodevol" });
  await docker.getVolume("nodevol").remove();
  assert.ok(volume);
  await assert.rejects(docker.getContainer("nosuch").inspect(), (error) => error.statusCode === 404);
});
